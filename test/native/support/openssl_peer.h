// OpenSSL on the other end of a connection, through its own SSL_read and SSL_write; and a handshake of ours with it.
#pragma once

#include <memory>
#include <string>

#include "support/bytes.h"
#include "support/certificates.h"
#include "tls/handshake.h"

namespace sidesplice::test {

struct PeerOptions {
  tls::Role role = tls::Role::kClient;
  int version = TLS1_3_VERSION;
  /** Empty for OpenSSL's own choice. */
  std::string suite = {};
  const Certified* leaf = nullptr;
  /** Behind the leaf. */
  std::vector<const Certified*> chain = {};
  bool presents = true;
  /** Roots it trusts; all where there are none. */
  const Certified* trusts = nullptr;
  /** Records are padded to a multiple of it; TLS 1.3. */
  size_t padding = 0;
  size_t tickets = 0;
  /** A server's tickets are of one key, whichever context gave them. */
  bool remembers = false;
  /** A session id context, without which a server can't resume where it asks for certificates. */
  bool has_context = true;
  /** What a client's ticket_request says (RFC 9149); none is sent where it is empty. */
  Bytes asks = {1, 1};
  /** Offered by a client; not owned. */
  SSL_SESSION* session = nullptr;
};

class OpensslPeer {
 public:
  OpensslPeer(PeerOptions options, int fd);
  /** As after a clean end: what it has been given may be resumed. */
  ~OpensslPeer() { SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }
  OpensslPeer(const OpensslPeer&) = delete;
  OpensslPeer& operator=(const OpensslPeer&) = delete;

  [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
  /** One step; true when it is done. */
  bool Shake();
  [[nodiscard]] bool failed() const { return failed_; }
  /** The reason of OpenSSL's last error: SSL_R_… or, for an alert that came, 1000 and its number. */
  [[nodiscard]] int reason() const { return reason_; }
  /** All of it, waiting for room. */
  bool Write(const Bytes& bytes);
  /** What is there, waiting for as much as `bytes`; less where the stream ends or fails. */
  Bytes Read(size_t bytes);
  /** Reads until the stream fails: `reason` is of the first failure. False where nothing comes. */
  bool WaitForAlert();
  /** Reads what is there, of which no byte is data: tickets. */
  void ReadTickets();

 private:
  bool Note(int result);

  Bytes asks_;
  tls::SslCtxPtr context_;
  tls::SslPtr ssl_;
  int fd_;
  bool failed_ = false;
  int reason_ = 0;
};

/** Both at once, over `ours`' connection. True where both are done. */
bool ShakeHands(tls::Handshake& ours, OpensslPeer& peer);

}  // namespace sidesplice::test
