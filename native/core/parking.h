// Relays of a worker that stopped reading for want of buffer memory: looked at again now and then until they go on.
#pragma once

#include <functional>
#include <vector>

#include "core/reactor.h"

namespace sidesplice::core {

class Relay;

class Parking {
 public:
  /** `resume` runs a relay. */
  Parking(Reactor& reactor, std::function<void(Relay&)> resume) : reactor_(reactor), resume_(std::move(resume)) {}

  /** Once, until it is resumed. */
  void Park(Relay* relay);
  void Forget(const Relay* relay) { std::erase(parked_, relay); }

 private:
  void Look();

  Reactor& reactor_;
  const std::function<void(Relay&)> resume_;
  std::vector<Relay*> parked_;
  /** How many the last time. */
  size_t looked_at_ = 0;
  Timer look_;
};

}  // namespace sidesplice::core
