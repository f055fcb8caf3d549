// A relay moves bytes and ends: equal bytes, half-close, close_notify, truncation, alerts behind data, resets, time limits.
#include "core/record_relay.h"

#include <doctest/doctest.h>
#include <sys/socket.h>

#include <thread>

#include "support/relay_rig.h"

using namespace sidesplice;
using core::RelayEnd;
using test::Bytes;
using test::BytesOf;
using test::RelayRig;
using test::Stream;
using tls::ContentType;

namespace {

using Kind = RelayEnd::Kind;
const test::RecordPeer::Record kCloseNotify{ContentType::kAlert, {1, 0}};

void ResetNow(sys::Fd& fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  fd.Reset();
}

test::RecordPeer::Record Fatal(tls::Alert alert) { return {ContentType::kAlert, {2, static_cast<uint8_t>(alert)}}; }

}  // namespace

TEST_CASE("bytes arrive equal both ways at once, in both directions of a session, with every suite") {
  INFO("SIDESPLICE_SEED=", test::Seed());
  for (const bool inbound : {true, false}) {
    for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
      for (const tls::Aead aead : {tls::Aead::kAes128Gcm, tls::Aead::kAes256Gcm, tls::Aead::kChaCha20Poly1305}) {
        RelayRig rig({.version = version, .aead = aead, .inbound = inbound});
        test::Random random(test::Seed());
        const Bytes from_app = random.Data(3'000'000);
        const Bytes from_peer = random.Data(2'500'000);
        // Each end has a writer of its own: neither waits for the other.
        std::thread app_writes([&] {
          test::WriteAll(rig.app.get(), from_app);
          shutdown(rig.app.get(), SHUT_WR);
        });
        std::thread peer_writes([&] {
          test::Random sizes(test::Seed() + 1);
          for (size_t at = 0; at < from_peer.size();) {
            const size_t size = std::min(from_peer.size() - at, 1 + sizes.Below(tls::kMaxPayloadBytes));
            const auto begin = from_peer.begin() + static_cast<std::ptrdiff_t>(at);
            rig.peer.SendData(Bytes(begin, begin + static_cast<std::ptrdiff_t>(size)));
            at += size;
          }
          rig.peer.SendCloseNotify();
          shutdown(rig.peer.fd.get(), SHUT_WR);
        });
        Stream at_app;
        std::thread app_reads([&] { at_app = test::ReadToEnd(rig.app.get()); });
        const Bytes at_peer = rig.peer.ReadData(from_app.size());
        const auto last = rig.peer.Next();
        for (std::thread* thread : {&app_writes, &peer_writes, &app_reads}) thread->join();
        CHECK(at_peer == from_app);
        CHECK(last == kCloseNotify);
        CHECK(at_app.bytes == from_peer);
        CHECK(at_app.end == Stream::End::kFin);
        const auto end = rig.Ended();
        REQUIRE(end);
        CHECK(end->kind == Kind::kClosed);
        const auto& session = rig.session();
        CHECK((inbound ? session.bytes_to_downstream : session.bytes_to_upstream) == from_app.size());
        CHECK((inbound ? session.bytes_to_upstream : session.bytes_to_downstream) == from_peer.size());
      }
    }
  }
}

TEST_CASE("records that come in pieces of any size are put together") {
  RelayRig rig;
  test::Random random(test::Seed());
  INFO("SIDESPLICE_SEED=", test::Seed());
  const Bytes data = random.Data(120'000);
  Bytes records;
  for (size_t at = 0; at < data.size();) {
    const size_t size = std::min(data.size() - at, random.Below(9'000));
    const auto begin = data.begin() + static_cast<std::ptrdiff_t>(at);
    const Bytes record = test::Padded(*rig.peer.write, ContentType::kApplicationData,
                                      Bytes(begin, begin + static_cast<std::ptrdiff_t>(size)), random.Below(300));
    records.insert(records.end(), record.begin(), record.end());
    at += size;
  }
  std::thread reads([&] { CHECK(test::ReadUpTo(rig.app.get(), data.size()).bytes == data); });
  for (size_t at = 0; at < records.size();) {
    const size_t size = std::min(records.size() - at, 1 + random.Below(at % 3 == 0 ? 4 : 30'000));
    REQUIRE(test::WriteAll(rig.peer.fd.get(), std::span(records).subspan(at, size)));
    at += size;
  }
  reads.join();
}

TEST_CASE("a FIN of the app is a close_notify and a FIN to the peer, and the other direction goes on") {
  for (const bool inbound : {true, false}) {
    RelayRig rig({.inbound = inbound});
    REQUIRE(test::WriteAll(rig.app.get(), BytesOf("question")));
    shutdown(rig.app.get(), SHUT_WR);
    CHECK(rig.peer.ReadData(8) == BytesOf("question"));
    CHECK(rig.peer.Next() == kCloseNotify);
    CHECK_FALSE(rig.peer.Next());
    CHECK(rig.peer.end == Stream::End::kFin);
    REQUIRE(rig.peer.SendData(BytesOf("answer")));
    CHECK(test::ReadUpTo(rig.app.get(), 6).bytes == BytesOf("answer"));
    CHECK_FALSE(rig.has_ended());
    REQUIRE(rig.peer.SendCloseNotify());
    CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kFin);
    CHECK(rig.Ended()->kind == Kind::kClosed);
  }
}

TEST_CASE("a close_notify of the peer is a FIN to the app, and the other direction goes on") {
  RelayRig rig;
  REQUIRE(rig.peer.SendData(BytesOf("last")));
  REQUIRE(rig.peer.SendCloseNotify());
  const Stream at_app = test::ReadToEnd(rig.app.get());
  CHECK(at_app.bytes == BytesOf("last"));
  CHECK(at_app.end == Stream::End::kFin);
  REQUIRE(test::WriteAll(rig.app.get(), BytesOf("still here")));
  CHECK(rig.peer.ReadData(10) == BytesOf("still here"));
  CHECK_FALSE(rig.has_ended());
  shutdown(rig.app.get(), SHUT_WR);
  CHECK(rig.peer.Next() == kCloseNotify);
  CHECK(rig.Ended()->kind == Kind::kClosed);
}

TEST_CASE("what a peer sends behind its close_notify is nobody's") {
  RelayRig rig;
  Bytes together = test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("data"));
  for (const Bytes& more : {test::Sealed(*rig.peer.write, ContentType::kAlert, {1, 0}),
                            test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("late"))})
    together.insert(together.end(), more.begin(), more.end());
  REQUIRE(rig.peer.SendBytes(together));
  const Stream at_app = test::ReadToEnd(rig.app.get());
  CHECK(at_app.bytes == BytesOf("data"));
  CHECK(at_app.end == Stream::End::kFin);
}

TEST_CASE("a stream that ends without close_notify is a reset to the app, behind all that came whole") {
  for (const bool within_a_record : {false, true}) {
    RelayRig rig;
    const Bytes data(50'000, 5);
    for (size_t at = 0; at < data.size(); at += 10'000) REQUIRE(rig.peer.SendData(Bytes(10'000, 5)));
    if (within_a_record) {
      Bytes cut = test::Sealed(*rig.peer.write, ContentType::kApplicationData, BytesOf("not whole"));
      cut.pop_back();
      REQUIRE(rig.peer.SendBytes(cut));
    }
    shutdown(rig.peer.fd.get(), SHUT_WR);
    const Stream at_app = test::ReadToEnd(rig.app.get());
    CHECK(at_app.bytes == data);
    CHECK(at_app.end == Stream::End::kReset);
    const auto end = rig.Ended();
    REQUIRE(end);
    CHECK(end->kind == Kind::kAborted);
    CHECK(end->truncated);
    CHECK(end->by_downstream);
  }
}

TEST_CASE("a fatal alert of the peer is a reset to the app, behind the data that came before it") {
  RelayRig rig;
  const Bytes data(400'000, 9);
  std::thread reads([&] {
    const Stream at_app = test::ReadToEnd(rig.app.get());
    CHECK(at_app.bytes == data);
    CHECK(at_app.end == Stream::End::kReset);
  });
  for (size_t at = 0; at < data.size(); at += 16'000) REQUIRE(rig.peer.SendData(Bytes(16'000, 9)));
  REQUIRE(rig.peer.Send(ContentType::kAlert, {2, 80}));
  reads.join();
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->kind == Kind::kAborted);
  CHECK(end->detail == "alert internal_error");
  CHECK_FALSE(end->truncated);
}

TEST_CASE("a reset of the app is a fatal alert and a FIN to the peer, behind the data that was taken in") {
  RelayRig rig;
  REQUIRE(test::WriteAll(rig.app.get(), BytesOf("half a")));
  CHECK(rig.peer.ReadData(6) == BytesOf("half a"));
  ResetNow(rig.app);
  CHECK(rig.peer.Next() == Fatal(tls::Alert::kInternalError));
  CHECK_FALSE(rig.peer.Next());
  CHECK(rig.peer.end == Stream::End::kFin);
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->kind == Kind::kAborted);
  CHECK_FALSE(end->by_downstream);
}

TEST_CASE("a reset of the peer is a reset to the app") {
  RelayRig rig;
  REQUIRE(rig.peer.SendData(BytesOf("one")));
  CHECK(test::ReadUpTo(rig.app.get(), 3).bytes == BytesOf("one"));
  ResetNow(rig.peer.fd);
  CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kReset);
  CHECK(rig.Ended()->detail == "ECONNRESET");
}

TEST_CASE("an upstream that goes before a byte moved gives the app's connection back, untouched") {
  RelayRig rig({.inbound = false});
  shutdown(rig.peer.fd.get(), SHUT_WR);
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->kind == Kind::kUnused);
  REQUIRE(rig.given_back() >= 0);
  REQUIRE(test::WriteAll(rig.app.get(), BytesOf("still open")));
  CHECK(test::ReadUpTo(rig.given_back(), 10).bytes == BytesOf("still open"));
}

TEST_CASE("an upstream that goes after a byte moved gives nothing back") {
  RelayRig rig({.inbound = false});
  REQUIRE(test::WriteAll(rig.app.get(), BytesOf("x")));
  CHECK(rig.peer.ReadData(1) == BytesOf("x"));
  shutdown(rig.peer.fd.get(), SHUT_WR);
  CHECK(rig.Ended()->kind == Kind::kAborted);
  CHECK(rig.given_back() < 0);
  CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kReset);
}

TEST_CASE("a session that is ended from outside tells both ends, in the words of the reason") {
  RelayRig denied;
  denied.Terminate("no_longer_allowed");
  CHECK(denied.peer.Next() == Fatal(tls::Alert::kAccessDenied));
  CHECK(test::ReadToEnd(denied.app.get()).end == Stream::End::kReset);
  CHECK(denied.Ended()->kind == Kind::kTerminated);
  RelayRig stopped;
  stopped.Terminate("shutdown");
  CHECK(stopped.peer.Next() == Fatal(tls::Alert::kInternalError));
}

TEST_CASE("an idle session ends, and one that moves a byte now and then does not") {
  RelayRig idle({.idle_timeout_ms = 50});
  CHECK(idle.peer.Next() == Fatal(tls::Alert::kInternalError));
  const auto end = idle.Ended();
  REQUIRE(end);
  CHECK(end->kind == Kind::kTimeout);
  CHECK(std::string(end->reason) == "idle_timeout");
  RelayRig busy({.idle_timeout_ms = 600});
  // Longer in all than the limit; each wait is for a byte that comes.
  for (int at = 0; at < 8; at++) {
    REQUIRE(test::IsQuiet(busy.app.get(), 100));
    REQUIRE(busy.peer.SendData({1}));
    REQUIRE(test::ReadUpTo(busy.app.get(), 1).bytes.size() == 1);
  }
  CHECK_FALSE(busy.has_ended());
}

TEST_CASE("a session that rested goes on both ways, and ends cleanly") {
  for (const tls::Version version : {tls::Version::kTls13, tls::Version::kTls12}) {
    RelayRig rig({.version = version});
    for (int round = 0; round < 3; round++) {
      REQUIRE(rig.peer.SendData({1, 2, 3}));
      CHECK(test::ReadUpTo(rig.app.get(), 3).bytes == Bytes{1, 2, 3});
      REQUIRE(test::WriteAll(rig.app.get(), Bytes{4, 5}));
      CHECK(rig.peer.ReadData(2) == Bytes{4, 5});
      rig.Rest();
    }
    REQUIRE(rig.peer.SendCloseNotify());
    CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kFin);
    rig.Rest();
    shutdown(rig.app.get(), SHUT_WR);
    CHECK(rig.peer.Next() == kCloseNotify);
    CHECK(rig.Ended()->kind == Kind::kClosed);
  }
}

TEST_CASE("a half-closed session on which nothing moves ends") {
  RelayRig rig({.half_close_timeout_ms = 50});
  REQUIRE(rig.peer.SendCloseNotify());
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->kind == Kind::kTimeout);
  CHECK(std::string(end->reason) == "half_close_timeout");
}
