// Our records against OpenSSL's SSL_read and SSL_write: both roles, both versions, every suite, random sizes and padding.
#include <doctest/doctest.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <tuple>

#include "support/certificates.h"
#include "support/openssl_peer.h"
#include "support/record_writer.h"
#include "support/sockets.h"
#include "tls/handshake.h"

using namespace sidesplice;
using test::Bytes;
using test::OpensslPeer;
using test::PeerOptions;
using tls::ContentType;
using tls::Role;

namespace {

struct Suite {
  const char* openssl;
  const char* standard;
  int version;
  bool rsa;
};

constexpr Suite kSuites[] = {
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", TLS1_3_VERSION, false},
    {"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", TLS1_3_VERSION, false},
    {"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", TLS1_3_VERSION, true},
    {"ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", TLS1_2_VERSION, false},
    {"ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", TLS1_2_VERSION, false},
    {"ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", TLS1_2_VERSION, false},
    {"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TLS1_2_VERSION, true},
    {"ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", TLS1_2_VERSION, true},
    {"ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", TLS1_2_VERSION, true},
};

/** A handshake that was taken over, and OpenSSL at the other end. */
struct Pair {
  sys::Fd ours;
  sys::Fd theirs;
  std::unique_ptr<OpensslPeer> peer;
  std::unique_ptr<tls::Secured> secured;
};

Pair Connected(Role our_role, PeerOptions options, bool rsa) {
  Pair pair;
  std::tie(pair.ours, pair.theirs) = test::TcpPair();
  options.role = our_role == Role::kServer ? Role::kClient : Role::kServer;
  options.leaf = rsa ? &test::TheMesh().web_rsa : &test::TheMesh().web;
  pair.peer = std::make_unique<OpensslPeer>(options, pair.theirs.get());
  const auto identity = rsa ? test::TheMesh().identity_rsa : test::TheMesh().identity;
  const auto handshake = tls::Handshake::Begin(identity, our_role, pair.ours.get(), {});
  REQUIRE(test::ShakeHands(*handshake, *pair.peer));
  pair.secured = handshake->Take();
  REQUIRE(pair.secured != nullptr);
  return pair;
}

/** The next record of the peer, opened. Its bytes go with the next one. */
tls::Opened NextRecord(Pair& pair, Bytes& record) {
  record = test::ReadUpTo(pair.ours.get(), tls::kHeaderBytes).bytes;
  REQUIRE(record.size() == tls::kHeaderBytes);
  const size_t body = static_cast<size_t>(record[3]) << 8 | record[4];
  REQUIRE(body <= pair.secured->read->max_body());
  const Bytes rest = test::ReadUpTo(pair.ours.get(), body).bytes;
  REQUIRE(rest.size() == body);
  record.insert(record.end(), rest.begin(), rest.end());
  return pair.secured->read->Open(record);
}

/** So many bytes of the peer's application data; updates the key where it is asked to. */
Bytes Receive(Pair& pair, size_t bytes) {
  Bytes all;
  Bytes record;
  while (all.size() < bytes) {
    const tls::Opened opened = NextRecord(pair, record);
    REQUIRE_FALSE(opened.refused);
    if (opened.type == ContentType::kHandshake && opened.payload[0] == 24) REQUIRE(pair.secured->read->Update());
    if (opened.type == ContentType::kApplicationData) all.insert(all.end(), opened.payload.begin(), opened.payload.end());
  }
  return all;
}

void Send(Pair& pair, ContentType type, const Bytes& payload, size_t padding = 0) {
  const Bytes record = padding == 0 ? test::Sealed(*pair.secured->write, type, payload)
                                    : test::Padded(*pair.secured->write, type, payload, padding);
  REQUIRE(test::WriteAll(pair.ours.get(), record));
}

/** Random sizes both ways, the smallest and the largest among them. */
void Exchange(Pair& pair, test::Random& random, int rounds) {
  const bool is13 = pair.secured->read->version() == tls::Version::kTls13;
  for (int round = 0; round < rounds; round++) {
    const size_t size = round == 0 ? 1 : round == 1 ? tls::kMaxPayloadBytes : 1 + random.Below(tls::kMaxPayloadBytes);
    const size_t padding = is13 && round % 2 == 1 ? random.Below(tls::kMaxPayloadBytes - size + 1) : 0;
    const Bytes ours = random.Data(size);
    Send(pair, ContentType::kApplicationData, ours, padding);
    REQUIRE(pair.peer->Read(size) == ours);
    const Bytes theirs = random.Data(1 + random.Below(40'000));
    REQUIRE(pair.peer->Write(theirs));
    REQUIRE(Receive(pair, theirs.size()) == theirs);
  }
}

constexpr Role kRoles[] = {Role::kServer, Role::kClient};

}  // namespace

TEST_CASE("every suite carries random sizes and padding to and from OpenSSL, in both roles") {
  test::Random random(test::Seed());
  INFO("SIDESPLICE_SEED=", test::Seed());
  for (const Suite& suite : kSuites) {
    for (const Role role : kRoles) {
      CAPTURE(suite.standard);
      const size_t padding = role == Role::kServer ? 512 : 0;
      Pair pair = Connected(role, {.version = suite.version, .suite = suite.openssl, .padding = padding}, suite.rsa);
      CHECK(pair.secured->cipher == suite.standard);
      CHECK(pair.secured->version == (suite.version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2"));
      Exchange(pair, random, 6);
    }
  }
}

TEST_CASE("padding of every length is taken off what OpenSSL pads") {
  test::Random random(test::Seed());
  for (const size_t block : {size_t{16}, size_t{1024}, size_t{16'384}}) {
    Pair pair = Connected(Role::kServer, {.padding = block}, false);
    for (int round = 0; round < 8; round++) {
      const Bytes sent = random.Data(1 + random.Below(block));
      REQUIRE(pair.peer->Write(sent));
      Bytes record;
      const tls::Opened opened = NextRecord(pair, record);
      REQUIRE_FALSE(opened.refused);
      CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == sent);
      // It was padded indeed.
      CHECK((record.size() - tls::kHeaderBytes - tls::kTagBytes) >= block);
    }
  }
}

TEST_CASE("keys are updated both ways, by OpenSSL and by us, as often as one likes") {
  test::Random random(test::Seed());
  for (const Suite& suite : kSuites) {
    if (suite.version != TLS1_3_VERSION) continue;
    for (const Role role : kRoles) {
      Pair pair = Connected(role, {.suite = suite.openssl}, suite.rsa);
      for (int round = 0; round < 4; round++) {
        // Theirs, which asks for none of ours.
        REQUIRE(SSL_key_update(pair.peer->ssl(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
        Exchange(pair, random, 1);
        // Ours, which asks for theirs: OpenSSL answers before its next data.
        Send(pair, ContentType::kHandshake, {24, 0, 0, 1, 1});
        REQUIRE(pair.secured->write->Update());
        Exchange(pair, random, 1);
      }
      CHECK(pair.secured->read->records() < 20);
    }
  }
}

TEST_CASE("the tickets that an OpenSSL server sends are records of the sequence, and what follows opens") {
  Pair pair = Connected(Role::kClient, {.tickets = 3}, false);
  Bytes record;
  for (int ticket = 0; ticket < 3; ticket++) {
    const tls::Opened opened = NextRecord(pair, record);
    REQUIRE_FALSE(opened.refused);
    CHECK(opened.type == ContentType::kHandshake);
    CHECK(opened.payload[0] == 4);
  }
  CHECK(pair.secured->read->records() == 3);
  test::Random random(test::Seed());
  Exchange(pair, random, 3);
}

TEST_CASE("renegotiation that OpenSSL begins in TLS 1.2 reaches us as a ClientHello, and no_renegotiation ends its attempt") {
  Pair pair = Connected(Role::kServer, {.version = TLS1_2_VERSION}, false);
  REQUIRE(SSL_renegotiate(pair.peer->ssl()) == 1);
  CHECK_FALSE(pair.peer->Shake());
  Bytes record;
  const tls::Opened opened = NextRecord(pair, record);
  REQUIRE_FALSE(opened.refused);
  CHECK(opened.type == ContentType::kHandshake);
  CHECK(opened.payload[0] == 1);
  Send(pair, ContentType::kAlert, {1, 100});
  CHECK_FALSE(pair.peer->Shake());
  CHECK(pair.peer->failed());
  CHECK(pair.peer->reason() == SSL_R_NO_RENEGOTIATION);
}

TEST_CASE("a close_notify of each side is understood by the other") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Pair pair = Connected(Role::kServer, {.version = version}, false);
    SSL_shutdown(pair.peer->ssl());
    Bytes record;
    const tls::Opened opened = NextRecord(pair, record);
    REQUIRE_FALSE(opened.refused);
    CHECK(opened.type == ContentType::kAlert);
    CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == Bytes{1, 0});
    Send(pair, ContentType::kAlert, {1, 0});
    CHECK(SSL_shutdown(pair.peer->ssl()) == 1);
  }
}

TEST_CASE("data that came in one segment with Finished is still in the socket when the keys are taken over") {
  const auto [ours, theirs] = test::TcpPair();
  OpensslPeer peer({.role = Role::kClient}, theirs.get());
  const auto handshake = tls::Handshake::Begin(test::TheMesh().identity, Role::kServer, ours.get(), {});
  // The client is done one flight before the server: what it writes then stands behind its Finished.
  while (!peer.Shake()) {
    REQUIRE_FALSE(peer.failed());
    REQUIRE(handshake->Advance() == tls::Handshake::Step::kWantRead);
  }
  REQUIRE(SSL_key_update(peer.ssl(), SSL_KEY_UPDATE_NOT_REQUESTED) == 1);
  REQUIRE(peer.Write(test::BytesOf("early")));
  REQUIRE(handshake->Advance() == tls::Handshake::Step::kDone);
  Pair pair;
  pair.secured = handshake->Take();
  REQUIRE(pair.secured != nullptr);
  pair.ours = sys::Fd(dup(ours.get()));
  CHECK(Receive(pair, 5) == test::BytesOf("early"));
}
