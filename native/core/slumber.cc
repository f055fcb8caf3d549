// Looking for sessions that are quiet.
#include "core/slumber.h"

#include <algorithm>

namespace sidesplice::core {

namespace {

// What rests pays some microseconds to go on: one that speaks every second does not.
constexpr double kQuietMs = 1'500;
// Thousands that fall quiet at once must not hold up one that is not.
constexpr size_t kLooksAtOnce = 64;
constexpr double kBetweenLooksMs = 1;

}  // namespace

void Slumber::Seat(Sleeper& sleeper) {
  sleeper.place_ = awake_.size();
  awake_.push_back(&sleeper);
  if (!look_.armed()) look_.Set(reactor_, kQuietMs, [this] { Look(); });
}

void Slumber::Forget(Sleeper& sleeper) {
  if (sleeper.place_ == Sleeper::kNowhere) return;
  // The last takes its place.
  awake_[sleeper.place_] = awake_.back();
  awake_[sleeper.place_]->place_ = sleeper.place_;
  awake_.pop_back();
  sleeper.place_ = Sleeper::kNowhere;
}

void Slumber::Look() {
  const double quiet_since = NowMs() - kQuietMs;
  left_ = std::min(left_ == 0 ? awake_.size() : left_, awake_.size());
  // From behind: whoever takes a place that becomes free was looked at, or came since.
  for (size_t looks = 0; looks < kLooksAtOnce && left_ > 0; looks++) {
    Sleeper& sleeper = *awake_[--left_];
    if (sleeper.moved_at() > quiet_since) continue;
    Forget(sleeper);
    sleeper.Rest();
  }
  if (!awake_.empty()) look_.Set(reactor_, left_ > 0 ? kBetweenLooksMs : kQuietMs, [this] { Look(); });
}

}  // namespace sidesplice::core
