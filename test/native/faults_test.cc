// Every system call of a session fails in its turn: that session may fail, and then not quietly; the process, a session that
// stands beside it and the next one live; no descriptor and no session remains.
#include <doctest/doctest.h>
#include <errno.h>

#include "support/fail_each.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::Call;
using test::FailEach;
using test::Row;
using test::Stream;

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
