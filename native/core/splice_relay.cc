// Two pumps over a leg whose records are the kernel's.
#include "core/splice_relay.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sys/calls.h"
#include "sys/kernel_tls.h"

namespace sidesplice::core {

namespace {

// Small messages cost less copied than spliced (measured by others: a median of 220 us against 258); so a direction splices after
// full reads in a row, and copies again after as many splices of less than a record.
constexpr uint8_t kReadsToChange = 3;
// The records under an AES-GCM key are counted (a system call) behind so much: far less than the limit leaves room for.
constexpr uint64_t kBytesToCount = 1024 * 1024;
constexpr uint32_t kSendsToCount = 256;
constexpr double kPushLookMs = 1;
// A kernel that counts otherwise than we do holds no FIN back for ever.
constexpr uint16_t kMostPushLooks = 1'000;
constexpr uint8_t kKeyUpdate[] = {24, 0, 0, 1, 0};

}  // namespace

void SpliceRelay::Gait::NoteCopy(size_t asked, size_t got) {
  copied_++;
  const bool full = got == asked;
  in_a_row_ = full && large_ ? in_a_row_ + 1 : 0;
  large_ = full || (large_ && got > tls::kMaxPayloadBytes);
  if (in_a_row_ < kReadsToChange || never_) return;
  splices_ = true;
  in_a_row_ = 0;
}

void SpliceRelay::Gait::NoteSplice(size_t got) {
  in_a_row_ = got < tls::kMaxPayloadBytes ? in_a_row_ + 1 : 0;
  if (in_a_row_ < kReadsToChange) return;
  splices_ = large_ = false;
  in_a_row_ = 0;
}

Relay* SpliceRelay::Begin(const Home& home, Session session, Legs legs, KernelLeg leg, bool half, OnEnd on_end) {
  auto* relay = new SpliceRelay(home, std::move(session), std::move(legs), std::move(leg), std::move(on_end));
  if (!half) return Relay::Begin(relay);
  relay->Broke(false, "the kernel took one key of two");
  return nullptr;
}

SpliceRelay::SpliceRelay(const Home& home, Session session, Legs legs, KernelLeg leg, OnEnd on_end)
    : Relay(home, std::move(session), std::move(legs.plain), std::move(legs.tls), std::move(on_end)),
      leg_(std::move(leg)),
      sorter_(leg_.version(), !downstream_is_tls(), home.ledger),
      to_tls_(&home.ledger) {
  session_.relay = "ktls-splice";
}

SpliceRelay::~SpliceRelay() {
  for (SplicePipe* pipe : {&out_pipe_, &in_pipe_})
    if (pipe->valid()) home_.pipes.Give(std::move(*pipe));
}

Relay::Progress SpliceRelay::PumpOut(size_t* budget) {
  if (!FlushOut()) return over_ ? Progress::kOver : Progress::kWaits;
  if (plain_.ended) {
    if (close_notify_sent_) return ShutTls();
    close_notify_sent_ = true;
    const uint8_t close_notify[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kCloseNotify)};
    QueueControl(tls::ContentType::kAlert, close_notify);
    return Progress::kMore;
  }
  if (!plain_.readable) return Progress::kWaits;
  if (!RekeyIfDue()) return Progress::kOver;
  if (control_) return Progress::kMore;
  // Urgent data stops a splice for ever, as if nothing were there (tcp(7)); a read goes past it.
  return out_.splices() && !plain_.urgent ? SpliceOut(budget) : CopyOut(budget);
}

Relay::Progress SpliceRelay::CopyOut(size_t* budget) {
  const Supply supply = home_.ledger.supply();
  if (supply == Supply::kNone && !HasRoom(tls_)) return Pause();
  const size_t asked = supply == Supply::kPlenty ? out_.asks() : tls::kMaxPayloadBytes;
  uint8_t* from = home_.scratch.open();
  const ssize_t got = sys::Receive(plain_.fd.get(), from, asked);
  if (const std::optional<Progress> instead = WithoutPlain(got, asked, budget)) return *instead;
  const auto bytes = static_cast<size_t>(got);
  out_.NoteCopy(asked, bytes);
  const ssize_t sent = tls_.writable ? leg_.Send(tls_.fd.get(), {from, bytes}) : -EAGAIN;
  if (sent < 0 && sent != -EAGAIN) {
    Failed(static_cast<int>(-sent));
    return Progress::kOver;
  }
  const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
  NoteOut(taken);
  if (taken < bytes) {
    tls_.writable = false;
    to_tls_.Append({from + taken, bytes - taken});
  }
  return plain_.readable ? Progress::kMore : Progress::kWaits;
}

Relay::Progress SpliceRelay::SpliceOut(size_t* budget) {
  out_pipe_ = home_.pipes.Take();
  if (!out_pipe_.valid()) return CopyOut(budget);
  const ssize_t got = out_pipe_.Fill(plain_.fd.get());
  if (got <= 0) {
    home_.pipes.Give(std::move(out_pipe_));
    // The pipe was empty: nothing is there to be read.
    if (got == -EAGAIN) {
      plain_.readable = false;
      return Progress::kWaits;
    }
    // The socket keeps an error for one call alone: whoever reads behind it reads an end.
    if (got < 0 && got != -EINVAL) {
      Broke(true, sys::ErrorName(static_cast<int>(-got)));
      return Progress::kOver;
    }
    if (got < 0) out_.NeverSplice();
    // An end, or no socket to splice from: a read tells it for sure.
    return CopyOut(budget);
  }
  const auto bytes = static_cast<size_t>(got);
  out_.NoteSplice(bytes);
  CountFromPlain(bytes);
  NoteMoved();
  *budget -= std::min(*budget, bytes);
  if (!FlushOut()) return over_ ? Progress::kOver : Progress::kWaits;
  return Progress::kMore;
}

bool SpliceRelay::FlushOut() {
  while (!to_tls_.empty()) {
    if (!tls_.writable) return false;
    const ssize_t sent = leg_.Send(tls_.fd.get(), to_tls_.bytes());
    if (sent == -EAGAIN) {
      tls_.writable = false;
      return false;
    }
    if (sent < 0) return Failed(static_cast<int>(-sent));
    to_tls_.Drop(static_cast<size_t>(sent));
    NoteOut(static_cast<size_t>(sent));
    NoteMoved();
  }
  return FlushPipe(tls_, out_pipe_) && SendControl();
}

bool SpliceRelay::FlushIn() { return Flush(plain_, to_plain_) && FlushPipe(plain_, in_pipe_); }

bool SpliceRelay::FlushPipe(Side& side, SplicePipe& pipe) {
  if (!pipe.valid()) return true;
  while (!pipe.empty()) {
    if (!side.writable) return false;
    const ssize_t sent = pipe.Drain(side.fd.get());
    if (sent == -EAGAIN) {
      side.writable = false;
      return false;
    }
    if (sent == 0 || sent == -EINVAL) {
      // The socket takes no splice: what is in the pipe goes as everything else does.
      const bool out = &side == &tls_;
      pipe.Empty(out ? &to_tls_ : &to_plain_);
      (out ? out_ : in_).NeverSplice();
      home_.pipes.Give(std::move(pipe));
      return out ? FlushOut() : FlushIn();
    }
    if (sent < 0) return &side == &tls_ ? Failed(static_cast<int>(-sent)) : Broke(true, sys::ErrorName(static_cast<int>(-sent)));
    const auto bytes = static_cast<size_t>(sent);
    session_.spliced_bytes += bytes;
    if (&side == &tls_) {
      leg_.NoteSpliced(bytes);
      NoteOut(bytes);
    }
    NoteMoved();
  }
  home_.pipes.Give(std::move(pipe));
  return true;
}

void SpliceRelay::QueueControl(tls::ContentType type, std::span<const uint8_t> bytes, bool key_update) {
  control_ = Control{.type = type, .bytes = {}, .size = static_cast<uint8_t>(bytes.size()), .key_update = key_update};
  std::copy(bytes.begin(), bytes.end(), control_->bytes.begin());
}

bool SpliceRelay::SendControl() {
  if (!control_) return true;
  if (!tls_.writable) return false;
  const int sent = leg_.SendControl(tls_.fd.get(), control_->type, {control_->bytes.data(), control_->size});
  if (sent == -EAGAIN) {
    tls_.writable = false;
    return false;
  }
  if (sent < 0) return Failed(-sent);
  const bool key_update = control_->key_update;
  control_.reset();
  return !key_update || leg_.RekeyWrite(tls_.fd.get()) || Broke(false, "the key could not be exchanged");
}

Relay::Progress SpliceRelay::ShutTls() {
  if (tls_.shut) return Progress::kWaits;
  if (leg_.AllPushed(tls_.fd.get()) || push_looks_++ >= kMostPushLooks) {
    Shut(tls_);
    push_.reset();
    return Progress::kWaits;
  }
  // No event comes for it: the kernel goes on by itself when there is room.
  if (push_ == nullptr) push_ = std::make_unique<Timer>();
  if (!push_->armed()) push_->Set(home_.reactor, kPushLookMs, [this] { Run(); });
  return Progress::kWaits;
}

void SpliceRelay::NoteOut(size_t bytes) {
  out_bytes_ += bytes;
  out_sends_++;
}

/** RFC 8446 section 5.5: an AES-GCM key is good for a number of records. TLS 1.2 has no other key. */
bool SpliceRelay::RekeyIfDue() {
  if (out_bytes_ < kBytesToCount && out_sends_ < kSendsToCount) return true;
  out_bytes_ = out_sends_ = 0;
  if (leg_.version() != tls::Version::kTls13 || !leg_.is_gcm()) return true;
  if (leg_.Records(tls_.fd.get()) < home_.rekey_after_records) return true;
  if (!leg_.rekeys()) return Unable("a KeyUpdate is due, which this kernel's TLS can not do");
  QueueControl(tls::ContentType::kHandshake, kKeyUpdate, true);
  return true;
}

Relay::Progress SpliceRelay::PumpIn(size_t* budget) {
  if (!FlushIn()) return over_ ? Progress::kOver : Progress::kWaits;
  if (tls_.ended) {
    Shut(plain_);
    return Progress::kWaits;
  }
  if (!tls_.readable) return Progress::kWaits;
  return in_.splices() && !sorter_.in_message() ? SpliceIn(budget) : CopyIn(budget);
}

Relay::Progress SpliceRelay::CopyIn(size_t* budget) {
  const Supply supply = home_.ledger.supply();
  if (supply == Supply::kNone && !tls_.hung_up && !HasRoom(plain_)) return Pause();
  const size_t asked = supply == Supply::kPlenty ? in_.asks() : tls::kMaxPayloadBytes;
  uint8_t type = 0;
  const ssize_t got = sys::ReceiveRecord(tls_.fd.get(), home_.scratch.open(), asked, &type);
  if (got == -EAGAIN) {
    tls_.readable = false;
    return Progress::kWaits;
  }
  if (got < 0) {
    Failed(static_cast<int>(-got));
    return Progress::kOver;
  }
  if (got == 0 && type == 0) {
    Broke(false, "closed without close_notify", true);
    return Progress::kOver;
  }
  const auto bytes = static_cast<size_t>(got);
  const auto content = static_cast<tls::ContentType>(type);
  if (content == tls::ContentType::kApplicationData) in_.NoteCopy(asked, bytes);
  *budget -= std::min(*budget, bytes);
  NoteMoved();
  if (!sorter_.Sort(content, {home_.scratch.open(), bytes}, *this)) return Progress::kOver;
  // A read ends with the type of its records, however much there is behind it: EAGAIN alone says that there is no more.
  return Progress::kMore;
}

Relay::Progress SpliceRelay::SpliceIn(size_t* budget) {
  in_pipe_ = home_.pipes.Take();
  if (!in_pipe_.valid()) return CopyIn(budget);
  size_t bytes = 0;
  ssize_t got = 0;
  // A record a call, as long as there is room for one.
  while (in_pipe_.room() >= tls::kMaxPayloadBytes && (got = in_pipe_.Fill(tls_.fd.get())) > 0) bytes += static_cast<size_t>(got);
  if (bytes > 0) {
    sorter_.NoteData();
    in_.NoteSplice(bytes);
    CountToPlain(bytes);
    NoteMoved();
    *budget -= std::min(*budget, bytes);
    // EAGAIN may mean that the pipe is full: it is asked again when the pipe is empty.
    if (!FlushIn()) return over_ ? Progress::kOver : Progress::kWaits;
    return Progress::kMore;
  }
  home_.pipes.Give(std::move(in_pipe_));
  if (got == -EAGAIN) {
    tls_.readable = false;
    return Progress::kWaits;
  }
  if (got < 0 && got != -EINVAL) {
    Failed(static_cast<int>(-got));
    return Progress::kOver;
  }
  // A record that is not data (EINVAL), an empty one or an end (0): recvmsg(2) tells which, and takes it.
  const uint32_t before = in_.copied();
  const Progress progress = CopyIn(budget);
  if (got == 0 || progress == Progress::kOver) return progress;
  // It was data: then this socket can't be spliced from.
  if (in_.copied() != before) in_.NeverSplice();
  // Nothing is there: then it was the error of a header that makes no sense, told once.
  if (progress == Progress::kMore) return progress;
  Failed(EINVAL);
  return Progress::kOver;
}

bool SpliceRelay::OnData(std::span<const uint8_t> payload) {
  CountToPlain(payload.size());
  const ssize_t sent = plain_.writable ? sys::Send(plain_.fd.get(), payload.data(), payload.size()) : -EAGAIN;
  if (sent < 0 && sent != -EAGAIN) return Broke(true, sys::ErrorName(static_cast<int>(-sent)));
  const size_t taken = sent < 0 ? 0 : static_cast<size_t>(sent);
  if (taken == payload.size()) return true;
  plain_.writable = false;
  to_plain_.Append(payload.subspan(taken));
  return true;
}

bool SpliceRelay::OnCloseNotify() {
  TlsEnded();
  return true;
}

bool SpliceRelay::OnAlert(uint8_t alert) { return Broke(false, "alert " + tls::AlertName(alert)); }

bool SpliceRelay::OnKeyUpdate(bool asks) {
  if (!leg_.rekeys()) return Unable("a KeyUpdate came, which this kernel's TLS can not do");
  if (!leg_.RekeyRead(tls_.fd.get())) return Broke(false, "the key could not be exchanged");
  // One answer at most waits to be sent: it stands for all that were asked for meanwhile. Behind close_notify there is none.
  if (asks && !control_ && !close_notify_sent_) QueueControl(tls::ContentType::kHandshake, kKeyUpdate, true);
  return true;
}

bool SpliceRelay::OnRenegotiation() {
  const uint8_t no_renegotiation[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kNoRenegotiation)};
  if (!control_ && !close_notify_sent_) QueueControl(tls::ContentType::kAlert, no_renegotiation);
  return true;
}

/** What the kernel says of the TLS leg: of its connection, or of a record that came. */
bool SpliceRelay::Failed(int error) {
  const auto refuse = [&](tls::Alert alert) {
    // The error stays with the socket, where it would keep the alert from being sent.
    (void)sys::SocketError(tls_.fd.get());
    return Refuse(alert);
  };
  if (error == EBADMSG) return refuse(tls::Alert::kBadRecordMac);
  if (error == EMSGSIZE) return refuse(tls::Alert::kRecordOverflow);
  if (error == EINVAL) return refuse(tls::Alert::kUnexpectedMessage);
  return Broke(false, sys::ErrorName(error));
}

bool SpliceRelay::LegFailed(Side& side, int error) {
  return &side == &tls_ ? Failed(error) : Relay::LegFailed(side, error);
}

Pending SpliceRelay::UnsentPlain() {
  if (in_pipe_.valid()) {
    in_pipe_.Empty(&to_plain_);
    home_.pipes.Give(std::move(in_pipe_));
  }
  return std::move(to_plain_);
}

void SpliceRelay::MoveTo(BufferLedger* ledger) {
  Relay::MoveTo(ledger);
  to_tls_.MoveTo(ledger);
  sorter_.MoveTo(ledger);
}

/** A pipe belongs to its worker's pool, the timer to its reactor. */
bool SpliceRelay::movable() const {
  return !out_pipe_.valid() && !in_pipe_.valid() && (push_ == nullptr || !push_->armed());
}

void SpliceRelay::FinishTls(tls::Alert alert, double limit_ms) {
  if (out_pipe_.valid()) out_pipe_.Empty(&to_tls_);
  home_.lingering.Finish(std::move(tls_.fd), std::move(to_tls_), limit_ms,
                         std::make_unique<KernelTail>(KernelTail{.leg = std::move(leg_), .alert = alert}));
}

void SpliceRelay::ResetTls(double limit_ms) {
  if (out_pipe_.valid()) out_pipe_.Empty(&to_tls_);
  home_.lingering.Reset(std::move(tls_.fd), std::move(to_tls_), limit_ms,
                        std::make_unique<KernelTail>(KernelTail{.leg = std::move(leg_), .alert = {}}));
}

}  // namespace sidesplice::core
