// One relay on a real reactor, with what it is between in the test's hands: the app's socket, and a peer that writes and reads
// records under keys of its own.
#pragma once

#include <atomic>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/record_relay.h"
#include "core/splice_relay.h"
#include "support/bytes.h"
#include "support/record_writer.h"
#include "support/sockets.h"

namespace sidesplice::test {

struct RigOptions {
  tls::Version version = tls::Version::kTls13;
  tls::Aead aead = tls::Aead::kAes128Gcm;
  /** The TLS leg is the one that was accepted. */
  bool inbound = true;
  uint64_t rekey_after_records = 1 << 24;
  double half_close_timeout_ms = kPatienceMs;
  double idle_timeout_ms = 0;
  /** The relay leaves records to the kernel, or to what a test has in the kernel's place. */
  bool kernel = false;
  /** The cap on what sessions own. */
  uint64_t buffer_memory = core::BufferMemory::kNoCap;
  bool kernel_rekeys = false;
  size_t most_pipes = 4;
  /** Of an outbound relay; made on another connection, with other keys. */
  std::unique_ptr<tls::TicketTaker> tickets = {};
};

/** The peer's end of the TLS leg. */
class RecordPeer {
 public:
  struct Record {
    tls::ContentType type{};
    Bytes payload;
    bool operator==(const Record&) const = default;
  };

  bool SendBytes(const Bytes& bytes) { return WriteAll(fd.get(), bytes); }
  bool Send(tls::ContentType type, const Bytes& payload, size_t padding = 0) {
    return SendBytes(Padded(*write, type, payload, padding));
  }
  bool SendData(const Bytes& payload) { return Send(tls::ContentType::kApplicationData, payload); }
  bool SendCloseNotify() { return Send(tls::ContentType::kAlert, {1, 0}); }
  bool SendKeyUpdate(bool asks);

  /** The next record; updates the reading key behind a KeyUpdate. Nothing where the stream ends, or a record does not open. */
  std::optional<Record> Next();
  /** Application data until there are `bytes`, or until another record, which is kept in `last`, or the end. */
  Bytes ReadData(size_t bytes);

  sys::Fd fd;
  std::unique_ptr<tls::RecordKey> read;
  std::unique_ptr<tls::RecordKey> write;
  std::optional<Record> last;
  Stream::End end = Stream::End::kNone;
  size_t key_updates = 0;
};

class RelayRig {
 public:
  explicit RelayRig(RigOptions options = {});
  ~RelayRig();
  RelayRig(const RelayRig&) = delete;
  RelayRig& operator=(const RelayRig&) = delete;

  /** How it ended; nothing where it does not within the patience. */
  std::optional<core::RelayEnd> Ended();
  [[nodiscard]] bool has_ended() const;
  void Terminate(const char* reason);
  /** As after a long silence. */
  void Rest();
  /** Runs on the relay's thread, and waits for it. */
  void OnThread(std::function<void()> task);
  /** What sessions own, those of other workers too: a test may take some of it away, or give it back. */
  [[nodiscard]] core::BufferMemory& memory() { return memory_; }
  [[nodiscard]] const core::SessionShared& session() const { return *shared_; }
  /** Its connection to the app, given back by a relay that moved nothing. */
  /** Pipes that it has taken from its worker. On the relay's thread. */
  [[nodiscard]] size_t pipes_taken() const { return pipes_.taken(); }
  /** Payload that went by splice(2); after the end. */
  [[nodiscard]] uint64_t spliced_bytes() const { return spliced_bytes_; }
  [[nodiscard]] int given_back() const { return given_back_.get(); }

  sys::Fd app;
  RecordPeer peer;

 private:
  core::Reactor reactor_;
  core::BufferMemory memory_;
  core::BufferLedger ledger_{memory_};
  core::Parking parking_{reactor_, [](core::Relay& relay) { relay.Resume(); }};
  core::Slumber slumber_{reactor_};
  core::Lingering lingering_{reactor_};
  core::Scratch scratch_;
  core::PipePool pipes_;
  std::atomic<uint64_t> moved_{0};
  std::shared_ptr<core::SessionShared> shared_;
  core::Relay* relay_ = nullptr;
  uint64_t spliced_bytes_ = 0;
  sys::Fd given_back_;
  std::promise<core::RelayEnd> ended_;
  std::future<core::RelayEnd> end_ = ended_.get_future();
};

}  // namespace sidesplice::test
