// Counting endpoints.
#include "core/tally.h"

#include <string_view>

#include "core/reactor.h"

namespace sidesplice::core {

namespace {

// Endpoints come and go with the catalog; one that nothing uses is forgotten past this many.
constexpr size_t kKeptEndpoints = 256;

}  // namespace

EndpointCounts& ListenerTally::Of(const std::string& endpoint) {
  const auto known = endpoints_.find(endpoint);
  if (known != endpoints_.end()) return known->second;
  if (endpoints_.size() >= kKeptEndpoints) std::erase_if(endpoints_, [](const auto& one) { return one.second.open == 0; });
  EndpointCounts& made = endpoints_[endpoint];
  made.name = endpoint;
  return made;
}

void ListenerTally::Begin(const std::string& endpoint) {
  const std::lock_guard lock(mutex_);
  EndpointCounts& counts = Of(endpoint);
  counts.attempts++;
  counts.open++;
  counts.dialing++;
}

void ListenerTally::Dialed(const std::string& endpoint) {
  const std::lock_guard lock(mutex_);
  Of(endpoint).dialing--;
}

void ListenerTally::Carried(const std::string& endpoint) {
  const std::lock_guard lock(mutex_);
  Of(endpoint).consecutive_failures = 0;
}

void ListenerTally::End(const std::string& endpoint, bool blamed) {
  const std::lock_guard lock(mutex_);
  EndpointCounts& counts = Of(endpoint);
  counts.open--;
  if (!blamed) return;
  counts.last_failure_at = NowMs();
  if (counts.consecutive_failures == 0) counts.failing_since = counts.last_failure_at;
  counts.failures++;
  counts.consecutive_failures++;
}

std::vector<EndpointCounts> ListenerTally::Endpoints() const {
  const std::lock_guard lock(mutex_);
  std::vector<EndpointCounts> all;
  all.reserve(endpoints_.size());
  for (const auto& [name, counts] : endpoints_) all.push_back(counts);
  return all;
}

bool IsBlamed(const char* outcome) {
  const std::string_view name = outcome;
  return name != "connected" && name != "denied_by_peer" && name != "superseded" && name != "cancelled";
}

}  // namespace sidesplice::core
