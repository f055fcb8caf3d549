// The seam under the system calls: a table of calls of which one, at a time of the test's choosing, fails or does less.
#pragma once

#include <cstddef>

namespace sidesplice::test {

enum class Call {
  kSocket,
  kConnect,
  kAccept,
  kShutdown,
  kClose,
  kRecv,
  kReadV,
  kSend,
  kSendMessage,
  kReceiveMessage,
  kSplice,
  kPipe,
  kSetOption,
  kEpollAdd,
  kEpollWait,
};

/** Beside an errno: the call is made, with one byte. */
inline constexpr int kShort = -1;

/** The table is in place while this lives: made before an engine, gone after it. */
class Faults {
 public:
  Faults();
  ~Faults();
  Faults(const Faults&) = delete;
  Faults& operator=(const Faults&) = delete;

  /** The `nth` call of its kind from now, counted from 1, fails with `fault`. */
  void Arm(Call call, size_t nth, int fault);
  /** Whether the call that was to fail has been made. */
  [[nodiscard]] bool came() const;
  /** Nothing fails any more. Whether it came to it. */
  bool Disarm();
};

}  // namespace sidesplice::test
