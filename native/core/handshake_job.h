// One handshake on a thread of the handshakes: the connection goes there and comes back, secured or failed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/handshake_thread.h"
#include "core/reactor.h"
#include "sys/fd.h"
#include "tls/handshake.h"

namespace sidesplice::core {

struct HandshakeResult {
  sys::Fd fd;
  /** Absent where it failed. */
  std::unique_ptr<tls::Secured> secured;
  /** By whose certificate and roots it was done. */
  std::shared_ptr<const tls::Identity> identity;
  bool timed_out = false;
  tls::HandshakeFault fault = tls::HandshakeFault::kProtocol;
  uint8_t alert = 0;
  std::string detail;
  uint64_t bytes_read = 0;
  double took_ms = 0;
};

class HandshakeJob final : public Watcher, public std::enable_shared_from_this<HandshakeJob> {
 public:
  struct Options {
    tls::BeginHandshake begin = tls::Handshake::Begin;
    std::shared_ptr<const tls::Identity> identity;
    tls::Role ours = tls::Role::kServer;
    tls::Handshake::Peer peer;
    double limit_ms = 0;
    /** Called on the handshake's thread when its first step is over, once, also where it was cancelled before. */
    std::function<void()> on_begun = {};
  };
  /** Called on `home`, unless it was cancelled before. */
  using OnDone = std::function<void(HandshakeResult)>;

  /** From `home`'s thread. */
  static std::shared_ptr<HandshakeJob> Begin(Reactor& home, HandshakeThread& thread, sys::Fd fd, Options options,
                                             OnDone on_done);
  /** From `home`'s thread: `on_done` is not called any more, and the connection is reset. */
  void Cancel();
  void OnReady(uint32_t events) override;

 private:
  HandshakeJob(Reactor& home, Reactor& worker) : home_(home), worker_(worker) {}
  void Start(Options& options);
  void Fail(std::string detail);
  void Advance();
  void Done(HandshakeResult result);
  void Drop();

  Reactor& home_;
  Reactor& worker_;
  // On home's thread.
  OnDone on_done_;
  // On the worker's thread.
  sys::Fd fd_;
  std::unique_ptr<tls::Handshake> handshake_;
  Timer limit_;
  double started_ms_ = 0;
  double limit_ms_ = 0;
};

}  // namespace sidesplice::core
