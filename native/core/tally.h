// What is counted of a listener and of the endpoints behind it; written by the core's threads, read by whoever asks.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace sidesplice::core {

struct EndpointCounts {
  std::string name;
  uint64_t open = 0;
  uint64_t dialing = 0;
  uint64_t attempts = 0;
  uint64_t failures = 0;
  uint64_t consecutive_failures = 0;
  /** Monotonic milliseconds. */
  double failing_since = 0;
  double last_failure_at = 0;
};

class ListenerTally {
 public:
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> open{0};
  std::atomic<uint64_t> waiting{0};
  std::atomic<uint64_t> bytes_to_upstream{0};
  std::atomic<uint64_t> bytes_to_downstream{0};

  void Begin(const std::string& endpoint);
  void Dialed(const std::string& endpoint);
  /** It carried a byte back, or a session to its clean end. */
  void Carried(const std::string& endpoint);
  void End(const std::string& endpoint, bool blamed);
  [[nodiscard]] std::vector<EndpointCounts> Endpoints() const;

 private:
  EndpointCounts& Of(const std::string& endpoint);

  mutable std::mutex mutex_;
  std::map<std::string, EndpointCounts> endpoints_;
};

/** Whether an outcome is held against the endpoint. */
bool IsBlamed(const char* outcome);

}  // namespace sidesplice::core
