// The bytes that sessions own while they wait for a socket, all sessions of an engine together, and the cap on them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sidesplice::core {

/** How freely a relay may read what it may have to keep. */
enum class Supply : uint8_t {
  kPlenty,
  /** One record at a time. */
  kScarce,
  /** Nothing that would not be gone at once. */
  kNone,
};

class BufferMemory {
 public:
  static constexpr uint64_t kNoCap = UINT64_MAX;

  explicit BufferMemory(uint64_t most) : most_(most) {}

  [[nodiscard]] uint64_t most() const { return most_; }
  /** Bytes owned now; each worker tells of its own in portions. */
  [[nodiscard]] int64_t owned() const { return owned_.load(std::memory_order_relaxed); }
  void Note(int64_t bytes) { owned_.fetch_add(bytes, std::memory_order_relaxed); }

 private:
  const uint64_t most_;
  std::atomic<int64_t> owned_{0};
};

/** A worker's part of it, on its thread: the engine's sum is touched once for many changes, so that workers do not contend for it. */
class BufferLedger {
 public:
  explicit BufferLedger(BufferMemory& memory) : memory_(memory) {}
  BufferLedger(const BufferLedger&) = delete;
  BufferLedger& operator=(const BufferLedger&) = delete;

  void Note(int64_t bytes) {
    owned_ += bytes;
    untold_ += bytes;
    if (owned_ == 0 || untold_ >= kPortionBytes || untold_ <= -kPortionBytes) Tell();
  }

  [[nodiscard]] Supply supply() const {
    const int64_t owned = memory_.owned() + untold_;
    if (owned <= 0) return Supply::kPlenty;
    const auto bytes = static_cast<uint64_t>(owned) + kHeadroomBytes;
    if (bytes >= memory_.most() - memory_.most() / kReserveShare) return Supply::kNone;
    // From half on, so that many who become slow at once find room for a record each.
    return bytes >= memory_.most() / 2 ? Supply::kScarce : Supply::kPlenty;
  }

  /** Whether there is room below the cap for what can't stay in the kernel, supply or not. */
  [[nodiscard]] bool HasReserve(size_t bytes) const {
    const int64_t owned = memory_.owned() + untold_;
    return static_cast<uint64_t>(owned < 0 ? 0 : owned) + bytes + kHeadroomBytes / 2 <= memory_.most();
  }

 private:
  // A few records: a worker that has more than this to tell is a little late for the others, and the cap is off by no more for each worker.
  static constexpr int64_t kPortionBytes = 64 * 1024;
  // What one read in plenty may leave behind, and what other workers may not have told yet.
  static constexpr uint64_t kHeadroomBytes = 512 * 1024;

  static constexpr uint64_t kReserveShare = 8;

  void Tell() {
    memory_.Note(untold_);
    untold_ = 0;
  }

  BufferMemory& memory_;
  int64_t owned_ = 0;
  int64_t untold_ = 0;
};

}  // namespace sidesplice::core
