// The rules of RFC 8446 and RFC 5246 for what comes after the handshake.
#include "core/record_sorter.h"

namespace sidesplice::core {

namespace {

constexpr uint8_t kHelloRequest = 0;
constexpr uint8_t kClientHello = 1;
constexpr uint8_t kNewSessionTicket = 4;
constexpr uint8_t kKeyUpdate = 24;

}  // namespace

bool RecordSorter::Sort(tls::ContentType type, std::span<const uint8_t> payload, RecordReader& reader) {
  // 32 records in a row without a byte for the app are an attack.
  constexpr uint16_t kMostBarrenRecords = 32;
  const bool barren = type != tls::ContentType::kApplicationData || payload.empty();
  barren_records_ = barren ? barren_records_ + 1 : 0;
  if (barren_records_ > kMostBarrenRecords) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  // A handshake message must not be cut by records of another type (RFC 8446 section 5.1).
  if (!handshake_.empty() && type != tls::ContentType::kHandshake) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  if (type == tls::ContentType::kAlert) return SortAlert(payload, reader);
  if (type == tls::ContentType::kHandshake) return SortHandshake(payload, reader);
  if (type != tls::ContentType::kApplicationData) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  return payload.empty() || reader.OnData(payload);
}

bool RecordSorter::SortAlert(std::span<const uint8_t> payload, RecordReader& reader) const {
  // RFC 8446 section 5.4 names the alert for an empty one.
  if (payload.empty()) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  if (payload.size() != 2) return reader.OnForbidden(tls::Alert::kDecodeError);
  const uint8_t alert = payload[1];
  if (alert == static_cast<uint8_t>(tls::Alert::kCloseNotify)) return reader.OnCloseNotify();
  const bool is13 = version_ == tls::Version::kTls13;
  // RFC 8446 section 6: every other alert is fatal, whatever its level says; RFC 5246 has warnings that mean nothing here.
  if (alert == static_cast<uint8_t>(tls::Alert::kUserCanceled) || (!is13 && payload[0] == tls::kWarning)) return true;
  return reader.OnAlert(alert);
}

bool RecordSorter::SortHandshake(std::span<const uint8_t> payload, RecordReader& reader) {
  constexpr size_t kMostBytes = 64 * 1024;
  constexpr size_t kMessageHeaderBytes = 4;
  if (payload.empty()) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  handshake_.Append(payload);
  while (handshake_.size() >= kMessageHeaderBytes) {
    const std::span<const uint8_t> bytes = handshake_.bytes();
    const size_t body = static_cast<size_t>(bytes[1]) << 16 | static_cast<size_t>(bytes[2]) << 8 | bytes[3];
    if (body > kMostBytes) return reader.OnForbidden(tls::Alert::kDecodeError);
    if (bytes.size() < kMessageHeaderBytes + body) return true;
    const bool ends_record = bytes.size() == kMessageHeaderBytes + body;
    if (!SortMessage(bytes[0], bytes.subspan(kMessageHeaderBytes, body), ends_record, reader)) return false;
    handshake_.Drop(kMessageHeaderBytes + body);
  }
  return true;
}

bool RecordSorter::SortMessage(uint8_t type, std::span<const uint8_t> body, bool ends_record, RecordReader& reader) const {
  if (version_ == tls::Version::kTls12) {
    // No renegotiation: the peer is told so, and the session goes on (RFC 5246 section 7.2.2).
    if (type != kHelloRequest && type != kClientHello) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
    return reader.OnRenegotiation();
  }
  // A ticket is for clients; one that is of use was given on as it came (TicketWatch).
  if (type == kNewSessionTicket && peer_is_server_) return true;
  if (type != kKeyUpdate) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  // RFC 8446 section 4.6.3, and 5.1: what follows is under another key.
  if (body.size() != 1) return reader.OnForbidden(tls::Alert::kDecodeError);
  if (body[0] > 1) return reader.OnForbidden(tls::Alert::kIllegalParameter);
  if (!ends_record) return reader.OnForbidden(tls::Alert::kUnexpectedMessage);
  return reader.OnKeyUpdate(body[0] == 1);
}

}  // namespace sidesplice::core
