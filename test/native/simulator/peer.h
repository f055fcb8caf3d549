// Who is at the other end of a connection of the core: it sends, reads, pauses and leaves as it was thrown. What it reads it checks.
#pragma once

#include <cstdint>
#include <string>

#include "simulator/dice.h"
#include "simulator/kernel.h"
#include "simulator/stream.h"

namespace sidesplice::simulator {

struct Flow;

/** How a peer leaves. */
enum class Leave : uint8_t {
  /** Tells its end when all is sent, and stays for the other's. */
  kProperly,
  /** As that, but tells its end only behind the other's. */
  kSecond,
  /** Closes when all is sent, whatever comes. */
  kAtOnce,
  /** By an RST. */
  kReset,
  /** Does neither, until everybody else has left. */
  kNever,
  // Those of TLS alone.
  kFatalAlert,
  kWithoutCloseNotify,
  kInsideRecord,
  kGarbage,
};

inline bool IsAbort(Leave leave) { return leave != Leave::kProperly && leave != Leave::kSecond; }

class Peer {
 public:
  struct Habits {
    uint64_t to_send = 0;
    Leave leave = Leave::kProperly;
    /** Of a reader: at most so many bytes at once, and stops for good behind so many. */
    size_t read_at_once = SIZE_MAX;
    uint64_t reads_up_to = UINT64_MAX;
    /** Pauses once in so many acts, for so long at most. */
    uint64_t pauses = 0;
    int64_t longest_pause_ns = 0;
  };

  Peer(Kernel& kernel, Dice& dice, Flow& flow, End& end, Habits habits, uint64_t stream_out, uint64_t stream_in)
      : end(end), flow(flow), kernel_(kernel), dice_(dice), habits_(habits), out_(stream_out), in_(stream_in) {}
  virtual ~Peer() = default;

  [[nodiscard]] bool CanAct() const { return !gone_ && kernel_.now_ns() >= asleep_until_ && (CanRead() || CanWrite() || CanLeave()); }
  void Act();
  /** When it will have something to do without anything else happening; INT64_MAX for never. */
  [[nodiscard]] int64_t WakesAt() const { return !gone_ && asleep_until_ > kernel_.now_ns() ? asleep_until_ : INT64_MAX; }
  /** Everybody leaves now. */
  void GoHome();
  [[nodiscard]] bool gone() const { return gone_; }
  [[nodiscard]] const Habits& habits() const { return habits_; }

  /** Bytes of the session, not of TLS. */
  uint64_t sent = 0;
  uint64_t received = 0;
  /** It has told that this is all, and how: by what is a clean end on its leg. */
  bool ended_cleanly = false;
  /** It has been told so. */
  bool got_clean_end = false;
  /** It has been told that the session broke. */
  bool got_error = false;
  End& end;
  Flow& flow;

 protected:
  [[nodiscard]] virtual bool CanRead() const;
  [[nodiscard]] virtual bool CanWrite() const = 0;
  [[nodiscard]] virtual bool CanLeave() const;
  virtual void Write() = 0;
  virtual void TakeBytes(const uint8_t* bytes, size_t count) = 0;
  virtual void TakeEnd() = 0;
  /** Says that all is sent. */
  virtual void TellEnd() = 0;
  virtual void LeaveNow() { Depart(habits_.leave == Leave::kReset); }
  /** Everything that was to be sent is with the kernel. */
  [[nodiscard]] virtual bool all_sent() const { return sent == habits_.to_send; }

  void Depart(bool by_reset);
  void Broken(int error);
  [[nodiscard]] bool reads() const { return received < habits_.reads_up_to; }

  Kernel& kernel_;
  Dice& dice_;
  Habits habits_;
  const Stream out_;
  const Stream in_;
  bool told_end_ = false;
  bool got_end_ = false;
  bool gone_ = false;
  int64_t asleep_until_ = 0;

 private:
  void Read();
};

/** The app beside the core: plain bytes. */
class App final : public Peer {
 public:
  using Peer::Peer;

 private:
  [[nodiscard]] bool CanWrite() const override;
  void Write() override;
  void TakeBytes(const uint8_t* bytes, size_t count) override;
  void TakeEnd() override;
  void TellEnd() override;
};

}  // namespace sidesplice::simulator
