// Handshakes with OpenSSL at the other end: what is learned of the peer, and every kind of failure, in both roles.
#include "tls/handshake.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include "support/openssl_peer.h"
#include "support/sockets.h"

using namespace sidesplice;
using test::OpensslPeer;
using test::PeerOptions;
using tls::Handshake;
using tls::HandshakeFault;
using tls::Role;

namespace {

struct Attempt {
  sys::Fd ours;
  sys::Fd theirs;
  std::unique_ptr<OpensslPeer> peer;
  std::unique_ptr<Handshake> handshake;
  bool done = false;
};

Attempt Try(Role our_role, PeerOptions options, std::shared_ptr<const tls::Identity> identity = test::TheMesh().identity) {
  Attempt attempt;
  std::tie(attempt.ours, attempt.theirs) = test::TcpPair();
  options.role = our_role == Role::kServer ? Role::kClient : Role::kServer;
  attempt.peer = std::make_unique<OpensslPeer>(options, attempt.theirs.get());
  attempt.handshake = Handshake::Begin(std::move(identity), our_role, attempt.ours.get(), {.server_name = "db.test.consul", .expect = {}});
  attempt.done = test::ShakeHands(*attempt.handshake, *attempt.peer);
  return attempt;
}

/** A handshake of ours whose other end is a bare socket. */
Attempt Bare(Role our_role) {
  Attempt attempt;
  std::tie(attempt.ours, attempt.theirs) = test::TcpPair();
  attempt.handshake = Handshake::Begin(test::TheMesh().identity, our_role, attempt.ours.get(), {});
  return attempt;
}

Handshake::Step AdvanceWhenReadable(Attempt& attempt) {
  REQUIRE(test::WaitFor(attempt.ours.get(), POLLIN));
  return attempt.handshake->Advance();
}

constexpr Role kRoles[] = {Role::kServer, Role::kClient};
constexpr int kVersions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

}  // namespace

TEST_CASE("a peer's URI SANs and serial come as its certificate has them, in both roles and versions") {
  const test::Certified leaf = test::Issue({.uris = {test::kWeb, "https://another.example/"}, .serial = 0x0A1B2C}, &test::TheMesh().root);
  for (const Role role : kRoles) {
    for (const int version : kVersions) {
      Attempt attempt = Try(role, {.version = version, .leaf = &leaf});
      REQUIRE(attempt.done);
      const auto secured = attempt.handshake->Take();
      REQUIRE(secured != nullptr);
      CHECK(secured->peer.uri_sans == std::vector<std::string>{test::kWeb, "https://another.example/"});
      CHECK(secured->peer.serial == "0A1B2C");
      CHECK(X509_cmp(secured->peer.leaf.get(), leaf.certificate.get()) == 0);
      CHECK(attempt.handshake->bytes_read() > 0);
    }
  }
}

TEST_CASE("a URI SAN with a zero byte keeps what is behind it") {
  const std::string tricky = std::string(test::kWeb) + '\0' + "/svc/other";
  const test::Certified leaf = test::Issue({.uris = {tricky}}, &test::TheMesh().root);
  Attempt attempt = Try(Role::kServer, {.leaf = &leaf});
  REQUIRE(attempt.done);
  CHECK(attempt.handshake->Take()->peer.uri_sans == std::vector<std::string>{tricky});
}

TEST_CASE("a certificate without a URI SAN has none to tell, and that is not the handshake's to judge") {
  const test::Certified leaf = test::Issue({.uris = {}}, &test::TheMesh().root);
  Attempt attempt = Try(Role::kServer, {.leaf = &leaf});
  REQUIRE(attempt.done);
  CHECK(attempt.handshake->Take()->peer.uri_sans.empty());
}

namespace {

/** The certificates that a server of ours shows a client, leaf first. */
std::vector<std::string> PresentedBy(const std::shared_ptr<const tls::Identity>& identity, const test::Certified& peers_root) {
  const test::Certified peer = test::Issue({}, &peers_root);
  Attempt attempt = Try(Role::kServer, {.leaf = &peer}, identity);
  REQUIRE(attempt.done);
  std::vector<std::string> names;
  const STACK_OF(X509)* chain = SSL_get_peer_cert_chain(attempt.peer->ssl());
  for (int at = 0; at < sk_X509_num(chain); at++) {
    char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    X509_digest(sk_X509_value(chain, at), EVP_sha256(), reinterpret_cast<unsigned char*>(digest), &bytes);
    names.emplace_back(digest, bytes);
  }
  return names;
}

std::vector<std::string> Fingerprints(const std::vector<const test::Certified*>& of) {
  std::vector<std::string> names;
  for (const test::Certified* one : of) {
    char digest[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    X509_digest(one->certificate.get(), EVP_sha256(), reinterpret_cast<unsigned char*>(digest), &bytes);
    names.emplace_back(digest, bytes);
  }
  return names;
}

}  // namespace

TEST_CASE("what is presented is the bundle as it is, or what leads from a leaf alone to a root of ours, without the root") {
  const test::Certified root = test::MakeRoot();
  const test::Certified intermediate = test::Issue({.uris = {}, .ca = true, .usage = ""}, &root);
  const test::Certified direct = test::Issue({}, &root);
  const test::Certified below = test::Issue({}, &intermediate);
  const test::Certified foreign = test::MakeRoot();
  CHECK(PresentedBy(test::IdentityOf(direct, {}, {&root}), root) == Fingerprints({&direct}));
  CHECK(PresentedBy(test::IdentityOf(below, {&intermediate}, {&root}), root) == Fingerprints({&below, &intermediate}));
  CHECK(PresentedBy(test::IdentityOf(below, {&intermediate, &root}, {&root}), root) == Fingerprints({&below, &intermediate, &root}));
  CHECK(PresentedBy(test::IdentityOf(below, {}, {&intermediate, &root}), root) == Fingerprints({&below, &intermediate}));
  // Nothing leads there: a peer may know better.
  CHECK(PresentedBy(test::IdentityOf(below, {}, {&foreign}), foreign) == Fingerprints({&below}));
}

TEST_CASE("a client sends the server name that it is given") {
  Attempt attempt = Try(Role::kClient, {});
  REQUIRE(attempt.done);
  CHECK(std::string(SSL_get_servername(attempt.peer->ssl(), TLSEXT_NAMETYPE_host_name)) == "db.test.consul");
}

TEST_CASE("a peer without a certificate is refused: none presented, in both versions") {
  for (const int version : kVersions) {
    Attempt attempt = Try(Role::kServer, {.version = version, .presents = false});
    CHECK_FALSE(attempt.done);
    CHECK(attempt.handshake->fault() == HandshakeFault::kCertificate);
    CHECK(attempt.handshake->detail() == "none presented");
    CHECK(attempt.peer->WaitForAlert());
    CHECK(attempt.peer->reason() == (version == TLS1_3_VERSION ? SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED
                                                               : SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE));
  }
}

TEST_CASE("a peer of a foreign root is refused, and told unknown_ca") {
  const test::Certified foreign = test::MakeRoot();
  const test::Certified leaf = test::Issue({}, &foreign);
  for (const Role role : kRoles) {
    Attempt attempt = Try(role, {.leaf = &leaf});
    CHECK_FALSE(attempt.done);
    CHECK(attempt.handshake->fault() == HandshakeFault::kCertificate);
    CHECK(attempt.handshake->detail().find("issuer") != std::string::npos);
    CHECK(attempt.peer->WaitForAlert());
    CHECK(attempt.peer->reason() == SSL_R_TLSV1_ALERT_UNKNOWN_CA);
  }
}

TEST_CASE("a peer that has its leaf's name but not its key is refused by the handshake itself") {
  const test::Certified other = test::Issue({}, &test::TheMesh().root);
  test::Certified stolen;
  stolen.certificate = tls::X509Ptr(X509_dup(test::TheMesh().web.certificate.get()));
  stolen.key = tls::PkeyPtr(EVP_PKEY_dup(other.key.get()));
  // OpenSSL itself would not use the two together: it presents no certificate then.
  Attempt attempt = Try(Role::kServer, {.leaf = &stolen});
  CHECK_FALSE(attempt.done);
  CHECK(attempt.handshake->fault() == HandshakeFault::kCertificate);
}

TEST_CASE("an alert of the peer is told by its name, where it refuses our certificate") {
  const test::Certified foreign = test::MakeRoot();
  for (const int version : kVersions) {
    // A server of TLS 1.2 judges within the handshake; so does a client of either version.
    Attempt attempt = Try(Role::kServer, {.version = version, .trusts = &foreign});
    CHECK_FALSE(attempt.done);
    CHECK(attempt.handshake->fault() == HandshakeFault::kAlert);
    CHECK(attempt.handshake->alert() == 48);
    CHECK(attempt.handshake->detail() == "alert unknown_ca");
  }
  Attempt attempt = Try(Role::kClient, {.version = TLS1_2_VERSION, .trusts = &foreign});
  CHECK(attempt.handshake->fault() == HandshakeFault::kAlert);
  CHECK(attempt.handshake->detail() == "alert unknown_ca");
}

TEST_CASE("a version or suite that we do not do fails as a matter of protocol") {
  Attempt old = Try(Role::kServer, {.version = TLS1_1_VERSION});
  CHECK_FALSE(old.done);
  CHECK(old.handshake->fault() == HandshakeFault::kProtocol);
  CHECK_FALSE(old.handshake->detail().empty());
  Attempt cbc = Try(Role::kServer, {.version = TLS1_2_VERSION, .suite = "ECDHE-ECDSA-AES128-SHA"});
  CHECK_FALSE(cbc.done);
  CHECK(cbc.handshake->fault() == HandshakeFault::kProtocol);
  Attempt ccm = Try(Role::kServer, {.suite = "TLS_AES_128_CCM_SHA256"});
  CHECK_FALSE(ccm.done);
  CHECK(ccm.handshake->fault() == HandshakeFault::kProtocol);
}

TEST_CASE("bytes that are no TLS fail as a matter of protocol, in both roles") {
  for (const Role role : kRoles) {
    Attempt attempt = Bare(role);
    REQUIRE(attempt.handshake->Advance() == Handshake::Step::kWantRead);
    REQUIRE(test::WriteAll(attempt.theirs.get(), test::BytesOf("GET / HTTP/1.1\r\nHost: web\r\n\r\n")));
    CHECK(AdvanceWhenReadable(attempt) == Handshake::Step::kFailed);
    CHECK(attempt.handshake->fault() == HandshakeFault::kProtocol);
    CHECK_FALSE(attempt.handshake->detail().empty());
  }
}

TEST_CASE("an alert is the peer's where a server answers with one, and no way to begin where a client does") {
  for (const Role role : kRoles) {
    Attempt attempt = Bare(role);
    REQUIRE(attempt.handshake->Advance() == Handshake::Step::kWantRead);
    REQUIRE(test::WriteAll(attempt.theirs.get(), test::FromHex("15030300020228")));
    CHECK(AdvanceWhenReadable(attempt) == Handshake::Step::kFailed);
    if (role == Role::kClient) {
      CHECK(attempt.handshake->fault() == HandshakeFault::kAlert);
      CHECK(attempt.handshake->alert() == 40);
      CHECK(attempt.handshake->detail() == "alert handshake_failure");
    } else {
      CHECK(attempt.handshake->fault() == HandshakeFault::kProtocol);
    }
  }
}

TEST_CASE("a peer that closes before a byte, or within its hello, has closed") {
  for (const size_t bytes : {size_t{0}, size_t{3}}) {
    Attempt attempt = Bare(Role::kServer);
    REQUIRE(attempt.handshake->Advance() == Handshake::Step::kWantRead);
    const test::Bytes begun = test::FromHex("160301");
    REQUIRE(test::WriteAll(attempt.theirs.get(), std::span(begun).first(bytes)));
    attempt.theirs.Reset();
    CHECK(AdvanceWhenReadable(attempt) == Handshake::Step::kFailed);
    CHECK(attempt.handshake->fault() == HandshakeFault::kClosed);
    CHECK(attempt.handshake->detail() == "closed by the peer");
    CHECK(attempt.handshake->bytes_read() == bytes);
  }
}

TEST_CASE("a reset of the peer is told by its error") {
  Attempt attempt = Bare(Role::kServer);
  REQUIRE(attempt.handshake->Advance() == Handshake::Step::kWantRead);
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  setsockopt(attempt.theirs.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  attempt.theirs.Reset();
  CHECK(AdvanceWhenReadable(attempt) == Handshake::Step::kFailed);
  CHECK(attempt.handshake->fault() == HandshakeFault::kClosed);
  CHECK(attempt.handshake->detail() == "ECONNRESET");
}

TEST_CASE("a hello that comes byte by byte is a hello") {
  const auto [near, far] = test::TcpPair();
  Attempt attempt = Bare(Role::kServer);
  OpensslPeer peer({.role = Role::kClient}, far.get());
  CHECK_FALSE(peer.Shake());
  REQUIRE(test::WaitFor(near.get(), POLLIN));
  uint8_t hello[4096];
  const ssize_t bytes = recv(near.get(), hello, sizeof(hello), 0);
  REQUIRE(bytes > 100);
  for (ssize_t at = 0; at < bytes; at++) {
    REQUIRE(test::WriteAll(attempt.theirs.get(), std::span(hello + at, 1)));
    REQUIRE(test::WaitFor(attempt.ours.get(), POLLIN));
    REQUIRE(attempt.handshake->Advance() == Handshake::Step::kWantRead);
  }
  // The whole flight of the server.
  CHECK(test::ReadUpTo(attempt.theirs.get(), 500).bytes.size() == 500);
}

TEST_CASE("what an earlier failure left in the thread's error queue is not taken for this handshake's") {
  for (int round = 0; round < 2; round++) {
    ERR_raise(ERR_LIB_SSL, SSL_R_WRONG_VERSION_NUMBER);
    Attempt attempt = Bare(Role::kServer);
    CHECK(attempt.handshake->Advance() == Handshake::Step::kWantRead);
    CHECK(ERR_peek_error() == 0);
  }
}
