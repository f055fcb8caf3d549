// Accepting.
#include "core/listener.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// The other listeners and the sessions have their turn in between.
constexpr int kAcceptsPerTurn = 64;
// As many as the kernel can have queued (net.core.somaxconn), and some.
constexpr int kMostQueued = 65'536;
// Without descriptors or memory: soon at first, as sessions end all the time, then less often.
constexpr double kFirstRetryMs = 50;
constexpr double kLastRetryMs = 1'000;

}  // namespace

Listener::~Listener() { Pause(); }

void Listener::Set(std::shared_ptr<const ListenerSpec> spec, std::shared_ptr<ListenerTally> tally) {
  spec_ = std::move(spec);
  tally_ = std::move(tally);
}

void Listener::Resume() {
  if (watching_ || retry_.armed() || !owner_.has_room(*this)) return;
  // Level-triggered: what was left in the backlog is told again.
  watching_ = reactor_.Watch(fd_.get(), this, EPOLLIN) == 0;
  // No memory (epoll_ctl(2)): nothing else would have it looked at again.
  if (!watching_) RetryLater();
}

void Listener::RetryLater() {
  retry_ms_ = std::clamp(retry_ms_ * 2, kFirstRetryMs, kLastRetryMs);
  retry_.Set(reactor_, retry_ms_, [this] { Resume(); });
}

void Listener::Pause() {
  if (std::exchange(watching_, false)) reactor_.Forget(fd_.get(), this);
}

void Listener::OnReady(uint32_t) {
  for (int at = 0; at < kAcceptsPerTurn; at++) {
    if (!owner_.has_room(*this)) return Pause();
    if (!AcceptOne()) return;
  }
}

void Listener::TakeQueued() {
  for (int at = 0; at < kMostQueued && AcceptOne(); at++) {
  }
}

bool Listener::AcceptOne() {
  sockaddr_storage from{};
  const int accepted = sys::Accept(fd_.get(), &from);
  if (accepted >= 0) {
    retry_ms_ = 0;
    owner_.accepted(*this, sys::Fd(accepted), from);
    return true;
  }
  // Gone before it was taken: the next one (accept(2), Error handling).
  if (accepted == -ECONNABORTED || accepted == -EPROTO) return true;
  if (accepted == -EAGAIN) return false;
  // No descriptor, no memory: the backlog keeps them meanwhile.
  Pause();
  RetryLater();
  return false;
}

}  // namespace sidesplice::core
