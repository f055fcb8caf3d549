// The rules for certificates, each with what it lets through and what it stops: by Verify, which takes a chain again when the
// roots have changed; within a handshake they are the same.
#include "tls/identity.h"

#include <doctest/doctest.h>
#include <openssl/x509_vfy.h>

#include "support/certificates.h"
#include "support/openssl_peer.h"
#include "support/sockets.h"

using namespace sidesplice;
using test::Certified;
using test::Issue;
using tls::Role;

namespace {

int Verified(const Certified& leaf, const std::vector<const Certified*>& chain, const std::vector<const Certified*>& roots,
             Role peer = Role::kClient) {
  const auto identity = test::IdentityOf(test::TheMesh().web, {}, roots);
  const tls::X509StackPtr presented(sk_X509_new_null());
  const auto push = [&](const Certified& one) {
    X509_up_ref(one.certificate.get());
    sk_X509_push(presented.get(), one.certificate.get());
  };
  push(leaf);
  for (const Certified* one : chain) push(*one);
  return identity->Verify(leaf.certificate.get(), presented.get(), peer);
}

/** Whether a client that presents this is let through the handshake of a server that trusts `roots`. */
bool Shaken(const Certified& leaf, const std::vector<const Certified*>& chain, const std::vector<const Certified*>& roots) {
  const auto identity = test::IdentityOf(test::TheMesh().web, {}, roots);
  const auto [ours, theirs] = test::TcpPair();
  test::OpensslPeer peer({.leaf = &leaf, .chain = chain}, theirs.get());
  const auto handshake = tls::Handshake::Begin(identity, Role::kServer, ours.get(), {});
  return test::ShakeHands(*handshake, peer);
}

/** By Verify and by a handshake, which must agree. */
int Judged(const Certified& leaf, const std::vector<const Certified*>& chain, const std::vector<const Certified*>& roots) {
  const int verified = Verified(leaf, chain, roots);
  CHECK((verified == X509_V_OK) == Shaken(leaf, chain, roots));
  return verified;
}

std::string Refused(std::string_view chain, std::string_view key, std::string_view roots) {
  std::string why;
  return tls::Identity::Build({.chain_pem = chain, .key_pem = key, .roots_pem = roots}, &why) == nullptr ? why : "";
}

}  // namespace

TEST_CASE("a leaf of a trusted root is taken, one of another root is not") {
  const Certified root = test::MakeRoot();
  const Certified other = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  CHECK(Judged(leaf, {}, {&root}) == X509_V_OK);
  CHECK(Judged(leaf, {}, {&other, &root}) == X509_V_OK);
  CHECK(Judged(leaf, {}, {&other}) == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

TEST_CASE("any listed root is an anchor, also one that is not self-signed") {
  const Certified root = test::MakeRoot();
  const Certified intermediate = Issue({.uris = {}, .ca = true, .usage = ""}, &root);
  const Certified leaf = Issue({}, &intermediate);
  CHECK(Judged(leaf, {}, {&intermediate}) == X509_V_OK);
  CHECK(Judged(leaf, {&intermediate}, {&root}) == X509_V_OK);
  CHECK(Judged(leaf, {}, {&root}) == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
}

TEST_CASE("a listed leaf is no anchor of its own") {
  const Certified root = test::MakeRoot();
  const Certified stranger = Issue({}, nullptr);
  CHECK(Judged(stranger, {}, {&root}) == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT);
}

TEST_CASE("a certificate that may sign others is no leaf") {
  const Certified root = test::MakeRoot();
  CHECK(Judged(Issue({.ca = true}, &root), {}, {&root}) == X509_V_ERR_INVALID_CA);
  CHECK(Judged(root, {}, {&root}) == X509_V_ERR_INVALID_CA);
}

TEST_CASE("a leaf signs no other leaf") {
  const Certified root = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const Certified below = Issue({}, &leaf);
  CHECK(Judged(below, {&leaf}, {&root}) == X509_V_ERR_INVALID_CA);
}

TEST_CASE("the extended key usage must be there for the peer's role, or not at all") {
  const Certified root = test::MakeRoot();
  const Certified server = Issue({.usage = "serverAuth"}, &root);
  const Certified client = Issue({.usage = "clientAuth"}, &root);
  const Certified neither = Issue({.usage = "codeSigning"}, &root);
  const Certified silent = Issue({.usage = ""}, &root);
  CHECK(Verified(server, {}, {&root}, Role::kServer) == X509_V_OK);
  CHECK(Verified(server, {}, {&root}, Role::kClient) == X509_V_ERR_INVALID_PURPOSE);
  CHECK(Verified(client, {}, {&root}, Role::kClient) == X509_V_OK);
  CHECK(Verified(client, {}, {&root}, Role::kServer) == X509_V_ERR_INVALID_PURPOSE);
  CHECK(Verified(neither, {}, {&root}, Role::kServer) == X509_V_ERR_INVALID_PURPOSE);
  CHECK(Verified(silent, {}, {&root}, Role::kServer) == X509_V_OK);
  CHECK_FALSE(Shaken(server, {}, {&root}));
  CHECK(Shaken(client, {}, {&root}));
}

TEST_CASE("a leaf is good from NotBefore to NotAfter") {
  const Certified root = test::MakeRoot();
  CHECK(Judged(Issue({.begins = 3600, .ends = 7200}, &root), {}, {&root}) == X509_V_ERR_CERT_NOT_YET_VALID);
  CHECK(Judged(Issue({.begins = -7200, .ends = -3600}, &root), {}, {&root}) == X509_V_ERR_CERT_HAS_EXPIRED);
}

TEST_CASE("four intermediates are taken, five are not") {
  const Certified root = test::MakeRoot();
  std::vector<Certified> made;
  made.reserve(5);
  for (int at = 0; at < 5; at++)
    made.push_back(Issue({.uris = {}, .ca = true, .usage = ""}, made.empty() ? &root : &made.back()));
  const auto chain = [&](size_t count) {
    std::vector<const Certified*> from_leaf;
    for (size_t at = count; at > 0; at--) from_leaf.push_back(&made[at - 1]);
    return from_leaf;
  };
  CHECK(Judged(Issue({}, &made[3]), chain(4), {&root}) == X509_V_OK);
  CHECK(Judged(Issue({}, &made[4]), chain(5), {&root}) != X509_V_OK);
}

TEST_CASE("16 KiB of certificates are taken, more are not, wherever they stand") {
  const Certified root = test::MakeRoot();
  const Certified large = Issue({.ballast = 15'000}, &root);
  const Certified larger = Issue({.ballast = 16'384}, &root);
  CHECK(Judged(large, {}, {&root}) == X509_V_OK);
  CHECK(Judged(larger, {}, {&root}) == X509_V_ERR_CERT_CHAIN_TOO_LONG);
  // Not of the chain, but presented.
  const Certified leaf = Issue({}, &root);
  CHECK(Judged(leaf, {&large}, {&root}) == X509_V_OK);
  CHECK(Judged(leaf, {&large, &large}, {&root}) == X509_V_ERR_CERT_CHAIN_TOO_LONG);
}

TEST_CASE("a signature that was changed is none") {
  const Certified root = test::MakeRoot();
  const Certified other = test::MakeRoot();
  // Signed by another key under the root's name.
  Certified forger;
  forger.certificate = tls::X509Ptr(X509_dup(root.certificate.get()));
  forger.key = tls::PkeyPtr(EVP_PKEY_dup(other.key.get()));
  CHECK(Judged(Issue({}, &forger), {}, {&root}) == X509_V_ERR_CERT_SIGNATURE_FAILURE);
}

TEST_CASE("an identity that does not fit together is refused with a reason, whatever is wrong") {
  const Certified root = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const Certified other = Issue({}, &root);
  const std::string chain = leaf.CertificatePem();
  const std::string roots = root.CertificatePem();
  CHECK(Refused(chain, leaf.KeyPem(), roots) == "");
  CHECK(Refused(chain, other.KeyPem(), roots).starts_with("certificate and key: "));
  CHECK(Refused("", leaf.KeyPem(), roots).starts_with("certificate and key: "));
  CHECK(Refused(chain, "", roots).starts_with("certificate and key: "));
  CHECK(Refused(chain, leaf.KeyPem(), "").starts_with("roots: "));
  CHECK(Refused(chain.substr(0, chain.size() / 2), leaf.KeyPem(), roots).starts_with("certificate and key: "));
  // One good root before a broken one is not half a trust set.
  const std::string broken = roots + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  CHECK(Refused(chain, leaf.KeyPem(), broken).starts_with("roots: "));
  CHECK(ERR_peek_error() == 0);
}

TEST_CASE("trust is equal for the same roots in another order, and for nothing else") {
  const Certified one = test::MakeRoot();
  const Certified other = test::MakeRoot();
  const Certified& leaf = test::TheMesh().web;
  const std::string both = test::IdentityOf(leaf, {}, {&one, &other})->trust();
  CHECK(both == test::IdentityOf(test::TheMesh().web_rsa, {}, {&other, &one})->trust());
  CHECK(both != test::IdentityOf(leaf, {}, {&one})->trust());
}

TEST_CASE("groups that this OpenSSL does not have are refused") {
  const Certified root = test::MakeRoot();
  const Certified leaf = Issue({}, &root);
  const std::string chain = leaf.CertificatePem();
  const std::string key = leaf.KeyPem();
  const std::string roots = root.CertificatePem();
  const auto with = [&](const char* groups) {
    std::string why;
    return tls::Identity::Build({.chain_pem = chain, .key_pem = key, .roots_pem = roots, .groups = groups}, &why) == nullptr ? why
                                                                                                                              : "";
  };
  CHECK(with("P-256") == "");
  CHECK(with("NOSUCHGROUP:X25519").starts_with("groups: "));
}
