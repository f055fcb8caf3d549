// The calls of one session fail, with another session beside it.
#include "support/fail_each.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

namespace sidesplice::test {

namespace {

// Past it a session makes no call of the kind any more; only a loop that does not end would.
constexpr size_t kMostCalls = 400;
// Whether a session makes a call at all may hang on how its reads fall: one of a few does.
constexpr size_t kTriesForOne = 5;
// A session whose end can't be sent waits for this.
constexpr double kHalfCloseMs = 3'000;

bool Echoes(int fd) {
  return WriteAll(fd, BytesOf("beside")) && ReadUpTo(fd, 6).bytes == BytesOf("beside");
}

}  // namespace

size_t FailEach(const Row& row, bool harmless, WorldOptions options, size_t bytes, size_t step) {
  INFO(std::string(row.name));
  CAPTURE(row.fault);
  const size_t before = OpenDescriptors();
  size_t calls = 0;
  {
    Faults faults;
    options.workers = 1;
    options.half_close_timeout_ms = kHalfCloseMs;
    World world(options);
    const sys::Fd beside = ConnectTo(world.port());
    REQUIRE(Echoes(beside.get()));
    const Bytes data(bytes, 4);
    // What the session beside had left to call is behind it once the worker has carried another.
    REQUIRE(world.Travel(data).back == data);
    size_t without = 0;
    while (calls < kMostCalls && without < (calls == 0 ? kTriesForOne : 1)) {
      CAPTURE(calls);
      faults.Arm(row.call, calls * step + 1, row.fault);
      const Journey journey = world.Travel(data);
      const bool came = faults.Disarm();
      calls += came ? 1 : 0;
      without = came ? 0 : without + 1;
      if (harmless || !came) {
        REQUIRE(journey.end == Stream::End::kFin);
        REQUIRE(journey.back == data);
        continue;
      }
      // A prefix, and an end that reads like one only where it is all.
      REQUIRE(journey.end != Stream::End::kNone);
      REQUIRE(std::equal(journey.back.begin(), journey.back.end(), data.begin()));
      if (journey.end == Stream::End::kFin) REQUIRE(journey.back.size() == data.size());
      const Journey next = world.Travel(data);
      REQUIRE(next.end == Stream::End::kFin);
      REQUIRE(next.back == data);
    }
    CHECK(calls < kMostCalls);
    CHECK(Echoes(beside.get()));
    world.Close();
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
  }
  CHECK(DescriptorsBecome(before));
  return calls;
}

}  // namespace sidesplice::test
