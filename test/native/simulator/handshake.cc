// The core's side of a scripted handshake.
#include "simulator/handshake.h"

#include <errno.h>
#include <openssl/x509.h>

#include <array>
#include <utility>

#include "simulator/trace.h"
#include "support/certificates.h"
#include "support/record_writer.h"
#include "sys/calls.h"

namespace sidesplice::simulator {

namespace {

constexpr size_t kMostFlightBytes = 600;
constexpr uint8_t kAlertBytes[] = {21, 3, 3, 0, 2, 2, 40};
// bad_certificate, which is about one, and internal_error, which is not.
constexpr uint8_t kAlerts[] = {42, 80};

class Scripted final : public tls::Handshake {
 public:
  Scripted(std::shared_ptr<const tls::Identity> identity, const Script& script, int fd) : script_(script), fd_(fd) {
    identity_ = std::move(identity);
  }

  Step Advance() override {
    for (; flight_ < script_.flights.size(); flight_++, moved_ = 0) {
      if (flight_ == script_.core_fails_at) return Refuse();
      const Script::Flight& flight = script_.flights[flight_];
      while (moved_ < flight.bytes) {
        std::array<uint8_t, kMostFlightBytes> bytes{};
        const size_t left = flight.bytes - moved_;
        const ssize_t result = flight.from_core ? sys::Send(fd_, bytes.data(), left) : sys::Receive(fd_, bytes.data(), left);
        if (result == -EAGAIN) return flight.from_core ? Step::kWantWrite : Step::kWantRead;
        if (result <= 0) return Closed(static_cast<int>(-result));
        moved_ += static_cast<size_t>(result);
        if (!flight.from_core) read_ += static_cast<uint64_t>(result);
      }
    }
    return Step::kDone;
  }

  std::unique_ptr<tls::Secured> Take() override {
    if (script_.no_keys) return nullptr;
    auto secured = std::make_unique<tls::Secured>();
    secured->read = script_.Key(script_.core_is_server);
    secured->write = script_.Key(!script_.core_is_server);
    secured->write->LimitPayload(script_.most_payload);
    secured->version = script_.version == tls::Version::kTls13 ? "TLSv1.3" : "TLSv1.2";
    secured->cipher = "TLS_SCRIPTED";
    secured->peer.uri_sans = {test::kWeb};
    secured->peer.serial = "01";
    X509* leaf = test::TheMesh().web.certificate.get();
    X509_up_ref(leaf);
    secured->peer.leaf = tls::X509Ptr(leaf);
    return secured;
  }

  [[nodiscard]] uint64_t bytes_read() const override { return read_; }

 private:
  Step Refuse() {
    fault_ = script_.fault;
    detail_ = "scripted";
    alert_ = script_.alert;
    // As OpenSSL does: it tells the peer, where that can be told now.
    if (fault_ != tls::HandshakeFault::kAlert) sys::Send(fd_, kAlertBytes, sizeof(kAlertBytes));
    return Step::kFailed;
  }

  Step Closed(int error) {
    fault_ = tls::HandshakeFault::kClosed;
    detail_ = error != 0 ? sys::ErrorName(error) : "closed by the peer";
    return Step::kFailed;
  }

  const Script script_;
  const int fd_;
  size_t flight_ = 0;
  size_t moved_ = 0;
  uint64_t read_ = 0;
};

}  // namespace

Script Script::Throw(Dice& dice, bool core_is_server, bool calm) {
  Script script;
  script.core_is_server = core_is_server;
  script.version = dice.OneIn(3) ? tls::Version::kTls12 : tls::Version::kTls13;
  constexpr tls::Aead kAeads[] = {tls::Aead::kAes128Gcm, tls::Aead::kAes128Gcm, tls::Aead::kAes256Gcm, tls::Aead::kChaCha20Poly1305};
  script.aead = kAeads[dice.Below(4)];
  script.secret = static_cast<uint8_t>(dice.Next());
  // Client, server, client; TLS 1.2 ends with the server.
  const size_t flights = script.version == tls::Version::kTls13 ? 3 : 4;
  for (size_t at = 0; at < flights; at++)
    script.flights.push_back({.from_core = (at % 2 == 1) == core_is_server, .bytes = 1 + dice.Sized(kMostFlightBytes - 1)});
  if (dice.OneIn(4)) script.most_payload = size_t{512} << dice.Below(4);
  if (calm) return script;
  if (dice.OneIn(12)) {
    script.core_fails_at = dice.Below(flights);
    script.fault = static_cast<tls::HandshakeFault>(dice.Below(5));
    if (script.fault == tls::HandshakeFault::kAlert) script.alert = kAlerts[dice.Below(2)];
  }
  if (dice.OneIn(12)) {
    script.peer_leaves_at = dice.Below(flights);
    script.peer_falls_silent = dice.OneIn(2);
  }
  script.no_memory = dice.OneIn(100);
  script.no_keys = dice.OneIn(100);
  return script;
}

std::unique_ptr<tls::RecordKey> Script::Key(bool of_client) const {
  const auto number = static_cast<uint8_t>(secret + (of_client ? 1 : 0));
  if (version == tls::Version::kTls13)
    return test::Key13(aead, test::Bytes(aead == tls::Aead::kAes256Gcm ? 48 : 32, number));
  const std::array<uint8_t, 32> key = {number, 1};
  const std::array<uint8_t, tls::kIvBytes> iv = {number, 2};
  return tls::RecordKey::ForTls12(aead, std::span(key).first(tls::KeyBytes(aead)),
                                  std::span(iv).first(aead == tls::Aead::kChaCha20Poly1305 ? 12 : 4), number);
}

std::unique_ptr<tls::Handshake> BeginScripted(std::shared_ptr<const tls::Identity> identity, tls::Role ours, int fd,
                                              tls::Handshake::Peer) {
  const Script& script = ScriptOf(fd);
  if ((ours == tls::Role::kServer) != script.core_is_server) Fail("a handshake in the wrong role");
  if (script.no_memory) return nullptr;
  return std::make_unique<Scripted>(std::move(identity), script, fd);
}

}  // namespace sidesplice::simulator
