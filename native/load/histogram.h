// A log-linear histogram of durations, as HdrHistogram's: every power of two is cut into equal parts, so that a value is known to
// three significant digits however large it is. Written out in that project's text format of percentiles, which its tools plot.
#pragma once

#include <cstdint>
#include <cstdio>
#include <vector>

namespace sidesplice::load {

class Histogram {
 public:
  Histogram();

  /** In nanoseconds; what is longer than 137 seconds counts as that. */
  void Record(uint64_t value);
  void Add(const Histogram& other);

  [[nodiscard]] uint64_t count() const { return count_; }
  /** Exact, as are sums for the mean. */
  [[nodiscard]] uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const;
  [[nodiscard]] double deviation() const;
  /** The value that `share` (0 to 1) of all are not above, to three digits, never above the maximum; 0 without any. */
  [[nodiscard]] uint64_t At(double share) const;

  struct Step {
    double share;
    uint64_t value;
    uint64_t count;
  };
  /** From 0 to 1, five to each halving of what is left, as HdrHistogram's. */
  [[nodiscard]] std::vector<Step> Steps() const;
  /** HdrHistogram's text, values in microseconds. */
  void WriteText(std::FILE* into) const;

 private:
  static size_t SlotOf(uint64_t value);
  /** The largest value that falls into the slot. */
  static uint64_t LargestIn(size_t slot);

  std::vector<uint64_t> slots_;
  uint64_t count_ = 0;
  uint64_t max_ = 0;
  double sum_ = 0;
  double squares_ = 0;
};

}  // namespace sidesplice::load
