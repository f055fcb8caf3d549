// A peer that speaks TLS: the other side of a scripted handshake, then records of all kinds.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "simulator/handshake.h"
#include "simulator/peer.h"
#include "tls/record_key.h"

namespace sidesplice::simulator {

class TlsPeer final : public Peer {
 public:
  struct Manners {
    /** A record without bytes of the session comes once in so many. */
    uint64_t odd_records = 0;
    bool fin_behind_close_notify = true;
  };

  TlsPeer(Kernel& kernel, Dice& dice, Flow& flow, End& end, Habits habits, Script script, Manners manners, uint64_t stream_out,
          uint64_t stream_in)
      : Peer(kernel, dice, flow, end, habits, stream_out, stream_in), script_(std::move(script)), manners_(manners) {}

  [[nodiscard]] const Script& script() const { return script_; }
  [[nodiscard]] bool handshaken() const { return flight_ == script_.flights.size(); }
  /** Bytes of the session in the whole records among the first `bytes` of its stream. */
  [[nodiscard]] uint64_t SessionBytesIn(uint64_t bytes) const;
  /** Nothing is kept of a record that has not come whole. */
  [[nodiscard]] bool at_boundary() const { return incoming_.empty(); }
  /** KeyUpdates that it asked for, and that have come. */
  uint64_t updates_asked = 0;
  uint64_t updates_got = 0;
  /** How far its stream went when the last was asked for. */
  uint64_t asked_at = 0;

 private:
  [[nodiscard]] bool CanRead() const override;
  [[nodiscard]] bool CanWrite() const override;
  [[nodiscard]] bool CanLeave() const override;
  void Write() override;
  void TakeBytes(const uint8_t* bytes, size_t count) override;
  void TakeEnd() override;
  void TellEnd() override;
  void LeaveNow() override;
  [[nodiscard]] bool all_sent() const override { return handshaken() && sent == habits_.to_send && outgoing_.empty(); }

  [[nodiscard]] bool stuck_in_handshake() const { return !handshaken() && flight_ == script_.peer_leaves_at; }
  void NextFlights();
  void Flush();
  void QueueSomething();
  void QueueOdd();
  void QueueGarbage();
  void QueueTicket();
  void QueueData();
  std::vector<uint8_t> Seal(tls::ContentType type, std::span<const uint8_t> payload, size_t padding = 0);
  void Queue(tls::ContentType type, std::span<const uint8_t> payload, size_t padding = 0);
  void QueueUpdate(bool asks);
  void TakeRecords();
  void TakeRecord(const tls::Opened& opened);
  void TakeAlert(std::span<const uint8_t> payload);

  const Script script_;
  const Manners manners_;
  size_t flight_ = 0;
  size_t moved_ = 0;
  std::unique_ptr<tls::RecordKey> read_;
  std::unique_ptr<tls::RecordKey> write_;
  ByteQueue outgoing_;
  ByteQueue incoming_;
  uint64_t queued_total_ = 0;
  /** Where each record with bytes of the session ends, and how many they are by then. */
  std::vector<std::pair<uint64_t, uint64_t>> record_ends_;
  unsigned barren_ = 0;
  bool queued_last_ = false;
  bool alerted_ = false;
};

}  // namespace sidesplice::simulator
