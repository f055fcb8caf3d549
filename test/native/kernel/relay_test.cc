// The splice relay on a kernel that has TLS: the peer's records are made by hand.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <thread>

#include "support/relay_rig.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::RelayRig;
using test::Stream;
using tls::Aead;
using tls::ContentType;
using tls::Version;

namespace {

using Record = test::RecordPeer::Record;

const Record kCloseNotify{ContentType::kAlert, {1, 0}};

}  // namespace

TEST_CASE("every cipher in both versions carries bulk both ways, and clean ends") {
  for (const Version version : {Version::kTls13, Version::kTls12}) {
    for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
      CAPTURE(static_cast<int>(version));
      CAPTURE(static_cast<int>(aead));
      RelayRig rig({.version = version, .aead = aead, .kernel = true});
      test::Random random(test::Seed());
      const Bytes data = random.Data(5'000'000);
      std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
      CHECK(rig.peer.ReadData(data.size()) == data);
      writes.join();
      std::thread answers([&] {
        for (size_t at = 0; at < data.size(); at += tls::kMaxPayloadBytes) {
          const size_t bytes = std::min(tls::kMaxPayloadBytes, data.size() - at);
          const auto from = data.begin() + static_cast<ptrdiff_t>(at);
          if (!rig.peer.SendData(Bytes(from, from + static_cast<ptrdiff_t>(bytes)))) return;
        }
      });
      CHECK(test::ReadUpTo(rig.app.get(), data.size()).bytes == data);
      answers.join();
      rig.OnThread([&] { CHECK(rig.pipes_taken() == 0); });
      shutdown(rig.app.get(), SHUT_WR);
      CHECK(rig.peer.Next() == kCloseNotify);
      REQUIRE(rig.peer.SendCloseNotify());
      CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kFin);
      const auto end = rig.Ended();
      REQUIRE(end);
      CHECK(end->kind == core::RelayEnd::Kind::kClosed);
      CHECK(rig.spliced_bytes() > data.size());
    }
  }
}

TEST_CASE("a slow reader gets every record, the alert of an end from outside behind them, and then a FIN") {
  RelayRig rig({.half_close_timeout_ms = test::kPatienceMs, .kernel = true});
  test::Random random(test::Seed());
  const Bytes data = random.Data(30'000'000);
  size_t sent = 0;
  while (sent < data.size() && test::WaitFor(rig.app.get(), POLLOUT, 500)) {
    const ssize_t took = send(rig.app.get(), data.data() + sent, std::min<size_t>(data.size() - sent, 65'536), MSG_NOSIGNAL);
    if (took <= 0) break;
    sent += static_cast<size_t>(took);
  }
  rig.Terminate("no_longer_allowed");
  REQUIRE(rig.Ended());
  const uint64_t taken = rig.session().bytes_to_downstream;
  const Bytes got = rig.peer.ReadData(data.size());
  CHECK(got.size() == taken);
  CHECK(std::equal(got.begin(), got.end(), data.begin()));
  CHECK(rig.peer.last == Record{ContentType::kAlert, {2, 49}});
  CHECK_FALSE(rig.peer.Next());
  CHECK(rig.peer.end == Stream::End::kFin);
}

TEST_CASE("a slow reader gets every record and the close_notify of an app that has closed") {
  for (int round = 0; round < 5; round++) {
    RelayRig rig({.half_close_timeout_ms = test::kPatienceMs, .kernel = true});
    test::Random random(test::Seed());
    const Bytes data = random.Data(9'000'000);
    std::thread writes([&] {
      test::WriteAll(rig.app.get(), data);
      shutdown(rig.app.get(), SHUT_WR);
    });
    Bytes got;
    for (size_t at = 0; at < data.size(); at += 500'000) {
      const Bytes part = rig.peer.ReadData(std::min<size_t>(500'000, data.size() - got.size()));
      got.insert(got.end(), part.begin(), part.end());
      if (got.size() >= data.size()) break;
    }
    writes.join();
    CHECK(got == data);
    CHECK(rig.peer.Next() == kCloseNotify);
    CHECK_FALSE(rig.peer.Next());
    CHECK(rig.peer.end == Stream::End::kFin);
  }
}

TEST_CASE("a KeyUpdate that the kernel can't follow ends the session, and its word says so") {
  RelayRig rig({.kernel = true});
  REQUIRE(rig.peer.SendData(BytesOf("before")));
  CHECK(test::ReadUpTo(rig.app.get(), 6).bytes == BytesOf("before"));
  REQUIRE(rig.peer.SendKeyUpdate(true));
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(std::string(end->reason) == "key_update_unsupported");
  CHECK(end->detail.find("came") != std::string::npos);
  CHECK(test::ReadToEnd(rig.app.get()).end == Stream::End::kReset);
  CHECK(rig.peer.Next() == Record{ContentType::kAlert, {2, 80}});
}

TEST_CASE("a KeyUpdate that is due and can't be made ends the session; ChaCha20 and TLS 1.2 go on") {
  struct Row {
    Version version;
    Aead aead;
    bool ends;
  };
  for (const Row& row : {Row{Version::kTls13, Aead::kAes256Gcm, true}, Row{Version::kTls13, Aead::kChaCha20Poly1305, false},
                         Row{Version::kTls12, Aead::kAes128Gcm, false}}) {
    RelayRig rig({.version = row.version, .aead = row.aead, .rekey_after_records = 300, .kernel = true});
    const Bytes data(12'000'000, 3);
    std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
    const Bytes got = rig.peer.ReadData(data.size());
    writes.join();
    CHECK((got.size() == data.size()) == !row.ends);
    // Looked at behind each mebibyte.
    if (row.ends) CHECK(got.size() >= 300 * tls::kMaxPayloadBytes / 2);
    if (!row.ends) continue;
    const auto end = rig.Ended();
    REQUIRE(end);
    CHECK(std::string(end->reason) == "key_update_unsupported");
    CHECK(end->detail.find("due") != std::string::npos);
  }
}

TEST_CASE("a bulk stream with small records and control records between is whole, and nothing spins") {
  RelayRig rig({.kernel = true});
  test::Random random(test::Seed());
  const Bytes data = random.Data(3'000'000);
  std::thread writes([&] {
    size_t at = 0;
    for (int record = 0; at < data.size(); record++) {
      const size_t bytes = std::min(data.size() - at, record % 40 == 39 ? size_t{1} : tls::kMaxPayloadBytes);
      const auto from = data.begin() + static_cast<ptrdiff_t>(at);
      // user_canceled and empty records mean nothing, and are between the others.
      if (record % 40 == 20) rig.peer.Send(ContentType::kAlert, {1, 90});
      if (record % 40 == 30) rig.peer.SendData({});
      rig.peer.SendData(Bytes(from, from + static_cast<ptrdiff_t>(bytes)));
      at += bytes;
    }
    rig.peer.SendCloseNotify();
  });
  const Stream got = test::ReadToEnd(rig.app.get());
  writes.join();
  CHECK(got.bytes == data);
  CHECK(got.end == Stream::End::kFin);
}

TEST_CASE("a record that does not open is refused, behind what came before it, in the middle of a splice") {
  RelayRig rig({.kernel = true});
  const Bytes data(tls::kMaxPayloadBytes, 6);
  Bytes got;
  std::thread writes([&] {
    for (int record = 0; record < 200; record++)
      if (!rig.peer.SendData(data)) return;
    Bytes bad = test::Padded(*rig.peer.write, ContentType::kApplicationData, BytesOf("bad"), 0);
    bad.back() ^= 1;
    rig.peer.SendBytes(bad);
  });
  const Stream read = test::ReadToEnd(rig.app.get());
  writes.join();
  CHECK(read.bytes.size() == 200 * data.size());
  CHECK(read.end == Stream::End::kReset);
  CHECK(rig.peer.Next() == Record{ContentType::kAlert, {2, 20}});
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->refused);
}
