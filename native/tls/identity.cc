// Building the context of an identity, and the rules for a peer's certificate.
#include "tls/identity.h"

#include <openssl/pem.h>


#include <algorithm>
#include <vector>

#include "sys/calls.h"
#include "tls/handshake.h"

namespace sidesplice::tls {

namespace {

// AEAD suites alone, AES-128 first: it is the fastest where the CPU has AES, and the relays do just these.
constexpr const char* kSuites13 = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
constexpr const char* kSuites12 =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
// Of OpenSSL 3.2 and later; 3.0, whose headers this compiles with, has neither them nor what they switch off.
constexpr uint64_t kNoTxCertificateCompression = uint64_t{1} << 32;
constexpr uint64_t kNoRxCertificateCompression = uint64_t{1} << 33;

// A Consul leaf is under 1 KiB, a chain of four RSA-4096 certificates under 8 KiB.
constexpr int kMaxCertificateBytes = 16 * 1024;
// What OpenSSL takes in before our own bound is looked at, so that what is past ours has our word for it.
constexpr long kMaxCertificateMessageBytes = 64 * 1024;
// Certificates between leaf and anchor.
constexpr int kMaxIntermediates = 4;

std::string LastError() {
  const unsigned long code = ERR_peek_last_error();
  if (code == 0) return "no reason given";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : "error " + std::to_string(code);
}

BioPtr ReadOnly(std::string_view text) {
  return BioPtr(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/** Every certificate of a PEM text; none where one can't be read. */
std::vector<X509Ptr> Certificates(std::string_view pem) {
  std::vector<X509Ptr> found;
  const BioPtr bio = ReadOnly(pem);
  while (X509* certificate = PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)) found.emplace_back(certificate);
  // At the end of the text there is no line to begin the next one by; anything else is a certificate that is broken.
  const unsigned long last = ERR_peek_last_error();
  if (ERR_GET_REASON(last) != PEM_R_NO_START_LINE) return {};
  ERR_clear_error();
  return found;
}

int NoPassphrase(char*, int, int, void*) { return 0; }

/**
 * What leads from a leaf that stands alone to a root of ours, once for all handshakes. Without a chain OpenSSL would look for it, and verify it, in
 * each of them (SSL_MODE_NO_AUTO_CHAIN in SSL_CTX_set_mode(3)), and send the root too, which a peer has or does not trust. Nothing is lost where none
 * leads there: the leaf is presented alone.
 */
void CompleteChain(SSL_CTX* context) {
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(context, &chain);
  if (sk_X509_num(chain) <= 0)
    SSL_CTX_build_cert_chain(context, SSL_BUILD_CHAIN_FLAG_NO_ROOT | SSL_BUILD_CHAIN_FLAG_IGNORE_ERROR |
                                          SSL_BUILD_CHAIN_FLAG_CLEAR_ERROR);
  SSL_CTX_set_mode(context, SSL_MODE_NO_AUTO_CHAIN);
}

bool UseChain(SSL_CTX* context, std::string_view chain_pem, std::string_view key_pem) {
  std::vector<X509Ptr> chain = Certificates(chain_pem);
  if (chain.empty() || SSL_CTX_use_certificate(context, chain[0].get()) != 1) return false;
  for (size_t at = 1; at < chain.size(); at++)
    if (SSL_CTX_add1_chain_cert(context, chain[at].get()) != 1) return false;
  const BioPtr bio = ReadOnly(key_pem);
  const PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  return key != nullptr && SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
}

std::string Fingerprint(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &bytes) != 1) return {};
  return std::string(reinterpret_cast<const char*>(digest), bytes);
}

bool DigestOf(const std::string& text, VerifiedChains::Digest* into) {
  return EVP_Digest(text.data(), text.size(), into->data(), nullptr, EVP_sha256(), nullptr) == 1;
}

/** What a peer presented: how many bytes of certificates, and the digest of them all with what else the verdict hangs on. */
struct Presented {
  int bytes = 0;
  VerifiedChains::Digest digest{};
  /** False where it could not be made: then nothing is known of the chain, and nothing is remembered. */
  bool digested = false;
};

Presented LookAt(X509* leaf, STACK_OF(X509) * presented, Role peer) {
  // Fetched once, never freed, as the ciphers of records.
  static const EVP_MD* const kSha256 = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  Presented made;
  const DigestCtxPtr digest(EVP_MD_CTX_new());
  made.digested = digest != nullptr && EVP_DigestInit_ex2(digest.get(), kSha256, nullptr) == 1;
  // Each with its length in front, so that no two lists of certificates read alike.
  const auto add = [&](X509* certificate) {
    unsigned char* encoded = nullptr;
    const int bytes = i2d_X509(certificate, &encoded);
    made.bytes += std::max(0, bytes);
    made.digested = made.digested && bytes > 0 && EVP_DigestUpdate(digest.get(), &bytes, sizeof(bytes)) == 1 &&
                    EVP_DigestUpdate(digest.get(), encoded, static_cast<size_t>(bytes)) == 1;
    OPENSSL_free(encoded);
  };
  // The leaf first: a server's list begins with it, a client's may or may not.
  add(leaf);
  for (int at = 0; at < sk_X509_num(presented); at++)
    if (X509* certificate = sk_X509_value(presented, at); certificate != leaf) add(certificate);
  const auto role = static_cast<uint8_t>(peer);
  made.digested = made.digested && EVP_DigestUpdate(digest.get(), &role, sizeof(role)) == 1 &&
                  EVP_DigestFinal_ex(digest.get(), made.digest.data(), nullptr) == 1;
  return made;
}

/** Seconds until the first certificate of a chain is not valid any more. */
int64_t SecondsLeft(const STACK_OF(X509) * chain) {
  int64_t least = VerifiedChains::kLongestSeconds;
  for (int at = 0; at < sk_X509_num(chain); at++) {
    int days = 0;
    int seconds = 0;
    if (ASN1_TIME_diff(&days, &seconds, nullptr, X509_get0_notAfter(sk_X509_value(chain, at))) != 1) return 0;
    least = std::min(least, int64_t{days} * 86'400 + seconds);
  }
  return least;
}

}  // namespace

bool Identity::Holds(X509_STORE_CTX* context, Role peer, Proof* proof) const {
  X509* leaf = X509_STORE_CTX_get0_cert(context);
  const Presented presented = LookAt(leaf, X509_STORE_CTX_get0_untrusted(context), peer);
  const auto refused = [&](int fault) {
    X509_STORE_CTX_set_error(context, fault);
    return false;
  };
  if (presented.bytes > kMaxCertificateBytes) return refused(X509_V_ERR_CERT_CHAIN_TOO_LONG);
  if ((X509_get_extension_flags(leaf) & EXFLAG_CA) != 0) return refused(X509_V_ERR_INVALID_CA);
  const int64_t now = sys::WallSeconds();
  proof->chain = presented.digest;
  proof->bytes = presented.bytes;
  proof->until = presented.digested ? verified_.HeldUntil(presented.digest, now) : 0;
  if (proof->until != 0) {
    X509_STORE_CTX_set_error(context, X509_V_OK);
    return true;
  }
  if (X509_verify_cert(context) != 1) return false;
  if (presented.digested) {
    verified_.Remember(presented.digest, now, now + SecondsLeft(X509_STORE_CTX_get0_chain(context)));
    proof->until = verified_.HeldUntil(presented.digest, now);
  }
  return true;
}

int Identity::VerifyInHandshake(X509_STORE_CTX* context, void* identity) {
  auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  const Role peer = SSL_is_server(ssl) == 1 ? Role::kClient : Role::kServer;
  const auto* self = static_cast<const Identity*>(identity);
  Proof proof;
  if (!self->Holds(context, peer, &proof)) return 0;
  if (self->resumes()) NoteProof(ssl, proof);
  // Before our own Finished goes out: a peer that is not the one must not take us for connected.
  if (Handshake::Accepts(ssl, X509_STORE_CTX_get0_cert(context))) return 1;
  X509_STORE_CTX_set_error(context, X509_V_ERR_APPLICATION_VERIFICATION);
  return 0;
}

std::shared_ptr<const Identity> Identity::Build(const Parts& parts, std::string* why) {
  const ErrorScope errors;
  const auto refused = [&](const char* what) {
    *why = std::string(what) + ": " + LastError();
    return nullptr;
  };
  std::shared_ptr<Identity> identity(new Identity());
  identity->context_ = SslCtxPtr(SSL_CTX_new(TLS_method()));
  SSL_CTX* context = identity->context_.get();
  if (context == nullptr) return refused("context");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_max_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                   SSL_OP_NO_COMPRESSION | kNoTxCertificateCompression | kNoRxCertificateCompression);
  // Until resumption is switched on.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_max_cert_list(context, kMaxCertificateMessageBytes);
  if (SSL_CTX_set_ciphersuites(context, kSuites13) != 1 || SSL_CTX_set_cipher_list(context, kSuites12) != 1)
    return refused("suites");
  if (SSL_CTX_set1_groups_list(context, parts.groups.c_str()) != 1) return refused("groups");
  if (!UseChain(context, parts.chain_pem, parts.key_pem)) return refused("certificate and key");

  const std::vector<X509Ptr> roots = Certificates(parts.roots_pem);
  if (roots.empty()) return refused("roots");
  identity->roots_ = X509StorePtr(X509_STORE_new());
  std::vector<std::string> fingerprints;
  for (const X509Ptr& root : roots) {
    if (X509_STORE_add_cert(identity->roots_.get(), root.get()) != 1) return refused("root");
    if (SSL_CTX_add_client_CA(context, root.get()) != 1) return refused("root");
    fingerprints.push_back(Fingerprint(root.get()));
  }
  std::sort(fingerprints.begin(), fingerprints.end());
  for (const std::string& fingerprint : fingerprints) identity->trust_ += fingerprint;

  if (!DigestOf(identity->trust_, &identity->trust_digest_)) return refused("digest of roots");

  // Any listed root is an anchor, self-signed or not.
  X509_VERIFY_PARAM* rules = X509_STORE_get0_param(identity->roots_.get());
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_depth(rules, kMaxIntermediates);
  SSL_CTX_set1_cert_store(context, identity->roots_.get());
  CompleteChain(context);
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), X509_V_FLAG_PARTIAL_CHAIN);
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_verify_depth(context, kMaxIntermediates);
  // Every handshake holds its identity, and its SSL the context: neither outlives what this points to.
  SSL_CTX_set_cert_verify_callback(context, VerifyInHandshake, identity.get());
  SSL_CTX_set_keylog_callback(context, Handshake::NoteKeyLogLine);
  identity->resumes_ = parts.resumption;
  if (parts.resumption && !EnableResumption(context, identity.get())) return refused("resumption");
  return identity;
}

int Identity::Verify(X509* leaf, STACK_OF(X509) * presented, Role peer) const {
  const ErrorScope errors;
  const X509StoreCtxPtr context(X509_STORE_CTX_new());
  if (context == nullptr || X509_STORE_CTX_init(context.get(), roots_.get(), leaf, presented) != 1)
    return X509_V_ERR_OUT_OF_MEM;
  X509_STORE_CTX_set_default(context.get(), peer == Role::kServer ? "ssl_server" : "ssl_client");
  X509_VERIFY_PARAM* rules = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
  X509_VERIFY_PARAM_set_depth(rules, kMaxIntermediates);
  Proof proof;
  if (Holds(context.get(), peer, &proof)) return X509_V_OK;
  const int error = X509_STORE_CTX_get_error(context.get());
  return error != X509_V_OK ? error : X509_V_ERR_UNSPECIFIED;
}

}  // namespace sidesplice::tls
