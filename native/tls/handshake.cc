// The handshake, its BIO, and the way from OpenSSL's secrets to record keys.
#include "tls/handshake.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sslerr.h>

#include <cctype>
#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "sys/calls.h"
#include "tls/alert.h"
#include "tls/key_schedule.h"
#include "tls/ticket_taker.h"
#include "tls/wire.h"

namespace sidesplice::tls {

namespace {

constexpr size_t kRandomBytes = 32;
constexpr size_t kMaxMasterKeyBytes = 48;

// What a peer wrote into its certificate goes to a log line: cut.
constexpr size_t kLongestShown = 300;

std::string Joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

/** As Node names it, so that both data planes say the same: `http request` is ERR_SSL_HTTP_REQUEST. */
std::string ReasonOf(unsigned long code) {
  const char* reason = ERR_reason_error_string(code);
  if (reason == nullptr) return "error " + std::to_string(code);
  std::string name = ERR_GET_LIB(code) == ERR_LIB_SSL ? "ERR_SSL_" : "ERR_OSSL_";
  for (; *reason != '\0'; reason++)
    name += *reason == ' ' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(*reason)));
  return name;
}

bool Proves(const X509* leaf, const std::vector<std::string>& expect) {
  return expect.empty() || std::find(expect.begin(), expect.end(), ProvedId(UriSansOf(leaf))) != expect.end();
}

}  // namespace

void Handshake::NoteKeyLogLine(const SSL* ssl, const char* line) {
  if (Wire* wire = Wire::Of(ssl); wire != nullptr) wire->NoteKeyLogLine(line);
}

namespace {

struct Suite {
  Aead aead = Aead::kAes128Gcm;
  const EVP_MD* digest = nullptr;
  bool known = false;
};

Suite SuiteOf(const SSL_CIPHER* cipher) {
  Suite suite;
  suite.digest = SSL_CIPHER_get_handshake_digest(cipher);
  const int nid = SSL_CIPHER_get_cipher_nid(cipher);
  suite.known = suite.digest != nullptr;
  if (nid == NID_aes_128_gcm) suite.aead = Aead::kAes128Gcm;
  else if (nid == NID_aes_256_gcm) suite.aead = Aead::kAes256Gcm;
  else if (nid == NID_chacha20_poly1305) suite.aead = Aead::kChaCha20Poly1305;
  else suite.known = false;
  return suite;
}

struct Keys {
  std::unique_ptr<RecordKey> client;
  std::unique_ptr<RecordKey> server;
};

/** RFC 5246 section 6.3: the key block is client's key, server's key, client's IV, server's IV. */
Keys Keys12(SSL* ssl, const Suite& suite, uint64_t next_nonce) {
  std::array<uint8_t, kMaxMasterKeyBytes> master{};
  const size_t master_bytes = SSL_SESSION_get_master_key(SSL_get_session(ssl), master.data(), master.size());
  std::array<uint8_t, 2 * kRandomBytes> randoms{};
  SSL_get_server_random(ssl, randoms.data(), kRandomBytes);
  SSL_get_client_random(ssl, randoms.data() + kRandomBytes, kRandomBytes);
  const size_t key_bytes = KeyBytes(suite.aead);
  const size_t iv_bytes = suite.aead == Aead::kChaCha20Poly1305 ? kIvBytes : 4;
  std::array<uint8_t, 2 * 32 + 2 * kIvBytes> block{};
  const std::span<uint8_t> used(block.data(), 2 * key_bytes + 2 * iv_bytes);
  Keys keys;
  if (Prf12(suite.digest, std::span(master.data(), master_bytes), "key expansion", randoms, used)) {
    const auto part = [&](size_t from, size_t bytes) { return std::span<const uint8_t>(block.data() + from, bytes); };
    keys.client = RecordKey::ForTls12(suite.aead, part(0, key_bytes), part(2 * key_bytes, iv_bytes), next_nonce);
    keys.server =
        RecordKey::ForTls12(suite.aead, part(key_bytes, key_bytes), part(2 * key_bytes + iv_bytes, iv_bytes), next_nonce);
  }
  OPENSSL_cleanse(master.data(), master.size());
  OPENSSL_cleanse(block.data(), block.size());
  return keys;
}

/** A client that resumes has said it before. */
X509StackPtr Presented(const SSL* ssl) {
  if (SSL_is_server(ssl) == 1 && SSL_session_reused(ssl) == 1) return PresentedBefore(SSL_get_session(ssl));
  return X509StackPtr(X509_chain_up_ref(SSL_get_peer_cert_chain(ssl)));
}

}  // namespace

std::unique_ptr<Handshake> Handshake::Begin(std::shared_ptr<const Identity> identity, Role ours, int fd, Peer peer) {
  const ErrorScope errors;
  std::unique_ptr<Handshake> handshake(new Handshake());
  handshake->identity_ = std::move(identity);
  handshake->ssl_ = SslPtr(SSL_new(handshake->identity_->context()));
  handshake->wire_ = std::make_unique<Wire>(fd);
  handshake->wire_->expect = std::move(peer.expect);
  handshake->wire_->identity = handshake->identity_.get();
  SSL* ssl = handshake->ssl_.get();
  if (ssl == nullptr || !handshake->wire_->AttachTo(ssl)) return nullptr;
  if (ours == Role::kServer) {
    SSL_set_accept_state(ssl);
  } else {
    SSL_set_connect_state(ssl);
    if (!peer.server_name.empty()) SSL_set_tlsext_host_name(ssl, peer.server_name.c_str());
    // Where TLS 1.2 is agreed on, nothing is resumed.
    SSL_set_options(ssl, SSL_OP_NO_TICKET);
    if (handshake->identity_->resumes() && !peer.origin.empty()) handshake->OfferSession(peer);
  }
  return handshake;
}

Handshake::Handshake() = default;

Handshake::~Handshake() {
  // Not done, for whatever reason: the next attempt is without what this one has offered, and all that is as old.
  if (wire_ != nullptr && wire_->offered) identity_->sessions().Drop(wire_->place);
}

uint64_t Handshake::bytes_read() const { return wire_ != nullptr ? wire_->bytes_read() : bytes_read_; }

/** A session that is resumed has no certificate in it: that its server was one of those expected is looked at before it is offered. */
void Handshake::OfferSession(const Peer& peer) {
  std::string place = peer.origin + '\n' + peer.server_name + '\n' + Joined(wire_->expect, " ");
  if (identity_->sessions().IsShunned(place)) return;
  wire_->place = std::move(place);
  SessionCache::Kept kept = identity_->sessions().Take(wire_->place, sys::WallSeconds());
  if (kept.session == nullptr || !identity_->verified().Holds(kept.proof.chain, sys::WallSeconds())) return;
  const X509* leaf = SSL_SESSION_get0_peer(kept.session.get());
  if (leaf == nullptr || !Proves(leaf, wire_->expect) || SSL_set_session(ssl_.get(), kept.session.get()) != 1) return;
  wire_->proof = kept.proof;
  wire_->offered = true;
}

Handshake::Step Handshake::Advance() {
  const ErrorScope errors;
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) {
    // The server has nothing of ours any more, or has other keys: what else is kept for it is as old.
    if (wire_->offered && SSL_session_reused(ssl_.get()) != 1) identity_->sessions().Drop(wire_->place);
    wire_->offered = false;
    return Step::kDone;
  }
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ) return Step::kWantRead;
  if (error == SSL_ERROR_WANT_WRITE) return Step::kWantWrite;
  NoteFailure(error);
  // A server that gives tickets and takes offence at them would fail every other connection (SSL_CTX_set_session_id_context(3) has a way to do so).
  // One that is another by now, or has gone, is not it.
  const bool offended = fault_ == HandshakeFault::kAlert || fault_ == HandshakeFault::kProtocol;
  if (wire_->offered && offended) identity_->sessions().Shun(wire_->place);
  return Step::kFailed;
}

bool Handshake::Accepts(const SSL* ssl, const X509* leaf) {
  Wire* wire = Wire::Of(ssl);
  if (wire == nullptr || Proves(leaf, wire->expect)) return true;
  const std::vector<std::string> uris = UriSansOf(leaf);
  const std::string got = uris.empty() ? "no URI SAN" : Joined(uris, " ").substr(0, kLongestShown);
  wire->unexpected = "got " + got + ", expected " + Joined(wire->expect, " or ");
  return false;
}

void Handshake::NoteFailure(int ssl_error) {
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const bool of_ssl = ERR_GET_LIB(code) == ERR_LIB_SSL;
  const long verified = SSL_get_verify_result(ssl_.get());
  if (!wire_->unexpected.empty()) {
    fault_ = HandshakeFault::kIdentity;
    detail_ = std::move(wire_->unexpected);
    return;
  }
  if (verified != X509_V_OK) {
    fault_ = HandshakeFault::kCertificate;
    detail_ = X509_verify_cert_error_string(verified);
    return;
  }
  if (of_ssl && reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE) {
    fault_ = HandshakeFault::kCertificate;
    detail_ = "none presented";
    return;
  }
  if (of_ssl && reason > SSL_AD_REASON_OFFSET) {
    fault_ = HandshakeFault::kAlert;
    alert_ = static_cast<uint8_t>(reason - SSL_AD_REASON_OFFSET);
    detail_ = "alert " + AlertName(alert_);
    return;
  }
  if (wire_->ended() || wire_->last_error() != 0 || ssl_error == SSL_ERROR_SYSCALL) {
    fault_ = HandshakeFault::kClosed;
    detail_ = wire_->last_error() != 0 ? sys::ErrorName(wire_->last_error()) : "closed by the peer";
    return;
  }
  detail_ = ReasonOf(code);
}

std::unique_ptr<Secured> Handshake::Take() {
  const ErrorScope errors;
  SSL* ssl = ssl_.get();
  const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl);
  const Suite suite = SuiteOf(cipher);
  const bool is13 = SSL_version(ssl) == TLS1_3_VERSION;
  const bool server = SSL_is_server(ssl) == 1;
  // Without read-ahead the socket stands at the end of a record, and nothing that was read waits in OpenSSL.
  if (!suite.known || SSL_has_pending(ssl) != 0) return nullptr;
  Keys keys;
  if (is13) {
    const auto secret_bytes = static_cast<size_t>(EVP_MD_get_size(suite.digest));
    if (wire_->client_secret().size != secret_bytes || wire_->server_secret().size != secret_bytes) return nullptr;
    keys.client = RecordKey::ForTls13(suite.aead, suite.digest, wire_->client_secret());
    keys.server = RecordKey::ForTls13(suite.aead, suite.digest, wire_->server_secret());
    if (keys.server != nullptr && server) keys.server->Skip(wire_->records_behind_flight());
  } else {
    // OpenSSL begins the explicit nonce at a random value: ours go on from the one in our own Finished.
    keys = Keys12(ssl, suite, wire_->last_explicit_nonce() + 1);
  }
  if (keys.client == nullptr || keys.server == nullptr) return nullptr;
  auto secured = std::make_unique<Secured>();
  secured->read = std::move(server ? keys.client : keys.server);
  secured->write = std::move(server ? keys.server : keys.client);
  // The client may have asked for shorter records; OpenSSL has granted it.
  const unsigned shorter = SSL_SESSION_get_max_fragment_length(SSL_get_session(ssl));
  if (shorter != TLSEXT_max_fragment_length_DISABLED && shorter <= TLSEXT_max_fragment_length_4096)
    secured->write->LimitPayload(size_t{512} << (shorter - 1));
  secured->version = SSL_get_version(ssl);
  secured->cipher = SSL_CIPHER_standard_name(cipher);
  X509Ptr leaf(SSL_get1_peer_certificate(ssl));
  if (leaf == nullptr) return nullptr;
  secured->resumed = SSL_session_reused(ssl) == 1;
  secured->peer = ReadPeerCertificate(std::move(leaf), Presented(ssl));
  bytes_read_ = wire_->bytes_read();
  if (is13 && !wire_->place.empty() && identity_->sessions().Await())
    secured->tickets = std::make_unique<TicketTaker>(identity_, std::move(wire_), std::move(ssl_));
  return secured;
}

}  // namespace sidesplice::tls
