// Failures of a run, counted by what failed: a run with one is no result.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "sys/calls.h"

namespace sidesplice::load {

class Errors {
 public:
  void Count(const std::string& what) {
    const std::lock_guard lock(mutex_);
    ++counts_[what];
  }
  /** `error` is a negative errno. */
  void Count(const char* what, int error) { Count(std::string(what) + " " + sys::ErrorName(-error)); }

  [[nodiscard]] bool any() const { return !counts_.empty(); }
  [[nodiscard]] const std::map<std::string, uint64_t>& counts() const { return counts_; }

 private:
  std::mutex mutex_;
  std::map<std::string, uint64_t> counts_;
};

}  // namespace sidesplice::load
