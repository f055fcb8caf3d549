// What the core's threads have to tell, gathered until it is fetched: one wake-up for whatever came meanwhile.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

#include "core/types.h"

namespace sidesplice::core {

class Outbox {
 public:
  /** `wake` is called from any thread where the box was empty. */
  explicit Outbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  template <typename Fill>
  void Add(Fill fill) {
    bool first = false;
    {
      const std::lock_guard lock(mutex_);
      first = batch_.empty();
      fill(batch_);
    }
    if (first) wake_();
  }

  [[nodiscard]] Batch Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(batch_, {});
  }

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  Batch batch_;
};

}  // namespace sidesplice::core
