// Resumption with OpenSSL at the other end, in both roles: what a session is bound to, and that a difference costs a full handshake and no more.
#include "tls/resumption.h"

#include <doctest/doctest.h>
#include <openssl/x509_vfy.h>

#include "support/connection.h"
#include "support/later_clock.h"

using namespace sidesplice;
using test::Bytes;
using test::Connect;
using test::ConnectAndTake;
using test::Connection;
using test::Fresh;
using test::GiveAll;
using test::kDb;
using test::LaterClock;
using test::Resumes;
using test::TheMesh;
using test::TicketOf;
using tls::Role;
using tls::SslSessionPtr;

TEST_CASE("a client that comes back with its ticket is resumed, is who it was, and gets another") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  REQUIRE(SSL_SESSION_is_resumable(ticket.get()) == 1);
  Connection second = Connect(identity, Role::kServer, {.presents = false, .session = ticket.get()});
  REQUIRE(second.resumed());
  CHECK(second.secured->peer.uri_sans == std::vector<std::string>{test::kWeb});
  CHECK(second.secured->peer.serial == "ABCDEF");
  CHECK(X509_cmp(second.secured->peer.leaf.get(), TheMesh().web.certificate.get()) == 0);
  second.peer->ReadTickets();
  CHECK(second.Carries());
  const SslSessionPtr another(SSL_get1_session(second.peer->ssl()));
  CHECK(Resumes(identity, another.get(), {.presents = false}));
}

TEST_CASE("keys are agreed on anew where a session is resumed") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  Connection second = Connect(identity, Role::kServer, {.session = ticket.get()});
  REQUIRE(second.resumed());
  EVP_PKEY* share = nullptr;
  CHECK(SSL_get_peer_tmp_key(second.peer->ssl(), &share) == 1);
  EVP_PKEY_free(share);
}

TEST_CASE("what a client presented beside its leaf comes back with its ticket") {
  const test::Certified root = test::MakeRoot();
  const test::Certified intermediate = test::Issue({.uris = {}, .ca = true, .usage = ""}, &root);
  const test::Certified leaf = test::Issue({}, &intermediate);
  const auto identity = test::IdentityOf(test::Issue({}, &root), {}, {&root});
  const SslSessionPtr ticket = TicketOf(identity, {.leaf = &leaf, .chain = {&intermediate}});
  Connection second = Connect(identity, Role::kServer, {.presents = false, .session = ticket.get()});
  REQUIRE(second.resumed());
  REQUIRE(sk_X509_num(second.secured->peer.presented.get()) == 1);
  // As it is asked where the roots change before the relay.
  const auto& peer = second.secured->peer;
  CHECK(identity->Verify(peer.leaf.get(), peer.presented.get(), Role::kClient) == X509_V_OK);
  CHECK(identity->Verify(peer.leaf.get(), nullptr, Role::kClient) != X509_V_OK);
}

TEST_CASE("a ticket is of no use to another identity, be it the same leaf with the same roots again, another leaf, or other roots") {
  const auto identity = Fresh();
  const test::Certified other = test::MakeRoot();
  const auto same = Fresh();
  const auto leaf = test::IdentityOf(test::Issue({.serial = 2}, &TheMesh().root), {}, {&TheMesh().root});
  const auto roots = test::IdentityOf(TheMesh().web, {}, {&TheMesh().root, &other});
  const SslSessionPtr ticket = TicketOf(identity);
  for (const auto& one : {same, leaf, roots}) CHECK_FALSE(Resumes(one, ticket.get()));
  CHECK(Resumes(identity, ticket.get()));
}

TEST_CASE("a client whose ticket was of no use gets another, which is") {
  const SslSessionPtr old = TicketOf(Fresh());
  const auto identity = Fresh();
  Connection full = Connect(identity, Role::kServer, {.session = old.get()});
  CHECK_FALSE(full.resumed());
  full.peer->ReadTickets();
  const SslSessionPtr fresh(SSL_get1_session(full.peer->ssl()));
  CHECK(Resumes(identity, fresh.get()));
}

TEST_CASE("a ticket outlives neither the client's chain nor the time for which a verified chain is remembered") {
  const auto identity = Fresh();
  const test::Certified brief = test::Issue({.ends = 100}, &TheMesh().root);
  const SslSessionPtr of_brief = TicketOf(identity, {.leaf = &brief});
  CHECK(SSL_SESSION_get_ticket_lifetime_hint(of_brief.get()) <= 100);
  const test::Certified lasting = test::Issue({.ends = 100'000}, &TheMesh().root);
  const SslSessionPtr of_lasting = TicketOf(identity, {.leaf = &lasting});
  CHECK(SSL_SESSION_get_ticket_lifetime_hint(of_lasting.get()) <= tls::VerifiedChains::kLongestSeconds);
  {
    const LaterClock clock(101);
    CHECK_FALSE(Resumes(identity, of_brief.get(), {.leaf = &brief}));
    CHECK(Resumes(identity, of_lasting.get(), {.leaf = &lasting}));
  }
  const LaterClock clock(tls::VerifiedChains::kLongestSeconds + 1);
  CHECK_FALSE(Resumes(identity, of_lasting.get(), {.leaf = &lasting}));
}

TEST_CASE("a ticket is not prolonged by a later full handshake of the same peer, which has its chain remembered anew") {
  const auto identity = Fresh();
  const test::Certified leaf = test::Issue({.ends = 100'000}, &TheMesh().root);
  const SslSessionPtr ticket = TicketOf(identity, {.leaf = &leaf});
  const LaterClock clock(tls::VerifiedChains::kLongestSeconds + 1);
  const SslSessionPtr later = TicketOf(identity, {.leaf = &leaf});
  CHECK(Resumes(identity, later.get(), {.leaf = &leaf}));
  CHECK_FALSE(Resumes(identity, ticket.get(), {.leaf = &leaf}));
}

TEST_CASE("a renewed ticket goes by the time of the chain that was verified, not by its own") {
  const auto identity = Fresh();
  const test::Certified leaf = test::Issue({.ends = 100}, &TheMesh().root);
  const SslSessionPtr first = TicketOf(identity, {.leaf = &leaf});
  SslSessionPtr second;
  {
    const LaterClock clock(60);
    Connection resumed = Connect(identity, Role::kServer, {.leaf = &leaf, .session = first.get()});
    REQUIRE(resumed.resumed());
    resumed.peer->ReadTickets();
    second = SslSessionPtr(SSL_get1_session(resumed.peer->ssl()));
    CHECK(SSL_SESSION_get_ticket_lifetime_hint(second.get()) <= 40);
  }
  const LaterClock clock(101);
  CHECK_FALSE(Resumes(identity, second.get(), {.leaf = &leaf}));
}

TEST_CASE("in TLS 1.2 nothing is resumed, in either role") {
  const auto identity = Fresh();
  const SslSessionPtr session = TicketOf(identity, {.version = TLS1_2_VERSION});
  CHECK_FALSE(Resumes(identity, session.get(), {.version = TLS1_2_VERSION}));
  const test::PeerOptions server = {.version = TLS1_2_VERSION, .remembers = true};
  CHECK_FALSE(ConnectAndTake(identity, server));
  CHECK_FALSE(ConnectAndTake(identity, server));
  CHECK(identity->sessions().size() == 0);
}

TEST_CASE("an identity that is to resume nothing gives no ticket, and takes none") {
  const std::string leaf = TheMesh().web.CertificatePem();
  const std::string key = TheMesh().web.KeyPem();
  const std::string roots = TheMesh().root.CertificatePem();
  std::string why;
  const std::shared_ptr<const tls::Identity> identity =
      tls::Identity::Build({.chain_pem = leaf, .key_pem = key, .roots_pem = roots, .resumption = false}, &why);
  REQUIRE(identity != nullptr);
  Connection inbound = Connect(identity, Role::kServer, {});
  REQUIRE(inbound.Carries());
  CHECK(SSL_SESSION_is_resumable(SSL_get_session(inbound.peer->ssl())) == 0);
  Connection outbound = Connect(identity, Role::kClient, {.tickets = 1, .remembers = true}, kDb);
  REQUIRE(outbound.secured != nullptr);
  CHECK(outbound.secured->tickets == nullptr);
}

TEST_CASE("a client of ours takes the first ticket of a server, however many come, and its next connection is resumed by it") {
  for (const size_t tickets : {size_t{1}, size_t{3}}) {
    const auto identity = Fresh();
    const test::PeerOptions server = {.tickets = tickets, .remembers = true};
    Connection first = Connect(identity, Role::kClient, server, kDb);
    CHECK_FALSE(first.resumed());
    CHECK(GiveAll(first) == 1);
    CHECK(first.Carries());
    CHECK(identity->sessions().size() == 1);
    Connection second = Connect(identity, Role::kClient, server, kDb);
    CHECK(second.resumed());
    CHECK(second.secured->peer.uri_sans == std::vector<std::string>{test::kWeb});
    // Used once.
    CHECK(identity->sessions().size() == 0);
    CHECK(GiveAll(second) == 1);
    CHECK(identity->sessions().size() == 1);
  }
}

TEST_CASE("a session is resumed for the same upstream, server name and expected IDs alone, and by the same identity") {
  const auto identity = Fresh();
  const auto with = [](auto change) {
    tls::Handshake::Peer whom = kDb;
    change(whom);
    return whom;
  };
  const tls::Handshake::Peer others[] = {with([](auto& whom) { whom.origin = "db 127.0.0.1:2"; }),
                                         with([](auto& whom) { whom.server_name = "other.test.consul"; }),
                                         with([](auto& whom) { whom.expect.push_back("spiffe://test.consul/ns/default/dc/dc1/svc/db"); })};
  for (const tls::Handshake::Peer& other : others) {
    CHECK_FALSE(ConnectAndTake(identity, {.tickets = 1, .remembers = true}, other));
    CHECK(ConnectAndTake(identity, {.tickets = 1, .remembers = true}, other));
  }
  CHECK_FALSE(ConnectAndTake(identity));
  CHECK_FALSE(ConnectAndTake(Fresh()));
  CHECK(ConnectAndTake(identity));
}

TEST_CASE("a server that is not one of those expected is refused as ever, with sessions of another kept") {
  const auto identity = Fresh();
  CHECK_FALSE(ConnectAndTake(identity));
  tls::Handshake::Peer whom = kDb;
  whom.expect = {"spiffe://test.consul/ns/default/dc/dc1/svc/db"};
  Connection refused = Connect(identity, Role::kClient, {.tickets = 1, .remembers = true}, whom);
  CHECK(refused.secured == nullptr);
  CHECK(refused.fault == tls::HandshakeFault::kIdentity);
}

TEST_CASE("a session of ours is not offered past its server's chain") {
  const auto identity = Fresh();
  const test::Certified brief = test::Issue({.ends = 100}, &TheMesh().root);
  const test::PeerOptions server = {.leaf = &brief, .tickets = 1, .remembers = true};
  CHECK_FALSE(ConnectAndTake(identity, server));
  {
    const LaterClock clock(60);
    CHECK(ConnectAndTake(identity, server));
  }
  const LaterClock clock(101);
  CHECK_FALSE(ConnectAndTake(identity, server));
}

TEST_CASE("a server that has forgotten costs a full handshake, and what else was kept for it goes") {
  const auto identity = Fresh();
  const test::PeerOptions server = {.tickets = 1, .remembers = true};
  // Two at a time, each brings a ticket.
  Connection one = Connect(identity, Role::kClient, server, kDb);
  Connection two = Connect(identity, Role::kClient, server, kDb);
  GiveAll(one);
  GiveAll(two);
  CHECK(identity->sessions().size() == 2);
  Connection forgotten = Connect(identity, Role::kClient, {.tickets = 0}, kDb);
  CHECK_FALSE(forgotten.resumed());
  CHECK(identity->sessions().size() == 0);
}

TEST_CASE("what a server presented beside its leaf is there where its session is resumed") {
  const test::Certified root = test::MakeRoot();
  const test::Certified intermediate = test::Issue({.uris = {}, .ca = true, .usage = ""}, &root);
  const test::Certified leaf = test::Issue({}, &intermediate);
  const auto identity = test::IdentityOf(test::Issue({}, &root), {}, {&root});
  const test::PeerOptions server = {.leaf = &leaf, .chain = {&intermediate}, .tickets = 1, .remembers = true};
  CHECK_FALSE(ConnectAndTake(identity, server));
  Connection second = Connect(identity, Role::kClient, server, kDb);
  REQUIRE(second.resumed());
  // As it is asked where the roots change before the relay: an identity of other roots has to see it all.
  const auto& peer = second.secured->peer;
  const test::Certified other = test::MakeRoot();
  const auto widened = test::IdentityOf(test::Issue({}, &root), {}, {&root, &other});
  CHECK(widened->Verify(peer.leaf.get(), nullptr, Role::kServer) != X509_V_OK);
  CHECK(widened->Verify(peer.leaf.get(), peer.presented.get(), Role::kServer) == X509_V_OK);
  CHECK(test::IdentityOf(test::Issue({}, &other), {}, {&other})->Verify(peer.leaf.get(), peer.presented.get(), Role::kServer) != X509_V_OK);
}

TEST_CASE("a server that fails where its own ticket is offered fails once: it is offered none, and asked for none, again") {
  const auto identity = Fresh();
  // It opens the ticket, and then takes offence at it.
  const test::PeerOptions server = {.tickets = 1, .remembers = true, .has_context = false};
  CHECK_FALSE(ConnectAndTake(identity, server));
  Connection refused = Connect(identity, Role::kClient, server, kDb);
  CHECK(refused.secured == nullptr);
  CHECK(refused.fault == tls::HandshakeFault::kAlert);
  for (int at = 0; at < 3; at++) {
    Connection full = Connect(identity, Role::kClient, server, kDb);
    CHECK_FALSE(full.resumed());
    CHECK(full.secured->tickets == nullptr);
    CHECK(full.Carries());
  }
  tls::Handshake::Peer elsewhere = kDb;
  elsewhere.origin = "db 127.0.0.1:2";
  CHECK_FALSE(ConnectAndTake(identity, {.tickets = 1, .remembers = true}, elsewhere));
  CHECK(ConnectAndTake(identity, {.tickets = 1, .remembers = true}, elsewhere));
}

TEST_CASE("a server that is not who it was is refused, and the one that comes back is resumed as ever") {
  const auto identity = Fresh();
  const test::Certified api = test::Issue({.uris = {"spiffe://test.consul/ns/default/dc/dc1/svc/api"}}, &TheMesh().root);
  CHECK_FALSE(ConnectAndTake(identity));
  Connection other = Connect(identity, Role::kClient, {.leaf = &api, .tickets = 1}, kDb);
  CHECK(other.secured == nullptr);
  CHECK(other.fault == tls::HandshakeFault::kIdentity);
  CHECK(identity->sessions().size() == 0);
  CHECK_FALSE(ConnectAndTake(identity));
  CHECK(ConnectAndTake(identity));
}

TEST_CASE("a handshake that is given up takes what else is kept for its place with it") {
  const auto identity = Fresh();
  const test::PeerOptions server = {.tickets = 1, .remembers = true};
  Connection one = Connect(identity, Role::kClient, server, kDb);
  Connection two = Connect(identity, Role::kClient, server, kDb);
  GiveAll(one);
  GiveAll(two);
  REQUIRE(identity->sessions().size() == 2);
  {
    const auto [ours, theirs] = test::TcpPair();
    const auto handshake = tls::Handshake::Begin(identity, Role::kClient, ours.get(), kDb);
    CHECK(handshake->Advance() == tls::Handshake::Step::kWantRead);
    CHECK(identity->sessions().size() == 1);
  }
  CHECK(identity->sessions().size() == 0);
  CHECK_FALSE(ConnectAndTake(identity));
  CHECK(ConnectAndTake(identity));
}

TEST_CASE("data before a ticket ends the wait for it, and harms nothing") {
  const auto identity = Fresh();
  Connection made = Connect(identity, Role::kClient, {.tickets = 0}, kDb);
  REQUIRE(made.secured->tickets != nullptr);
  REQUIRE(made.peer->Write(test::BytesOf("data")));
  Bytes record = test::ReadUpTo(made.ours.get(), 4 + made.secured->read->overhead()).bytes;
  CHECK_FALSE(made.secured->tickets->Give(record));
  CHECK(identity->sessions().size() == 0);
  const tls::Opened opened = made.secured->read->Open(record);
  CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == test::BytesOf("data"));
}
