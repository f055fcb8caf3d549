// One session between its two legs, plaintext on one and TLS on the other: two pumps, each with its own end. What every relay has;
// how bytes move is its kind's. On one worker's thread; knows nothing of how the legs came to be.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/buffer_memory.h"
#include "core/linger.h"
#include "core/parking.h"
#include "core/pending.h"
#include "core/reactor.h"
#include "core/scratch.h"
#include "core/session.h"
#include "core/slumber.h"
#include "core/splice_pipe.h"
#include "sys/fd.h"
#include "tls/alert.h"
#include "tls/record_key.h"
#include "tls/ticket_taker.h"

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
  /** Where the peer may send tickets, which are to be taken. */
  std::unique_ptr<tls::TicketTaker> tickets = {};
};

class Relay : public Slumber::Sleeper {
 public:
  /** Who has relays. */
  class Host {
   public:
    /** On its thread: the session is no relay of it any more. */
    virtual void Gone(SessionId session) = 0;
    /** It moved all that it may in a turn, and has more. True where it was handed to another, and is nothing of this thread's any more. */
    [[nodiscard]] virtual bool HandsOver(Relay& relay) = 0;

   protected:
    ~Host() = default;
  };
  /** What a relay is given by its worker; it outlives the relay. */
  struct Home {
    Reactor& reactor;
    Lingering& lingering;
    Scratch& scratch;
    /** What all its relays have moved. */
    std::atomic<uint64_t>& moved;
    /** Records under one AES-GCM key before it is exchanged. */
    uint64_t rekey_after_records;
    PipePool& pipes;
    /** What its relays own. */
    BufferLedger& ledger;
    Parking& parking;
    Slumber& slumber;
    Host* host = nullptr;
  };
  /** The session is given back, for kUnused with the app's connection. The relay is gone when this returns. */
  using OnEnd = std::function<void(Session session, RelayEnd end, sys::Fd downstream)>;

  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /** From the same thread. */
  void Terminate(const char* reason);
  /** From its parking: it may go on. */
  void Resume();
  /** From `HandsOver`: takes it off its thread. What is under way stays in its buffers and in the kernel. */
  void Leave();
  /** On the thread of its new home, behind `Leave`: it goes on there. False where it is over. */
  [[nodiscard]] bool Arrive(const Home& home);
  void Rest() override;
  [[nodiscard]] double moved_at() const override { return moved_at_; }
  /** For its host's use: the last window of time in which it was bulk. */
  uint64_t bulk_window = 0;
  [[nodiscard]] SessionId id() const { return session_.shared->id; }

 protected:
  enum class Progress : uint8_t { kWaits, kMore, kOver };
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

  Relay(const Home& home, Session session, sys::Fd plain, sys::Fd tls, OnEnd on_end);
  virtual ~Relay() = default;

  /** Watches both legs and moves what is there. It owns itself from here on; null where it is over already. */
  static Relay* Begin(Relay* relay);

  /** From the app to the peer: moves what can be moved, `budget` at most, and the end. */
  virtual Progress PumpOut(size_t* budget) = 0;
  /** From the peer to the app. */
  virtual Progress PumpIn(size_t* budget) = 0;
  /** The last word to the peer, behind what is pending for it, and how its leg closes. */
  virtual void FinishTls(tls::Alert alert, double limit_ms) = 0;
  /** The leg closes by an RST behind what is pending. */
  virtual void ResetTls(double limit_ms) = 0;
  /** What is for the app and was not sent. */
  virtual Pending UnsentPlain() { return std::move(to_plain_); }
  /** The kernel says that a leg is broken; `false`. */
  virtual bool LegFailed(Side& side, int error);
  /** What it owns is noted in another ledger, or in none. */
  virtual void MoveTo(BufferLedger* ledger) { to_plain_.MoveTo(ledger); }
  /** Whether nothing of its thread is lent to it: then another may have it. */
  [[nodiscard]] virtual bool movable() const { return true; }

  [[nodiscard]] bool downstream_is_tls() const { return session_.spec().inbound; }
  /** Runs the pumps. */
  void Run();
  /** True where nothing is pending any more; false where it blocks, or the relay is over. */
  [[nodiscard]] bool Flush(Side& side, Pending& pending);
  /**
   * Takes note of a read of the app, of which `got` is what read(2) has said. Nothing where that many bytes are to be passed on; else what the
   * pump does instead.
   */
  [[nodiscard]] std::optional<Progress> WithoutPlain(ssize_t got, size_t asked, size_t* budget);
  /** The app's end was read. */
  void PlainEnded();
  /** The peer's end was read. */
  void TlsEnded();
  /** Reads nothing until it is resumed: what it would read, it would have to keep. */
  Progress Pause();
  /** Whether a record that is sent there now is taken whole, as far as the kernel tells. */
  [[nodiscard]] static bool HasRoom(const Side& side);
  /** Nothing more is sent that way. */
  void Shut(Side& side);
  /** Came from the app, or goes to it. */
  void CountFromPlain(size_t bytes) { downstream_is_tls() ? CountDown(bytes) : CountUp(bytes); }
  void CountToPlain(size_t bytes) { downstream_is_tls() ? CountUp(bytes) : CountDown(bytes); }
  void NoteMoved() {
    moved_at_ = NowMs();
    home_.slumber.Wake(*this);
  }

  /** A side broke; `false` for a caller that returns whether the relay lives. */
  bool Broke(bool plain, std::string detail, bool truncated = false);
  /** We refuse what the peer sent: it gets this alert. */
  bool Refuse(tls::Alert alert);
  /** It would take a key that the kernel can't exchange. */
  bool Unable(const char* why);

  Home home_;
  Session session_;
  Side plain_;
  Side tls_;
  /** For the app. */
  Pending to_plain_;
  bool close_notify_sent_ = false;
  bool over_ = false;

 private:
  void CountUp(size_t bytes);
  void CountDown(size_t bytes);
  /** False where it is over. */
  [[nodiscard]] bool WatchLegs();
  void WatchQuiet();
  /** Has its turn behind the others. */
  void RunLater();
  void LookAtQuiet(double limit_ms, const char* reason);
  void SettleIfDone();
  void Settle(double after_ms);
  void End(RelayEnd end);
  void CloseLegs(const RelayEnd& end, bool keep_downstream);

  OnEnd on_end_;
  Timer quiet_;
  double moved_at_ = 0;
  int queued_ = 0;
  /** What the peer is told where the session does not end well. */
  tls::Alert last_word_ = tls::Alert::kInternalError;
  bool scheduled_ = false;
  /** It moved a lot in its last turn. */
  bool bulk_ = false;
  bool settling_ = false;
  bool parked_ = false;
};

}  // namespace sidesplice::core
