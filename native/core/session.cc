// What is kept of a session.
#include "core/session.h"

#include <time.h>

#include <utility>

#include "core/reactor.h"
#include "sys/calls.h"

namespace sidesplice::core {

SessionShared::SessionShared(SessionId session, std::shared_ptr<const ListenerSpec> of,
                             std::shared_ptr<ListenerTally> counts)
    : id(session),
      spec(std::move(of)),
      tally(std::move(counts)),
      state(spec->inbound ? SessionState::kHandshaking : SessionState::kDeciding),
      started_at_(sys::ClockMs(CLOCK_REALTIME)),
      started_ms_(NowMs()) {}

void SessionShared::SetPeer(std::string peer) {
  const std::lock_guard lock(mutex_);
  peer_ = std::move(peer);
}

void SessionShared::SetEndpoint(std::string endpoint) {
  const std::lock_guard lock(mutex_);
  endpoint_ = std::move(endpoint);
}

void SessionShared::SetDownstream(std::string downstream) {
  const std::lock_guard lock(mutex_);
  downstream_ = std::move(downstream);
}

SessionView SessionShared::View() const {
  const std::lock_guard lock(mutex_);
  return {.id = id,
          .listener = spec->key,
          .name = spec->name,
          .inbound = spec->inbound,
          .state = state,
          .peer = peer_,
          .downstream = downstream_,
          .endpoint = endpoint_,
          .started_at = started_at_,
          .bytes_to_upstream = bytes_to_upstream,
          .bytes_to_downstream = bytes_to_downstream};
}

void Session::BeginAttempt(const std::string& endpoint) {
  attempt = AttemptRecord{.endpoint = endpoint, .outcome = "", .detail = {}, .connect_ms = {}, .handshake_ms = {}};
  dialing = true;
  shared->tally->Begin(endpoint);
  shared->SetEndpoint(endpoint);
  shared->state = SessionState::kDialing;
}

void Session::AttemptDialed() {
  if (!dialing) return;
  dialing = false;
  shared->tally->Dialed(attempt->endpoint);
}

void Session::AttemptCarried() {
  if (attempt) shared->tally->Carried(attempt->endpoint);
}

void Session::EndAttempt(const char* outcome, std::optional<std::string> detail) {
  if (!attempt) return;
  AttemptDialed();
  attempt->outcome = outcome;
  attempt->detail = std::move(detail);
  shared->tally->End(attempt->endpoint, IsBlamed(outcome));
  attempts.push_back(*std::exchange(attempt, {}));
}

Record Session::RecordOf(std::string reason, std::optional<std::string> detail) {
  return {.view = shared->View(),
          .reason = std::move(reason),
          .detail = std::move(detail),
          .relayed = relayed,
          .attempts = std::move(attempts),
          .tls_version = std::move(tls_version),
          .cipher = std::move(cipher),
          .resumed = resumed,
          .relay = relay,
          .spliced_bytes = spliced_bytes,
          .policy_ms = policy_ms,
          .connect_ms = connect_ms,
          .handshake_ms = handshake_ms,
          .duration_ms = NowMs() - shared->started_ms()};
}

}  // namespace sidesplice::core
