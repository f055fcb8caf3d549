// Tickets of peers that mean harm, or that were not meant for us: what a server sends of them, and what a client makes of ours.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "support/connection.h"
#include "sys/calls.h"

using namespace sidesplice;
using test::Bytes;
using test::Connect;
using test::Connection;
using test::Fresh;
using test::kDb;
using test::TheMesh;
using test::TicketOf;
using tls::ContentType;
using tls::Role;
using tls::SslSessionPtr;

namespace {

std::shared_ptr<const tls::Identity> WithoutResumption() {
  std::string why;
  const std::string leaf = TheMesh().web.CertificatePem();
  const std::string key = TheMesh().web.KeyPem();
  const std::string roots = TheMesh().root.CertificatePem();
  return tls::Identity::Build({.chain_pem = leaf, .key_pem = key, .roots_pem = roots, .resumption = false}, &why);
}

/** A client of ours that waits for tickets, and a server that gives none but what the test seals. */
struct Fed {
  std::shared_ptr<const tls::Identity> identity = Fresh();
  std::unique_ptr<tls::Secured> client;
  std::unique_ptr<tls::Secured> server;

  Fed() {
    const auto [ours, theirs] = test::TcpPair();
    const auto dials = tls::Handshake::Begin(identity, Role::kClient, ours.get(), kDb);
    const auto dialed = tls::Handshake::Begin(WithoutResumption(), Role::kServer, theirs.get(), {});
    using Step = tls::Handshake::Step;
    Step one = Step::kWantRead;
    Step other = Step::kWantRead;
    for (int turn = 0; turn < 16 && (one != Step::kDone || other != Step::kDone); turn++) {
      if (one != Step::kDone) one = dials->Advance();
      if (other != Step::kDone) other = dialed->Advance();
    }
    REQUIRE(one == Step::kDone);
    REQUIRE(other == Step::kDone);
    client = dials->Take();
    server = dialed->Take();
    REQUIRE(client->tickets != nullptr);
  }

  /** Whether more is waited for. */
  bool Give(const Bytes& message) { return client->tickets->Give(test::Sealed(*server->write, ContentType::kHandshake, message)); }
  [[nodiscard]] size_t kept() const { return identity->sessions().size(); }
};

void Append(Bytes& to, uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(value >> shift));
}

struct TicketParts {
  uint32_t lifetime = 3'600;
  size_t nonce = 8;
  size_t ticket = 200;
  Bytes extensions = {};
};

/** RFC 8446 section 4.6.1. */
Bytes Ticket(const TicketParts& parts) {
  Bytes body;
  Append(body, parts.lifetime, 4);
  Append(body, 7, 4);
  Append(body, parts.nonce, 1);
  body.resize(body.size() + parts.nonce, 1);
  Append(body, parts.ticket, 2);
  body.resize(body.size() + parts.ticket, 2);
  Append(body, parts.extensions.size(), 2);
  body.insert(body.end(), parts.extensions.begin(), parts.extensions.end());
  Bytes message;
  Append(message, 4, 1);
  Append(message, body.size(), 3);
  message.insert(message.end(), body.begin(), body.end());
  return message;
}

/** Of a client of ours' server: nothing that it could resume by has come, in so far as something could. */
bool GivesNone(const std::shared_ptr<const tls::Identity>& identity, const test::PeerOptions& options) {
  Connection made = Connect(identity, Role::kServer, options);
  REQUIRE(made.secured != nullptr);
  // What was sent before has been read then.
  CHECK(made.Carries());
  return SSL_SESSION_has_ticket(SSL_get_session(made.peer->ssl())) == 0 || made.resumed();
}

}  // namespace

TEST_CASE("a ticket of 8 KiB is kept, a larger one is not, and neither is waited behind") {
  Fed largest;
  CHECK_FALSE(largest.Give(Ticket({.ticket = 8 * 1024})));
  CHECK(largest.kept() == 1);
  Fed larger;
  CHECK_FALSE(larger.Give(Ticket({.ticket = 8 * 1024 + 1})));
  CHECK(larger.kept() == 0);
}

TEST_CASE("a ticket that is cut short, says more than it has, or has something behind it, ends the wait and leaves nothing") {
  const Bytes good = Ticket({});
  for (size_t bytes = 0; bytes < good.size() - 4; bytes += bytes < 24 ? 1 : 37) {
    CAPTURE(bytes);
    Fed fed;
    Bytes cut(good.begin(), good.begin() + 4 + static_cast<std::ptrdiff_t>(bytes));
    cut[2] = static_cast<uint8_t>(bytes >> 8);
    cut[3] = static_cast<uint8_t>(bytes);
    CHECK_FALSE(fed.Give(cut));
    CHECK(fed.kept() == 0);
  }
  Fed behind;
  Bytes longer = good;
  longer.push_back(0);
  longer[3]++;
  CHECK_FALSE(behind.Give(longer));
  CHECK(behind.kept() == 0);
}

TEST_CASE("of many tickets in one record the first is kept") {
  Fed fed;
  Bytes many = Ticket({.ticket = 100});
  for (int at = 0; at < 100; at++) {
    const Bytes next = Ticket({.ticket = 50});
    many.insert(many.end(), next.begin(), next.end());
  }
  CHECK_FALSE(fed.Give(many));
  REQUIRE(fed.kept() == 1);
  const std::string place = kDb.origin + '\n' + kDb.server_name + '\n' + kDb.expect[0];
  const auto kept = fed.identity->sessions().Take(place, sys::WallSeconds());
  const unsigned char* ticket = nullptr;
  size_t bytes = 0;
  SSL_SESSION_get0_ticket(kept.session.get(), &ticket, &bytes);
  CHECK(bytes == 100);
}

TEST_CASE("a ticket in two records is put together, an empty one is none, and one that lives no second is not used") {
  Fed halves;
  const Bytes good = Ticket({});
  CHECK(halves.Give(Bytes(good.begin(), good.begin() + 20)));
  CHECK_FALSE(halves.Give(Bytes(good.begin() + 20, good.end())));
  CHECK(halves.kept() == 1);
  Fed empty;
  CHECK_FALSE(empty.Give(Ticket({.ticket = 0})));
  CHECK(empty.kept() == 0);
  Fed brief;
  (void)brief.Give(Ticket({.lifetime = 0}));
  const std::string place = kDb.origin + '\n' + kDb.server_name + '\n' + kDb.expect[0];
  CHECK(brief.identity->sessions().Take(place, sys::WallSeconds()).session == nullptr);
}

TEST_CASE("a ticket is not kept for longer than its server's chain is remembered, whatever it says") {
  Fed fed;
  (void)fed.Give(Ticket({.lifetime = 7 * 24 * 3'600}));
  const std::string place = kDb.origin + '\n' + kDb.server_name + '\n' + kDb.expect[0];
  CHECK(fed.identity->sessions().Take(place, sys::WallSeconds() + tls::VerifiedChains::kLongestSeconds + 1).session == nullptr);
}

TEST_CASE("past as many connections as may wait for tickets a client waits for none, and carries on") {
  const auto identity = Fresh();
  size_t waiting = 0;
  while (identity->sessions().Await()) waiting++;
  Connection made = Connect(identity, Role::kClient, {.tickets = 0}, kDb);
  REQUIRE(made.secured != nullptr);
  CHECK(made.secured->tickets == nullptr);
  CHECK(made.Carries());
  identity->sessions().Awaited();
  Connection next = Connect(identity, Role::kClient, {.tickets = 0}, kDb);
  CHECK(next.secured->tickets != nullptr);
  next.secured->tickets.reset();
  CHECK(identity->sessions().Await());
  CHECK_FALSE(identity->sessions().Await());
}

TEST_CASE("a client that does not ask for a ticket, or asks for none, gets none; one that asks gets one") {
  const auto identity = Fresh();
  CHECK_FALSE(GivesNone(identity, {}));
  CHECK_FALSE(GivesNone(identity, {.asks = {1, 0}}));
  CHECK_FALSE(GivesNone(identity, {.asks = {255, 255}}));
  for (const Bytes& asks : {Bytes{}, Bytes{0, 0}, Bytes{0, 1}, Bytes{1}, Bytes{1, 1, 1}}) {
    CAPTURE(test::ToHex(asks));
    CHECK(GivesNone(identity, {.asks = asks}));
  }
}

TEST_CASE("a client that resumes is given another ticket where it asks for one, and resumes where it does not") {
  const auto identity = Fresh();
  for (const Bytes& asks : {Bytes{1, 1}, Bytes{1, 0}, Bytes{}}) {
    CAPTURE(test::ToHex(asks));
    const SslSessionPtr ticket = TicketOf(identity);
    Connection second = Connect(identity, Role::kServer, {.asks = asks, .session = ticket.get()});
    REQUIRE(second.resumed());
    CHECK(second.Carries());
    const unsigned char *before = nullptr, *now = nullptr;
    size_t bytes = 0, bytes_now = 0;
    SSL_SESSION_get0_ticket(ticket.get(), &before, &bytes);
    SSL_SESSION_get0_ticket(SSL_get_session(second.peer->ssl()), &now, &bytes_now);
    const bool another = Bytes(before, before + bytes) != Bytes(now, now + bytes_now);
    CHECK(another == (asks == Bytes{1, 1}));
  }
}

TEST_CASE("of certificates of more than 4 KiB no ticket is made, of less one is") {
  const auto identity = Fresh();
  const test::Certified small = test::Issue({.ballast = 3'000}, &TheMesh().root);
  const test::Certified large = test::Issue({.ballast = 4'000}, &TheMesh().root);
  CHECK_FALSE(GivesNone(identity, {.leaf = &small}));
  CHECK(GivesNone(identity, {.leaf = &large}));
}

TEST_CASE("early data reaches nobody: what was offered is refused, and the session goes on without it") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  CHECK(SSL_SESSION_get_max_early_data(ticket.get()) == 0);
  // A client that does not ask whether it may.
  SSL_SESSION_set_max_early_data(ticket.get(), 16'384);
  Connection made;
  std::tie(made.ours, made.theirs) = test::TcpPair();
  made.peer = std::make_unique<test::OpensslPeer>(test::PeerOptions{.role = Role::kClient, .session = ticket.get()}, made.theirs.get());
  size_t written = 0;
  REQUIRE(SSL_write_early_data(made.peer->ssl(), "early", 5, &written) == 1);
  const auto handshake = tls::Handshake::Begin(identity, Role::kServer, made.ours.get(), {});
  REQUIRE(test::ShakeHands(*handshake, *made.peer));
  made.secured = handshake->Take();
  CHECK(made.resumed());
  CHECK(SSL_get_early_data_status(made.peer->ssl()) == SSL_EARLY_DATA_REJECTED);
  CHECK(made.Carries());
  // The first that opens under the session's key is what was written behind the handshake.
  REQUIRE(made.peer->Write(test::BytesOf("late")));
  Bytes record = test::ReadUpTo(made.ours.get(), 4 + made.secured->read->overhead()).bytes;
  const tls::Opened opened = made.secured->read->Open(record);
  CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == test::BytesOf("late"));
}

TEST_CASE("a ticket alone is of no use: without the secret of its session the handshake fails") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  const SslSessionPtr stolen(SSL_SESSION_dup(ticket.get()));
  const Bytes guessed(32, 7);
  REQUIRE(SSL_SESSION_set1_master_key(stolen.get(), guessed.data(), guessed.size()) == 1);
  Connection refused = Connect(identity, Role::kServer, {.session = stolen.get()});
  CHECK(refused.secured == nullptr);
  CHECK(test::Resumes(identity, ticket.get()));
}

TEST_CASE("whoever resumes is who the ticket says, whatever certificate it would have shown") {
  const auto identity = Fresh();
  const test::Certified api = test::Issue({.uris = {"spiffe://test.consul/ns/default/dc/dc1/svc/api"}}, &TheMesh().root);
  const SslSessionPtr ticket = TicketOf(identity, {.leaf = &api});
  Connection second = Connect(identity, Role::kServer, {.session = ticket.get()});
  REQUIRE(second.resumed());
  CHECK(second.secured->peer.uri_sans == std::vector<std::string>{"spiffe://test.consul/ns/default/dc/dc1/svc/api"});
}

TEST_CASE("a ticket of which a bit was turned, anywhere, is none: the handshake is a full one") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  const unsigned char* bytes = nullptr;
  size_t size = 0;
  SSL_SESSION_get0_ticket(ticket.get(), &bytes, &size);
  // The ticket stands in the session's encoding as it is: the copy with one bit turned there is a session with that ticket.
  unsigned char* encoded = nullptr;
  const int encoded_bytes = i2d_SSL_SESSION(ticket.get(), &encoded);
  const Bytes whole(encoded, encoded + encoded_bytes);
  OPENSSL_free(encoded);
  const auto found = std::search(whole.begin(), whole.end(), bytes, bytes + size);
  REQUIRE(found != whole.end());
  // Name, IV, sealed, MAC.
  for (const size_t at : {size_t{0}, size_t{16}, size_t{40}, size / 2, size - 33, size - 1}) {
    CAPTURE(at);
    Bytes turned = whole;
    turned[static_cast<size_t>(found - whole.begin()) + at] ^= 0x10;
    const unsigned char* from = turned.data();
    const SslSessionPtr broken(d2i_SSL_SESSION(nullptr, &from, static_cast<long>(turned.size())));
    REQUIRE(broken != nullptr);
    CHECK_FALSE(test::Resumes(identity, broken.get()));
  }
}

TEST_CASE("a client that allows to resume without a key exchange gets one all the same") {
  const auto identity = Fresh();
  const SslSessionPtr ticket = TicketOf(identity);
  Connection made;
  std::tie(made.ours, made.theirs) = test::TcpPair();
  made.peer = std::make_unique<test::OpensslPeer>(test::PeerOptions{.role = Role::kClient, .session = ticket.get()}, made.theirs.get());
  SSL_set_options(made.peer->ssl(), SSL_OP_ALLOW_NO_DHE_KEX);
  const auto handshake = tls::Handshake::Begin(identity, Role::kServer, made.ours.get(), {});
  REQUIRE(test::ShakeHands(*handshake, *made.peer));
  made.secured = handshake->Take();
  REQUIRE(made.resumed());
  EVP_PKEY* share = nullptr;
  CHECK(SSL_get_peer_tmp_key(made.peer->ssl(), &share) == 1);
  EVP_PKEY_free(share);
}

TEST_CASE("connections of many threads resume each other's sessions, with roots and keys that are exchanged meanwhile") {
  constexpr int kThreads = 4;
  constexpr int kEach = 20;
  std::mutex mutex;
  std::shared_ptr<const tls::Identity> dials = Fresh();
  std::shared_ptr<const tls::Identity> dialed = Fresh();
  std::atomic<int> done{0};
  std::atomic<int> resumed{0};
  const auto connect = [&] {
    const auto [client, server] = [&] {
      const std::lock_guard lock(mutex);
      return std::pair(dials, dialed);
    }();
    const auto [ours, theirs] = test::TcpPair();
    const auto one = tls::Handshake::Begin(client, Role::kClient, ours.get(), kDb);
    const auto other = tls::Handshake::Begin(server, Role::kServer, theirs.get(), {});
    using Step = tls::Handshake::Step;
    Step first = Step::kWantRead;
    Step second = Step::kWantRead;
    for (int turn = 0; turn < 64 && (first != Step::kDone || second != Step::kDone); turn++) {
      if (first != Step::kDone) first = one->Advance();
      if (second != Step::kDone) second = other->Advance();
      if (first == Step::kFailed || second == Step::kFailed) return;
    }
    const auto secured = one->Take();
    const auto answered = other->Take();
    if (secured == nullptr || answered == nullptr || secured->resumed != answered->resumed) return;
    resumed += secured->resumed ? 1 : 0;
    Bytes record = test::ReadUpTo(ours.get(), tls::kHeaderBytes).bytes;
    if (record.size() != tls::kHeaderBytes) return;
    const Bytes body = test::ReadUpTo(ours.get(), static_cast<size_t>(record[3]) << 8 | record[4]).bytes;
    record.insert(record.end(), body.begin(), body.end());
    if (secured->tickets != nullptr) (void)secured->tickets->Give(record);
    done++;
  };
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; thread++)
    threads.emplace_back([&] {
      for (int at = 0; at < kEach; at++) connect();
    });
  for (int change = 0; change < 4; change++) {
    const auto next = Fresh();
    const std::lock_guard lock(mutex);
    (change % 2 == 0 ? dials : dialed) = next;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(done == kThreads * kEach);
  CHECK(resumed > 0);
}
