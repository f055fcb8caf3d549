// Driving an SSL on a non-blocking socket.
#include "support/openssl_peer.h"

#include <poll.h>

#include "support/sockets.h"

namespace sidesplice::test {

namespace {

constexpr unsigned kTicketRequest = 58;

int TakeAny(int, X509_STORE_CTX*) { return 1; }

int AddAsked(SSL*, unsigned, unsigned, const unsigned char** out, size_t* bytes, X509*, size_t, int*, void* asks) {
  const Bytes& body = *static_cast<const Bytes*>(asks);
  *out = body.data();
  *bytes = body.size();
  return body.empty() ? 0 : 1;
}

}  // namespace

OpensslPeer::OpensslPeer(PeerOptions options, int fd) : asks_(std::move(options.asks)), context_(SSL_CTX_new(TLS_method())), fd_(fd) {
  SSL_CTX* context = context_.get();
  SSL_CTX_set_min_proto_version(context, options.version);
  SSL_CTX_set_max_proto_version(context, options.version);
  SSL_CTX_set_security_level(context, 0);
  if (!options.suite.empty()) {
    if (options.version == TLS1_3_VERSION) SSL_CTX_set_ciphersuites(context, options.suite.c_str());
    else SSL_CTX_set_cipher_list(context, options.suite.c_str());
  }
  if (options.presents) {
    const Certified& leaf = options.leaf != nullptr ? *options.leaf : TheMesh().web;
    SSL_CTX_use_certificate(context, leaf.certificate.get());
    SSL_CTX_use_PrivateKey(context, leaf.key.get());
    for (const Certified* one : options.chain) SSL_CTX_add1_chain_cert(context, one->certificate.get());
  }
  SSL_CTX_set_num_tickets(context, options.tickets);
  SSL_CTX_set_block_padding(context, options.padding);
  if (options.trusts != nullptr) {
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), options.trusts->certificate.get());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  } else {
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, TakeAny);
  }
  SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_ENABLE_PARTIAL_WRITE);
  if (options.has_context) SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>("test"), 4);
  unsigned char keys[80] = {7};
  if (options.role == tls::Role::kClient)
    SSL_CTX_add_custom_ext(context, kTicketRequest, SSL_EXT_CLIENT_HELLO, AddAsked, nullptr, &asks_, nullptr, nullptr);
  if (options.remembers) SSL_CTX_set_tlsext_ticket_keys(context, keys, sizeof(keys));
  ssl_ = tls::SslPtr(SSL_new(context));
  SSL_set_fd(ssl_.get(), fd);
  if (options.role == tls::Role::kServer) SSL_set_accept_state(ssl_.get());
  else SSL_set_connect_state(ssl_.get());
  if (options.session != nullptr) SSL_set_session(ssl_.get(), options.session);
}

void OpensslPeer::ReadTickets() {
  ERR_clear_error();
  uint8_t byte = 0;
  size_t got = 0;
  if (WaitFor(fd_, POLLIN)) Note(SSL_peek_ex(ssl_.get(), &byte, 1, &got));
}

/** True where it went well; waiting is no failure. */
bool OpensslPeer::Note(int result) {
  if (result > 0) return true;
  const int error = SSL_get_error(ssl_.get(), result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return false;
  failed_ = true;
  reason_ = ERR_GET_REASON(ERR_peek_last_error());
  ERR_clear_error();
  return false;
}

bool OpensslPeer::Shake() {
  ERR_clear_error();
  return !failed_ && Note(SSL_do_handshake(ssl_.get()));
}

bool OpensslPeer::Write(const Bytes& bytes) {
  ERR_clear_error();
  size_t done = 0;
  while (done < bytes.size()) {
    size_t written = 0;
    if (Note(SSL_write_ex(ssl_.get(), bytes.data() + done, bytes.size() - done, &written))) done += written;
    else if (failed_ || !WaitFor(fd_, SSL_want_read(ssl_.get()) ? POLLIN : POLLOUT)) return false;
  }
  return true;
}

Bytes OpensslPeer::Read(size_t bytes) {
  ERR_clear_error();
  Bytes all(bytes);
  size_t done = 0;
  while (done < bytes) {
    size_t got = 0;
    if (Note(SSL_read_ex(ssl_.get(), all.data() + done, bytes - done, &got))) done += got;
    else if (failed_ || !WaitFor(fd_, POLLIN)) break;
  }
  all.resize(done);
  return all;
}

bool OpensslPeer::WaitForAlert() {
  if (!failed_) Read(1);
  return failed_;
}

bool ShakeHands(tls::Handshake& ours, OpensslPeer& peer) {
  // A handshake has five flights at most; each turn carries one of either side or more.
  constexpr int kMostTurns = 64;
  bool we_are = false;
  bool peer_is = false;
  bool we_failed = false;
  for (int turn = 0; turn < kMostTurns && !(we_are && peer_is); turn++) {
    if (!we_are && !we_failed) {
      const tls::Handshake::Step step = ours.Advance();
      we_are = step == tls::Handshake::Step::kDone;
      we_failed = step == tls::Handshake::Step::kFailed;
    }
    if (!peer_is) peer_is = peer.Shake();
    if (we_failed && (peer_is || peer.failed())) return false;
  }
  return we_are && peer_is;
}

}  // namespace sidesplice::test
