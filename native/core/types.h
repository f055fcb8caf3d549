// What crosses between the core and whoever decides: questions, answers, records. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sidesplice::core {

using SessionId = uint64_t;
using Generation = uint64_t;

struct Address {
  std::string host;
  uint16_t port = 0;
};

struct ListenerSpec {
  std::string key;
  std::string name;
  bool inbound = false;
  double handshake_timeout_ms = 0;
  double half_close_timeout_ms = 0;
  /** 0 for none. */
  double idle_timeout_ms = 0;
  uint32_t max_waiting = 0;
};

struct AdmitQuestion {
  SessionId session = 0;
  std::string listener;
  std::vector<std::string> uri_sans;
  std::string serial;
};

struct RouteQuestion {
  SessionId session = 0;
  std::string listener;
};

/** A host name that an address of an answer holds. */
struct LookupQuestion {
  SessionId session = 0;
  std::string host;
};

struct PlannedAttempt {
  std::string endpoint;
  Address address;
  std::vector<std::string> expect;
  std::string server_name;
  double time_limit_ms = 0;
};

/** The answer to either question. */
struct Answer {
  SessionId session = 0;
  Generation generation = 0;
  bool admitted = false;
  // A refusal.
  std::string reason;
  std::optional<std::string> detail;
  /** The peer's SPIFFE ID, of an admission or where a refusal knows it. */
  std::optional<std::string> peer;
  /** An admission. */
  Address target;
  double connect_timeout_ms = 0;
  /** A plan. */
  std::vector<PlannedAttempt> attempts;
};

struct AttemptRecord {
  std::string endpoint;
  const char* outcome = "";
  std::optional<std::string> detail;
  std::optional<double> connect_ms;
  std::optional<double> handshake_ms;
};

enum class SessionState : uint8_t { kHandshaking, kDeciding, kDialing, kRelaying };

struct SessionView {
  SessionId id = 0;
  std::string listener;
  std::string name;
  bool inbound = false;
  SessionState state = SessionState::kHandshaking;
  std::optional<std::string> peer;
  std::optional<std::string> downstream;
  std::optional<std::string> endpoint;
  /** Milliseconds since the epoch. */
  double started_at = 0;
  uint64_t bytes_to_upstream = 0;
  uint64_t bytes_to_downstream = 0;
};

struct Record {
  SessionView view;
  std::string reason;
  std::optional<std::string> detail;
  bool relayed = false;
  std::vector<AttemptRecord> attempts;
  std::string tls_version;
  std::string cipher;
  bool resumed = false;
  const char* relay = "";
  /** Of its payload, both ways: what the kernel moved from socket to socket. */
  uint64_t spliced_bytes = 0;
  std::optional<double> policy_ms;
  std::optional<double> connect_ms;
  std::optional<double> handshake_ms;
  double duration_ms = 0;
};

/** Everything that is to be told, in the order in which it came about. */
struct Batch {
  std::vector<AdmitQuestion> admit;
  std::vector<RouteQuestion> route;
  std::vector<LookupQuestion> lookup;
  std::vector<Record> ended;
  /** Listeners that have been closed as was asked. */
  std::vector<uint32_t> closed;

  [[nodiscard]] bool empty() const {
    return admit.empty() && route.empty() && lookup.empty() && ended.empty() && closed.empty();
  }
};

}  // namespace sidesplice::core
