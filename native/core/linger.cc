// How a leg that is over gives away what it still has.
#include "core/linger.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "sys/calls.h"
#include "sys/kernel_tls.h"

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
  Leg(Lingering& home, sys::Fd fd, Pending pending, bool reset, std::unique_ptr<KernelTail> kernel)
      : home_(home),
        number_(home.begun_++),
        fd_(std::move(fd)),
        pending_(std::move(pending)),
        reset_(reset),
        kernel_(std::move(kernel)) {
    home_.legs_.emplace(number_, this);
  }

  void Begin(double limit_ms) {
    if (home_.reactor_.Watch(fd_.get(), this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) < 0) return End(true);
    limit_.Set(home_.reactor_, limit_ms, [this] { End(reset_); });
    Advance();
  }

  void OnReady(uint32_t events) override {
    // Kernel TLS keeps an error for a record that does not open: that is no end of the connection.
    const bool broken = (events & EPOLLERR) != 0 && (kernel_ == nullptr || sys::SocketError(fd_.get()) != EBADMSG);
    if (broken) return End(true);
    if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) hung_up_ = true;
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
    if (!SendPending()) return End(true);
    if (reset_) {
      if (!look_.armed()) Look(kFirstLookMs);
      return;
    }
    if (!pending_.empty()) return;
    if (!shut_) {
      if (kernel_ != nullptr) {
        if (kernel_->alert) return;
        if (!kernel_->leg.AllPushed(fd_.get())) return look_.Set(home_.reactor_, kFirstLookMs, [this] { Advance(); });
      }
      shut_ = true;
      sys::Shutdown(fd_.get(), SHUT_WR);
      limit_.Set(home_.reactor_, kFarewellMs, [this] { End(false); });
    }
    Discard();
  }

  /** False where the leg is broken. */
  bool SendPending() {
    while (!pending_.empty()) {
      const ssize_t sent = kernel_ != nullptr ? kernel_->leg.Send(fd_.get(), pending_.bytes())
                                              : sys::Send(fd_.get(), pending_.bytes().data(), pending_.size());
      if (sent == -EAGAIN) return true;
      if (sent < 0) return false;
      pending_.Drop(static_cast<size_t>(sent));
    }
    if (kernel_ == nullptr || !kernel_->alert) return true;
    const uint8_t fatal[] = {tls::kFatal, static_cast<uint8_t>(*kernel_->alert)};
    const int sent = kernel_->leg.SendControl(fd_.get(), tls::ContentType::kAlert, fatal);
    if (sent == 0) kernel_->alert.reset();
    return sent == 0 || sent == -EAGAIN;
  }

  /** Reads what comes until the other end's end. */
  void Discard() {
    uint8_t discarded[kDiscardBytes];
    uint8_t type = 0;
    for (int at = 0; at < kDiscardsPerTurn; at++) {
      const ssize_t got = kernel_ != nullptr ? sys::ReceiveRecord(fd_.get(), discarded, sizeof(discarded), &type)
                                             : sys::Receive(fd_.get(), discarded, sizeof(discarded));
      if (got == -EAGAIN) return;
      if (got == 0 && type != 0) continue;
      // A record that does not open can't be read past: an event tells of the end, or the limit comes.
      if (got < 0 && kernel_ != nullptr && !hung_up_) return;
      if (got <= 0) return End(false);
    }
    look_.Set(home_.reactor_, kFirstLookMs, [this] { Advance(); });
  }

  void Look(double after_ms) {
    const int queued = sys::SendQueueBytes(fd_.get());
    const double now = NowMs();
    if (queued != queued_) moved_at_ = now;
    queued_ = queued;
    const bool gone = queued == 0 && pending_.empty() && (kernel_ == nullptr || kernel_->leg.AllPushed(fd_.get()));
    if (gone || now - moved_at_ >= kStandstillMs) return End(true);
    look_.Set(home_.reactor_, after_ms, [this, after_ms] { Look(std::min(after_ms * 2, kLastLookMs)); });
  }

  Lingering& home_;
  const uint64_t number_;
  sys::Fd fd_;
  Pending pending_;
  const bool reset_;
  const std::unique_ptr<KernelTail> kernel_;
  bool hung_up_ = false;
  bool shut_ = false;
  int queued_ = -1;
  double moved_at_ = NowMs();
  Timer limit_;
  Timer look_;
};

Lingering::~Lingering() { Cut(); }

void Lingering::Finish(sys::Fd fd, Pending pending, double limit_ms, std::unique_ptr<KernelTail> kernel) {
  if (!fd.valid()) return;
  auto* leg = new Leg(*this, std::move(fd), std::move(pending), false, std::move(kernel));
  leg->Begin(limit_ms);
}

void Lingering::Reset(sys::Fd fd, Pending pending, double limit_ms, std::unique_ptr<KernelTail> kernel) {
  if (!fd.valid()) return;
  // Most have nothing on the way: they need no more than a close.
  const bool pushed = kernel == nullptr || kernel->leg.AllPushed(fd.get());
  if (pending.empty() && pushed && sys::SendQueueBytes(fd.get()) == 0) return sys::CloseByReset(fd.Release());
  auto* leg = new Leg(*this, std::move(fd), std::move(pending), true, std::move(kernel));
  leg->Begin(limit_ms);
}

void Lingering::Cut() {
  while (!legs_.empty()) legs_.begin()->second->End(true);
}

}  // namespace sidesplice::core
