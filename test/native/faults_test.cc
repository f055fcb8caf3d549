// Every system call of a session fails in its turn: that session may fail, and then not quietly; the process, a session that
// stands beside it and the next one live; no descriptor and no session remains.
#include <doctest/doctest.h>
#include <errno.h>

#include <algorithm>
#include <string>

#include "support/faults.h"
#include "support/world.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::Call;
using test::Stream;

namespace {

struct Row {
  Call call;
  const char* name;
  int fault;
};

// Past it a session makes no call of the kind any more; only a loop that does not end would.
constexpr size_t kMostCalls = 400;
// A session whose end can't be sent waits for this.
constexpr double kHalfCloseMs = 3'000;

bool Echoes(int fd) {
  return test::WriteAll(fd, BytesOf("beside")) && test::ReadUpTo(fd, 6).bytes == BytesOf("beside");
}

/** Each call of `row` in turn, until a session makes no more of them. How many there were. */
size_t FailEach(const Row& row, bool harmless) {
  INFO(std::string(row.name));
  CAPTURE(row.fault);
  const size_t before = test::OpenDescriptors();
  size_t calls = 0;
  {
    test::Faults faults;
    test::World world({.workers = 1, .half_close_timeout_ms = kHalfCloseMs});
    const sys::Fd beside = test::ConnectTo(world.port());
    REQUIRE(Echoes(beside.get()));
    const Bytes data(40'000, 4);
    for (bool came = true; came && calls < kMostCalls; calls += came ? 1 : 0) {
      CAPTURE(calls);
      faults.Arm(row.call, calls + 1, row.fault);
      const test::Journey journey = world.Travel(data);
      came = faults.Disarm();
      if (harmless || !came) {
        REQUIRE(journey.end == Stream::End::kFin);
        REQUIRE(journey.back == data);
        continue;
      }
      // A prefix, and an end that reads like one only where it is all.
      REQUIRE(journey.end != Stream::End::kNone);
      REQUIRE(std::equal(journey.back.begin(), journey.back.end(), data.begin()));
      if (journey.end == Stream::End::kFin) REQUIRE(journey.back.size() == data.size());
      const test::Journey next = world.Travel(data);
      REQUIRE(next.end == Stream::End::kFin);
      REQUIRE(next.back == data);
    }
    CHECK(calls < kMostCalls);
    CHECK(Echoes(beside.get()));
    world.Close();
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
  }
  CHECK(test::DescriptorsBecome(before));
  return calls;
}

}  // namespace

TEST_CASE("a session is carried whole through a call that is interrupted, would block, or moves one byte") {
  const Row rows[] = {
      {Call::kSocket, "socket", EINTR},       {Call::kAccept, "accept4", EINTR},   {Call::kAccept, "accept4", EAGAIN},
      {Call::kAccept, "accept4", ECONNABORTED}, {Call::kShutdown, "shutdown", EINTR}, {Call::kClose, "close", EINTR},
      {Call::kRecv, "recv", EINTR},           {Call::kRecv, "recv", EAGAIN},       {Call::kRecv, "recv", test::kShort},
      {Call::kReadV, "readv", EINTR},         {Call::kReadV, "readv", EAGAIN},     {Call::kReadV, "readv", test::kShort},
      {Call::kSend, "send", EINTR},           {Call::kSend, "send", EAGAIN},       {Call::kSend, "send", test::kShort},
      {Call::kSendMessage, "sendmsg", EINTR}, {Call::kSendMessage, "sendmsg", EAGAIN},
      {Call::kSendMessage, "sendmsg", test::kShort}, {Call::kEpollAdd, "epoll_ctl", EINTR},
  };
  for (const Row& row : rows) CHECK(FailEach(row, true) > 0);
}

TEST_CASE("a session whose call fails ends for itself alone") {
  const Row rows[] = {
      {Call::kSocket, "socket", EMFILE},        {Call::kSocket, "socket", ENFILE},     {Call::kSocket, "socket", ENOMEM},
      {Call::kConnect, "connect", ECONNREFUSED}, {Call::kConnect, "connect", EAGAIN},  {Call::kConnect, "connect", ENOMEM},
      {Call::kAccept, "accept4", EMFILE},       {Call::kAccept, "accept4", ENFILE},    {Call::kAccept, "accept4", ENOMEM},
      {Call::kShutdown, "shutdown", ENOTCONN},  {Call::kClose, "close", EIO},          {Call::kRecv, "recv", ECONNRESET},
      {Call::kRecv, "recv", ENOMEM},            {Call::kReadV, "readv", ECONNRESET},   {Call::kReadV, "readv", ENOMEM},
      {Call::kSend, "send", EPIPE},             {Call::kSend, "send", ECONNRESET},     {Call::kSend, "send", ENOMEM},
      {Call::kSendMessage, "sendmsg", EPIPE},   {Call::kSendMessage, "sendmsg", ENOMEM}, {Call::kEpollAdd, "epoll_ctl", ENOMEM},
      {Call::kEpollAdd, "epoll_ctl", ENOSPC},
  };
  for (const Row& row : rows) CHECK(FailEach(row, false) > 0);
}

TEST_CASE("a wait that is interrupted is a wait") {
  test::Faults faults;
  test::World world;
  for (size_t nth = 1; nth < 20; nth++) {
    faults.Arm(Call::kEpollWait, nth, EINTR);
    // How many waits a session takes is the machine's: as many sessions as it needs.
    do REQUIRE(world.Travel(Bytes(1'000, 1)).end == Stream::End::kFin);
    while (!faults.came());
  }
}

TEST_CASE("a listener that could not be watched, when it was added or later, takes connections all the same") {
  test::Faults faults;
  // Three reactors watch their wake-ups first, then the listeners come.
  constexpr size_t kReactors = 3;
  for (size_t listener = 1; listener <= 2; listener++) {
    faults.Arm(Call::kEpollAdd, kReactors + listener, ENOMEM);
    test::World world({.workers = 1});
    CHECK(world.Travel(BytesOf("through")).back == BytesOf("through"));
    CHECK(faults.Disarm());
  }
}
