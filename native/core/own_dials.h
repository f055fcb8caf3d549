// Connections that we have opened, to know one that comes back to a listener of ours: each would open the next, round and round, until
// no descriptor is left. Endpoints are what a catalog says, by whatever name leads here.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace sidesplice::core {

class OwnDials : public std::enable_shared_from_this<OwnDials> {
 public:
  /** From now on until the token goes, which may be on any thread. Addresses are those of FormatAddress. */
  [[nodiscard]] std::shared_ptr<void> Note(const std::string& from, const std::string& to) {
    std::string key = from + " " + to;
    {
      const std::lock_guard lock(mutex_);
      open_.insert(key);
    }
    return {nullptr, [dials = shared_from_this(), key = std::move(key)](void*) {
              const std::lock_guard lock(dials->mutex_);
              dials->open_.erase(key);
            }};
  }

  /** Whether a connection that was accepted at `to` was opened here. */
  [[nodiscard]] bool Has(const std::string& from, const std::string& to) const {
    const std::lock_guard lock(mutex_);
    return open_.contains(from + " " + to);
  }

 private:
  mutable std::mutex mutex_;
  std::set<std::string> open_;
};

}  // namespace sidesplice::core
