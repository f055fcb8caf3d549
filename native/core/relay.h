// Moving the bytes of one session: plaintext on one leg, TLS records on the other, two pumps, each with its own end. On one
// worker's thread; knows nothing of how the legs came to be.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "core/linger.h"
#include "core/pending.h"
#include "core/reactor.h"
#include "core/scratch.h"
#include "core/session.h"
#include "sys/fd.h"
#include "tls/handshake.h"

namespace sidesplice::core {

struct RelayEnd {
  enum class Kind : uint8_t {
    /** Both ends were read and sent, and all before them has arrived. */
    kClosed,
    /** No byte moved for too long. */
    kTimeout,
    /** A side broke. */
    kAborted,
    /** Ended from outside. */
    kTerminated,
    /** Upstream went away before a byte moved: downstream is as it was. */
    kUnused,
  };
  Kind kind = Kind::kClosed;
  /** Of an abort: whose. */
  bool by_downstream = false;
  /** Of an abort: the TLS stream ended without close_notify. */
  bool truncated = false;
  /** Of an abort: we refused what the peer sent. */
  bool refused = false;
  /** Of kTimeout and kTerminated. */
  const char* reason = "";
  std::string detail;
};

struct Legs {
  sys::Fd plain;
  sys::Fd tls;
  std::unique_ptr<tls::RecordKey> read;
  std::unique_ptr<tls::RecordKey> write;
};

class Relay {
 public:
  /** What a relay is given by its worker; it outlives the relay. */
  struct Home {
    Reactor& reactor;
    Lingering& lingering;
    Scratch& scratch;
    /** What all its relays have moved. */
    std::atomic<uint64_t>& moved;
    /** Records under one AES-GCM key before it is exchanged. */
    uint64_t rekey_after_records;
  };
  /** The session is given back, for kUnused with the app's connection. The relay is gone when this returns. */
  using OnEnd = std::function<void(Session session, RelayEnd end, sys::Fd downstream)>;

  static Relay* Begin(const Home& home, Session session, Legs legs, OnEnd on_end);

  /** From the same thread. */
  void Terminate(const char* reason);
  [[nodiscard]] SessionId id() const { return session_.shared->id; }

 private:
  struct Side final : Watcher {
    explicit Side(Relay& of) : relay(of) {}
    void OnReady(uint32_t events) override;
    /** Whether a short read has taken all there is. */
    [[nodiscard]] bool empties() const { return !hung_up && !urgent; }

    Relay& relay;
    sys::Fd fd;
    bool readable = true;
    bool writable = true;
    /** epoll has told of the end of what can be read, or of an error: a short read is not the last. */
    bool hung_up = false;
    /** Urgent data came by: a read ends in front of it, with more behind (tcp(7)). */
    bool urgent = false;
    /** The end of its stream was read. */
    bool ended = false;
    /** Our end was sent. */
    bool shut = false;
  };
  enum class Progress : uint8_t { kWaits, kMore, kOver };

  Relay(const Home& home, Session session, Legs legs, OnEnd on_end);
  ~Relay() = default;

  [[nodiscard]] bool downstream_is_tls() const { return session_.spec().inbound; }
  void Run();
  Progress PumpOut(size_t* budget);
  Progress PumpIn(size_t* budget);
  /** False where the relay is over. */
  [[nodiscard]] bool SealAndSend(size_t bytes);
  [[nodiscard]] bool QueueRecord(tls::ContentType type, std::span<const uint8_t> payload);
  [[nodiscard]] bool Flush(Side& side, Pending& pending);
  [[nodiscard]] bool RekeyIfDue();
  [[nodiscard]] bool TakeRecords(std::span<uint8_t> received);
  [[nodiscard]] bool TakeRecord(const tls::Opened& opened);
  [[nodiscard]] bool TakeAlert(std::span<const uint8_t> payload);
  [[nodiscard]] bool TakeHandshake(std::span<const uint8_t> payload);
  [[nodiscard]] bool TakeMessage(uint8_t type, std::span<const uint8_t> body, bool ends_record);
  [[nodiscard]] bool DeliverPlain();
  void CountUp(size_t bytes);
  void CountDown(size_t bytes);
  void NoteMoved() { moved_at_ = NowMs(); }
  void WatchQuiet();
  void LookAtQuiet(double limit_ms, const char* reason);
  void SettleIfDone();
  void Settle(double after_ms);

  /** A side broke; `false` for a caller that returns whether the relay lives. */
  bool Broke(bool plain, std::string detail, bool truncated = false);
  /** We refuse what the peer sent: it gets this alert. */
  bool Refuse(tls::Alert alert);
  void End(RelayEnd end);
  void CloseLegs(const RelayEnd& end, bool keep_downstream);

  const Home home_;
  Session session_;
  OnEnd on_end_;
  Side plain_;
  Side tls_;
  std::unique_ptr<tls::RecordKey> read_;
  std::unique_ptr<tls::RecordKey> write_;
  /** Sealed records for the peer, plaintext for the app, and a record of which a part has come. */
  Pending to_tls_;
  Pending to_plain_;
  Pending partial_;
  Pending handshake_;
  Timer quiet_;
  double moved_at_ = 0;
  int queued_ = 0;
  uint16_t barren_records_ = 0;
  bool large_reads_out_ = false;
  bool large_reads_in_ = false;
  bool close_notify_sent_ = false;
  /** The alert of a refusal, the last that is sent. */
  bool alert_queued_ = false;
  bool key_update_queued_ = false;
  bool scheduled_ = false;
  bool settling_ = false;
  bool over_ = false;
};

}  // namespace sidesplice::core
