// A leg whose session is over, but which has something to send before it may close: an abort never overtakes data.
#pragma once

#include <unordered_set>

#include "core/pending.h"
#include "core/reactor.h"
#include "sys/fd.h"

namespace sidesplice::core {

/** The lingering legs of one reactor. On its thread. */
class Lingering {
 public:
  explicit Lingering(Reactor& reactor) : reactor_(reactor) {}
  ~Lingering();

  /** Sends what is pending and a FIN, waits for the other end's, closes. For a TLS leg: the alert is the last that is pending. */
  void Finish(sys::Fd fd, Pending pending, double limit_ms);
  /** Sends what is pending, waits until the kernel's queue is empty or stands still, closes by an RST. For a plaintext leg. */
  void Reset(sys::Fd fd, Pending pending, double limit_ms);
  /** Closes all of them by an RST now. */
  void Cut();

 private:
  class Leg;

  Reactor& reactor_;
  std::unordered_set<Leg*> legs_;
};

}  // namespace sidesplice::core
