// A thread of handshakes: what it has begun goes before what it has yet to begin, and what the local app waits for before both.
#pragma once

#include <deque>

#include "core/reactor.h"

namespace sidesplice::core {

class HandshakeThread {
 public:
  [[nodiscard]] Reactor& reactor() { return reactor_; }

  enum class Urgency : uint8_t { kAtOnce, kInTurn };
  /**
   * From any thread: runs a handshake's first step. Those in turn are taken a few at a time, between which everything has its turn that was begun
   * before: so that a flood of peers delays peers, and neither what is under way nor what the local app dials.
   */
  void Begin(Urgency urgency, Reactor::Task first_step);

 private:
  void BeginSome();

  Reactor reactor_;
  // On the reactor's thread.
  std::deque<Reactor::Task> waiting_;
};

}  // namespace sidesplice::core
