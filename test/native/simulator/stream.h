// The bytes of a direction of a session: known at each place without being kept, and others in every direction, so that a byte that is
// lost, repeated, changed or given to somebody else is seen where it arrives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace sidesplice::simulator {

class Stream {
 public:
  explicit Stream(uint64_t number) : shift_(number * 7'919) {}

  /** `count` bytes from `at` on; valid until the next call. At most kMost. */
  [[nodiscard]] std::span<const uint8_t> Bytes(uint64_t at, size_t count) const;
  [[nodiscard]] bool Holds(uint64_t at, std::span<const uint8_t> bytes) const;

  static constexpr size_t kMost = 64 * 1024;

 private:
  uint64_t shift_;
};

}  // namespace sidesplice::simulator
