// A wall clock of tests that goes ahead; OpenSSL reads its own.
#pragma once

#include <ctime>

#include "sys/calls.h"

namespace sidesplice::test {

/** Its wall clock goes ahead while this lives. */
class LaterClock {
 public:
  explicit LaterClock(int64_t seconds) : table_(*sys::calls), before_(sys::calls) {
    ahead = seconds;
    table_.clock_gettime = [](clockid_t clock, timespec* now) {
      const int result = ::clock_gettime(clock, now);
      if (clock == CLOCK_REALTIME) now->tv_sec += ahead;
      return result;
    };
    sys::calls = &table_;
  }
  ~LaterClock() { sys::calls = before_; }
  LaterClock(const LaterClock&) = delete;
  LaterClock& operator=(const LaterClock&) = delete;

 private:
  static inline int64_t ahead = 0;
  sys::Calls table_;
  const sys::Calls* before_;
};

}  // namespace sidesplice::test
