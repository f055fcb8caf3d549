// One proxied connection as it travels through the threads: what everybody may see of it, and what its owner carries along.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/tally.h"
#include "core/types.h"
#include "sys/fd.h"

namespace sidesplice::core {

/** Seen by every thread. */
class SessionShared {
 public:
  SessionShared(SessionId session, std::shared_ptr<const ListenerSpec> of, std::shared_ptr<ListenerTally> counts);

  const SessionId id;
  const std::shared_ptr<const ListenerSpec> spec;
  const std::shared_ptr<ListenerTally> tally;
  std::atomic<SessionState> state;
  std::atomic<uint64_t> bytes_to_upstream{0};
  std::atomic<uint64_t> bytes_to_downstream{0};
  /** Set once it is to end from outside: why. Whoever takes it over looks at it. */
  std::atomic<const char*> ending{nullptr};
  /** Its record is on its way. */
  std::atomic<bool> over{false};

  void SetPeer(std::string peer);
  void SetEndpoint(std::string endpoint);
  void SetDownstream(std::string downstream);
  [[nodiscard]] SessionView View() const;
  [[nodiscard]] bool unused() const { return bytes_to_upstream == 0 && bytes_to_downstream == 0; }
  [[nodiscard]] double started_ms() const { return started_ms_; }

 private:
  const double started_at_;
  const double started_ms_;
  mutable std::mutex mutex_;
  std::optional<std::string> peer_;
  std::optional<std::string> endpoint_;
  std::optional<std::string> downstream_;
};

/** The plan of an outbound session, and how far it was walked. */
struct Walk {
  Generation generation = 0;
  std::vector<PlannedAttempt> attempts;
  size_t next = 0;
  double left_ms = 0;
};

/** With its owner, from thread to thread. */
struct Session {
  std::shared_ptr<SessionShared> shared;
  bool relayed = false;
  /** The app has closed its direction, and that was read. */
  bool downstream_ended = false;
  /** Its downstream connection was opened by us: an endpoint is a listener of ours. */
  bool own_downstream = false;
  /** That the connection to its upstream is ours. */
  std::shared_ptr<void> own_upstream;
  std::optional<double> policy_ms;
  std::optional<double> connect_ms;
  std::optional<double> handshake_ms;
  std::string tls_version;
  std::string cipher;
  /** Its handshake was by a session of an earlier connection. */
  bool resumed = false;
  /** What moves its bytes, a literal. */
  const char* relay = "records";
  uint64_t spliced_bytes = 0;
  std::vector<AttemptRecord> attempts;
  std::unique_ptr<Walk> walk;

  /** Counts an attempt at an endpoint from here to EndAttempt. */
  void BeginAttempt(const std::string& endpoint);
  void AttemptDialed();
  void AttemptCarried();
  /** Nothing where none is under way. */
  void EndAttempt(const char* outcome, std::optional<std::string> detail = {});

  [[nodiscard]] const ListenerSpec& spec() const { return *shared->spec; }
  [[nodiscard]] Record RecordOf(std::string reason, std::optional<std::string> detail);

  /** Of the attempt that is under way. */
  std::optional<AttemptRecord> attempt;
  bool dialing = false;
};

}  // namespace sidesplice::core
