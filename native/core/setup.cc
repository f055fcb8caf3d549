// What every session goes through before it relays.
#include "core/setup.h"

#include <errno.h>
#include <netinet/in.h>

#include <cstddef>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

Setup::Setup(Core& core, Session session, sys::Fd downstream)
    : core_(core), session_(std::move(session)), downstream_(std::move(downstream)), id_(session_.shared->id) {}

void Setup::Ask() {
  session_.shared->state = SessionState::kDeciding;
  asking_ = true;
  asked_ms_ = NowMs();
  if (core_.MayAsk(this)) Question();
}

void Setup::Asked() {
  counted_ = true;
  session_.shared->tally->waiting++;
}

void Setup::NoteAnswered() {
  if (!asking_) return;
  asking_ = false;
  session_.policy_ms = session_.policy_ms.value_or(0) + (NowMs() - asked_ms_);
  if (!std::exchange(counted_, false)) return;
  session_.shared->tally->waiting--;
  core_.Answered(*session_.shared->tally);
}

void Setup::OnAnswer(Answer answer) {
  if (over_ || !counted_) return;
  NoteAnswered();
  Take(std::move(answer));
}

void Setup::Resolve(const Address& to, double limit_ms) {
  const std::optional<SocketAddress> parsed = ParseAddress(to);
  if (parsed) return TakeAddresses({*parsed}, "");
  looked_up_ = to.host;
  port_ = to.port;
  // A resolver that is silent must not hold the session for longer than a dial may.
  lookup_limit_.Set(core_.front(), limit_ms, [this, limit_ms] {
    looked_up_.clear();
    TakeAddresses({}, "no answer within " + std::to_string(static_cast<int>(limit_ms + 0.5)) + " ms");
  });
  core_.outbox().Add([&](Batch& batch) { batch.lookup.push_back({.session = session_.shared->id, .host = to.host}); });
}

void Setup::OnLookup(const std::string& host, std::vector<SocketAddress> addresses, const std::string& error) {
  // The answer to an earlier attempt's question may come late.
  if (over_ || looked_up_.empty() || host != looked_up_) return;
  looked_up_.clear();
  lookup_limit_.Cancel();
  for (SocketAddress& address : addresses) {
    // The port stands at the same place in both forms.
    static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
    reinterpret_cast<sockaddr_in*>(&address.storage)->sin_port = htons(port_);
  }
  TakeAddresses(std::move(addresses), error);
}

void Setup::Dial(std::vector<SocketAddress> addresses, double limit_ms, Dial::OnDone on_done) {
  dial_ = std::make_unique<core::Dial>(core_.front(), core_.own_dials(), [this, on_done = std::move(on_done)](Dial::Result result) {
    // The dial is inside its own call: it goes with the turn.
    core_.front().AtEndOfTurn([gone = std::shared_ptr<core::Dial>(std::move(dial_))] {});
    if (result.error == EMFILE || result.error == ENFILE)
      return Abort("descriptors_exhausted", sys::ErrorName(result.error));
    session_.own_upstream = std::move(result.own);
    on_done(std::move(result));
  });
  dial_->Begin(std::move(addresses), limit_ms);
}

void Setup::WatchDownstream() {
  if (watching_) return;
  // Nothing but that it breaks: what it sends is the relay's.
  const int watched = core_.front().Watch(downstream_.get(), this, EPOLLET);
  if (watched < 0) return Abort("internal_error", sys::ErrorName(-watched));
  watching_ = true;
}

void Setup::ForgetDownstream() {
  if (std::exchange(watching_, false)) core_.front().Forget(downstream_.get(), this);
}

void Setup::OnReady(uint32_t events) {
  if (over_ || (events & (EPOLLERR | EPOLLHUP)) == 0) return;
  const int error = sys::SocketError(downstream_.get());
  Abort(Abandoned(), error != 0 ? sys::ErrorName(error) : "closed");
}

const char* Setup::Abandoned() const {
  if (!session_.shared->unused()) return "downstream_reset";
  return downstream_.valid() && sys::ReceiveQueueBytes(downstream_.get()) > 0 ? "downstream_reset"
                                                                              : "closed_before_first_byte";
}

void Setup::Terminate(const char* reason) {
  if (!over_) Abort(reason);
}

void Setup::Abort(std::string reason, std::optional<std::string> detail) {
  if (over_) return;
  over_ = true;
  Cancel();
  dial_.reset();
  lookup_limit_.Cancel();
  ForgetDownstream();
  if (downstream_.valid()) CloseDownstream(reason);
  over_ = false;
  Finish(std::move(reason), std::move(detail));
}

void Setup::Finish(std::string reason, std::optional<std::string> detail) {
  if (over_) return;
  NoteAnswered();
  over_ = true;
  ForgetDownstream();
  session_.EndAttempt("cancelled");
  core_.Finish(std::move(session_), std::move(reason), std::move(detail));
  core_.Release(this);
}

}  // namespace sidesplice::core
