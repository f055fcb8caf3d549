// One TLS handshake on a non-blocking socket, by OpenSSL, to the point where records are ours: keys, and who the peer is.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tls/identity.h"
#include "tls/peer_certificate.h"
#include "tls/record_key.h"
#include "tls/ticket_taker.h"

namespace sidesplice::tls {

struct Secured {
  std::unique_ptr<RecordKey> read;
  std::unique_ptr<RecordKey> write;
  PeerCertificate peer;
  /** `TLSv1.3`. */
  std::string version;
  /** The suite's name in the standards. */
  std::string cipher;
  /** By a session of an earlier connection: the peer has shown its certificate there. */
  bool resumed = false;
  /** A client's: what may come first. */
  std::unique_ptr<TicketTaker> tickets;
};

enum class HandshakeFault : uint8_t {
  /** The peer closed its connection, or the connection broke. */
  kClosed,
  /** The peer's chain was not accepted, or there was none. */
  kCertificate,
  /** The peer's chain holds, but it proves none of the expected SPIFFE IDs. */
  kIdentity,
  /** The peer sent an alert. */
  kAlert,
  kProtocol,
};

class Handshake {
 public:
  enum class Step : uint8_t { kWantRead, kWantWrite, kDone, kFailed };

  struct Peer {
    /** Sent where it is not empty. */
    std::string server_name;
    /** The SPIFFE IDs of which it must prove one, before anything of ours is finished; none are looked at where this is empty. */
    std::vector<std::string> expect;
    /** What a server's sessions belong to, its address among it: a client resumes none, and keeps none, where it is empty. */
    std::string origin = {};
  };

  /** Null where OpenSSL has no memory. */
  static std::unique_ptr<Handshake> Begin(std::shared_ptr<const Identity> identity, Role ours, int fd, Peer peer);
  virtual ~Handshake();

  [[nodiscard]] virtual Step Advance();
  /** After kDone, once. Null where the keys can't be had: then there is no relay for them. */
  [[nodiscard]] virtual std::unique_ptr<Secured> Take();

  /** After kFailed. */
  [[nodiscard]] HandshakeFault fault() const { return fault_; }
  [[nodiscard]] uint8_t alert() const { return alert_; }
  [[nodiscard]] const std::string& detail() const { return detail_; }
  [[nodiscard]] virtual uint64_t bytes_read() const;
  [[nodiscard]] const std::shared_ptr<const Identity>& identity() const { return identity_; }

  /** From a context's own verification, once the chain holds: whether the peer proves who is expected. */
  [[nodiscard]] static bool Accepts(const SSL* ssl, const X509* leaf);
  /** The key log of a context whose handshakes are of this class. */
  static void NoteKeyLogLine(const SSL* ssl, const char* line);

 protected:
  /** For one that goes another way to its keys: a test's, without OpenSSL. */
  Handshake();

  std::shared_ptr<const Identity> identity_;
  HandshakeFault fault_ = HandshakeFault::kProtocol;
  uint8_t alert_ = 0;
  std::string detail_;

 private:
  void OfferSession(const Peer& peer);
  void NoteFailure(int ssl_error);

  /** Where these two have gone on to take tickets it is kept. */
  uint64_t bytes_read_ = 0;
  std::unique_ptr<Wire> wire_;
  SslPtr ssl_;
};

/** How a handshake begins: Handshake::Begin, but for tests. */
using BeginHandshake = std::unique_ptr<Handshake> (*)(std::shared_ptr<const Identity> identity, Role ours, int fd, Handshake::Peer peer);

}  // namespace sidesplice::tls
