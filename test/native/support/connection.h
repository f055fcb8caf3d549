// Connections between an identity of ours and OpenSSL, and what they leave behind to resume by; for files of test cases, whose checks it makes.
#pragma once

#include <doctest/doctest.h>

#include <memory>
#include <tuple>
#include <utility>

#include "support/certificates.h"
#include "support/openssl_peer.h"
#include "support/record_writer.h"
#include "support/sockets.h"
#include "tls/handshake.h"
#include "tls/resumption.h"

namespace sidesplice::test {

inline std::shared_ptr<const tls::Identity> Fresh() { return IdentityOf(TheMesh().web, {}, {&TheMesh().root}); }

/** One connection; `done` where both ends have said so. */
struct Connection {
  sys::Fd ours;
  sys::Fd theirs;
  std::unique_ptr<OpensslPeer> peer;
  std::unique_ptr<tls::Secured> secured;
  tls::HandshakeFault fault{};

  /** By both ends alike. */
  [[nodiscard]] bool resumed() const {
    REQUIRE(secured != nullptr);
    CHECK(secured->resumed == (SSL_session_reused(peer->ssl()) == 1));
    return secured->resumed;
  }
  /** The peer reads what we seal: the sequence numbers of both agree. */
  [[nodiscard]] bool Carries() {
    const Bytes text = BytesOf("behind the tickets");
    const Bytes sealed = Sealed(*secured->write, tls::ContentType::kApplicationData, text);
    return WriteAll(ours.get(), sealed) && peer->Read(text.size()) == text;
  }
};

inline Connection Connect(const std::shared_ptr<const tls::Identity>& identity, tls::Role ours, PeerOptions options, tls::Handshake::Peer whom = {}) {
  Connection made;
  std::tie(made.ours, made.theirs) = TcpPair();
  options.role = ours == tls::Role::kServer ? tls::Role::kClient : tls::Role::kServer;
  made.peer = std::make_unique<OpensslPeer>(options, made.theirs.get());
  const auto handshake = tls::Handshake::Begin(identity, ours, made.ours.get(), std::move(whom));
  if (ShakeHands(*handshake, *made.peer)) made.secured = handshake->Take();
  else made.fault = handshake->fault();
  return made;
}

/** A ticket of `identity`'s for a client that presents what `options` say. */
inline tls::SslSessionPtr TicketOf(const std::shared_ptr<const tls::Identity>& identity, const PeerOptions& options = {}) {
  Connection first = Connect(identity, tls::Role::kServer, options);
  CHECK_FALSE(first.resumed());
  // In TLS 1.2 it came within the handshake.
  if (options.version == TLS1_3_VERSION) first.peer->ReadTickets();
  CHECK(first.Carries());
  return tls::SslSessionPtr(SSL_get1_session(first.peer->ssl()));
}

inline bool Resumes(const std::shared_ptr<const tls::Identity>& identity, SSL_SESSION* session, PeerOptions options = {}) {
  options.session = session;
  Connection second = Connect(identity, tls::Role::kServer, options);
  REQUIRE(second.secured != nullptr);
  const bool resumed = second.resumed();
  if (options.version == TLS1_3_VERSION) second.peer->ReadTickets();
  CHECK(second.Carries());
  return resumed;
}

inline const tls::Handshake::Peer kDb = {.server_name = "db.test.consul", .expect = {kWeb}, .origin = "db 127.0.0.1:1"};

/** Records of the peer until no more is of use. How many there were. */
inline size_t GiveAll(Connection& of) {
  size_t given = 0;
  while (of.secured->tickets != nullptr) {
    Bytes record = ReadUpTo(of.ours.get(), tls::kHeaderBytes).bytes;
    REQUIRE(record.size() == tls::kHeaderBytes);
    const Bytes body = ReadUpTo(of.ours.get(), static_cast<size_t>(record[3]) << 8 | record[4]).bytes;
    record.insert(record.end(), body.begin(), body.end());
    given++;
    if (!of.secured->tickets->Give(record)) of.secured->tickets.reset();
    CHECK(of.secured->read->Open(record).type == tls::ContentType::kHandshake);
  }
  return given;
}

/** A client of ours has connected to an OpenSSL server, and taken what ticket it gave. */
inline bool ConnectAndTake(const std::shared_ptr<const tls::Identity>& identity, PeerOptions options = {.tickets = 1, .remembers = true},
                    tls::Handshake::Peer whom = kDb) {
  Connection made = Connect(identity, tls::Role::kClient, options, std::move(whom));
  REQUIRE(made.secured != nullptr);
  const bool resumed = made.resumed();
  if (options.tickets > 0) GiveAll(made);
  CHECK(made.Carries());
  return resumed;
}

}  // namespace sidesplice::test
