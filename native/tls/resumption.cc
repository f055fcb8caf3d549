// OpenSSL's callbacks of resumption, and what a ticket says beside the session.
#include "tls/resumption.h"

#include <openssl/x509.h>

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include "sys/calls.h"
#include "tls/identity.h"
#include "tls/wire.h"

namespace sidesplice::tls {

namespace {

// psk_dhe_ke (RFC 8446 section 4.2.9): a session key that gets out later opens nothing that was said before.
constexpr uint8_t kPskWithDhe = 1;
constexpr unsigned char kContextId[] = "sidesplice";
constexpr uint8_t kFormat = 1;
constexpr size_t kTrustBytes = 32;
constexpr size_t kUntilBytes = 8;
constexpr size_t kLengthBytes = 2;
constexpr size_t kFixedBytes = 1 + kTrustBytes + sizeof(VerifiedChains::Digest) + kUntilBytes;
// A ticket comes back in a ClientHello: one that needs more room than a few packets costs what it should save.
constexpr int kMostCertificateBytes = 4 * 1024;
// What a server gives that goes by the same measure, with all that it may add; it may send 64 KiB, and we would keep them.
constexpr size_t kMostTicketBytes = 2 * kMostCertificateBytes;
// RFC 9149, ticket_request: how many tickets a client wants behind a full handshake, and where it has resumed.
constexpr unsigned kTicketRequest = 58;
constexpr std::array<unsigned char, 2> kOneEach = {1, 1};

/** What a ticket says beside the session: whom it is for, by whom it was verified, and what was presented. */
std::vector<uint8_t> Binding(const SSL* ssl, const Identity& identity, const Proof& proof) {
  std::vector<uint8_t> bytes = {kFormat};
  bytes.insert(bytes.end(), identity.trust_digest().begin(), identity.trust_digest().end());
  bytes.insert(bytes.end(), proof.chain.begin(), proof.chain.end());
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(proof.until >> shift));
  const STACK_OF(X509)* presented = SSL_get_peer_cert_chain(ssl);
  for (int at = 0; at < sk_X509_num(presented); at++) {
    unsigned char* encoded = nullptr;
    const int length = i2d_X509(sk_X509_value(presented, at), &encoded);
    if (length > 0) {
      bytes.push_back(static_cast<uint8_t>(length >> 8));
      bytes.push_back(static_cast<uint8_t>(length));
      bytes.insert(bytes.end(), encoded, encoded + length);
    }
    OPENSSL_free(encoded);
  }
  return bytes;
}

std::span<const uint8_t> BindingOf(const SSL_SESSION* session) {
  void* data = nullptr;
  size_t bytes = 0;
  // Takes a session that it does not change.
  if (SSL_SESSION_get0_ticket_appdata(const_cast<SSL_SESSION*>(session), &data, &bytes) != 1 || data == nullptr) return {};
  return {static_cast<const uint8_t*>(data), bytes};
}

/** What was proved, where it still holds for this identity; `until` is 0 otherwise. */
Proof ProofOf(std::span<const uint8_t> binding, const Identity& identity) {
  if (binding.size() < kFixedBytes || binding[0] != kFormat) return {};
  const auto trust = binding.subspan(1, kTrustBytes);
  if (!std::equal(trust.begin(), trust.end(), identity.trust_digest().begin())) return {};
  Proof proof;
  const auto chain = binding.subspan(1 + kTrustBytes, proof.chain.size());
  std::copy(chain.begin(), chain.end(), proof.chain.begin());
  uint64_t until = 0;
  for (const uint8_t byte : binding.subspan(1 + kTrustBytes + proof.chain.size(), kUntilBytes)) until = until << 8 | byte;
  const int64_t now = sys::WallSeconds();
  // The memory is asked as well: what it has forgotten is verified again.
  if (static_cast<int64_t>(until) <= now || !identity.verified().Holds(proof.chain, now)) return {};
  proof.until = static_cast<int64_t>(until);
  return proof;
}

const Identity& IdentityIn(void* argument) { return *static_cast<const Identity*>(argument); }

std::span<const unsigned char> HelloExtension(SSL* ssl, unsigned type) {
  const unsigned char* body = nullptr;
  size_t bytes = 0;
  if (SSL_client_hello_get0_ext(ssl, type, &body, &bytes) != 1) return {};
  return {body, bytes};
}

/**
 * A ticket is given to a client that asks for one and can resume with us. To one that has not asked it may do harm: whoever closes before it has read
 * its ticket answers it by an RST, which may take the place of a clean end, and of data of its own that had not gone out.
 */
int OnClientHello(SSL* ssl, int*, void*) {
  Wire* wire = Wire::Of(ssl);
  const auto modes = HelloExtension(ssl, TLSEXT_TYPE_psk_kex_modes);
  const bool can = !modes.empty() && std::find(modes.begin() + 1, modes.end(), kPskWithDhe) != modes.end();
  const auto asked = HelloExtension(ssl, kTicketRequest);
  const bool asks = wire != nullptr && can && asked.size() == kOneEach.size();
  if (wire != nullptr) wire->wants = asks ? Wire::Wants{.behind_full = asked[0] > 0, .behind_resumed = asked[1] > 0} : Wire::Wants{};
  if (!asks) SSL_set_num_tickets(ssl, 0);
  return SSL_CLIENT_HELLO_SUCCESS;
}

/** A client that takes tickets says so; a server has nothing to say to it. */
int AddRequest(SSL* ssl, unsigned, unsigned context, const unsigned char** out, size_t* bytes, X509*, size_t, int*, void*) {
  const Wire* wire = Wire::Of(ssl);
  if (context != SSL_EXT_CLIENT_HELLO || wire == nullptr || wire->place.empty()) return 0;
  *out = kOneEach.data();
  *bytes = kOneEach.size();
  return 1;
}

/** A client's was read by OnClientHello, and how many a server means to send is seen when they come. */
int TakeRequest(SSL*, unsigned, unsigned, const unsigned char*, size_t, X509*, size_t, int*, void*) { return 1; }

/** A ticket is about to be made. In TLS 1.2 it will be empty, see Seal. */
int OnTicket(SSL* ssl, void* argument) {
  const Wire* wire = Wire::Of(ssl);
  SSL_SESSION* session = SSL_get_session(ssl);
  if (wire == nullptr || session == nullptr || SSL_version(ssl) != TLS1_3_VERSION) return 1;
  // No longer than what it goes by: whoever renews it renews nothing of that.
  SSL_SESSION_set_timeout(session, static_cast<long>(std::max<int64_t>(1, wire->proof.until - sys::WallSeconds())));
  // Of a session that was resumed it is there, from its own ticket.
  if (SSL_session_reused(ssl) == 1) return 1;
  const std::vector<uint8_t> binding = Binding(ssl, IdentityIn(argument), wire->proof);
  return SSL_SESSION_set1_ticket_appdata(session, binding.data(), binding.size());
}

/** A ticket came, and was opened, or not. Of one that is of no use the client is given another behind a full handshake. */
SSL_TICKET_RETURN OnTicketBack(SSL* ssl, SSL_SESSION* session, const unsigned char*, size_t, SSL_TICKET_STATUS status,
                               void* argument) {
  Wire* wire = Wire::Of(ssl);
  const bool opened = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
  if (wire == nullptr || !opened || SSL_version(ssl) != TLS1_3_VERSION) return SSL_TICKET_RETURN_IGNORE_RENEW;
  const Proof proof = ProofOf(BindingOf(session), IdentityIn(argument));
  if (proof.until == 0) return SSL_TICKET_RETURN_IGNORE_RENEW;
  wire->proof = proof;
  return wire->wants.behind_resumed ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

/** Sets up what seals a ticket, or opens one. 0: there is no ticket. */
int Seal(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypts) {
  const Wire* wire = Wire::Of(ssl);
  if (wire == nullptr || wire->identity == nullptr) return 0;
  const TicketKeys& keys = wire->identity->ticket_keys();
  // Of TLS 1.2 nothing is resumed: what a client gets there is empty (RFC 5077 section 3.3).
  if (SSL_version(ssl) != TLS1_3_VERSION) return 0;
  return encrypts == 1 ? keys.Seal(name, iv, cipher, mac) : keys.Open(name, iv, cipher, mac);
}

/** A client has got a ticket. 1 where the session is ours then. */
int OnSession(SSL* ssl, SSL_SESSION* session) {
  Wire* wire = Wire::Of(ssl);
  if (wire == nullptr || wire->identity == nullptr || wire->place.empty()) return 0;
  // One record may hold hundreds.
  if (wire->tickets_seen++ > 0) return 0;
  if (SSL_SESSION_get_protocol_version(session) != TLS1_3_VERSION || SSL_SESSION_is_resumable(session) != 1) return 0;
  const unsigned char* ticket = nullptr;
  size_t bytes = 0;
  SSL_SESSION_get0_ticket(session, &ticket, &bytes);
  if (wire->proof.until == 0 || bytes > kMostTicketBytes) return 0;
  wire->identity->sessions().Keep(wire->place, SslSessionPtr(session), wire->proof);
  return 1;
}

}  // namespace

bool EnableResumption(SSL_CTX* context, const Identity* identity) {
  void* argument = const_cast<Identity*>(identity);
  SSL_CTX_clear_options(context, SSL_OP_NO_TICKET);
  // What a client gets is ours to keep; a server keeps nothing.
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_sess_set_new_cb(context, OnSession);
  // One is what the next connection takes; it brings another.
  SSL_CTX_set_num_tickets(context, 1);
  SSL_CTX_set_timeout(context, static_cast<long>(VerifiedChains::kLongestSeconds));
  SSL_CTX_set_client_hello_cb(context, OnClientHello, nullptr);
  // Without one a server that asks for certificates fails each resumption (SSL_CTX_set_session_id_context(3)).
  return SSL_CTX_set_session_id_context(context, kContextId, sizeof(kContextId) - 1) == 1 &&
         SSL_CTX_set_session_ticket_cb(context, OnTicket, OnTicketBack, argument) == 1 &&
         SSL_CTX_add_custom_ext(context, kTicketRequest, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_ENCRYPTED_EXTENSIONS, AddRequest, nullptr,
                                nullptr, TakeRequest, nullptr) == 1 &&
         SSL_CTX_set_tlsext_ticket_key_evp_cb(context, Seal) == 1;
}

void NoteProof(SSL* ssl, const Proof& proof) {
  Wire* wire = Wire::Of(ssl);
  if (wire == nullptr) return;
  wire->proof = proof;
  const bool may = proof.until != 0 && proof.bytes <= kMostCertificateBytes && wire->wants.behind_full;
  if (SSL_is_server(ssl) == 1 && !may) SSL_set_num_tickets(ssl, 0);
}

X509StackPtr PresentedBefore(const SSL_SESSION* session) {
  X509StackPtr presented(sk_X509_new_null());
  std::span<const uint8_t> rest = BindingOf(session);
  if (rest.size() < kFixedBytes) return presented;
  rest = rest.subspan(kFixedBytes);
  while (rest.size() > kLengthBytes) {
    const size_t bytes = std::min<size_t>(rest[0] << 8 | rest[1], rest.size() - kLengthBytes);
    const unsigned char* encoded = rest.data() + kLengthBytes;
    X509Ptr one(d2i_X509(nullptr, &encoded, static_cast<long>(bytes)));
    if (one == nullptr || sk_X509_push(presented.get(), one.get()) <= 0) break;
    (void)one.release();
    rest = rest.subspan(kLengthBytes + bytes);
  }
  return presented;
}

}  // namespace sidesplice::tls
