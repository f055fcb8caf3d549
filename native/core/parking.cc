// Looking at parked relays again.
#include "core/parking.h"

#include <algorithm>
#include <utility>

namespace sidesplice::core {

namespace {

// Nothing tells when memory is there again, or when a socket that refused nothing has room: a pause that a reader hardly notices. With thousands
// that wait, all looks together must not take a CPU.
constexpr double kLookMs = 20;
constexpr double kLooksPerMs = 5;

}  // namespace

void Parking::Park(Relay* relay) {
  parked_.push_back(relay);
  if (look_.armed()) return;
  look_.Set(reactor_, std::max(kLookMs, static_cast<double>(looked_at_) / kLooksPerMs), [this] { Look(); });
}

void Parking::Look() {
  // Those that can't go on park again. One that ends is deleted behind this turn, and none ends another.
  std::vector<Relay*> looked_at;
  std::swap(looked_at, parked_);
  looked_at_ = looked_at.size();
  for (Relay* relay : looked_at) resume_(*relay);
}

}  // namespace sidesplice::core
