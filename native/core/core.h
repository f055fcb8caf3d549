// What the parts of the core share on the thread that sets sessions up (the front), and the two ways out of it: to a relay, or over.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "core/handshake_job.h"
#include "core/handshake_thread.h"
#include "core/linger.h"
#include "core/outbox.h"
#include "core/own_dials.h"
#include "core/reactor.h"
#include "core/relay.h"
#include "core/session.h"
#include "tls/identity.h"

namespace sidesplice::core {

class Setup;

class Core {
 public:
  virtual Reactor& front() = 0;
  virtual Lingering& lingering() = 0;
  virtual Outbox& outbox() = 0;
  virtual OwnDials& own_dials() = 0;
  virtual std::shared_ptr<const tls::Identity> identity() = 0;
  virtual Generation generation() = 0;
  /** A thread for the next handshake. */
  virtual HandshakeThread& handshakes() = 0;
  virtual tls::BeginHandshake begin_handshake() = 0;
  /** Whether relays can take tickets: the kernel's records can't be had sealed. */
  virtual bool takes_tickets() = 0;
  /** A peer's handshake is about to begin; `Begun` follows, from any thread, when it has had its first step or will have none. */
  virtual void Beginning() = 0;
  virtual void Begun() = 0;
  /** The session relays from here on; its setup is gone. */
  virtual void StartRelay(Session session, Legs legs) = 0;
  /** From any thread: the session is over, this is its record. */
  virtual void Finish(Session session, std::string reason, std::optional<std::string> detail) = 0;
  /** The setup is done with; it is deleted at the end of the turn. */
  virtual void Release(Setup* setup) = 0;
  /** True where the listener may ask now; otherwise `setup` is told when it may. */
  virtual bool MayAsk(Setup* setup) = 0;
  /** One question less waits. */
  virtual void Answered(const ListenerTally& tally) = 0;
  /** The peer is no stranger any more. */
  virtual void Admitted() = 0;

 protected:
  ~Core() = default;
};

}  // namespace sidesplice::core
