// The loop's own promises: order, ends of turns, forgetting, stopping; and a leg that lingers without holding the thread.
#include "core/reactor.h"

#include <doctest/doctest.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include "core/linger.h"
#include "support/sockets.h"
#include "sys/calls.h"

using namespace sidesplice;
using core::Reactor;

namespace {

void OnThread(Reactor& reactor, const std::function<void()>& task) {
  std::promise<void> done;
  reactor.Post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

struct Called final : core::Watcher {
  std::function<void(uint32_t)> then;
  void OnReady(uint32_t events) override { then(events); }
};

}  // namespace

TEST_CASE("tasks run in the order in which they were posted, those at a stop too") {
  std::vector<int> order;
  Reactor reactor;
  REQUIRE(reactor.Start("test", 0) == 0);
  for (int at = 0; at < 100; at++) reactor.Post([&order, at] { order.push_back(at); });
  reactor.Stop();
  REQUIRE(order.size() == 100);
  CHECK(std::is_sorted(order.begin(), order.end()));
}

TEST_CASE("what was put off to the next turn, or to the end of one, still runs where the reactor stops before") {
  bool ran = false;
  Reactor reactor;
  REQUIRE(reactor.Start("test", 0) == 0);
  std::promise<void> blocked;
  reactor.Post([&] { blocked.get_future().wait(); });
  reactor.Post([&] {
    reactor.AtEndOfTurn([&] { reactor.NextTurn([&] { reactor.AtEndOfTurn([&] { ran = true; }); }); });
  });
  std::thread stops([&] { reactor.Stop(); });
  blocked.set_value();
  stops.join();
  CHECK(ran);
}

TEST_CASE("what becomes ready while somebody has its share goes before the next one's share") {
  Reactor reactor;
  REQUIRE(reactor.Open() == 0);
  const sys::Fd event(eventfd(0, EFD_NONBLOCK));
  std::string order;
  Called watcher;
  watcher.then = [&](uint32_t) { order += 'e'; };
  REQUIRE(reactor.Watch(event.get(), &watcher, EPOLLIN | EPOLLET) == 0);
  // Two that go on by turns, and a message that comes in the first one's.
  const std::function<void(char)> share = [&](char who) {
    order += who;
    if (order == "1") eventfd_write(event.get(), 1);
    if (order.size() < 6) reactor.NextTurn([&, who] { share(who); });
  };
  reactor.NextTurn([&] { share('1'); });
  reactor.NextTurn([&] { share('2'); });
  while (order.size() < 7) reactor.Turn();
  CHECK(order == "1e21212");
  reactor.Forget(event.get(), &watcher);
}

TEST_CASE("timers expire in the order of their times, and a cancelled one does not") {
  Reactor reactor;
  REQUIRE(reactor.Start("test", 0) == 0);
  std::vector<int> order;
  core::Timer late;
  core::Timer early;
  core::Timer never;
  std::promise<void> done;
  OnThread(reactor, [&] {
    late.Set(reactor, 20, [&] {
      order.push_back(2);
      done.set_value();
    });
    early.Set(reactor, 10, [&] { order.push_back(1); });
    never.Set(reactor, 5, [&] { order.push_back(0); });
    never.Cancel();
  });
  done.get_future().wait();
  CHECK(order == std::vector<int>{1, 2});
  reactor.Stop();
}

TEST_CASE("a watcher that was forgotten within a turn hears nothing more of that turn") {
  Reactor reactor;
  REQUIRE(reactor.Start("test", 0) == 0);
  const sys::Fd one(eventfd(0, EFD_NONBLOCK));
  const sys::Fd other(eventfd(0, EFD_NONBLOCK));
  Called first;
  Called second;
  int calls = 0;
  std::promise<void> done;
  // Whichever is told first forgets both.
  first.then = second.then = [&](uint32_t) {
    calls++;
    reactor.Forget(one.get(), &first);
    reactor.Forget(other.get(), &second);
    reactor.NextTurn([&] { done.set_value(); });
  };
  OnThread(reactor, [&] {
    eventfd_write(one.get(), 1);
    eventfd_write(other.get(), 1);
    REQUIRE(reactor.Watch(one.get(), &first, EPOLLIN) == 0);
    REQUIRE(reactor.Watch(other.get(), &second, EPOLLIN) == 0);
  });
  done.get_future().wait();
  reactor.Stop();
  CHECK(calls == 1);
}

TEST_CASE("a peer that never stops sending does not hold the thread that waits for its end") {
  static std::atomic<bool> flooding{false};
  // As if another 16 KiB were always there.
  sys::Calls table = sys::kKernel;
  table.recv = [](int fd, void* into, size_t bytes, int flags) -> ssize_t {
    return flooding ? static_cast<ssize_t>(bytes) : ::recv(fd, into, bytes, flags);
  };
  sys::calls = &table;
  flooding = true;
  {
    Reactor reactor;
    core::Lingering lingering(reactor);
    REQUIRE(reactor.Start("test", 0) == 0);
    auto [ours, theirs] = test::TcpPair();
    OnThread(reactor, [&, fd = ours.Release()] { lingering.Finish(sys::Fd(fd), {}, 1000); });
    bool lives = false;
    std::promise<void> turned;
    reactor.Post([&] {
      lives = true;
      turned.set_value();
    });
    CHECK(turned.get_future().wait_for(std::chrono::milliseconds(test::kPatienceMs)) == std::future_status::ready);
    flooding = false;
    OnThread(reactor, [&] { lingering.Cut(); });
    reactor.Stop();
    CHECK(lives);
  }
  sys::calls = &sys::kKernel;
}
