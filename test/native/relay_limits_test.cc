// What a peer may not do once records are ours: each limit crossed by one, with the alert that RFC 8446 names for it, the data
// before it delivered, and the nearest thing that is allowed.
#include <doctest/doctest.h>
#include <sys/socket.h>

#include "support/relay_rig.h"

using namespace sidesplice;
using core::RelayEnd;
using test::Bytes;
using test::BytesOf;
using test::RelayRig;
using test::Stream;
using tls::Alert;
using tls::ContentType;

namespace {

constexpr int kMostBarren = 32;
const Bytes kKeyUpdate = {24, 0, 0, 1, 0};
const Bytes kTicket = {4, 0, 0, 3, 1, 2, 3};

void Append(Bytes& into, const Bytes& more) { into.insert(into.end(), more.begin(), more.end()); }

/** The data that was sent before, a reset to the app, and the alert for the peer. */
void CheckRefused(RelayRig& rig, Alert alert, const Bytes& before = {}) {
  const Stream at_app = test::ReadToEnd(rig.app.get());
  CHECK(at_app.bytes == before);
  CHECK(at_app.end == Stream::End::kReset);
  std::optional<test::RecordPeer::Record> record = rig.peer.Next();
  while (record && record->type == ContentType::kHandshake) record = rig.peer.Next();
  REQUIRE(record);
  CHECK(record->type == ContentType::kAlert);
  CHECK(tls::AlertName(record->payload[1]) == tls::AlertName(static_cast<uint8_t>(alert)));
  CHECK(record->payload[0] == 2);
  CHECK_FALSE(rig.peer.Next());
  CHECK(rig.peer.end == Stream::End::kFin);
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->kind == RelayEnd::Kind::kAborted);
  CHECK(end->detail == "refused with alert " + tls::AlertName(static_cast<uint8_t>(alert)));
}

void CheckAlive(RelayRig& rig) {
  REQUIRE(rig.peer.SendData(BytesOf("alive")));
  CHECK(test::ReadUpTo(rig.app.get(), 5).bytes == BytesOf("alive"));
}

/** Data that what is refused must not take with it: both go in one segment. */
Bytes WithData(RelayRig& rig) { return test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("before")); }

}  // namespace

TEST_CASE("a record one byte above the limit is record_overflow, by its header alone") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    RelayRig rig({.version = version});
    const size_t limit = version == tls::Version::kTls13 ? 16'384 + 256 : 16'384 + 2'048;
    Bytes sent = WithData(rig);
    Append(sent, {23, 3, 3, static_cast<uint8_t>((limit + 1) >> 8), static_cast<uint8_t>(limit + 1)});
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kRecordOverflow, BytesOf("before"));
  }
}

TEST_CASE("a record at the limit of its header that can't be opened is bad_record_mac, not record_overflow") {
  RelayRig rig;
  Bytes sent = {23, 3, 3, 0x41, 0x00};
  sent.resize(5 + 0x4100, 1);
  REQUIRE(rig.peer.SendBytes(sent));
  CheckRefused(rig, Alert::kBadRecordMac);
}

TEST_CASE("a payload of 2^14 bytes is taken, one byte more is record_overflow") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    RelayRig rig({.version = version});
    const Bytes largest(tls::kMaxPayloadBytes, 3);
    REQUIRE(rig.peer.SendData(largest));
    CHECK(test::ReadUpTo(rig.app.get(), largest.size()).bytes == largest);
    Bytes sent = WithData(rig);
    Append(sent, test::Sealed(*rig.peer.write, ContentType::kApplicationData, Bytes(tls::kMaxPayloadBytes + 1, 3)));
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kRecordOverflow, BytesOf("before"));
  }
}

TEST_CASE("a record that was tampered with is bad_record_mac, and the data before it is the app's") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    RelayRig rig({.version = version});
    Bytes sent = WithData(rig);
    Append(sent, test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("forged")));
    sent.back() ^= 1;
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kBadRecordMac, BytesOf("before"));
  }
}

TEST_CASE("an outer type that is not application data is unexpected_message in TLS 1.3, change_cipher_spec too") {
  for (const uint8_t type : {20, 21, 22, 24, 0, 255}) {
    RelayRig rig;
    Bytes sent = WithData(rig);
    Append(sent, {type, 3, 3, 0, 1, 1});
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
  }
}

TEST_CASE("an unknown inner type is unexpected_message, change_cipher_spec within a record too") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    for (const uint8_t type : {20, 24, 255}) {
      RelayRig rig({.version = version});
      Bytes sent = WithData(rig);
      Append(sent, test::Sealed(*rig.peer.write, ContentType{type}, {1}));
      REQUIRE(rig.peer.SendBytes(sent));
      CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
    }
  }
}

TEST_CASE("a record of nothing but zeros is unexpected_message") {
  RelayRig rig;
  Bytes sent = WithData(rig);
  Append(sent, test::Sealed(*rig.peer.write, ContentType{0}, Bytes(100)));
  REQUIRE(rig.peer.SendBytes(sent));
  CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
}

TEST_CASE("32 empty records in a row are taken, 33 are unexpected_message") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    RelayRig rig({.version = version});
    for (int round = 0; round < 3; round++) {
      for (int at = 0; at < kMostBarren; at++) REQUIRE(rig.peer.SendData({}));
      CheckAlive(rig);
    }
    Bytes sent = WithData(rig);
    for (int at = 0; at < kMostBarren + 1; at++)
      Append(sent, test::Sealed(*rig.peer.write, ContentType::kApplicationData, {}));
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
  }
}

TEST_CASE("padding makes an empty record no less empty") {
  RelayRig rig;
  for (int at = 0; at < kMostBarren + 1; at++)
    REQUIRE(rig.peer.SendBytes(test::Padded(*rig.peer.write, ContentType::kApplicationData, {}, 1'000)));
  CheckRefused(rig, Alert::kUnexpectedMessage);
}

TEST_CASE("32 key updates in a row are taken, 33 are unexpected_message") {
  for (const bool asks : {false, true}) {
    RelayRig rig;
    for (int at = 0; at < kMostBarren; at++) REQUIRE(rig.peer.SendKeyUpdate(asks));
    CheckAlive(rig);
    for (int at = 0; at < kMostBarren + 1; at++) REQUIRE(rig.peer.SendKeyUpdate(asks));
    CheckRefused(rig, Alert::kUnexpectedMessage);
  }
}

TEST_CASE("32 tickets in a row are taken by a client, 33 are unexpected_message") {
  RelayRig rig({.inbound = false});
  for (int at = 0; at < kMostBarren; at++) REQUIRE(rig.peer.Send(ContentType::kHandshake, kTicket));
  CheckAlive(rig);
  for (int at = 0; at < kMostBarren + 1; at++) REQUIRE(rig.peer.Send(ContentType::kHandshake, kTicket));
  CheckRefused(rig, Alert::kUnexpectedMessage);
}

TEST_CASE("a client's ticket is unexpected_message, and so is every other message of a handshake") {
  for (const bool inbound : {true, false}) {
    for (const uint8_t type : {0, 1, 2, 4, 8, 11, 13, 15, 20, 254}) {
      if (!inbound && type == 4) continue;
      RelayRig rig({.inbound = inbound});
      // An outbound session that has moved nothing would be given back.
      CheckAlive(rig);
      Bytes sent = WithData(rig);
      Append(sent, test::Sealed(*rig.peer.write, ContentType::kHandshake, {type, 0, 0, 1, 0}));
      REQUIRE(rig.peer.SendBytes(sent));
      CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
    }
  }
}

TEST_CASE("a KeyUpdate of a value that is none is illegal_parameter, of another size decode_error") {
  RelayRig value;
  REQUIRE(value.peer.Send(ContentType::kHandshake, {24, 0, 0, 1, 2}));
  CheckRefused(value, Alert::kIllegalParameter);
  for (const Bytes& message : {Bytes{24, 0, 0, 0}, Bytes{24, 0, 0, 2, 0, 0}}) {
    RelayRig size;
    REQUIRE(size.peer.Send(ContentType::kHandshake, message));
    CheckRefused(size, Alert::kDecodeError);
  }
}

TEST_CASE("a KeyUpdate that does not end its record is unexpected_message, whatever follows it") {
  for (const Bytes& behind : {Bytes{24}, kKeyUpdate, kTicket}) {
    RelayRig rig({.inbound = false});
    CheckAlive(rig);
    Bytes messages = kKeyUpdate;
    Append(messages, behind);
    REQUIRE(rig.peer.Send(ContentType::kHandshake, messages));
    CheckRefused(rig, Alert::kUnexpectedMessage);
  }
}

TEST_CASE("a KeyUpdate that ends a record which begins with a ticket is taken") {
  RelayRig rig({.inbound = false});
  Bytes messages = kTicket;
  Append(messages, kKeyUpdate);
  REQUIRE(rig.peer.Send(ContentType::kHandshake, messages));
  REQUIRE(rig.peer.write->Update());
  CheckAlive(rig);
}

TEST_CASE("messages of a handshake are put together from records of any size") {
  RelayRig rig({.inbound = false});
  Bytes messages = kTicket;
  Append(messages, kTicket);
  Append(messages, kKeyUpdate);
  for (const uint8_t byte : messages) REQUIRE(rig.peer.Send(ContentType::kHandshake, {byte}));
  REQUIRE(rig.peer.write->Update());
  CheckAlive(rig);
}

TEST_CASE("a ticket of 64 KiB is put together, one byte more is decode_error") {
  RelayRig rig({.inbound = false});
  CheckAlive(rig);
  constexpr size_t kMost = 64 * 1024;
  Bytes ticket = {4, 1, 0, 0};
  ticket.resize(4 + kMost, 1);
  for (size_t at = 0; at < ticket.size(); at += 16'000) {
    const auto begin = ticket.begin() + static_cast<std::ptrdiff_t>(at);
    REQUIRE(rig.peer.Send(ContentType::kHandshake, Bytes(begin, begin + static_cast<std::ptrdiff_t>(std::min<size_t>(16'000, ticket.size() - at)))));
  }
  CheckAlive(rig);
  REQUIRE(rig.peer.Send(ContentType::kHandshake, {4, 1, 0, 1}));
  CheckRefused(rig, Alert::kDecodeError);
}

TEST_CASE("a message of a handshake that other records cut in two is unexpected_message") {
  for (const ContentType between : {ContentType::kApplicationData, ContentType::kAlert}) {
    RelayRig rig;
    Bytes sent = WithData(rig);
    Append(sent, test::Sealed(*rig.peer.write, ContentType::kHandshake, {24, 0}));
    Append(sent, test::Sealed(*rig.peer.write, between, {1, 0}));
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
  }
}

TEST_CASE("an empty handshake or alert record is unexpected_message") {
  for (const ContentType type : {ContentType::kHandshake, ContentType::kAlert}) {
    RelayRig rig;
    Bytes sent = WithData(rig);
    Append(sent, test::Sealed(*rig.peer.write, type, {}));
    REQUIRE(rig.peer.SendBytes(sent));
    CheckRefused(rig, Alert::kUnexpectedMessage, BytesOf("before"));
  }
}

TEST_CASE("an alert of another size is decode_error") {
  for (const Bytes& alert : {Bytes{1}, Bytes{1, 0, 0}}) {
    RelayRig rig;
    REQUIRE(rig.peer.Send(ContentType::kAlert, alert));
    CheckRefused(rig, Alert::kDecodeError);
  }
}

TEST_CASE("user_canceled is skipped, every other warning ends a session of TLS 1.3, none one of TLS 1.2") {
  RelayRig rig;
  REQUIRE(rig.peer.Send(ContentType::kAlert, {1, 90}));
  CheckAlive(rig);
  REQUIRE(rig.peer.Send(ContentType::kAlert, {1, 100}));
  CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kReset);
  CHECK(rig.Ended()->detail == "alert no_renegotiation");
  RelayRig older({.version = tls::Version::kTls12});
  REQUIRE(older.peer.Send(ContentType::kAlert, {1, 100}));
  CheckAlive(older);
}

TEST_CASE("a refusal after our own end was sent resets nothing of what is still on its way") {
  RelayRig rig;
  const Bytes data(1'500'000, 8);
  // More than the sockets hold: the end stands behind data that the peer has not read.
  REQUIRE(test::WriteAll(rig.app.get(), data));
  shutdown(rig.app.get(), SHUT_WR);
  REQUIRE(test::IsQuiet(rig.app.get(), 200));
  REQUIRE(rig.peer.Send(ContentType{99}, {1}));
  REQUIRE(rig.Ended());
  CHECK(rig.peer.ReadData(data.size()) == data);
}
