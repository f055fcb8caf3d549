// The two pumps, and how they end.
#include "core/relay.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// A session moves this much and then lets the others have their turn.
constexpr size_t kBytesPerTurn = 1024 * 1024;
// How often a quiet session is looked at within its limit: it ends at most a quarter late, never early.
constexpr double kLooksPerLimit = 4;
constexpr double kFirstSettleMs = 1;
constexpr double kLastSettleMs = 50;
constexpr uint8_t kKeyUpdate = 24;
constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;

}  // namespace

Relay* Relay::Begin(const Home& home, Session session, Legs legs, OnEnd on_end) {
  auto* relay = new Relay(home, std::move(session), std::move(legs), std::move(on_end));
  // Ended from outside while it was on its way here: not a byte of it moves.
  const char* ending = relay->session_.shared->ending;
  if (ending != nullptr) {
    relay->Terminate(ending);
    return nullptr;
  }
  for (Side* side : {&relay->plain_, &relay->tls_}) {
    const int watched = home.reactor.Watch(side->fd.get(), side, kEvents);
    if (watched < 0) {
      relay->Broke(side == &relay->plain_, sys::ErrorName(-watched));
      return nullptr;
    }
  }
  relay->WatchQuiet();
  relay->Run();
  return relay->over_ ? nullptr : relay;
}

Relay::Relay(const Home& home, Session session, Legs legs, OnEnd on_end)
    : home_(home),
      session_(std::move(session)),
      on_end_(std::move(on_end)),
      plain_(*this),
      tls_(*this),
      read_(std::move(legs.read)),
      write_(std::move(legs.write)),
      moved_at_(NowMs()) {
  plain_.fd = std::move(legs.plain);
  tls_.fd = std::move(legs.tls);
  plain_.ended = !session_.spec().inbound && session_.downstream_ended;
}

void Relay::Side::OnReady(uint32_t events) {
  if ((events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable = true;
  if ((events & EPOLLPRI) != 0) urgent = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hung_up = true;
  relay.Run();
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
  home_.moved.fetch_add(kBytesPerTurn - budget, std::memory_order_relaxed);
  if (more && !scheduled_) {
    scheduled_ = true;
    home_.reactor.NextTurn([this] {
      scheduled_ = false;
      Run();
    });
  }
  // A half that is broken and blocked is not read: nothing else would tell.
  for (Side* side : {&plain_, &tls_}) {
    if (over_ || !side->hung_up || settling_) continue;
    const int error = sys::SocketError(side->fd.get());
    if (error != 0) {
      Broke(side == &plain_, sys::ErrorName(error));
      return;
    }
  }
  SettleIfDone();
}

Relay::Progress Relay::PumpOut(size_t* budget) {
  if (!Flush(tls_, to_tls_)) return over_ ? Progress::kOver : Progress::kWaits;
  key_update_queued_ = false;
  if (plain_.ended) {
    if (!close_notify_sent_) {
      close_notify_sent_ = true;
      const uint8_t close_notify[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kCloseNotify)};
      if (!QueueRecord(tls::ContentType::kAlert, close_notify)) return Progress::kOver;
      return Progress::kMore;
    }
    if (!tls_.shut) {
      tls_.shut = true;
      sys::Shutdown(tls_.fd.get(), SHUT_WR);
    }
    return Progress::kWaits;
  }
  if (!plain_.readable) return Progress::kWaits;
  if (!RekeyIfDue()) return Progress::kOver;
  if (!to_tls_.empty()) return Progress::kMore;

  const size_t slots = large_reads_out_ ? kRecordsAtOnce : 1;
  const size_t stride = write_->max_payload() + write_->overhead();
  std::array<iovec, kRecordsAtOnce> parts;
  for (size_t at = 0; at < slots; at++)
    parts[at] = {home_.scratch.seal() + at * stride + write_->payload_offset(), write_->max_payload()};
  const ssize_t got = sys::ReadV(plain_.fd.get(), parts.data(), static_cast<int>(slots));
  if (got == -EAGAIN) {
    plain_.readable = false;
    return Progress::kWaits;
  }
  if (got < 0) {
    Broke(true, sys::ErrorName(static_cast<int>(-got)));
    return Progress::kOver;
  }
  if (got == 0) {
    plain_.ended = true;
    if (!downstream_is_tls()) session_.downstream_ended = true;
    WatchQuiet();
    return Progress::kMore;
  }
  const auto bytes = static_cast<size_t>(got);
  const size_t asked = slots * write_->max_payload();
  // What is read in full may have more behind it; what is not has been emptied, unless its end waits (epoll(7)).
  if (bytes < asked && plain_.empties()) plain_.readable = false;
  large_reads_out_ = bytes == asked || (large_reads_out_ && bytes > write_->max_payload());
  downstream_is_tls() ? CountDown(bytes) : CountUp(bytes);
  NoteMoved();
  *budget -= std::min(*budget, bytes);
  if (!SealAndSend(bytes)) return Progress::kOver;
  return plain_.readable ? Progress::kMore : Progress::kWaits;
}

bool Relay::SealAndSend(size_t bytes) {
  const size_t stride = write_->max_payload() + write_->overhead();
  size_t sealed = 0;
  for (size_t left = bytes; left > 0;) {
    const size_t payload = std::min(left, write_->max_payload());
    uint8_t* record = home_.scratch.seal() + (sealed / stride) * stride;
    if (!write_->Seal(record, payload, tls::ContentType::kApplicationData)) return Broke(false, "the record could not be sealed");
    sealed += payload + write_->overhead();
    left -= payload;
  }
  // Full records stand without a gap between them; the last may be short.
  const ssize_t sent = tls_.writable ? sys::Send(tls_.fd.get(), home_.scratch.seal(), sealed) : -EAGAIN;
  if (sent < 0 && sent != -EAGAIN) return Broke(false, sys::ErrorName(static_cast<int>(-sent)));
  const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
  if (taken < sealed) {
    tls_.writable = false;
    to_tls_.Append({home_.scratch.seal() + taken, sealed - taken});
  }
  return true;
}

bool Relay::QueueRecord(tls::ContentType type, std::span<const uint8_t> payload) {
  uint8_t* record = to_tls_.Grow(payload.size() + write_->overhead());
  std::memcpy(record + write_->payload_offset(), payload.data(), payload.size());
  return write_->Seal(record, payload.size(), type) || Broke(false, "the record could not be sealed");
}

/** True where nothing is pending any more; false where it blocks, or the relay is over. */
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

/** RFC 8446 section 5.5: an AES-GCM key is good for a number of records. TLS 1.2 has no other key. */
bool Relay::RekeyIfDue() {
  if (write_->version() != tls::Version::kTls13 || !write_->is_gcm()) return true;
  if (write_->records() < home_.rekey_after_records) return true;
  const uint8_t update[] = {kKeyUpdate, 0, 0, 1, 0};
  if (!QueueRecord(tls::ContentType::kHandshake, update)) return false;
  return write_->Update() || Broke(false, "the key could not be exchanged");
}

Relay::Progress Relay::PumpIn(size_t* budget) {
  if (!Flush(plain_, to_plain_)) return over_ ? Progress::kOver : Progress::kWaits;
  if (tls_.ended) {
    if (!plain_.shut) {
      plain_.shut = true;
      sys::Shutdown(plain_.fd.get(), SHUT_WR);
    }
    return Progress::kWaits;
  }
  if (!tls_.readable) return Progress::kWaits;

  const size_t asked = large_reads_in_ ? kOpenBytes : kLargestRecordBytes;
  const ssize_t got = sys::Receive(tls_.fd.get(), home_.scratch.open(), asked);
  if (got == -EAGAIN) {
    tls_.readable = false;
    return Progress::kWaits;
  }
  if (got < 0) {
    Broke(false, sys::ErrorName(static_cast<int>(-got)));
    return Progress::kOver;
  }
  if (got == 0) {
    Broke(false, "closed without close_notify", true);
    return Progress::kOver;
  }
  const auto bytes = static_cast<size_t>(got);
  if (bytes < asked && tls_.empties()) tls_.readable = false;
  large_reads_in_ = bytes == asked || (large_reads_in_ && bytes > kLargestRecordBytes);
  *budget -= std::min(*budget, bytes);
  NoteMoved();

  const size_t held = partial_.size();
  uint8_t* from = home_.scratch.open() - held;
  if (held > 0) std::memcpy(from, partial_.bytes().data(), held);
  partial_.Clear();
  if (!TakeRecords({from, held + bytes})) return Progress::kOver;
  // No event may come for what these records brought about: an end to pass on, where its FIN stays out, and an answer of ours.
  const bool answers = !to_tls_.empty() && tls_.writable;
  return tls_.readable || tls_.ended || answers ? Progress::kMore : Progress::kWaits;
}

/** Opens what is whole, delivers the plaintext, keeps the rest. */
bool Relay::TakeRecords(std::span<uint8_t> received) {
  home_.scratch.part_count = 0;
  while (!tls_.ended && received.size() >= tls::kHeaderBytes) {
    const size_t body = static_cast<size_t>(received[3]) << 8 | received[4];
    // Where a record is refused, what came whole before it is the app's.
    if (body > read_->max_body()) return DeliverPlain() && Refuse(tls::Alert::kRecordOverflow);
    const size_t whole = tls::kHeaderBytes + body;
    if (received.size() < whole) break;
    const auto outer = static_cast<tls::ContentType>(received[0]);
    // Every record is protected by now, so TLS 1.3 has one outer type (RFC 8446 section 5.2).
    if (read_->version() == tls::Version::kTls13 && outer != tls::ContentType::kApplicationData)
      return DeliverPlain() && Refuse(tls::Alert::kUnexpectedMessage);
    const tls::Opened opened = read_->Open(received.first(whole));
    if (opened.refused) return DeliverPlain() && Refuse(opened.alert);
    if (!TakeRecord(opened)) return false;
    received = received.subspan(whole);
  }
  if (!tls_.ended) partial_.Append(received);
  return DeliverPlain();
}

bool Relay::TakeRecord(const tls::Opened& opened) {
  // 32 records in a row without a byte for the app are an attack.
  constexpr uint16_t kMostBarrenRecords = 32;
  const bool barren = opened.type != tls::ContentType::kApplicationData || opened.payload.empty();
  barren_records_ = barren ? barren_records_ + 1 : 0;
  if (barren_records_ > kMostBarrenRecords) return DeliverPlain() && Refuse(tls::Alert::kUnexpectedMessage);
  // A handshake message must not be cut by records of another type (RFC 8446 section 5.1).
  if (!handshake_.empty() && opened.type != tls::ContentType::kHandshake)
    return DeliverPlain() && Refuse(tls::Alert::kUnexpectedMessage);
  if (opened.type == tls::ContentType::kAlert) return TakeAlert(opened.payload);
  if (opened.type == tls::ContentType::kHandshake) return TakeHandshake(opened.payload);
  if (opened.type != tls::ContentType::kApplicationData) return DeliverPlain() && Refuse(tls::Alert::kUnexpectedMessage);
  if (opened.payload.empty()) return true;
  Scratch& scratch = home_.scratch;
  if (scratch.part_count == scratch.parts.size() && !DeliverPlain()) return false;
  scratch.parts[scratch.part_count++] = {opened.payload.data(), opened.payload.size()};
  downstream_is_tls() ? CountUp(opened.payload.size()) : CountDown(opened.payload.size());
  return true;
}

bool Relay::TakeAlert(std::span<const uint8_t> payload) {
  if (payload.size() != 2) {
    // RFC 8446 section 5.4 names the alert for an empty one.
    return DeliverPlain() && Refuse(payload.empty() ? tls::Alert::kUnexpectedMessage : tls::Alert::kDecodeError);
  }
  const uint8_t alert = payload[1];
  if (alert == static_cast<uint8_t>(tls::Alert::kCloseNotify)) {
    tls_.ended = true;
    WatchQuiet();
    return true;
  }
  const bool is13 = read_->version() == tls::Version::kTls13;
  // RFC 8446 section 6: every other alert is fatal, whatever its level says; RFC 5246 has warnings that mean nothing here.
  if (alert == static_cast<uint8_t>(tls::Alert::kUserCanceled) || (!is13 && payload[0] == tls::kWarning)) return true;
  if (!DeliverPlain()) return false;
  return Broke(false, "alert " + tls::AlertName(alert));
}

bool Relay::TakeHandshake(std::span<const uint8_t> payload) {
  constexpr size_t kMostBytes = 64 * 1024;
  constexpr size_t kMessageHeaderBytes = 4;
  if (payload.empty()) return DeliverPlain() && Refuse(tls::Alert::kUnexpectedMessage);
  handshake_.Append(payload);
  while (handshake_.size() >= kMessageHeaderBytes) {
    const std::span<const uint8_t> bytes = handshake_.bytes();
    const size_t body = static_cast<size_t>(bytes[1]) << 16 | static_cast<size_t>(bytes[2]) << 8 | bytes[3];
    if (body > kMostBytes) return DeliverPlain() && Refuse(tls::Alert::kDecodeError);
    if (bytes.size() < kMessageHeaderBytes + body) return true;
    const bool ends_record = bytes.size() == kMessageHeaderBytes + body;
    if (!TakeMessage(bytes[0], bytes.subspan(kMessageHeaderBytes, body), ends_record)) return false;
    handshake_.Drop(kMessageHeaderBytes + body);
  }
  return true;
}

bool Relay::TakeMessage(uint8_t type, std::span<const uint8_t> body, bool ends_record) {
  constexpr uint8_t kHelloRequest = 0;
  constexpr uint8_t kClientHello = 1;
  constexpr uint8_t kNewSessionTicket = 4;
  const auto refuse = [&](tls::Alert alert) { return DeliverPlain() && Refuse(alert); };
  if (read_->version() == tls::Version::kTls12) {
    // No renegotiation: the peer is told so, and the session goes on (RFC 5246 section 7.2.2).
    if (type != kHelloRequest && type != kClientHello) return refuse(tls::Alert::kUnexpectedMessage);
    const uint8_t no_renegotiation[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kNoRenegotiation)};
    return close_notify_sent_ || !to_tls_.empty() || QueueRecord(tls::ContentType::kAlert, no_renegotiation);
  }
  // A ticket is for clients, and we resume nothing.
  if (type == kNewSessionTicket && !downstream_is_tls()) return true;
  if (type != kKeyUpdate) return refuse(tls::Alert::kUnexpectedMessage);
  // RFC 8446 section 4.6.3, and 5.1: what follows is under another key.
  if (body.size() != 1 || body[0] > 1) return refuse(body.size() == 1 ? tls::Alert::kIllegalParameter : tls::Alert::kDecodeError);
  if (!ends_record) return refuse(tls::Alert::kUnexpectedMessage);
  if (!read_->Update()) return Broke(false, "the key could not be exchanged");
  // One answer at most waits to be sent: it stands for all that were asked for meanwhile. Behind close_notify there is none.
  if (body[0] == 0 || key_update_queued_ || close_notify_sent_) return true;
  key_update_queued_ = true;
  const uint8_t update[] = {kKeyUpdate, 0, 0, 1, 0};
  if (!QueueRecord(tls::ContentType::kHandshake, update)) return false;
  return write_->Update() || Broke(false, "the key could not be exchanged");
}

/** Sends the plaintext of the opened records, and keeps what does not go now. */
bool Relay::DeliverPlain() {
  Scratch& scratch = home_.scratch;
  const size_t count = std::exchange(scratch.part_count, 0);
  if (count == 0) return true;
  size_t taken = 0;
  if (to_plain_.empty() && plain_.writable) {
    const ssize_t sent = sys::SendV(plain_.fd.get(), scratch.parts.data(), static_cast<int>(count));
    if (sent < 0 && sent != -EAGAIN) return Broke(true, sys::ErrorName(static_cast<int>(-sent)));
    if (sent > 0) taken = static_cast<size_t>(sent);
  }
  for (size_t at = 0; at < count; at++) {
    const auto& [base, length] = scratch.parts[at];
    const size_t gone = std::min(taken, length);
    taken -= gone;
    if (gone == length) continue;
    plain_.writable = false;
    to_plain_.Append({static_cast<const uint8_t*>(base) + gone, length - gone});
  }
  return true;
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
      Broke(side == &plain_, sys::ErrorName(error));
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
  const uint8_t fatal[] = {tls::kFatal, static_cast<uint8_t>(alert)};
  // RFC 8446 section 6.1: nothing is sent behind close_notify.
  if (!close_notify_sent_ && !QueueRecord(tls::ContentType::kAlert, fatal)) return false;
  const bool by_downstream = downstream_is_tls();
  RelayEnd end{.kind = RelayEnd::Kind::kAborted,
               .by_downstream = by_downstream,
               .truncated = false,
               .refused = true,
               .reason = "",
               .detail = "refused with alert " + tls::AlertName(static_cast<uint8_t>(alert))};
  alert_queued_ = true;
  End(std::move(end));
  return false;
}

void Relay::End(RelayEnd end) {
  if (over_) return;
  over_ = true;
  quiet_.Cancel();
  const bool keep_downstream = end.kind == RelayEnd::Kind::kUnused && !session_.spec().inbound;
  for (Side* side : {&plain_, &tls_})
    if (side->fd.valid()) home_.reactor.Forget(side->fd.get(), side);
  CloseLegs(end, keep_downstream);
  sys::Fd downstream = keep_downstream ? std::move(plain_.fd) : sys::Fd();
  OnEnd on_end = std::move(on_end_);
  Session session = std::move(session_);
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
  if (tls_.fd.valid() && close_notify_sent_) {
    // Behind close_notify no alert is read any more: nothing but an RST tells that this is no clean end.
    home_.lingering.Reset(std::move(tls_.fd), std::move(to_tls_), limit_ms);
  } else if (tls_.fd.valid()) {
    // Behind the data that is under way, so that the peer does not take the end for a clean one.
    if (!alert_queued_) {
      const bool denied = std::string_view(end.reason) == "no_longer_allowed";
      const uint8_t fatal[] = {tls::kFatal, static_cast<uint8_t>(denied ? tls::Alert::kAccessDenied : tls::Alert::kInternalError)};
      uint8_t* record = to_tls_.Grow(sizeof(fatal) + write_->overhead());
      std::memcpy(record + write_->payload_offset(), fatal, sizeof(fatal));
      if (!write_->Seal(record, sizeof(fatal), tls::ContentType::kAlert)) to_tls_.Clear();
    }
    home_.lingering.Finish(std::move(tls_.fd), std::move(to_tls_), limit_ms);
  }
  if (!keep_downstream && plain_.fd.valid()) home_.lingering.Reset(std::move(plain_.fd), std::move(to_plain_), limit_ms);
}

}  // namespace sidesplice::core
