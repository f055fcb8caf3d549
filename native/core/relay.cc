// What every relay does: its turns, its silence, its ends.
#include "core/relay.h"

#include <errno.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// A session moves this much, a read that is as large as they get, and then lets the others have their turn.
constexpr size_t kBytesPerTurn = 256 * 1024;
// Who moves less is no burden to those that are ready with it.
constexpr size_t kBulkBytes = 64 * 1024;
// How often a quiet session is looked at within its limit: it ends at most a quarter late, never early.
constexpr double kLooksPerLimit = 4;
constexpr double kFirstSettleMs = 1;
constexpr double kLastSettleMs = 50;
// A record and what the kernel counts beside its bytes (sk_buff's truesize: less than as much again).
constexpr size_t kRoomForRecordBytes = 2 * kLargestRecordBytes;
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

}  // namespace

Relay* Relay::Begin(Relay* relay) {
  // Ended from outside while it was on its way here: not a byte of it moves.
  const char* ending = relay->session_.shared->ending;
  if (ending != nullptr) {
    relay->Terminate(ending);
    return nullptr;
  }
  if (!relay->WatchLegs()) return nullptr;
  relay->WatchQuiet();
  relay->Run();
  return relay->over_ ? nullptr : relay;
}

bool Relay::WatchLegs() {
  for (Side* side : {&plain_, &tls_}) {
    const int watched = home_.reactor.Watch(side->fd.get(), side, kEvents);
    if (watched < 0) return Broke(side == &plain_, sys::ErrorName(-watched));
  }
  return true;
}

void Relay::Leave() {
  for (Side* side : {&plain_, &tls_}) home_.reactor.Forget(side->fd.get(), side);
  quiet_.Cancel();
  home_.slumber.Forget(*this);
  MoveTo(nullptr);
}

bool Relay::Arrive(const Home& home) {
  std::destroy_at(&home_);
  std::construct_at(&home_, home);
  MoveTo(&home.ledger);
  // Ended from outside while it was on its way here: whoever did so has found it nowhere.
  const char* ending = session_.shared->ending;
  if (ending != nullptr) Terminate(ending);
  if (over_ || !WatchLegs()) return false;
  WatchQuiet();
  Run();
  return !over_;
}

Relay::Relay(const Home& home, Session session, sys::Fd plain, sys::Fd tls, OnEnd on_end)
    : home_(home),
      session_(std::move(session)),
      plain_(*this),
      tls_(*this),
      to_plain_(&home.ledger),
      on_end_(std::move(on_end)),
      moved_at_(NowMs()) {
  plain_.fd = std::move(plain);
  tls_.fd = std::move(tls);
  plain_.ended = !session_.spec().inbound && session_.downstream_ended;
}

void Relay::Side::OnReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable = true;
  if ((events & EPOLLPRI) != 0) urgent = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up = true;
  // What bulk streams move takes as long as hundreds of short answers: they go behind those.
  if (relay.bulk_) relay.RunLater();
  else relay.Run();
}

void Relay::RunLater() {
  if (std::exchange(scheduled_, true)) return;
  home_.reactor.NextTurn([this] {
    scheduled_ = false;
    Run();
  });
}

void Relay::Terminate(const char* reason) {
  if (!over_) End({.kind = RelayEnd::Kind::kTerminated, .by_downstream = {}, .truncated = {}, .refused = {}, .reason = reason, .detail = {}});
}

void Relay::Run() {
  if (over_) return;
  size_t budget = kBytesPerTurn;
  bool more = true;
  while (more && budget > 0) {
    const Progress out = PumpOut(&budget);
    if (out == Progress::kOver) return;
    const Progress in = PumpIn(&budget);
    if (in == Progress::kOver) return;
    more = out == Progress::kMore || in == Progress::kMore;
  }
  const size_t moved = kBytesPerTurn - budget;
  home_.moved.fetch_add(moved, std::memory_order_relaxed);
  bulk_ = moved >= kBulkBytes;
  if (more && !scheduled_) {
    if (home_.host != nullptr && !settling_ && !parked_ && movable() && home_.host->HandsOver(*this)) return;
    RunLater();
  }
  // A half that is broken and blocked is not read: nothing else would tell.
  for (Side* side : {&plain_, &tls_}) {
    if (over_ || !side->hung_up || settling_) continue;
    const int error = sys::SocketError(side->fd.get());
    if (error != 0) {
      LegFailed(*side, error);
      return;
    }
  }
  SettleIfDone();
}

bool Relay::Flush(Side& side, Pending& pending) {
  while (!pending.empty()) {
    if (!side.writable) return false;
    const ssize_t sent = sys::Send(side.fd.get(), pending.bytes().data(), pending.size());
    if (sent == -EAGAIN) {
      side.writable = false;
      return false;
    }
    if (sent < 0) return Broke(&side == &plain_, sys::ErrorName(static_cast<int>(-sent)));
    pending.Drop(static_cast<size_t>(sent));
    NoteMoved();
  }
  return true;
}

void Relay::Resume() {
  parked_ = false;
  Run();
}

void Relay::Rest() {
  // Where else it could have gone: of use until a byte has moved.
  if (!session_.shared->unused()) session_.walk.reset();
}

Relay::Progress Relay::Pause() {
  if (!std::exchange(parked_, true)) home_.parking.Park(this);
  return Progress::kWaits;
}

bool Relay::HasRoom(const Side& side) {
  return side.writable && sys::SendRoomBytes(side.fd.get()) >= static_cast<int64_t>(kRoomForRecordBytes);
}

std::optional<Relay::Progress> Relay::WithoutPlain(ssize_t got, size_t asked, size_t* budget) {
  if (got == -EAGAIN) {
    plain_.readable = false;
    return Progress::kWaits;
  }
  if (got < 0) {
    Broke(true, sys::ErrorName(static_cast<int>(-got)));
    return Progress::kOver;
  }
  if (got == 0) {
    PlainEnded();
    return Progress::kMore;
  }
  const auto bytes = static_cast<size_t>(got);
  // What is read in full may have more behind it; what is not has been emptied, unless its end waits (epoll(7)).
  if (bytes < asked && plain_.empties()) plain_.readable = false;
  CountFromPlain(bytes);
  NoteMoved();
  *budget -= std::min(*budget, bytes);
  return {};
}

void Relay::PlainEnded() {
  plain_.ended = true;
  if (!downstream_is_tls()) session_.downstream_ended = true;
  WatchQuiet();
}

void Relay::TlsEnded() {
  tls_.ended = true;
  WatchQuiet();
}

void Relay::Shut(Side& side) {
  if (side.shut) return;
  side.shut = true;
  sys::Shutdown(side.fd.get(), SHUT_WR);
}

void Relay::CountUp(size_t bytes) {
  session_.shared->bytes_to_upstream.fetch_add(bytes, std::memory_order_relaxed);
  session_.shared->tally->bytes_to_upstream.fetch_add(bytes, std::memory_order_relaxed);
}

void Relay::CountDown(size_t bytes) {
  const uint64_t before = session_.shared->bytes_to_downstream.fetch_add(bytes, std::memory_order_relaxed);
  session_.shared->tally->bytes_to_downstream.fetch_add(bytes, std::memory_order_relaxed);
  if (before == 0) session_.AttemptCarried();
}

/** Arms the timer for the limit that holds now: half-closed or idle, whichever is shorter. */
void Relay::WatchQuiet() {
  const ListenerSpec& spec = session_.spec();
  NoteMoved();
  const bool half_closed = plain_.ended || tls_.ended;
  const bool by_half = half_closed && (spec.idle_timeout_ms == 0 || spec.half_close_timeout_ms <= spec.idle_timeout_ms);
  if (by_half) return LookAtQuiet(spec.half_close_timeout_ms, "half_close_timeout");
  if (spec.idle_timeout_ms > 0) LookAtQuiet(spec.idle_timeout_ms, "idle_timeout");
}

void Relay::LookAtQuiet(double limit_ms, const char* reason) {
  quiet_.Set(home_.reactor, limit_ms / kLooksPerLimit, [this, limit_ms, reason] {
    if (over_ || settling_) return;
    // A slow reader takes bytes without an event of ours: the kernel's queues tell.
    const int queued = sys::SendQueueBytes(plain_.fd.get()) + sys::SendQueueBytes(tls_.fd.get());
    if (queued != queued_) NoteMoved();
    queued_ = queued;
    if (NowMs() - moved_at_ >= limit_ms)
      return End({.kind = RelayEnd::Kind::kTimeout, .by_downstream = {}, .truncated = {}, .refused = {}, .reason = reason, .detail = {}});
    LookAtQuiet(limit_ms, reason);
  });
}

/** Both ends were read and sent: what is on its way arrives, or it was no clean end. */
void Relay::SettleIfDone() {
  if (over_ || settling_ || !plain_.shut || !tls_.shut) return;
  settling_ = true;
  quiet_.Cancel();
  moved_at_ = NowMs();
  Settle(kFirstSettleMs);
}

void Relay::Settle(double after_ms) {
  for (Side* side : {&plain_, &tls_}) {
    const int error = sys::SocketError(side->fd.get());
    if (error != 0) {
      settling_ = false;
      LegFailed(*side, error);
      return;
    }
  }
  const int queued = sys::SendQueueBytes(plain_.fd.get()) + sys::SendQueueBytes(tls_.fd.get());
  if (queued != queued_) NoteMoved();
  queued_ = queued;
  if (queued == 0) return End({});
  if (NowMs() - moved_at_ >= session_.spec().half_close_timeout_ms)
    return End({.kind = RelayEnd::Kind::kTimeout, .by_downstream = {}, .truncated = {}, .refused = {}, .reason = "half_close_timeout", .detail = {}});
  quiet_.Set(home_.reactor, after_ms, [this, after_ms] { Settle(std::min(after_ms * 2, kLastSettleMs)); });
}

bool Relay::Broke(bool plain, std::string detail, bool truncated) {
  if (over_) return false;
  const bool by_downstream = plain != downstream_is_tls();
  const bool unused = !by_downstream && session_.shared->unused();
  RelayEnd end{.kind = unused ? RelayEnd::Kind::kUnused : RelayEnd::Kind::kAborted,
               .by_downstream = by_downstream,
               .truncated = truncated,
               .refused = false,
               .reason = "",
               .detail = std::move(detail)};
  // A side that broke is of no more use; one whose stream was cut short can still be told so.
  if (!truncated) {
    Side& side = plain ? plain_ : tls_;
    home_.reactor.Forget(side.fd.get(), &side);
    sys::CloseByReset(side.fd.Release());
  }
  End(std::move(end));
  return false;
}

bool Relay::Refuse(tls::Alert alert) {
  if (over_) return false;
  last_word_ = alert;
  End({.kind = RelayEnd::Kind::kAborted,
       .by_downstream = downstream_is_tls(),
       .truncated = false,
       .refused = true,
       .reason = "",
       .detail = "refused with alert " + tls::AlertName(static_cast<uint8_t>(alert))});
  return false;
}

bool Relay::LegFailed(Side& side, int error) { return Broke(&side == &plain_, sys::ErrorName(error)); }

bool Relay::Unable(const char* why) {
  End({.kind = RelayEnd::Kind::kTerminated,
       .by_downstream = false,
       .truncated = false,
       .refused = false,
       .reason = "key_update_unsupported",
       .detail = why});
  return false;
}

void Relay::End(RelayEnd end) {
  if (over_) return;
  over_ = true;
  quiet_.Cancel();
  home_.slumber.Forget(*this);
  if (std::exchange(parked_, false)) home_.parking.Forget(this);
  const bool keep_downstream = end.kind == RelayEnd::Kind::kUnused && !session_.spec().inbound;
  for (Side* side : {&plain_, &tls_})
    if (side->fd.valid()) home_.reactor.Forget(side->fd.get(), side);
  CloseLegs(end, keep_downstream);
  sys::Fd downstream = keep_downstream ? std::move(plain_.fd) : sys::Fd();
  OnEnd on_end = std::move(on_end_);
  Session session = std::move(session_);
  if (home_.host != nullptr) home_.host->Gone(session.shared->id);
  home_.reactor.AtEndOfTurn([this] {
    // What was put off to the next turn comes before this then.
    if (scheduled_) home_.reactor.NextTurn([this] { delete this; });
    else delete this;
  });
  on_end(std::move(session), std::move(end), std::move(downstream));
}

void Relay::CloseLegs(const RelayEnd& end, bool keep_downstream) {
  if (end.kind == RelayEnd::Kind::kClosed) return;
  const double limit_ms = session_.spec().half_close_timeout_ms;
  if (tls_.fd.valid()) {
    const bool denied = std::string_view(end.reason) == "no_longer_allowed";
    // Behind close_notify no alert is read any more: nothing but an RST tells that this is no clean end.
    if (close_notify_sent_) ResetTls(limit_ms);
    // Behind the data that is under way, so that the peer does not take the end for a clean one.
    else FinishTls(denied ? tls::Alert::kAccessDenied : last_word_, limit_ms);
  }
  if (!keep_downstream && plain_.fd.valid()) home_.lingering.Reset(std::move(plain_.fd), UnsentPlain(), limit_ms);
}

}  // namespace sidesplice::core
