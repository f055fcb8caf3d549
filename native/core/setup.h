// A session before it relays: what inbound and outbound have in common. On the front's thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/core.h"
#include "core/dial.h"
#include "core/types.h"

namespace sidesplice::core {

class Setup : public Watcher {
 public:
  Setup(Core& core, Session session, sys::Fd downstream);
  virtual ~Setup() = default;
  Setup(const Setup&) = delete;
  Setup& operator=(const Setup&) = delete;

  virtual void Begin() = 0;
  /** The answer to its question. */
  void OnAnswer(Answer answer);
  /** The addresses of a name that it asked about; none where there are none, and then why. */
  void OnLookup(const std::string& host, std::vector<SocketAddress> addresses, const std::string& error);
  /** It may ask now. */
  void OnMayAsk() { Question(); }
  /** Ends it from outside. */
  void Terminate(const char* reason);
  /** The downstream connection broke. */
  void OnReady(uint32_t events) override;

  /** Also where the session has moved on. */
  [[nodiscard]] SessionId id() const { return id_; }
  [[nodiscard]] const Session& session() const { return session_; }
  [[nodiscard]] virtual bool is_stranger() const { return false; }

 protected:
  virtual void Question() = 0;
  virtual void Take(Answer answer) = 0;
  /** `error` is a name where there are no addresses. */
  virtual void TakeAddresses(std::vector<SocketAddress> addresses, const std::string& error) = 0;
  /** What it has under way is given up. */
  virtual void Cancel() {}
  /** Closes downstream so that nobody takes the end for a clean one. */
  virtual void CloseDownstream(const std::string& reason) = 0;

  /** Asks, or waits for its turn to. */
  void Ask();
  /** From `Question`: it is on its way. */
  void Asked();
  /** Addresses of `to`, by a question where it is a name. */
  void Resolve(const Address& to, double limit_ms);
  void Dial(std::vector<SocketAddress> addresses, double limit_ms, Dial::OnDone on_done);
  void WatchDownstream();
  void ForgetDownstream();
  /** Over: everything that is open is closed by an error. */
  void Abort(std::string reason, std::optional<std::string> detail = {});
  /** Over, where connections have been taken care of. */
  void Finish(std::string reason, std::optional<std::string> detail = {});
  /** What it means that whoever opened the connection has gone. */
  [[nodiscard]] const char* Abandoned() const;

  Core& core_;
  Session session_;
  sys::Fd downstream_;
  std::unique_ptr<core::Dial> dial_;
  bool over_ = false;

 private:
  void NoteAnswered();

  const SessionId id_;
  bool asking_ = false;
  bool counted_ = false;
  bool watching_ = false;
  double asked_ms_ = 0;
  /** The name whose addresses are waited for; empty for none. */
  std::string looked_up_;
  Timer lookup_limit_;
  uint16_t port_ = 0;
};

/** A new setup for an accepted connection. */
std::unique_ptr<Setup> MakeSetup(Core& core, Session session, sys::Fd downstream);
/** A session whose relay let go of its upstream before a byte moved. */
std::unique_ptr<Setup> MakeRetry(Core& core, Session session, sys::Fd downstream);

}  // namespace sidesplice::core
