// The handshake, its BIO, and the way from OpenSSL's secrets to record keys.
#include "tls/handshake.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sslerr.h>

#include <cctype>
#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "sys/calls.h"
#include "tls/alert.h"
#include "tls/key_schedule.h"

namespace sidesplice::tls {

namespace {

// A Finished message of TLS 1.2 as a GCM record: header, explicit nonce, message header and 12 bytes, tag.
constexpr size_t kFinished12Bytes = kHeaderBytes + kExplicitNonceBytes + 16 + kTagBytes;
constexpr size_t kRandomBytes = 32;
constexpr size_t kMaxMasterKeyBytes = 48;

/** As Node names it, so that both data planes say the same: `http request` is ERR_SSL_HTTP_REQUEST. */
// What a peer wrote into its certificate goes to a log line: cut.
constexpr size_t kLongestShown = 300;

std::string Joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

std::string ReasonOf(unsigned long code) {
  const char* reason = ERR_reason_error_string(code);
  if (reason == nullptr) return "error " + std::to_string(code);
  std::string name = ERR_GET_LIB(code) == ERR_LIB_SSL ? "ERR_SSL_" : "ERR_OSSL_";
  for (; *reason != '\0'; reason++)
    name += *reason == ' ' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(*reason)));
  return name;
}

}  // namespace

/** The socket under an SSL, and what passes that OpenSSL does not tell. */
struct Handshake::Wire {
  int fd = -1;
  uint64_t bytes_read = 0;
  int last_error = 0;
  bool ended = false;
  /** The last bytes written: a Finished of TLS 1.2 holds the explicit nonce that ours go on from. */
  std::array<uint8_t, kFinished12Bytes> tail{};
  size_t tail_bytes = 0;
  Secret client;
  Secret server;
  std::vector<std::string> expect;
  /** What it proves instead. */
  std::string unexpected;

  void NoteWritten(const uint8_t* data, size_t bytes) {
    if (bytes >= tail.size()) {
      std::memcpy(tail.data(), data + bytes - tail.size(), tail.size());
      tail_bytes = tail.size();
      return;
    }
    const size_t kept = std::min(tail_bytes, tail.size() - bytes);
    std::memmove(tail.data(), tail.data() + tail_bytes - kept, kept);
    std::memcpy(tail.data() + kept, data, bytes);
    tail_bytes = kept + bytes;
  }

  static int Read(BIO* bio, char* into, size_t bytes, size_t* got) {
    auto* wire = static_cast<Wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t result = sys::Receive(wire->fd, into, bytes);
    if (result > 0) {
      wire->bytes_read += static_cast<uint64_t>(result);
      *got = static_cast<size_t>(result);
      return 1;
    }
    if (result == -EAGAIN) BIO_set_retry_read(bio);
    else if (result == 0) wire->ended = true;
    else wire->last_error = static_cast<int>(-result);
    return 0;
  }

  static int Write(BIO* bio, const char* from, size_t bytes, size_t* sent) {
    auto* wire = static_cast<Wire*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const ssize_t result = sys::Send(wire->fd, from, bytes);
    if (result >= 0) {
      wire->NoteWritten(reinterpret_cast<const uint8_t*>(from), static_cast<size_t>(result));
      *sent = static_cast<size_t>(result);
      return 1;
    }
    if (result == -EAGAIN) BIO_set_retry_write(bio);
    else wire->last_error = static_cast<int>(-result);
    return 0;
  }

  static long Control(BIO* bio, int command, long, void*) {
    const auto* wire = static_cast<const Wire*>(BIO_get_data(bio));
    if (command == BIO_CTRL_FLUSH) return 1;
    return command == BIO_CTRL_EOF && wire->ended ? 1 : 0;
  }

  static BIO_METHOD* Method() {
    static BIO_METHOD* const kMethod = [] {
      BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sidesplice socket");
      BIO_meth_set_read_ex(method, Read);
      BIO_meth_set_write_ex(method, Write);
      BIO_meth_set_ctrl(method, Control);
      return method;
    }();
    return kMethod;
  }

  /** A line of the key log: label, client random, secret (SSLKEYLOGFILE's format). */
  void NoteSecret(std::string_view line) {
    const size_t first = line.find(' ');
    const size_t last = line.rfind(' ');
    if (first == std::string_view::npos || last == first) return;
    const std::string_view label = line.substr(0, first);
    Secret* secret = label == "CLIENT_TRAFFIC_SECRET_0"   ? &client
                     : label == "SERVER_TRAFFIC_SECRET_0" ? &server
                                                          : nullptr;
    if (secret == nullptr) return;
    const std::string_view hex = line.substr(last + 1);
    size_t bytes = 0;
    const auto digit = [](char letter) -> uint8_t {
      return static_cast<uint8_t>(letter <= '9' ? letter - '0' : (letter | 0x20) - 'a' + 10);
    };
    for (size_t at = 0; at + 1 < hex.size() && bytes < secret->bytes.size(); at += 2)
      secret->bytes[bytes++] = static_cast<uint8_t>(digit(hex[at]) << 4 | digit(hex[at + 1]));
    secret->size = bytes;
  }

};

void Handshake::NoteKeyLogLine(const SSL* ssl, const char* line) {
  auto* wire = static_cast<Wire*>(SSL_get_app_data(ssl));
  if (wire != nullptr) wire->NoteSecret(line);
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

}  // namespace

std::unique_ptr<Handshake> Handshake::Begin(std::shared_ptr<const Identity> identity, Role ours, int fd, Peer peer) {
  const ErrorScope errors;
  std::unique_ptr<Handshake> handshake(new Handshake());
  handshake->identity_ = std::move(identity);
  handshake->ssl_ = SslPtr(SSL_new(handshake->identity_->context()));
  BIO* bio = BIO_new(Wire::Method());
  if (handshake->ssl_ == nullptr || bio == nullptr) {
    BIO_free(bio);
    return nullptr;
  }
  handshake->wire_ = std::make_unique<Wire>();
  handshake->wire_->fd = fd;
  handshake->wire_->expect = std::move(peer.expect);
  BIO_set_data(bio, handshake->wire_.get());
  BIO_set_init(bio, 1);
  SSL* ssl = handshake->ssl_.get();
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, handshake->wire_.get());
  if (ours == Role::kServer) {
    SSL_set_accept_state(ssl);
  } else {
    SSL_set_connect_state(ssl);
    if (!peer.server_name.empty()) SSL_set_tlsext_host_name(ssl, peer.server_name.c_str());
  }
  return handshake;
}

Handshake::Handshake() = default;

Handshake::~Handshake() = default;

uint64_t Handshake::bytes_read() const { return wire_->bytes_read; }

Handshake::Step Handshake::Advance() {
  const ErrorScope errors;
  const int result = SSL_do_handshake(ssl_.get());
  if (result == 1) return Step::kDone;
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ) return Step::kWantRead;
  if (error == SSL_ERROR_WANT_WRITE) return Step::kWantWrite;
  NoteFailure(error);
  return Step::kFailed;
}

bool Handshake::Accepts(const SSL* ssl, const X509* leaf) {
  auto* wire = static_cast<Wire*>(SSL_get_app_data(ssl));
  if (wire == nullptr || wire->expect.empty()) return true;
  const std::vector<std::string> uris = UriSansOf(leaf);
  if (std::find(wire->expect.begin(), wire->expect.end(), ProvedId(uris)) != wire->expect.end()) return true;
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
  if (wire_->ended || wire_->last_error != 0 || ssl_error == SSL_ERROR_SYSCALL) {
    fault_ = HandshakeFault::kClosed;
    detail_ = wire_->last_error != 0 ? sys::ErrorName(wire_->last_error) : "closed by the peer";
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
  // Without read-ahead the socket stands at the end of a record, and nothing that was read waits in OpenSSL.
  if (!suite.known || SSL_has_pending(ssl) != 0) return nullptr;
  Keys keys;
  if (is13) {
    const auto secret_bytes = static_cast<size_t>(EVP_MD_get_size(suite.digest));
    if (wire_->client.size != secret_bytes || wire_->server.size != secret_bytes) return nullptr;
    keys.client = RecordKey::ForTls13(suite.aead, suite.digest, wire_->client);
    keys.server = RecordKey::ForTls13(suite.aead, suite.digest, wire_->server);
  } else {
    // OpenSSL begins the explicit nonce at a random value: ours go on from the one in our own Finished.
    uint64_t nonce = 0;
    if (wire_->tail_bytes == kFinished12Bytes)
      for (size_t at = 0; at < kExplicitNonceBytes; at++) nonce = nonce << 8 | wire_->tail[kHeaderBytes + at];
    keys = Keys12(ssl, suite, nonce + 1);
  }
  if (keys.client == nullptr || keys.server == nullptr) return nullptr;
  auto secured = std::make_unique<Secured>();
  const bool server = SSL_is_server(ssl) == 1;
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
  secured->peer = ReadPeerCertificate(std::move(leaf), X509StackPtr(X509_chain_up_ref(SSL_get_peer_cert_chain(ssl))));
  return secured;
}

}  // namespace sidesplice::tls
