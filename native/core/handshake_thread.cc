// The order in which handshakes begin.
#include "core/handshake_thread.h"

#include <utility>

namespace sidesplice::core {

namespace {

// The handshake budget of a turn: some milliseconds of CPU.
constexpr int kFirstStepsPerTurn = 8;

}  // namespace

void HandshakeThread::Begin(Urgency urgency, Reactor::Task first_step) {
  if (urgency == Urgency::kAtOnce) return reactor_.Post(std::move(first_step));
  reactor_.Post([this, first_step = std::move(first_step)]() mutable {
    waiting_.push_back(std::move(first_step));
    if (waiting_.size() == 1) reactor_.NextTurn([this] { BeginSome(); });
  });
}

void HandshakeThread::BeginSome() {
  for (int at = 0; at < kFirstStepsPerTurn && !waiting_.empty(); at++) {
    const Reactor::Task first_step = std::move(waiting_.front());
    waiting_.pop_front();
    first_step();
  }
  if (!waiting_.empty()) reactor_.NextTurn([this] { BeginSome(); });
}

}  // namespace sidesplice::core
