// Chains that were verified under one trust set, so that a peer that comes again costs no signature of its issuers. Successes alone, a
// bounded number, and each for a bounded time. Knows chains by their digest; what is verified, and when, is its user's.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <deque>
#include <mutex>

namespace sidesplice::tls {

class VerifiedChains {
 public:
  /** SHA-256 over everything that the verdict hangs on. */
  using Digest = std::array<uint8_t, 32>;

  // Peers that a sidecar has in a rotation of their certificates, in a large mesh; half a megabyte at most.
  static constexpr size_t kMost = 4'096;
  // Nothing that a chain says is ever taken back in this time but by its roots, and then there is another memory.
  static constexpr int64_t kLongestSeconds = 3'600;

  explicit VerifiedChains(size_t most = kMost) : most_(most) {}

  /** Times are seconds since the epoch. From any thread, as all of these. */
  [[nodiscard]] bool Holds(const Digest& chain, int64_t now) const { return HeldUntil(chain, now) != 0; }
  /** Until when it is remembered; 0 where it is not. */
  [[nodiscard]] int64_t HeldUntil(const Digest& chain, int64_t now) const;
  /** From `now` to `until`, or for as long as one is remembered at most. The oldest goes where there is no room. */
  void Remember(const Digest& chain, int64_t now, int64_t until);
  [[nodiscard]] size_t size() const;

 private:
  struct Span {
    int64_t from = 0;
    int64_t until = 0;
  };

  const size_t most_;
  mutable std::mutex mutex_;
  std::map<Digest, Span> chains_;
  /** In the order in which they came. */
  std::deque<Digest> order_;
};

}  // namespace sidesplice::tls
