// The order in which a thread begins handshakes.
#include "core/handshake_thread.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <future>
#include <string>
#include <vector>

using namespace sidesplice;
using core::HandshakeThread;

TEST_CASE("what is begun at once goes before what waits for its turn, and is let in between") {
  HandshakeThread thread;
  REQUIRE(thread.reactor().Start("handshake", 0) == 0);
  std::promise<void> all_there;
  std::promise<void> done;
  std::vector<std::string> order;
  thread.reactor().Post([ready = all_there.get_future().share()] { ready.wait(); });
  constexpr int kInTurn = 20;
  for (int at = 0; at < kInTurn; at++) {
    thread.Begin(HandshakeThread::Urgency::kInTurn, [&, at] {
      order.push_back(std::to_string(at));
      // As what the local app dials comes while a flood is being worked off.
      if (at == 0) thread.Begin(HandshakeThread::Urgency::kAtOnce, [&] { order.emplace_back("late"); });
      if (at == kInTurn - 1) done.set_value();
    });
  }
  thread.Begin(HandshakeThread::Urgency::kAtOnce, [&] { order.emplace_back("early"); });
  all_there.set_value();
  done.get_future().wait();
  thread.reactor().Stop();
  REQUIRE(order.size() == kInTurn + 2);
  CHECK(order[0] == "early");
  CHECK(order[1] == "0");
  const auto late = std::find(order.begin(), order.end(), "late") - order.begin();
  CHECK(late > 1);
  CHECK(late < kInTurn / 2);
  CHECK(order.back() == std::to_string(kInTurn - 1));
}

TEST_CASE("a thread that is stopped has begun all that waited for its turn") {
  HandshakeThread thread;
  REQUIRE(thread.reactor().Start("handshake", 0) == 0);
  int begun = 0;
  for (int at = 0; at < 100; at++) thread.Begin(HandshakeThread::Urgency::kInTurn, [&] { begun++; });
  thread.reactor().Stop();
  CHECK(begun == 100);
}
