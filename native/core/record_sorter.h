// What the records of a peer say, beside the bytes that they carry: alerts, handshake messages, and what may not come at all. The
// same for every relay, whoever opened the records.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/pending.h"
#include "tls/alert.h"
#include "tls/record_key.h"

namespace sidesplice::core {

/** What a relay does about it. Each returns whether the relay lives. */
class RecordReader {
 public:
  /** For the app. */
  virtual bool OnData(std::span<const uint8_t> payload) = 0;
  virtual bool OnCloseNotify() = 0;
  /** The peer ends all of it. */
  virtual bool OnAlert(uint8_t alert) = 0;
  /** What follows is under the next key; `asks` for ours too. */
  virtual bool OnKeyUpdate(bool asks) = 0;
  /** TLS 1.2: the peer is told that there is none. */
  virtual bool OnRenegotiation() = 0;
  /** The peer may not say that. What came before it is the app's. */
  virtual bool OnForbidden(tls::Alert answer) = 0;

 protected:
  ~RecordReader() = default;
};

class RecordSorter {
 public:
  RecordSorter(tls::Version version, bool peer_is_server, BufferLedger& ledger)
      : version_(version), peer_is_server_(peer_is_server), handshake_(&ledger) {}

  /** What it keeps is noted in another ledger, or in none. */
  void MoveTo(BufferLedger* ledger) { handshake_.MoveTo(ledger); }
  /** One record, in the order in which they came. Returns whether the relay lives. */
  [[nodiscard]] bool Sort(tls::ContentType type, std::span<const uint8_t> payload, RecordReader& reader);
  /** Application data went by that was not sorted; there may be none in the middle of a message. */
  void NoteData() { barren_records_ = 0; }
  /** Part of a handshake message has come. */
  [[nodiscard]] bool in_message() const { return !handshake_.empty(); }

 private:
  [[nodiscard]] bool SortAlert(std::span<const uint8_t> payload, RecordReader& reader) const;
  [[nodiscard]] bool SortHandshake(std::span<const uint8_t> payload, RecordReader& reader);
  [[nodiscard]] bool SortMessage(uint8_t type, std::span<const uint8_t> body, bool ends_record, RecordReader& reader) const;

  const tls::Version version_;
  const bool peer_is_server_;
  uint16_t barren_records_ = 0;
  /** A message of which a part has come. */
  Pending handshake_;
};

}  // namespace sidesplice::core
