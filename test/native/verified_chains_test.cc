// The memory of verified chains: what is in it and for how long; and through an identity, what it spares and what it never spares.
#include "tls/verified_chains.h"

#include <doctest/doctest.h>
#include <openssl/x509_vfy.h>
#include <poll.h>

#include "support/certificates.h"
#include "support/openssl_peer.h"
#include "support/sockets.h"

using namespace sidesplice;
using test::Certified;
using test::Issue;
using tls::Role;
using tls::VerifiedChains;

namespace {

constexpr int64_t kNow = 1'000'000;

VerifiedChains::Digest DigestOf(uint32_t number) {
  VerifiedChains::Digest digest{};
  for (size_t at = 0; at < 4; at++, number >>= 8) digest[at] = static_cast<uint8_t>(number);
  return digest;
}

int Verified(const tls::Identity& identity, const Certified& leaf, Role peer = Role::kClient) {
  return identity.Verify(leaf.certificate.get(), nullptr, peer);
}

/** How a handshake of ours with a peer that presents `leaf` ends. */
struct Shaken {
  bool done = false;
  tls::HandshakeFault fault = tls::HandshakeFault::kProtocol;
};
Shaken Shake(const std::shared_ptr<const tls::Identity>& identity, const Certified& leaf, Role ours,
             std::vector<std::string> expect = {}) {
  const auto [here, there] = test::TcpPair();
  test::OpensslPeer peer({.role = ours == Role::kServer ? Role::kClient : Role::kServer, .leaf = &leaf}, there.get());
  const auto handshake = tls::Handshake::Begin(identity, ours, here.get(), {.server_name = "", .expect = std::move(expect)});
  const bool done = test::ShakeHands(*handshake, peer);
  return {.done = done, .fault = handshake->fault()};
}

}  // namespace

TEST_CASE("a chain is held from when it was verified until it ends, and no other is") {
  VerifiedChains chains;
  CHECK_FALSE(chains.Holds(DigestOf(1), kNow));
  chains.Remember(DigestOf(1), kNow, kNow + 60);
  CHECK(chains.Holds(DigestOf(1), kNow));
  CHECK(chains.Holds(DigestOf(1), kNow + 59));
  CHECK_FALSE(chains.Holds(DigestOf(1), kNow + 60));
  CHECK_FALSE(chains.Holds(DigestOf(2), kNow));
  // A clock that was set back: it may not be valid yet.
  CHECK_FALSE(chains.Holds(DigestOf(1), kNow - 1));
}

TEST_CASE("a chain that lives long is verified again after an hour, one that is over is not held at all") {
  VerifiedChains chains;
  chains.Remember(DigestOf(1), kNow, kNow + 100'000);
  CHECK(chains.Holds(DigestOf(1), kNow + VerifiedChains::kLongestSeconds - 1));
  CHECK_FALSE(chains.Holds(DigestOf(1), kNow + VerifiedChains::kLongestSeconds));
  chains.Remember(DigestOf(2), kNow, kNow);
  CHECK(chains.size() == 1);
  chains.Remember(DigestOf(1), kNow + 5'000, kNow + 6'000);
  CHECK(chains.Holds(DigestOf(1), kNow + 5'999));
  CHECK(chains.size() == 1);
}

TEST_CASE("chains are held up to a number, and the oldest makes room") {
  VerifiedChains chains(3);
  for (uint32_t at = 0; at < 1'000; at++) {
    chains.Remember(DigestOf(at), kNow, kNow + 60);
    CHECK(chains.size() <= 3);
    CHECK(chains.Holds(DigestOf(at), kNow));
  }
  CHECK_FALSE(chains.Holds(DigestOf(996), kNow));
  CHECK(chains.Holds(DigestOf(997), kNow));
}

TEST_CASE("a chain that held in a handshake is remembered, once, and one that did not is not") {
  const Certified root = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const Certified foreign = Issue({}, nullptr);
  const auto identity = test::IdentityOf(test::TheMesh().web, {}, {&root});
  for (int at = 0; at < 3; at++) {
    CHECK(Shake(identity, leaf, Role::kServer).done);
    CHECK(identity->verified().size() == 1);
    CHECK_FALSE(Shake(identity, foreign, Role::kServer).done);
    CHECK(identity->verified().size() == 1);
  }
}

TEST_CASE("a leaf that was verified as a server is not verified as a client, nor the other way") {
  const Certified root = test::MakeRoot();
  for (const auto& [usage, good, bad] : {std::tuple("serverAuth", Role::kServer, Role::kClient),
                                         std::tuple("clientAuth", Role::kClient, Role::kServer)}) {
    const Certified leaf = Issue({.usage = usage}, &root);
    const auto identity = test::IdentityOf(test::TheMesh().web, {}, {&root});
    for (int at = 0; at < 2; at++) {
      CHECK(Verified(*identity, leaf, good) == X509_V_OK);
      CHECK(Verified(*identity, leaf, bad) == X509_V_ERR_INVALID_PURPOSE);
      // We are the other one: what it is good as, a handshake of ours as that one's peer takes.
      CHECK(Shake(identity, leaf, bad).done);
      CHECK(Shake(identity, leaf, good).fault == tls::HandshakeFault::kCertificate);
    }
    CHECK(identity->verified().size() == 1);
  }
}

TEST_CASE("another set of roots begins with none: what the former knew is verified anew, and refused") {
  const Certified root = test::MakeRoot();
  const Certified other = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const auto former = test::IdentityOf(test::TheMesh().web, {}, {&root});
  CHECK(Shake(former, leaf, Role::kServer).done);
  const auto now = test::IdentityOf(test::TheMesh().web, {}, {&other});
  CHECK(now->verified().size() == 0);
  CHECK(Shake(now, leaf, Role::kServer).fault == tls::HandshakeFault::kCertificate);
  CHECK(Verified(*now, leaf) == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

TEST_CASE("a remembered chain gives nobody its identity: the key must be there, and the SPIFFE ID be the expected one") {
  const Certified root = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const auto identity = test::IdentityOf(test::TheMesh().web, {}, {&root});
  CHECK(Shake(identity, leaf, Role::kClient, {test::kWeb}).done);
  CHECK(identity->verified().size() == 1);
  CHECK(Shake(identity, leaf, Role::kClient, {"spiffe://test.consul/ns/default/dc/dc1/svc/db"}).fault ==
        tls::HandshakeFault::kIdentity);
  const Certified stolen = test::Steal(leaf);
  const auto [here, there] = test::TcpPair();
  test::OpensslPeer peer({.role = Role::kServer, .leaf = &stolen}, there.get());
  const auto handshake = tls::Handshake::Begin(identity, Role::kClient, here.get(), {});
  CHECK_FALSE(test::ShakeHands(*handshake, peer));
  CHECK(handshake->detail() == "ERR_SSL_BAD_SIGNATURE");
}

TEST_CASE("a remembered chain ends with the first of its certificates") {
  const Certified root = test::MakeRoot();
  // Long enough for the first look on a slow machine; the leaf itself lives for an hour.
  const Certified intermediate = Issue({.uris = {}, .ca = true, .usage = "", .ends = 3}, &root);
  const Certified leaf = Issue({}, &intermediate);
  const auto identity = test::IdentityOf(test::TheMesh().web, {}, {&root});
  const tls::X509StackPtr presented(sk_X509_new_null());
  X509_up_ref(intermediate.certificate.get());
  sk_X509_push(presented.get(), intermediate.certificate.get());
  const auto verdict = [&] { return identity->Verify(leaf.certificate.get(), presented.get(), Role::kClient); };
  REQUIRE(verdict() == X509_V_OK);
  REQUIRE(identity->verified().size() == 1);
  int last = X509_V_OK;
  for (int waited = 0; waited < test::kPatienceMs && last == X509_V_OK; waited += 50) {
    poll(nullptr, 0, 50);
    last = verdict();
  }
  CHECK(last == X509_V_ERR_CERT_HAS_EXPIRED);
}
