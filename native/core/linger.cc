// How a leg that is over gives away what it still has.
#include "core/linger.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// How often the kernel's queue is looked at, and for how long it may stand still before nobody takes it any more.
constexpr double kFirstLookMs = 1;
constexpr double kLastLookMs = 50;
constexpr double kStandstillMs = 1'000;
// Whom an alert was sent to may not close; it is waited for so that our close does not reset what is on its way.
constexpr double kFarewellMs = 2'000;
constexpr size_t kDiscardBytes = 16 * 1024;
// Who is told the end and sends on must not hold the thread.
constexpr int kDiscardsPerTurn = 16;

}  // namespace

class Lingering::Leg final : public Watcher {
 public:
  Leg(Lingering& home, sys::Fd fd, Pending pending, bool reset)
      : home_(home), number_(home.begun_++), fd_(std::move(fd)), pending_(std::move(pending)), reset_(reset) {
    home_.legs_.emplace(number_, this);
  }

  void Begin(double limit_ms) {
    if (home_.reactor_.Watch(fd_.get(), this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) return End(true);
    limit_.Set(home_.reactor_, limit_ms, [this] { End(reset_); });
    Advance();
  }

  void OnReady(uint32_t events) override {
    if ((events & EPOLLERR) != 0) return End(true);
    Advance();
  }

  void End(bool by_reset) {
    if (!fd_.valid()) return;
    home_.reactor_.Forget(fd_.get(), this);
    limit_.Cancel();
    look_.Cancel();
    if (by_reset) sys::CloseByReset(fd_.Release());
    else fd_.Reset();
    home_.legs_.erase(number_);
    home_.reactor_.AtEndOfTurn([this] { delete this; });
  }

 private:
  void Advance() {
    while (!pending_.empty()) {
      const ssize_t sent = sys::Send(fd_.get(), pending_.bytes().data(), pending_.size());
      if (sent == -EAGAIN) break;
      if (sent < 0) return End(true);
      pending_.Drop(static_cast<size_t>(sent));
    }
    if (reset_) {
      if (!look_.armed()) Look(kFirstLookMs);
      return;
    }
    if (!pending_.empty()) return;
    if (!shut_) {
      shut_ = true;
      sys::Shutdown(fd_.get(), SHUT_WR);
      limit_.Set(home_.reactor_, kFarewellMs, [this] { End(false); });
    }
    uint8_t discarded[kDiscardBytes];
    for (int at = 0; at < kDiscardsPerTurn; at++) {
      const ssize_t got = sys::Receive(fd_.get(), discarded, sizeof(discarded));
      if (got == -EAGAIN) return;
      if (got <= 0) return End(false);
    }
    look_.Set(home_.reactor_, kFirstLookMs, [this] { Advance(); });
  }

  void Look(double after_ms) {
    const int queued = sys::SendQueueBytes(fd_.get());
    const double now = NowMs();
    if (queued != queued_) moved_at_ = now;
    queued_ = queued;
    if ((queued == 0 && pending_.empty()) || now - moved_at_ >= kStandstillMs) return End(true);
    look_.Set(home_.reactor_, after_ms, [this, after_ms] { Look(std::min(after_ms * 2, kLastLookMs)); });
  }

  Lingering& home_;
  const uint64_t number_;
  sys::Fd fd_;
  Pending pending_;
  const bool reset_;
  bool shut_ = false;
  int queued_ = -1;
  double moved_at_ = NowMs();
  Timer limit_;
  Timer look_;
};

Lingering::~Lingering() { Cut(); }

void Lingering::Finish(sys::Fd fd, Pending pending, double limit_ms) {
  if (!fd.valid()) return;
  auto* leg = new Leg(*this, std::move(fd), std::move(pending), false);
  leg->Begin(limit_ms);
}

void Lingering::Reset(sys::Fd fd, Pending pending, double limit_ms) {
  if (!fd.valid()) return;
  // Most have nothing on the way: they need no more than a close.
  if (pending.empty() && sys::SendQueueBytes(fd.get()) == 0) return sys::CloseByReset(fd.Release());
  auto* leg = new Leg(*this, std::move(fd), std::move(pending), true);
  leg->Begin(limit_ms);
}

void Lingering::Cut() {
  while (!legs_.empty()) legs_.begin()->second->End(true);
}

}  // namespace sidesplice::core
