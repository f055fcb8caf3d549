// Loopback connections for tests, and reading and writing with a limit: nothing here waits for ever.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "support/bytes.h"
#include "sys/fd.h"

namespace sidesplice::test {

/** Longer than anything takes on a slow machine under a sanitizer; reached by failures alone. */
inline constexpr int kPatienceMs = 20'000;

/** Both ends of one TCP connection over loopback, non-blocking. */
std::pair<sys::Fd, sys::Fd> TcpPair();

struct Listening {
  sys::Fd fd;
  uint16_t port = 0;
};
Listening Listen();
/** Non-blocking; not valid where nobody answers, with the errno in `error`. */
sys::Fd ConnectTo(uint16_t port, int* error = nullptr);

/** Whether `events` came within `limit_ms`. */
bool WaitFor(int fd, short events, int limit_ms = kPatienceMs);
/** False where the other end is gone, or takes nothing. */
bool WriteAll(int fd, std::span<const uint8_t> bytes);

struct Stream {
  Bytes bytes;
  enum class End { kNone, kFin, kReset } end = End::kNone;
};
/** Reads `bytes`, or to the end of the stream. */
Stream ReadUpTo(int fd, size_t bytes);
inline Stream ReadToEnd(int fd) { return ReadUpTo(fd, SIZE_MAX); }
/** False where something comes, or the stream ends, within `limit_ms`. */
bool IsQuiet(int fd, int limit_ms);

/** How many descriptors this process has open. */
size_t OpenDescriptors();
/** Whether it comes down to `count`: threads close theirs when they get to it. */
bool DescriptorsBecome(size_t count);

}  // namespace sidesplice::test
