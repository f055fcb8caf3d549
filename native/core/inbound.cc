// A connection from a peer: handshake, certificate, admission, the local app, relay. In this order: the app sees nothing of a peer
// that was not admitted.
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/setup.h"
#include "sys/calls.h"

namespace sidesplice::core {

namespace {

class Inbound final : public Setup {
 public:
  using Setup::Setup;

  void Begin() override {
    std::shared_ptr<const tls::Identity> identity = core_.identity();
    if (identity == nullptr) return Abort("no_identity");
    core_.Beginning();
    job_ = HandshakeJob::Begin(core_.front(), core_.handshakes(), std::move(downstream_),
                               {.begin = core_.begin_handshake(),
                                .identity = std::move(identity),
                                .ours = tls::Role::kServer,
                                .peer = {},
                                .limit_ms = session_.spec().handshake_timeout_ms,
                                .on_begun = [&core = core_] { core.Begun(); }},
                               [this](HandshakeResult result) { OnHandshake(std::move(result)); });
  }

  [[nodiscard]] bool is_stranger() const override { return !admitted_; }

 private:
  void OnHandshake(HandshakeResult result) {
    job_.reset();
    downstream_ = std::move(result.fd);
    if (result.secured == nullptr) return OnFailure(result);
    session_.handshake_ms = result.took_ms;
    secured_ = std::move(result.secured);
    identity_ = std::move(result.identity);
    session_.tls_version = secured_->version;
    session_.cipher = secured_->cipher;
    session_.resumed = secured_->resumed;
    WatchDownstream();
    if (!over_) Ask();
  }

  /** OpenSSL's alert is on its way, or the peer is gone. */
  void OnFailure(const HandshakeResult& result) {
    const bool silent = result.bytes_read == 0;
    if (result.timed_out) {
      const std::string limit = std::to_string(static_cast<int>(session_.spec().handshake_timeout_ms)) + " ms";
      return Abort("handshake_timeout", silent ? "silent for " + limit : "not done in " + limit);
    }
    if (result.fault == tls::HandshakeFault::kClosed && silent) {
      downstream_.Reset();
      return Finish("closed_before_first_byte");
    }
    core_.lingering().Finish(std::move(downstream_), {}, session_.spec().half_close_timeout_ms);
    if (result.fault == tls::HandshakeFault::kCertificate) return Finish("peer_certificate_refused", result.detail);
    const bool alert = result.fault == tls::HandshakeFault::kAlert;
    Finish("handshake_failed", alert ? result.detail + " from the peer" : result.detail);
  }

  void Question() override {
    Asked();
    core_.outbox().Add([&](Batch& batch) {
      batch.admit.push_back({.session = session_.shared->id,
                             .listener = session_.spec().key,
                             .uri_sans = secured_->peer.uri_sans,
                             .serial = secured_->peer.serial});
    });
  }

  void Take(Answer answer) override {
    if (answer.peer) session_.shared->SetPeer(*answer.peer);
    if (!answer.admitted) return Abort(std::move(answer.reason), std::move(answer.detail));
    // By older rules: the app must not see a peer that may not be allowed any more.
    if (answer.generation < core_.generation()) return Ask();
    if (!std::exchange(admitted_, true)) core_.Admitted();
    generation_ = answer.generation;
    limit_ms_ = answer.connect_timeout_ms;
    target_ = answer.target;
    session_.shared->state = SessionState::kDialing;
    dialed_ms_ = NowMs();
    Resolve(target_, limit_ms_);
  }

  void TakeAddresses(std::vector<SocketAddress> addresses, const std::string& error) override {
    if (addresses.empty()) return Unreachable(error);
    Dial(std::move(addresses), std::max(1.0, limit_ms_ - (NowMs() - dialed_ms_)), [this](Dial::Result result) { OnDialed(std::move(result)); });
  }

  void OnDialed(Dial::Result result) {
    if (!result.fd.valid()) {
      return Unreachable(result.timed_out ? "no answer within " + std::to_string(static_cast<int>(limit_ms_)) + " ms"
                                          : sys::ErrorName(result.error));
    }
    session_.connect_ms = NowMs() - dialed_ms_;
    // Nothing is awaited between this look and the relay: from here on the session is within reach of terminate.
    if (generation_ < core_.generation()) return Ask();
    const std::shared_ptr<const tls::Identity> now = core_.identity();
    if (now != identity_ && now->trust() != identity_->trust()) {
      const int fault = now->Verify(secured_->peer.leaf.get(), secured_->peer.presented.get(), tls::Role::kClient);
      if (fault != X509_V_OK) return Abort("peer_certificate_refused", X509_verify_cert_error_string(fault));
    }
    ForgetDownstream();
    session_.relayed = true;
    over_ = true;
    core_.StartRelay(std::move(session_), {.plain = std::move(result.fd),
                                           .tls = std::move(downstream_),
                                           .read = std::move(secured_->read),
                                           .write = std::move(secured_->write)});
    core_.Release(this);
  }

  void Unreachable(const std::string& why) {
    Abort("local_app_unreachable", FormatAddress(target_) + ": " + why);
  }

  void Cancel() override {
    if (job_ != nullptr) std::exchange(job_, nullptr)->Cancel();
  }

  void CloseDownstream(const std::string& reason) override {
    if (secured_ == nullptr) return sys::CloseByReset(downstream_.Release());
    const bool ours = reason != "denied" && reason != "no_longer_allowed" && reason != "foreign_trust_domain" &&
                      reason != "peer_identity_refused" && reason != "peer_certificate_refused";
    const uint8_t fatal[] = {tls::kFatal,
                             static_cast<uint8_t>(ours ? tls::Alert::kInternalError : tls::Alert::kAccessDenied)};
    Pending alert;
    uint8_t* record = alert.Grow(sizeof(fatal) + secured_->write->overhead());
    std::memcpy(record + secured_->write->payload_offset(), fatal, sizeof(fatal));
    if (!secured_->write->Seal(record, sizeof(fatal), tls::ContentType::kAlert)) alert.Clear();
    core_.lingering().Finish(std::move(downstream_), std::move(alert), session_.spec().half_close_timeout_ms);
  }

  std::shared_ptr<HandshakeJob> job_;
  std::unique_ptr<tls::Secured> secured_;
  std::shared_ptr<const tls::Identity> identity_;
  Generation generation_ = 0;
  Address target_;
  double limit_ms_ = 0;
  double dialed_ms_ = 0;
  bool admitted_ = false;
};

}  // namespace

std::unique_ptr<Setup> MakeInbound(Core& core, Session session, sys::Fd downstream) {
  return std::make_unique<Inbound>(core, std::move(session), std::move(downstream));
}

}  // namespace sidesplice::core
