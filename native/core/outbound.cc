// A connection from the local app: route, then endpoint by endpoint dial, handshake and identity, until one carries the session.
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <utility>

#include "core/setup.h"
#include "sys/calls.h"
#include "tls/alert.h"

namespace sidesplice::core {

namespace {

// What the clock of the loop and ours may differ by.
constexpr double kSlackMs = 2;

std::string Milliseconds(double ms) { return std::to_string(static_cast<int>(ms + 0.5)) + " ms"; }

class Outbound final : public Setup {
 public:
  Outbound(Core& core, Session session, sys::Fd downstream, bool retrying)
      : Setup(core, std::move(session), std::move(downstream)), retrying_(retrying) {}

  void Begin() override {
    WatchDownstream();
    if (over_) return;
    if (session_.own_downstream)
      return Abort("connect_failed", "opened by this sidecar itself: an endpoint is its own listener");
    if (!retrying_) return Ask();
    deadline_ms_ = NowMs() + session_.walk->left_ms;
    NextEndpoint();
  }

 private:
  void Question() override {
    Asked();
    core_.outbox().Add([&](Batch& batch) {
      batch.route.push_back({.session = session_.shared->id, .listener = session_.spec().key});
    });
  }

  void Take(Answer answer) override {
    if (!answer.admitted) {
      if (answer.peer) session_.shared->SetPeer(*answer.peer);
      if (secured_ != nullptr) EndAttempt("cancelled", {});
      return Abort(std::move(answer.reason), std::move(answer.detail));
    }
    const bool first = session_.walk == nullptr;
    session_.walk = std::make_unique<Walk>();
    session_.walk->generation = answer.generation;
    session_.walk->attempts = std::move(answer.attempts);
    if (first) deadline_ms_ = NowMs() + answer.connect_timeout_ms;
    // A question that was asked again, for a peer that was reached meanwhile.
    if (secured_ != nullptr) return Confirm();
    NextEndpoint();
  }

  void NextEndpoint() {
    Walk& walk = *session_.walk;
    const double left_ms = deadline_ms_ - NowMs();
    if (walk.next == walk.attempts.size() || left_ms <= 0) return GiveUp();
    planned_ = walk.attempts[walk.next++];
    const bool last = walk.next == walk.attempts.size();
    limit_ms_ = last ? left_ms : std::min(planned_.time_limit_ms, left_ms);
    session_.BeginAttempt(planned_.endpoint);
    identity_ = core_.identity();
    if (identity_ == nullptr) return Failed("handshake_failed", "no certificate of our own yet");
    attempt_ms_ = NowMs();
    Resolve(planned_.address, limit_ms_);
  }

  void TakeAddresses(std::vector<SocketAddress> addresses, const std::string& error) override {
    const double left_ms = limit_ms_ - (NowMs() - attempt_ms_);
    if (left_ms <= 0) return Failed("connect_timeout", "no answer within " + Milliseconds(limit_ms_));
    if (addresses.empty()) return Failed("connect_failed", error);
    Dial(std::move(addresses), left_ms, [this](Dial::Result result) { OnDialed(std::move(result)); });
  }

  void OnDialed(Dial::Result result) {
    const double took_ms = NowMs() - attempt_ms_;
    session_.attempt->connect_ms = took_ms;
    if (!result.fd.valid()) {
      if (result.timed_out) return Failed("connect_timeout", "no answer within " + Milliseconds(limit_ms_));
      return Failed("connect_failed", sys::ErrorName(result.error));
    }
    const std::string& name = planned_.server_name.empty() ? planned_.address.host : planned_.server_name;
    // SNI holds host names only (RFC 6066 section 3).
    const bool is_name = !ParseAddress({.host = name, .port = 0}).has_value();
    const std::string origin = core_.takes_tickets() ? session_.spec().key + " " + FormatAddress(planned_.address) : "";
    job_ = HandshakeJob::Begin(core_.front(), core_.handshakes(), std::move(result.fd),
                               {.begin = core_.begin_handshake(),
                                .identity = identity_,
                                .ours = tls::Role::kClient,
                                .peer = {.server_name = is_name ? name : "",
                                         .expect = planned_.expect,
                                         .origin = origin},
                                .limit_ms = std::max(1.0, limit_ms_ - took_ms)},
                               [this](HandshakeResult shaken) { OnHandshake(std::move(shaken)); });
  }

  void OnHandshake(HandshakeResult result) {
    job_.reset();
    session_.attempt->handshake_ms = result.took_ms;
    if (result.secured == nullptr) return OnFailure(std::move(result));
    upstream_ = std::move(result.fd);
    secured_ = std::move(result.secured);
    uri_ = tls::ProvedId(secured_->peer.uri_sans);
    session_.AttemptDialed();
    Confirm();
  }

  void OnFailure(HandshakeResult result) {
    // An alert of ours may be on its way.
    core_.lingering().Finish(std::move(result.fd), {}, session_.spec().half_close_timeout_ms);
    if (result.timed_out) return Failed("handshake_timeout", "not done in " + Milliseconds(limit_ms_));
    if (result.fault == tls::HandshakeFault::kCertificate) return Failed("peer_certificate_refused", result.detail);
    if (result.fault == tls::HandshakeFault::kIdentity) return Failed("identity_mismatch", result.detail);
    // TLS 1.2 judges our certificate within the handshake.
    const bool denied = result.fault == tls::HandshakeFault::kAlert && tls::IsAboutCertificate(result.alert);
    Failed(denied ? "denied_by_peer" : "handshake_failed", result.detail);
  }

  [[nodiscard]] bool IsExpected(const PlannedAttempt& planned) const {
    return std::find(planned.expect.begin(), planned.expect.end(), uri_) != planned.expect.end();
  }

  /** Whether the endpoint that was reached is still in the plan, and its identity expected, by the configuration of now. */
  void Confirm() {
    const Walk& walk = *session_.walk;
    if (walk.generation < core_.generation()) return Ask();
    const bool planned = std::any_of(walk.attempts.begin(), walk.attempts.end(), [&](const PlannedAttempt& one) {
      return one.endpoint == planned_.endpoint && IsExpected(one);
    });
    if (!planned) return Failed("superseded", {});
    // Nothing is awaited from here to the relay: a generation that moves now ends the session by terminate.
    const std::shared_ptr<const tls::Identity> now = core_.identity();
    if (now != identity_ && now->trust() != identity_->trust()) {
      const int fault = now->Verify(secured_->peer.leaf.get(), secured_->peer.presented.get(), tls::Role::kServer);
      if (fault != X509_V_OK) return Failed("peer_certificate_refused", X509_verify_cert_error_string(fault));
    }
    Carry();
  }

  void Carry() {
    ForgetDownstream();
    session_.walk->left_ms = std::max(0.0, deadline_ms_ - NowMs());
    session_.relayed = true;
    session_.connect_ms = session_.attempt->connect_ms;
    session_.handshake_ms = session_.attempt->handshake_ms;
    session_.tls_version = secured_->version;
    session_.cipher = secured_->cipher;
    session_.resumed = secured_->resumed;
    session_.shared->SetPeer(uri_);
    over_ = true;
    core_.StartRelay(std::move(session_), {.plain = std::move(downstream_),
                                           .tls = std::move(upstream_),
                                           .read = std::move(secured_->read),
                                           .write = std::move(secured_->write),
                                           .tickets = std::move(secured_->tickets)});
    core_.Release(this);
  }

  void Failed(const char* outcome, std::optional<std::string> detail) {
    EndAttempt(outcome, std::move(detail));
    NextEndpoint();
  }

  void EndAttempt(const char* outcome, std::optional<std::string> detail) {
    secured_.reset();
    upstream_.Reset();
    session_.EndAttempt(outcome, std::move(detail));
  }

  void GiveUp() {
    std::set<std::string_view> outcomes;
    for (const AttemptRecord& attempt : session_.attempts) outcomes.insert(attempt.outcome);
    std::optional<std::string> detail;
    if (!session_.attempts.empty()) {
      const AttemptRecord& last = session_.attempts.back();
      detail = last.endpoint + ": " + last.detail.value_or(last.outcome);
    }
    if (outcomes.size() == 1 && (outcomes.contains("denied_by_peer") || outcomes.contains("peer_app_unreachable")))
      return Abort(std::string(*outcomes.begin()), std::move(detail));
    const bool out_of_time = deadline_ms_ - NowMs() <= kSlackMs;
    Abort(out_of_time ? "connect_timeout" : "connect_failed", std::move(detail));
  }

  void Cancel() override {
    if (job_ != nullptr) std::exchange(job_, nullptr)->Cancel();
    secured_.reset();
    upstream_.Reset();
  }

  void CloseDownstream(const std::string&) override { sys::CloseByReset(downstream_.Release()); }

  const bool retrying_;
  PlannedAttempt planned_;
  std::shared_ptr<HandshakeJob> job_;
  std::shared_ptr<const tls::Identity> identity_;
  std::unique_ptr<tls::Secured> secured_;
  sys::Fd upstream_;
  std::string uri_;
  double deadline_ms_ = 0;
  double attempt_ms_ = 0;
  double limit_ms_ = 0;
};

}  // namespace

std::unique_ptr<Setup> MakeInbound(Core& core, Session session, sys::Fd downstream);

std::unique_ptr<Setup> MakeSetup(Core& core, Session session, sys::Fd downstream) {
  if (session.spec().inbound) return MakeInbound(core, std::move(session), std::move(downstream));
  return std::make_unique<Outbound>(core, std::move(session), std::move(downstream), false);
}

std::unique_ptr<Setup> MakeRetry(Core& core, Session session, sys::Fd downstream) {
  return std::make_unique<Outbound>(core, std::move(session), std::move(downstream), true);
}

}  // namespace sidesplice::core
