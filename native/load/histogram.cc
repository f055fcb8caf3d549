// Slots of a log-linear histogram, and percentiles from them.
#include "load/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace sidesplice::load {

namespace {

// 2^11 slots below the first power of two that is cut, half as many for each later one: a slot is at most 1/1024 of its values wide.
constexpr int kPartBits = 11;
constexpr uint64_t kParts = uint64_t{1} << kPartBits;
constexpr int kLargestBits = 37;
constexpr uint64_t kLargest = (uint64_t{1} << kLargestBits) - 1;
constexpr size_t kSlots = kParts + (kLargestBits - kPartBits) * (kParts / 2);
constexpr double kTicksToEachHalving = 5;

}  // namespace

Histogram::Histogram() : slots_(kSlots) {}

size_t Histogram::SlotOf(uint64_t value) {
  if (value < kParts) return value;
  const int shift = std::bit_width(value) - kPartBits;
  return static_cast<size_t>(shift) * (kParts / 2) + (value >> shift);
}

uint64_t Histogram::LargestIn(size_t slot) {
  if (slot < kParts) return slot;
  const size_t shift = slot / (kParts / 2) - 1;
  const uint64_t part = slot - shift * (kParts / 2);
  return ((part + 1) << shift) - 1;
}

void Histogram::Record(uint64_t value) {
  ++slots_[SlotOf(std::min(value, kLargest))];
  ++count_;
  max_ = std::max(max_, value);
  const auto number = static_cast<double>(value);
  sum_ += number;
  squares_ += number * number;
}

void Histogram::Add(const Histogram& other) {
  for (size_t slot = 0; slot < kSlots; ++slot) slots_[slot] += other.slots_[slot];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  squares_ += other.squares_;
}

double Histogram::mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }

double Histogram::deviation() const {
  if (count_ == 0) return 0;
  return std::sqrt(std::max(0.0, squares_ / static_cast<double>(count_) - mean() * mean()));
}

uint64_t Histogram::At(double share) const {
  if (count_ == 0) return 0;
  const auto wanted = std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(share * static_cast<double>(count_))));
  uint64_t seen = 0;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    seen += slots_[slot];
    if (seen >= wanted) return std::min(LargestIn(slot), max_);
  }
  return max_;
}

std::vector<Histogram::Step> Histogram::Steps() const {
  std::vector<Step> steps;
  if (count_ == 0) return steps;
  uint64_t seen = 0;
  double next = 0;
  for (size_t slot = 0; slot < kSlots; ++slot) {
    if (slots_[slot] == 0) continue;
    seen += slots_[slot];
    const double share = static_cast<double>(seen) / static_cast<double>(count_);
    while (next <= share && next < 1) {
      steps.push_back({next, std::min(LargestIn(slot), max_), seen});
      const double halvings = std::floor(std::log2(1 / (1 - next))) + 1;
      next += 1 / (kTicksToEachHalving * std::exp2(halvings));
      // Past what is left for one value to differ.
      if (1 - next < 0.5 / static_cast<double>(count_)) next = 1;
    }
  }
  steps.push_back({1, max_, count_});
  return steps;
}

void Histogram::WriteText(std::FILE* into) const {
  std::fprintf(into, "%12s %14s %10s %14s\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
  for (const Step& step : Steps()) {
    std::fprintf(into, "%12.3f %14.12f %10llu", static_cast<double>(step.value) / 1e3, step.share,
                 static_cast<unsigned long long>(step.count));
    if (step.share < 1) std::fprintf(into, " %14.2f", 1 / (1 - step.share));
    std::fprintf(into, "\n");
  }
  std::fprintf(into, "#[Mean    = %12.3f, StdDeviation   = %12.3f]\n", mean() / 1e3, deviation() / 1e3);
  std::fprintf(into, "#[Max     = %12.3f, Total count    = %12llu]\n", static_cast<double>(max_) / 1e3,
               static_cast<unsigned long long>(count_));
  std::fprintf(into, "#[Buckets = %12d, SubBuckets     = %12llu]\n", kLargestBits - kPartBits + 1,
               static_cast<unsigned long long>(kParts));
}

}  // namespace sidesplice::load
