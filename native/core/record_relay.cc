// Two pumps over records of our own.
#include "core/record_relay.h"

#include <errno.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

constexpr uint8_t kKeyUpdate[] = {24, 0, 0, 1, 0};

}  // namespace

Relay* RecordRelay::Begin(const Home& home, Session session, Legs legs, OnEnd on_end) {
  return Relay::Begin(new RecordRelay(home, std::move(session), std::move(legs), std::move(on_end)));
}

RecordRelay::RecordRelay(const Home& home, Session session, Legs legs, OnEnd on_end)
    : Relay(home, std::move(session), std::move(legs.plain), std::move(legs.tls), std::move(on_end)),
      read_(std::move(legs.read)),
      write_(std::move(legs.write)),
      sorter_(read_->version(), !downstream_is_tls(), home.ledger),
      to_tls_(&home.ledger),
      partial_(&home.ledger) {
  session_.relay = "records";
  read_->KeepFromKernel();
  write_->KeepFromKernel();
  if (legs.tickets != nullptr)
    tickets_ = std::make_unique<TicketWatch>(home.reactor, std::move(legs.tickets), [this] { tickets_.reset(); });
}

Relay::Progress RecordRelay::PumpOut(size_t* budget) {
  if (!Flush(tls_, to_tls_)) return over_ ? Progress::kOver : Progress::kWaits;
  key_update_queued_ = false;
  if (plain_.ended) {
    if (!close_notify_sent_) {
      close_notify_sent_ = true;
      const uint8_t close_notify[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kCloseNotify)};
      if (!QueueRecord(tls::ContentType::kAlert, close_notify)) return Progress::kOver;
      return Progress::kMore;
    }
    Shut(tls_);
    return Progress::kWaits;
  }
  if (!plain_.readable) return Progress::kWaits;
  if (!RekeyIfDue()) return Progress::kOver;
  if (!to_tls_.empty()) return Progress::kMore;

  const Supply supply = home_.ledger.supply();
  if (supply == Supply::kNone && !HasRoom(tls_)) return Pause();
  const size_t slots = large_reads_out_ && supply == Supply::kPlenty ? kRecordsAtOnce : 1;
  const size_t stride = write_->max_payload() + write_->overhead();
  std::array<iovec, kRecordsAtOnce> parts;
  for (size_t at = 0; at < slots; at++)
    parts[at] = {home_.scratch.seal() + at * stride + write_->payload_offset(), write_->max_payload()};
  const ssize_t got = sys::ReadV(plain_.fd.get(), parts.data(), static_cast<int>(slots));
  const size_t asked = slots * write_->max_payload();
  if (const std::optional<Progress> instead = WithoutPlain(got, asked, budget)) return *instead;
  const auto bytes = static_cast<size_t>(got);
  large_reads_out_ = bytes == asked || (large_reads_out_ && bytes > write_->max_payload());
  if (!SealAndSend(bytes)) return Progress::kOver;
  return plain_.readable ? Progress::kMore : Progress::kWaits;
}

bool RecordRelay::SealAndSend(size_t bytes) {
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

bool RecordRelay::QueueRecord(tls::ContentType type, std::span<const uint8_t> payload) {
  uint8_t* record = to_tls_.Grow(payload.size() + write_->overhead());
  std::memcpy(record + write_->payload_offset(), payload.data(), payload.size());
  return write_->Seal(record, payload.size(), type) || Broke(false, "the record could not be sealed");
}

/** RFC 8446 section 5.5: an AES-GCM key is good for a number of records. TLS 1.2 has no other key. */
bool RecordRelay::RekeyIfDue() {
  if (write_->version() != tls::Version::kTls13 || !write_->is_gcm()) return true;
  if (write_->records() < home_.rekey_after_records) return true;
  return QueueKeyUpdate();
}

Relay::Progress RecordRelay::PumpIn(size_t* budget) {
  if (!Flush(plain_, to_plain_)) return over_ ? Progress::kOver : Progress::kWaits;
  if (tls_.ended) {
    Shut(plain_);
    return Progress::kWaits;
  }
  if (!tls_.readable) return Progress::kWaits;

  Progress instead = Progress::kWaits;
  const size_t asked = AskedOfPeer(home_.ledger.supply(), &instead);
  if (asked == 0) return instead;
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
  large_reads_in_ = (bytes == asked && asked >= kLargestRecordBytes) || (large_reads_in_ && bytes > kLargestRecordBytes);
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

size_t RecordRelay::AskedOfPeer(Supply supply, Progress* instead) {
  if (supply == Supply::kPlenty) return large_reads_in_ ? kOpenBytes : kLargestRecordBytes;
  if (supply == Supply::kScarce || tls_.hung_up) return kLargestRecordBytes;
  if (partial_.empty()) return NextWholeRecord(instead);
  // What has begun to come is read to its end, and no further.
  const std::span<uint8_t> held = partial_.bytes();
  if (held.size() < tls::kHeaderBytes) return tls::kHeaderBytes - held.size();
  const size_t whole = tls::kHeaderBytes + (static_cast<size_t>(held[3]) << 8 | held[4]);
  return std::clamp<size_t>(whole - std::min(whole, held.size()), 1, kLargestRecordBytes);
}

size_t RecordRelay::NextWholeRecord(Progress* instead) {
  uint8_t header[tls::kHeaderBytes];
  const ssize_t got = sys::Peek(tls_.fd.get(), header, sizeof(header));
  // An end or an error is found by reading.
  if (got == 0 || (got < 0 && got != -EAGAIN)) return kLargestRecordBytes;
  // Nothing is there: more comes with an event.
  if (got == -EAGAIN) {
    tls_.readable = false;
    return 0;
  }
  const size_t whole = tls::kHeaderBytes + (static_cast<size_t>(header[3]) << 8 | header[4]);
  const bool is_there = got == sizeof(header) && static_cast<size_t>(sys::ReceiveQueueBytes(tls_.fd.get())) >= whole;
  // One that is too long is refused, however much of it is there.
  const bool too_long = got == sizeof(header) && whole > tls::kHeaderBytes + read_->max_body();
  if (!is_there && !too_long) {
    // More may come in a moment; or not until what is there was read: over loopback a window stays shut for want of room for a segment of
    // 64 KiB (__tcp_select_window). Then it is kept here, while the cap allows it.
    if (!std::exchange(waited_, true) || got != sizeof(header) || !home_.ledger.HasReserve(whole)) {
      *instead = Pause();
      return 0;
    }
  }
  waited_ = false;
  if (!HasRoom(plain_)) {
    *instead = Pause();
    return 0;
  }
  return std::min(whole, kLargestRecordBytes);
}

/** Opens what is whole, delivers the plaintext, keeps the rest. */
bool RecordRelay::TakeRecords(std::span<uint8_t> received) {
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
    if (tickets_ != nullptr) tickets_->Hold(received.first(whole));
    const tls::Opened opened = read_->Open(received.first(whole));
    if (opened.refused) return DeliverPlain() && Refuse(opened.alert);
    if (!sorter_.Sort(opened.type, opened.payload, *this)) return false;
    if (tickets_ != nullptr && !tickets_->Tell(opened.type)) tickets_.reset();
    received = received.subspan(whole);
  }
  if (!tls_.ended) partial_.Append(received);
  return DeliverPlain();
}

/** Sends the plaintext of the opened records, and keeps what does not go now. */
bool RecordRelay::DeliverPlain() {
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

bool RecordRelay::QueueKeyUpdate() {
  if (!QueueRecord(tls::ContentType::kHandshake, kKeyUpdate)) return false;
  return write_->Update() || Broke(false, "the key could not be exchanged");
}

bool RecordRelay::OnData(std::span<const uint8_t> payload) {
  Scratch& scratch = home_.scratch;
  if (scratch.part_count == scratch.parts.size() && !DeliverPlain()) return false;
  scratch.parts[scratch.part_count++] = {const_cast<uint8_t*>(payload.data()), payload.size()};
  CountToPlain(payload.size());
  return true;
}

bool RecordRelay::OnCloseNotify() {
  TlsEnded();
  return true;
}

bool RecordRelay::OnAlert(uint8_t alert) {
  if (!DeliverPlain()) return false;
  return Broke(false, "alert " + tls::AlertName(alert));
}

bool RecordRelay::OnKeyUpdate(bool asks) {
  // What follows is not for the SSL, which would answer too.
  tickets_.reset();
  if (!read_->Update()) return Broke(false, "the key could not be exchanged");
  // One answer at most waits to be sent: it stands for all that were asked for meanwhile. Behind close_notify there is none.
  if (!asks || key_update_queued_ || close_notify_sent_) return true;
  key_update_queued_ = true;
  return QueueKeyUpdate();
}

bool RecordRelay::OnRenegotiation() {
  const uint8_t no_renegotiation[] = {tls::kWarning, static_cast<uint8_t>(tls::Alert::kNoRenegotiation)};
  return close_notify_sent_ || !to_tls_.empty() || QueueRecord(tls::ContentType::kAlert, no_renegotiation);
}

void RecordRelay::FinishTls(tls::Alert alert, double limit_ms) {
  const uint8_t fatal[] = {tls::kFatal, static_cast<uint8_t>(alert)};
  uint8_t* record = to_tls_.Grow(sizeof(fatal) + write_->overhead());
  std::memcpy(record + write_->payload_offset(), fatal, sizeof(fatal));
  if (!write_->Seal(record, sizeof(fatal), tls::ContentType::kAlert)) to_tls_.Clear();
  home_.lingering.Finish(std::move(tls_.fd), std::move(to_tls_), limit_ms);
}

void RecordRelay::ResetTls(double limit_ms) { home_.lingering.Reset(std::move(tls_.fd), std::move(to_tls_), limit_ms); }

void RecordRelay::Rest() {
  Relay::Rest();
  tickets_.reset();
  read_->Rest();
  write_->Rest();
}

void RecordRelay::MoveTo(BufferLedger* ledger) {
  Relay::MoveTo(ledger);
  to_tls_.MoveTo(ledger);
  partial_.MoveTo(ledger);
  sorter_.MoveTo(ledger);
  // Its timer is the thread's that it leaves.
  tickets_.reset();
}

}  // namespace sidesplice::core
