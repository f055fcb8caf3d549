// A handshake's way through its thread.
#include "core/handshake_job.h"

#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// From here on a peer that has gone meanwhile is looked for: what its handshake would cost is another's who still waits.
constexpr double kLateMs = 100;

}  // namespace

std::shared_ptr<HandshakeJob> HandshakeJob::Begin(Reactor& home, HandshakeThread& thread, sys::Fd fd, Options options,
                                                  OnDone on_done) {
  std::shared_ptr<HandshakeJob> job(new HandshakeJob(home, thread.reactor()));
  job->on_done_ = std::move(on_done);
  job->fd_ = std::move(fd);
  job->started_ms_ = NowMs();
  const auto urgency =
      options.ours == tls::Role::kClient ? HandshakeThread::Urgency::kAtOnce : HandshakeThread::Urgency::kInTurn;
  thread.Begin(urgency, [job, options = std::move(options)]() mutable {
    job->Start(options);
    if (options.on_begun) options.on_begun();
  });
  return job;
}

void HandshakeJob::Cancel() {
  on_done_ = nullptr;
  worker_.Post([job = shared_from_this()] { job->Drop(); });
}

void HandshakeJob::Start(Options& options) {
  // Cancelled while it waited.
  if (!fd_.valid()) return;
  if (options.ours == tls::Role::kServer && NowMs() - started_ms_ > kLateMs && sys::HasHungUp(fd_.get()))
    return Fail("closed by the peer");
  limit_ms_ = options.limit_ms;
  handshake_ = options.begin(options.identity, options.ours, fd_.get(), std::move(options.peer));
  const int watched = worker_.Watch(fd_.get(), this, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  if (handshake_ == nullptr || watched < 0) return Fail(watched < 0 ? sys::ErrorName(-watched) : "no memory");
  // What the thread was late by is no fault of the peer: it counts from here.
  limit_.Set(worker_, limit_ms_, [this] {
    HandshakeResult result;
    result.timed_out = true;
    Done(std::move(result));
  });
  Advance();
}

void HandshakeJob::Fail(std::string detail) {
  HandshakeResult result;
  result.fault = tls::HandshakeFault::kClosed;
  result.detail = std::move(detail);
  // It said something, though nobody has read it.
  result.bytes_read = static_cast<uint64_t>(sys::ReceiveQueueBytes(fd_.get()));
  Done(std::move(result));
}

void HandshakeJob::OnReady(uint32_t) { Advance(); }

void HandshakeJob::Advance() {
  if (handshake_ == nullptr) return;
  const tls::Handshake::Step step = handshake_->Advance();
  if (step == tls::Handshake::Step::kWantRead || step == tls::Handshake::Step::kWantWrite) return;
  HandshakeResult result;
  if (step == tls::Handshake::Step::kDone) {
    result.secured = handshake_->Take();
    if (result.secured == nullptr) result.detail = "its keys can not be taken over";
  } else {
    result.fault = handshake_->fault();
    result.alert = handshake_->alert();
    result.detail = handshake_->detail();
  }
  Done(std::move(result));
}

void HandshakeJob::Done(HandshakeResult result) {
  limit_.Cancel();
  worker_.Forget(fd_.get(), this);
  if (handshake_ != nullptr) {
    result.bytes_read = handshake_->bytes_read();
    result.identity = handshake_->identity();
  }
  result.took_ms = NowMs() - started_ms_;
  result.fd = std::move(fd_);
  handshake_.reset();
  home_.Post([job = shared_from_this(), result = std::make_shared<HandshakeResult>(std::move(result))] {
    if (job->on_done_ == nullptr) return sys::CloseByReset(result->fd.Release());
    const OnDone on_done = std::move(job->on_done_);
    job->on_done_ = nullptr;
    on_done(std::move(*result));
  });
}

void HandshakeJob::Drop() {
  if (!fd_.valid()) return;
  limit_.Cancel();
  worker_.Forget(fd_.get(), this);
  handshake_.reset();
  sys::CloseByReset(fd_.Release());
}

}  // namespace sidesplice::core
