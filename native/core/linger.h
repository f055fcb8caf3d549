// A leg whose session is over, but which has something to send before it may close: an abort never overtakes data.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>

#include "core/kernel_leg.h"
#include "core/pending.h"
#include "core/reactor.h"
#include "sys/fd.h"
#include "tls/alert.h"

namespace sidesplice::core {

/** Of a leg whose records the kernel makes. */
struct KernelTail {
  KernelLeg leg;
  std::optional<tls::Alert> alert;
};

/** The lingering legs of one reactor. On its thread. */
class Lingering {
 public:
  explicit Lingering(Reactor& reactor) : reactor_(reactor) {}
  ~Lingering();

  /**
   * Sends what is pending and a FIN, waits for the other end's, closes. For a TLS leg: the alert is the last that is pending, or the
   * kernel's to seal.
   */
  void Finish(sys::Fd fd, Pending pending, double limit_ms, std::unique_ptr<KernelTail> kernel = nullptr);
  /** Sends what is pending, waits until the kernel's queue is empty or stands still, closes by an RST. For a plaintext leg. */
  void Reset(sys::Fd fd, Pending pending, double limit_ms, std::unique_ptr<KernelTail> kernel = nullptr);
  /** Closes all of them by an RST now. */
  void Cut();

 private:
  class Leg;

  Reactor& reactor_;
  /** In the order in which they came. */
  std::map<uint64_t, Leg*> legs_;
  uint64_t begun_ = 0;
};

}  // namespace sidesplice::core
