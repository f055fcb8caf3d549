// Who is quiet is told to rest, once, and nobody else is: on a clock that the test turns.
#include "core/slumber.h"

#include <doctest/doctest.h>

#include <vector>

#include "sys/calls.h"

using namespace sidesplice;

namespace {

double now_ms = 0;

/** The kernel's table, with a clock of ours, on which no wait takes time. */
class TurnedClock {
 public:
  TurnedClock() {
    now_ms = 1'000'000;
    calls_ = sys::kKernel;
    calls_.clock_gettime = [](clockid_t, timespec* time) {
      time->tv_sec = static_cast<time_t>(now_ms / 1'000);
      time->tv_nsec = static_cast<long>((now_ms - static_cast<double>(time->tv_sec) * 1'000) * 1'000'000);
      return 0;
    };
    calls_.epoll_wait = [](int, epoll_event*, int, int) { return 0; };
    sys::calls = &calls_;
  }
  ~TurnedClock() { sys::calls = &sys::kKernel; }
  TurnedClock(const TurnedClock&) = delete;
  TurnedClock& operator=(const TurnedClock&) = delete;

 private:
  sys::Calls calls_;
};

struct Sleeper final : core::Slumber::Sleeper {
  void Rest() override { rests++; }
  [[nodiscard]] double moved_at() const override { return moved; }

  double moved = now_ms;
  int rests = 0;
};

struct Rig {
  Rig() { REQUIRE(reactor.Open() == 0); }
  /** Turns the clock by steps, and the reactor after each. */
  void Pass(double ms) {
    for (const double until = now_ms + ms; now_ms < until; now_ms += 1) reactor.Turn();
  }

  TurnedClock clock;
  core::Reactor reactor;
  core::Slumber slumber{reactor};
};

}  // namespace

TEST_CASE("who is quiet rests once, and again only after it was awake again") {
  Rig rig;
  Sleeper one;
  rig.slumber.Wake(one);
  rig.slumber.Wake(one);
  rig.Pass(1'400);
  CHECK(one.rests == 0);
  rig.Pass(4'000);
  CHECK(one.rests == 1);
  one.moved = now_ms;
  rig.slumber.Wake(one);
  rig.Pass(4'000);
  CHECK(one.rests == 2);
}

TEST_CASE("who moves does not rest, whoever rests beside it; nothing is armed once all rest") {
  Rig rig;
  std::vector<Sleeper> many(1'000);
  for (Sleeper& one : many) rig.slumber.Wake(one);
  for (int second = 0; second < 10; second++) {
    for (size_t at = 0; at < many.size(); at += 3) many[at].moved = now_ms;
    rig.Pass(1'000);
  }
  for (size_t at = 0; at < many.size(); at++) REQUIRE(many[at].rests == (at % 3 == 0 ? 0 : 1));
  CHECK(rig.reactor.WaitMs() <= 1'500);
  rig.Pass(5'000);
  for (const Sleeper& one : many) REQUIRE(one.rests == 1);
  // The reactor's own longest wait: no timer is left.
  CHECK(rig.reactor.WaitMs() > 10'000);
}

TEST_CASE("who is forgotten is not told, in whatever order") {
  Rig rig;
  std::vector<Sleeper> many(300);
  for (Sleeper& one : many) rig.slumber.Wake(one);
  // In the middle of a round, too: it takes several looks.
  for (size_t at = 0; at < 100; at++) rig.slumber.Forget(many[at * 2]);
  rig.Pass(1'502);
  for (size_t at = 0; at < 100; at++) rig.slumber.Forget(many[299 - at]);
  const int by_now = many[299].rests;
  rig.slumber.Forget(many[0]);
  rig.Pass(5'000);
  CHECK(many[299].rests == by_now);
  for (size_t at = 0; at < 100; at++) REQUIRE(many[at * 2].rests == 0);
  for (size_t at = 1; at < 200; at += 2) REQUIRE(many[at].rests == 1);
}
