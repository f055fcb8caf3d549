// Keys of a relay are exchanged: by us before a key's limit, by the peer whenever it likes; and what is not exchanged.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "support/relay_rig.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::RelayRig;
using test::Stream;
using tls::ContentType;

namespace {

const test::RecordPeer::Record kKeyUpdate{ContentType::kHandshake, {24, 0, 0, 1, 0}};
const test::RecordPeer::Record kCloseNotify{ContentType::kAlert, {1, 0}};

/** One record from the app to the peer at a time. */
void SendOneByOne(RelayRig& rig, int records) {
  for (int at = 0; at < records; at++) {
    REQUIRE(test::WriteAll(rig.app.get(), Bytes(1, static_cast<uint8_t>(at))));
    REQUIRE(rig.peer.ReadData(1) == Bytes(1, static_cast<uint8_t>(at)));
  }
}

}  // namespace

TEST_CASE("an AES-GCM key is exchanged after as many records as it is good for, again and again") {
  for (const tls::Aead aead : {tls::Aead::kAes128Gcm, tls::Aead::kAes256Gcm}) {
    for (const bool inbound : {true, false}) {
      RelayRig rig({.aead = aead, .inbound = inbound, .rekey_after_records = 4});
      SendOneByOne(rig, 40);
      // Before the 5th, the 9th, … the 37th.
      CHECK(rig.peer.key_updates == 9);
      REQUIRE(rig.peer.SendData(BytesOf("back")));
      CHECK(test::ReadUpTo(rig.app.get(), 4).bytes == BytesOf("back"));
    }
  }
}

TEST_CASE("a bulk stream is rekeyed between its reads, and arrives equal") {
  RelayRig rig({.rekey_after_records = 3});
  test::Random random(test::Seed());
  const Bytes data = random.Data(1'500'000);
  std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
  CHECK(rig.peer.ReadData(data.size()) == data);
  writes.join();
  CHECK(rig.peer.key_updates > 4);
}

TEST_CASE("ChaCha20 and TLS 1.2 have no limit that is exchanged for") {
  RelayRig chacha({.aead = tls::Aead::kChaCha20Poly1305, .rekey_after_records = 4});
  SendOneByOne(chacha, 20);
  CHECK(chacha.peer.key_updates == 0);
  RelayRig older({.version = tls::Version::kTls12, .rekey_after_records = 4});
  SendOneByOne(older, 20);
  CHECK(older.peer.key_updates == 0);
}

TEST_CASE("a peer's KeyUpdate that asks for ours is answered at once, also where nothing else moves") {
  RelayRig rig;
  for (int round = 0; round < 3; round++) {
    REQUIRE(rig.peer.SendKeyUpdate(true));
    CHECK(rig.peer.Next() == kKeyUpdate);
    SendOneByOne(rig, 2);
    REQUIRE(rig.peer.SendData(BytesOf("new key")));
    CHECK(test::ReadUpTo(rig.app.get(), 7).bytes == BytesOf("new key"));
  }
}

TEST_CASE("a peer's KeyUpdate that asks for nothing is not answered") {
  RelayRig rig;
  REQUIRE(rig.peer.SendKeyUpdate(false));
  REQUIRE(rig.peer.SendData(BytesOf("new key")));
  CHECK(test::ReadUpTo(rig.app.get(), 7).bytes == BytesOf("new key"));
  SendOneByOne(rig, 1);
  CHECK(rig.peer.key_updates == 0);
}

TEST_CASE("data on both sides of a KeyUpdate in one segment is all there") {
  RelayRig rig;
  Bytes sent;
  for (int round = 0; round < 5; round++) {
    for (const Bytes& record : {test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("ab")),
                                test::Sealed(*rig.peer.write, ContentType::kHandshake, {24, 0, 0, 1, 1})})
      sent.insert(sent.end(), record.begin(), record.end());
    REQUIRE(rig.peer.write->Update());
  }
  REQUIRE(rig.peer.SendBytes(sent));
  CHECK(test::ReadUpTo(rig.app.get(), 10).bytes == BytesOf("ababababab"));
  // Five were asked for before any could be sent: one stands for all.
  CHECK(rig.peer.Next() == kKeyUpdate);
  SendOneByOne(rig, 1);
  CHECK(rig.peer.key_updates == 1);
}

TEST_CASE("a peer that asks for keys without reading gets one answer when it reads, and costs no memory until then") {
  RelayRig rig;
  // The peer's socket is filled up first.
  const Bytes data(8'000'000, 6);
  std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
  REQUIRE(test::WaitFor(rig.peer.fd.get(), POLLIN));
  while (!test::IsQuiet(rig.app.get(), 300)) {
  }
  for (int round = 0; round < 20; round++) {
    for (int at = 0; at < 20; at++) REQUIRE(rig.peer.SendKeyUpdate(true));
    REQUIRE(rig.peer.SendData(BytesOf("x")));
    REQUIRE(test::ReadUpTo(rig.app.get(), 1).bytes.size() == 1);
  }
  CHECK(rig.peer.ReadData(data.size()) == data);
  writes.join();
  CHECK(rig.peer.key_updates >= 1);
  CHECK(rig.peer.key_updates <= 2);
}

TEST_CASE("a KeyUpdate that comes behind our own end is obeyed and not answered: the session goes on to its clean end") {
  RelayRig rig;
  shutdown(rig.app.get(), SHUT_WR);
  CHECK(rig.peer.Next() == kCloseNotify);
  CHECK_FALSE(rig.peer.Next());
  REQUIRE(rig.peer.SendKeyUpdate(true));
  REQUIRE(rig.peer.SendData(BytesOf("new key")));
  CHECK(test::ReadUpTo(rig.app.get(), 7).bytes == BytesOf("new key"));
  REQUIRE(rig.peer.SendCloseNotify());
  CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kFin);
  CHECK(rig.Ended()->kind == core::RelayEnd::Kind::kClosed);
}

TEST_CASE("an attempt to renegotiate in TLS 1.2 is told no_renegotiation at once, and the session goes on") {
  for (const Bytes& message : {Bytes{0, 0, 0, 0}, Bytes{1, 0, 0, 2, 3, 3}}) {
    RelayRig rig({.version = tls::Version::kTls12});
    REQUIRE(rig.peer.Send(ContentType::kHandshake, message));
    CHECK(rig.peer.Next() == test::RecordPeer::Record{ContentType::kAlert, {1, 100}});
    SendOneByOne(rig, 2);
    REQUIRE(rig.peer.SendData(BytesOf("on")));
    CHECK(test::ReadUpTo(rig.app.get(), 2).bytes == BytesOf("on"));
  }
}

TEST_CASE("an attempt to renegotiate behind our own end is not answered, and ends nothing") {
  RelayRig rig({.version = tls::Version::kTls12});
  shutdown(rig.app.get(), SHUT_WR);
  CHECK(rig.peer.Next() == kCloseNotify);
  CHECK_FALSE(rig.peer.Next());
  REQUIRE(rig.peer.Send(ContentType::kHandshake, {0, 0, 0, 0}));
  REQUIRE(rig.peer.SendData(BytesOf("on")));
  CHECK(test::ReadUpTo(rig.app.get(), 2).bytes == BytesOf("on"));
}
