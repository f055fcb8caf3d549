// What must be true.
#include "simulator/flow.h"

#include <algorithm>
#include <string_view>

namespace sidesplice::simulator {

void Flow::Wrong(const std::string& what) const {
  Fail("session " + std::to_string(session) + (inbound ? " (inbound)" : " (outbound)") + ": " + what);
}

void Flow::CheckAppEnd(const App& app) const {
  const bool clean = std::any_of(peers.begin(), peers.end(), [&](const auto& peer) {
    return peer->ended_cleanly && peer->sent == app.received;
  });
  // A dial that was given up again: the local app has seen a connection, and nothing of a session.
  const bool nothing = inbound && !app.end.other->served && app.received == 0;
  if (!clean && !nothing) Wrong("the app was told an end, behind " + std::to_string(app.received) + " bytes, that is none");
}

void Flow::CheckTlsEnd(const TlsPeer& peer) const {
  const bool clean = std::any_of(apps.begin(), apps.end(), [&](const auto& app) {
    return app->end.shut && app->sent == peer.received;
  });
  if (!clean) Wrong("the peer was told close_notify, behind " + std::to_string(peer.received) + " bytes, that is no end");
}

void Flow::CheckRecord() const {
  const std::string& reason = record->reason;
  if (ended_by != nullptr && reason != ended_by) Wrong("ended by " + std::string(ended_by) + ", and its record says " + reason);
  const auto most_of_apps = [&] {
    uint64_t most = 0;
    for (const auto& app : apps) most = std::max(most, app->sent);
    return most;
  };
  const auto most_of_peers = [&] {
    uint64_t most = 0;
    for (const auto& peer : peers) most = std::max(most, peer->sent);
    return most;
  };
  const uint64_t up = inbound ? most_of_peers() : most_of_apps();
  const uint64_t down = inbound ? most_of_apps() : most_of_peers();
  if (record->view.bytes_to_upstream > up || record->view.bytes_to_downstream > down) Wrong("its record counts more bytes than there were");
  if (reason == "closed") CheckClosed();
  const bool aborts = std::any_of(apps.begin(), apps.end(), [](const auto& app) { return IsAbort(app->habits().leave); }) ||
                      std::any_of(peers.begin(), peers.end(), [](const auto& peer) { return IsAbort(peer->habits().leave); });
  if (calm && !aborts && reason != "closed" && reason != "closed_before_first_byte")
    Wrong("nothing went wrong, and its record says " + reason + " " + record->detail.value_or(""));
}

void Flow::CheckClosed() const {
  const bool whole = std::any_of(peers.begin(), peers.end(), [&](const auto& peer) {
    return peer->ended_cleanly && std::any_of(apps.begin(), apps.end(), [&](const auto& app) {
             const uint64_t to_peer = inbound ? record->view.bytes_to_downstream : record->view.bytes_to_upstream;
             const uint64_t to_app = inbound ? record->view.bytes_to_upstream : record->view.bytes_to_downstream;
             return app->end.shut && app->sent == to_peer && peer->sent == to_app && app->end.arrived_total == to_app &&
                    peer->end.other->sent.empty();
           });
  });
  if (!whole) Wrong("its record says closed, and not all has arrived");
}

void Flow::CheckOver() const {
  if (!calm || !record) return;
  // Broken off before anybody was dialed.
  if ((apps.empty() || peers.empty()) && IsAbort(downstream().habits().leave)) return;
  if (apps.size() != 1 || peers.size() != 1) Wrong("it was calm, and had other than two peers");
  if (IsAbort(apps.back()->habits().leave) || IsAbort(peers.back()->habits().leave)) return CheckAborted(*apps.back(), *peers.back());
  if (!apps.back()->got_clean_end || !peers.back()->got_clean_end) Wrong("its record says closed, and somebody was not told");
  if (apps.back()->received != peers.back()->sent || peers.back()->received != apps.back()->sent)
    Wrong("its record says closed, and somebody has not got all");
}

void Flow::CheckAborted(const App& app, const TlsPeer& peer) const {
  if (record->reason == "closed") Wrong("it was broken off, and its record says closed");
  if (IsAbort(peer.habits().leave)) {
    if (app.end.arrived_total != peer.sent)
      Wrong("the peer broke it off behind " + std::to_string(peer.sent) + " bytes, and the app has got " +
            std::to_string(app.end.arrived_total));
    return;
  }
  if (peer.received != app.end.other->read_total)
    Wrong("the app broke it off behind " + std::to_string(app.end.other->read_total) + " bytes, and the peer has got " +
          std::to_string(peer.received));
}

void Flow::CheckQuiet(const Kernel& kernel) const {
  if (apps.empty() || peers.empty()) return;
  const App& app = *apps.back();
  const TlsPeer& peer = *peers.back();
  const End& plain = *app.end.other;
  const End& tls = *peer.end.other;
  if (plain.fd < 0 || tls.fd < 0) Wrong("it relays, and a connection is closed");
  if (!kernel.IsWatched(plain) || !kernel.IsWatched(tls)) Wrong("it relays, and a connection is not watched");
  // Both ways are over: the queues are looked at by a timer.
  if (plain.shut && tls.shut) return;
  if (plain.error != 0 || tls.error != 0) Wrong("a connection is broken, and that was not noticed");
  if (!tls.shut && tls.writable()) CheckWayOut(app, peer);
  if (!plain.shut && plain.writable()) CheckWayIn(app, peer);
}

void Flow::CheckWayOut(const App& app, const TlsPeer& peer) const {
  const End& plain = *app.end.other;
  const End& tls = *peer.end.other;
  if (!plain.arrived.empty()) Wrong(std::to_string(plain.arrived.size()) + " bytes of the app wait, and the peer would take them");
  if (plain.ended) Wrong("the app has ended, and the peer was not told");
  if (!tls.sent.empty() || !peer.end.arrived.empty()) return;
  if (!peer.at_boundary() || peer.received != plain.read_total)
    Wrong("bytes of the app are kept, and the peer would take them: " + std::to_string(plain.read_total - peer.received));
  if (peer.updates_asked > 0 && peer.updates_got == 0 && tls.read_total >= peer.asked_at) Wrong("a KeyUpdate was not answered");
}

void Flow::CheckWayIn(const App& app, const TlsPeer& peer) const {
  const End& plain = *app.end.other;
  const End& tls = *peer.end.other;
  if (!tls.arrived.empty()) Wrong(std::to_string(tls.arrived.size()) + " bytes of the peer wait, and the app would take them");
  if (tls.ended) Wrong("the peer has ended, and the app was not told");
  if (!plain.sent.empty() || !app.end.arrived.empty()) return;
  const uint64_t whole = peer.SessionBytesIn(tls.read_total);
  if (app.received != whole) Wrong("bytes of the peer are kept, and the app would take them: " + std::to_string(whole - app.received));
}

}  // namespace sidesplice::simulator
