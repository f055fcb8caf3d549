// Every system call of the splice relay fails in its turn, in a kernel that has TLS.
#include <doctest/doctest.h>
#include <errno.h>

#include "support/fail_each.h"

using namespace sidesplice;
using test::Call;
using test::FailEach;
using test::Row;

namespace {

const test::WorldOptions kOnKernel{.kernel = {.ciphers = 7, .rekeys = false}};
// Enough that both directions of both sidecars splice.
constexpr size_t kBulkBytes = 3'000'000;
// Of the hundreds of splices that they take, those at all distances.
constexpr size_t kStep = 61;

}  // namespace

TEST_CASE("a session is carried whole by the kernel through a call that is interrupted, would block, or moves one byte") {
  const Row rows[] = {
      {Call::kReceiveMessage, "recvmsg", EINTR}, {Call::kReceiveMessage, "recvmsg", EAGAIN},
      // Never short: the kernel gives a control record whole.
      {Call::kSendMessage, "sendmsg", EINTR},
      {Call::kSendMessage, "sendmsg", EAGAIN}, {Call::kRecv, "recv", EAGAIN}, {Call::kRecv, "recv", test::kShort},
      {Call::kSend, "send", EAGAIN}, {Call::kSend, "send", test::kShort}, {Call::kShutdown, "shutdown", EINTR},
      // Then records are our own.
      {Call::kSetOption, "setsockopt", EINTR},
  };
  for (const Row& row : rows) CHECK(FailEach(row, true, kOnKernel) > 0);
  const Row bulk[] = {{Call::kSplice, "splice", EINTR}, {Call::kSplice, "splice", EAGAIN}, {Call::kSplice, "splice", test::kShort},
                      {Call::kSplice, "splice", EINVAL}};
  for (const Row& row : bulk) CHECK(FailEach(row, true, kOnKernel, kBulkBytes, kStep) > 0);
}

TEST_CASE("a session of the kernel's whose call fails ends for itself alone") {
  const Row rows[] = {
      {Call::kReceiveMessage, "recvmsg", ECONNRESET}, {Call::kReceiveMessage, "recvmsg", EBADMSG},
      {Call::kReceiveMessage, "recvmsg", ENOMEM}, {Call::kSendMessage, "sendmsg", EPIPE},
      {Call::kSend, "send", EPIPE}, {Call::kSend, "send", ENOMEM}, {Call::kSetOption, "setsockopt", ENOMEM},
      {Call::kRecv, "recv", ECONNRESET},
  };
  for (const Row& row : rows) CHECK(FailEach(row, false, kOnKernel) > 0);
  const Row bulk[] = {{Call::kSplice, "splice", EPIPE}, {Call::kSplice, "splice", ENOMEM}};
  for (const Row& row : bulk) CHECK(FailEach(row, false, kOnKernel, kBulkBytes, kStep) > 0);
}
