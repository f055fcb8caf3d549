// Flights, then records.
#include "simulator/tls_peer.h"

#include <errno.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "simulator/flow.h"
#include "support/record_writer.h"

namespace sidesplice::simulator {

namespace {

// The core takes 32 in a row without a byte of the session; answers to its KeyUpdates count among them.
constexpr unsigned kMostBarren = 16;
constexpr size_t kMostPadding = 300;
constexpr size_t kTicketBytes = 40;
constexpr uint8_t kKeyUpdate = 24;
constexpr uint8_t kTicket = 4;
constexpr uint8_t kFatalAlerts[] = {80, 49, 20, 10};

}  // namespace

uint64_t TlsPeer::SessionBytesIn(uint64_t bytes) const {
  uint64_t total = 0;
  for (const auto& [end, by_then] : record_ends_) {
    if (end > bytes) break;
    total = by_then;
  }
  return total;
}

bool TlsPeer::CanRead() const {
  // Who leaves in the midst of its handshake, or falls silent, reads no more.
  return !stuck_in_handshake() && Peer::CanRead();
}

bool TlsPeer::CanWrite() const {
  if (end.shut || end.connecting || (end.room() == 0 && !end.dead) || stuck_in_handshake()) return false;
  if (!handshaken()) return !script_.flights[flight_].from_core;
  if (!outgoing_.empty()) return true;
  return !told_end_ && !queued_last_ && sent < habits_.to_send;
}

bool TlsPeer::CanLeave() const {
  if (stuck_in_handshake()) return !script_.peer_falls_silent && !end.connecting;
  if (!handshaken()) return false;
  // What it has sent last is to be answered; and a calm one takes nothing with it that is on the way.
  if (queued_last_ && (flow.calm || habits_.leave == Leave::kGarbage)) return got_end_;
  return Peer::CanLeave();
}

void TlsPeer::Write() {
  if (!handshaken()) {
    std::array<uint8_t, 1024> filler{};
    const ssize_t taken = kernel_.Send(end, filler.data(), script_.flights[flight_].bytes - moved_);
    if (taken == -EAGAIN) return;
    if (taken < 0) return Broken(static_cast<int>(-taken));
    moved_ += static_cast<size_t>(taken);
    queued_total_ += static_cast<uint64_t>(taken);
    return NextFlights();
  }
  if (outgoing_.empty()) QueueSomething();
  // Records go together, or cut anywhere.
  while (dice_.OneIn(2) && !told_end_ && sent < habits_.to_send && outgoing_.size() < end.room()) QueueSomething();
  Flush();
}

void TlsPeer::NextFlights() {
  while (!handshaken() && moved_ == script_.flights[flight_].bytes) {
    flight_++;
    moved_ = 0;
  }
  if (!handshaken() || read_ != nullptr) return;
  flow.trace.Note("peer is secured", end.connection);
  read_ = script_.Key(!script_.core_is_server);
  write_ = script_.Key(script_.core_is_server);
}

void TlsPeer::Flush() {
  if (outgoing_.empty()) return;
  const size_t most = dice_.OneIn(2) ? outgoing_.size() : dice_.Between(1, outgoing_.size());
  const ssize_t taken = kernel_.Send(end, outgoing_.data(), most);
  if (taken == -EAGAIN) return;
  if (taken < 0) return Broken(static_cast<int>(-taken));
  outgoing_.Drop(static_cast<size_t>(taken));
  flow.trace.Note("peer sends", end.connection, taken);
  if (told_end_ && outgoing_.empty() && manners_.fin_behind_close_notify) kernel_.Shut(end);
  if (queued_last_ && outgoing_.empty() && flow.calm) kernel_.Shut(end);
}

void TlsPeer::QueueSomething() {
  if (barren_ < kMostBarren && dice_.OneIn(manners_.odd_records)) return QueueOdd();
  QueueData();
}

void TlsPeer::QueueData() {
  const uint64_t most = std::min<uint64_t>(habits_.to_send - sent, tls::kMaxPayloadBytes);
  const auto bytes = static_cast<size_t>(dice_.OneIn(3) ? most : std::min<uint64_t>(most, 1 + dice_.Sized(tls::kMaxPayloadBytes)));
  const size_t padding = script_.version == tls::Version::kTls13 && bytes + kMostPadding < tls::kMaxPayloadBytes && dice_.OneIn(4)
                             ? dice_.Below(kMostPadding)
                             : 0;
  Queue(tls::ContentType::kApplicationData, out_.Bytes(sent, bytes), padding);
  sent += bytes;
  barren_ = 0;
  record_ends_.emplace_back(queued_total_, sent);
}

void TlsPeer::QueueOdd() {
  barren_++;
  const bool is13 = script_.version == tls::Version::kTls13;
  switch (dice_.Below(4)) {
    case 0:
      return Queue(tls::ContentType::kApplicationData, {}, is13 ? dice_.Below(kMostPadding) : 0);
    case 1: {
      if (is13) return QueueUpdate(dice_.OneIn(2));
      const uint8_t hello_request[] = {0, 0, 0, 0};
      return Queue(tls::ContentType::kHandshake, hello_request);
    }
    case 2:
      if (is13 && !script_.core_is_server) return QueueTicket();
      [[fallthrough]];
    default: {
      const uint8_t warning[] = {tls::kWarning, static_cast<uint8_t>(is13 ? 90 : 41)};
      return Queue(tls::ContentType::kAlert, warning);
    }
  }
}

void TlsPeer::QueueTicket() {
  std::array<uint8_t, kTicketBytes> ticket{};
  ticket[0] = kTicket;
  ticket[3] = kTicketBytes - 4;
  const size_t cut = dice_.OneIn(2) ? ticket.size() : dice_.Between(1, ticket.size() - 1);
  Queue(tls::ContentType::kHandshake, std::span(ticket).first(cut));
  if (cut == ticket.size()) return;
  barren_++;
  Queue(tls::ContentType::kHandshake, std::span(ticket).subspan(cut));
}

void TlsPeer::QueueUpdate(bool asks) {
  const uint8_t update[] = {kKeyUpdate, 0, 0, 1, static_cast<uint8_t>(asks ? 1 : 0)};
  Queue(tls::ContentType::kHandshake, update);
  if (!write_->Update()) Fail("a peer's key could not be exchanged");
  if (!asks) return;
  updates_asked++;
  asked_at = queued_total_;
}

void TlsPeer::QueueGarbage() {
  const bool is13 = script_.version == tls::Version::kTls13;
  const std::array<uint8_t, 16> payload{};
  std::vector<uint8_t> record = Seal(tls::ContentType::kApplicationData, payload);
  switch (dice_.Below(5)) {
    case 0:
      record.back() ^= 1;
      break;
    case 1:
      record[3] = 0xFF;
      break;
    case 2:
      record[0] = is13 ? 22 : 99;
      break;
    case 3:
      record = Seal(static_cast<tls::ContentType>(is13 ? 20 : 24), payload);
      break;
    default:
      record = Seal(tls::ContentType::kHandshake, payload);
  }
  outgoing_.Push(record.data(), record.size());
}

std::vector<uint8_t> TlsPeer::Seal(tls::ContentType type, std::span<const uint8_t> payload, size_t padding) {
  return test::Padded(*write_, type, {payload.begin(), payload.end()}, padding);
}

void TlsPeer::Queue(tls::ContentType type, std::span<const uint8_t> payload, size_t padding) {
  const std::vector<uint8_t> record = Seal(type, payload, padding);
  outgoing_.Push(record.data(), record.size());
  queued_total_ += record.size();
  flow.trace.Note("record", end.connection, static_cast<int>(type), static_cast<int64_t>(payload.size()));
}

void TlsPeer::TellEnd() {
  if (stuck_in_handshake()) return Depart(dice_.OneIn(2));
  const uint8_t close_notify[] = {tls::kWarning, 0};
  Queue(tls::ContentType::kAlert, close_notify);
  ended_cleanly = true;
  Flush();
}

void TlsPeer::LeaveNow() {
  if (stuck_in_handshake()) return TellEnd();
  if (queued_last_ || habits_.leave == Leave::kReset) return Depart(habits_.leave == Leave::kReset);
  queued_last_ = true;
  if (habits_.leave == Leave::kAtOnce) return TellEnd();
  if (habits_.leave == Leave::kGarbage) QueueGarbage();
  if (habits_.leave == Leave::kFatalAlert) {
    const uint8_t fatal[] = {tls::kFatal, kFatalAlerts[dice_.Below(4)]};
    Queue(tls::ContentType::kAlert, fatal);
  }
  if (habits_.leave == Leave::kInsideRecord) {
    const std::array<uint8_t, 64> payload{};
    const std::vector<uint8_t> record = Seal(tls::ContentType::kApplicationData, payload);
    outgoing_.Push(record.data(), dice_.Between(1, record.size() - 1));
  }
  if (outgoing_.empty() && flow.calm) kernel_.Shut(end);
  Flush();
}

void TlsPeer::TakeBytes(const uint8_t* bytes, size_t count) {
  while (count > 0 && !handshaken()) {
    // A core that fails says so when it is not its turn.
    if (!script_.flights[flight_].from_core) return;
    const size_t taken = std::min(count, script_.flights[flight_].bytes - moved_);
    moved_ += taken;
    bytes += taken;
    count -= taken;
    NextFlights();
  }
  if (script_.core_fails_at != SIZE_MAX || script_.no_keys || script_.no_memory) return;
  incoming_.Push(bytes, count);
  TakeRecords();
}

void TlsPeer::TakeRecords() {
  while (!gone_ && incoming_.size() >= tls::kHeaderBytes) {
    const size_t whole = tls::kHeaderBytes + (static_cast<size_t>(incoming_.data()[3]) << 8 | incoming_.data()[4]);
    if (incoming_.size() < whole) return;
    const tls::Opened opened = read_->Open({incoming_.data(), whole});
    if (opened.refused) Fail("the core sent a record that does not open, behind byte " + std::to_string(received));
    TakeRecord(opened);
    incoming_.Drop(whole);
  }
}

void TlsPeer::TakeRecord(const tls::Opened& opened) {
  flow.trace.Note("peer gets", end.connection, static_cast<int>(opened.type), static_cast<int64_t>(opened.payload.size()));
  if (got_clean_end || alerted_) Fail("the core sent a record behind its last");
  if (opened.type == tls::ContentType::kAlert) return TakeAlert(opened.payload);
  if (opened.type == tls::ContentType::kHandshake) {
    if (opened.payload.size() != 5 || opened.payload[0] != kKeyUpdate) Fail("the core sent a handshake message");
    updates_got++;
    if (!read_->Update()) Fail("a peer's key could not be exchanged");
    if (opened.payload[4] == 1 && !told_end_ && !queued_last_) QueueUpdate(false);
    return;
  }
  if (opened.payload.empty() || opened.payload.size() > script_.most_payload) Fail("the core sent a record of the wrong size");
  if (!in_.Holds(received, opened.payload))
    Fail("a peer got bytes that were not sent to it there, from byte " + std::to_string(received));
  received += opened.payload.size();
}

void TlsPeer::TakeAlert(std::span<const uint8_t> payload) {
  if (payload.size() != 2) Fail("the core sent an alert of " + std::to_string(payload.size()) + " bytes");
  if (payload[1] == 0) {
    got_clean_end = true;
    return flow.CheckTlsEnd(*this);
  }
  if (payload[0] == tls::kWarning) return;
  alerted_ = true;
  got_error = true;
}

void TlsPeer::TakeEnd() {
  flow.trace.Note("peer gets an end", end.connection, got_clean_end ? 1 : 0, alerted_ ? 1 : 0);
  if (got_clean_end) return;
  got_error = true;
  Depart(false);
}

}  // namespace sidesplice::simulator
