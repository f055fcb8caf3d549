// What a relay keeps of a handshake for the sake of tickets, and when it lets go: the identity in it tells, which nobody else has then.
#include "core/ticket_watch.h"

#include <doctest/doctest.h>
#include <poll.h>

#include "support/openssl_peer.h"
#include "support/relay_rig.h"

using namespace sidesplice;
using test::BytesOf;
using test::RelayRig;

namespace {

/** A relay of a session that we opened, which waits for tickets. */
struct Waiting {
  std::weak_ptr<const tls::Identity> identity;
  std::unique_ptr<RelayRig> rig;

  Waiting() {
    std::shared_ptr<const tls::Identity> made = test::IdentityOf(test::TheMesh().web, {}, {&test::TheMesh().root});
    identity = made;
    const auto [ours, theirs] = test::TcpPair();
    test::OpensslPeer server({.role = tls::Role::kServer}, theirs.get());
    auto handshake = tls::Handshake::Begin(std::move(made), tls::Role::kClient, ours.get(), {.server_name = "", .expect = {}, .origin = "db"});
    REQUIRE(test::ShakeHands(*handshake, server));
    auto tickets = std::move(handshake->Take()->tickets);
    REQUIRE(tickets != nullptr);
    rig = std::make_unique<RelayRig>(test::RigOptions{.inbound = false, .tickets = std::move(tickets)});
  }

  /** Whether the relay's thread has it still. */
  [[nodiscard]] bool holds() {
    bool held = false;
    rig->OnThread([&] { held = !identity.expired(); });
    return held;
  }
  /** The relay lives, and carries bytes both ways. */
  [[nodiscard]] bool Carries() {
    return rig->peer.SendData(BytesOf("down")) && test::ReadUpTo(rig->app.get(), 4).bytes == BytesOf("down") &&
           test::WriteAll(rig->app.get(), BytesOf("up")) && rig->peer.ReadData(2) == BytesOf("up");
  }
};

}  // namespace

TEST_CASE("the first data of the peer ends the wait for tickets, data of the app does not") {
  Waiting waiting;
  REQUIRE(test::WriteAll(waiting.rig->app.get(), BytesOf("up")));
  REQUIRE(waiting.rig->peer.ReadData(2) == BytesOf("up"));
  CHECK(waiting.holds());
  CHECK(waiting.Carries());
  CHECK_FALSE(waiting.holds());
}

TEST_CASE("a KeyUpdate ends the wait for tickets, and is answered by the relay alone") {
  Waiting waiting;
  REQUIRE(waiting.rig->peer.SendKeyUpdate(true));
  CHECK(waiting.rig->peer.Next().has_value());
  CHECK_FALSE(waiting.holds());
  CHECK(waiting.Carries());
}

TEST_CASE("a handshake message that is no ticket which can be taken ends the wait, and the session goes on") {
  Waiting waiting;
  // A ticket in form, sealed with keys that the waiting SSL has not.
  REQUIRE(waiting.rig->peer.Send(tls::ContentType::kHandshake, test::FromHex("04 000012 00000e10 00000000 01 00 0004 01020304 0000")));
  CHECK(waiting.Carries());
  CHECK_FALSE(waiting.holds());
}

TEST_CASE("a session that falls silent, and one that waits in vain for a second, keep nothing of it") {
  Waiting silent;
  CHECK(silent.holds());
  silent.rig->Rest();
  CHECK_FALSE(silent.holds());
  CHECK(silent.Carries());
  Waiting vain;
  pollfd app{.fd = vain.rig->app.get(), .events = POLLIN, .revents = 0};
  // Nothing comes there: a poll is what lets time pass.
  for (int looks = 0; vain.holds() && looks * 100 < test::kPatienceMs; looks++) (void)poll(&app, 1, 100);
  CHECK_FALSE(vain.holds());
  CHECK(vain.Carries());
}
