// The load generator's histogram against a sorted list of the same values.
#include "load/histogram.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "load/pattern.h"

using sidesplice::load::Histogram;

TEST_CASE("a percentile is within three digits of that of the sorted values") {
  Histogram histogram;
  std::vector<uint64_t> values;
  uint64_t state = 1;
  for (int at = 0; at < 100'000; ++at) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    // From a nanosecond to a minute, as many to each power of two.
    values.push_back((uint64_t{1} << (state % 36)) + (state >> 30) % (uint64_t{1} << (state % 36)));
    histogram.Record(values.back());
  }
  std::sort(values.begin(), values.end());
  CHECK(histogram.count() == values.size());
  CHECK(histogram.max() == values.back());
  for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double exact = static_cast<double>(values[static_cast<size_t>(std::ceil(share * 100'000)) - 1]);
    const double got = static_cast<double>(histogram.At(share));
    CHECK(got >= exact);
    CHECK(got <= exact * 1.001 + 1);
  }
}

TEST_CASE("what is small is exact, and what is beyond the last slot still counts") {
  Histogram histogram;
  CHECK(histogram.At(0.5) == 0);
  for (uint64_t value = 1; value <= 100; ++value) histogram.Record(value);
  CHECK(histogram.At(0.5) == 50);
  CHECK(histogram.At(0.99) == 99);
  histogram.Record(UINT64_MAX / 4);
  CHECK(histogram.count() == 101);
  CHECK(histogram.At(0.5) == 51);
}

TEST_CASE("two histograms added are that of all values") {
  Histogram one, other;
  one.Record(10);
  other.Record(30);
  other.Record(20);
  one.Add(other);
  CHECK(one.count() == 3);
  CHECK(one.At(0.5) == 20);
  CHECK(one.max() == 30);
  CHECK(one.mean() == doctest::Approx(20));
}

TEST_CASE("the curve rises to the maximum, and its text is HdrHistogram's") {
  Histogram histogram;
  for (uint64_t value = 1; value <= 10'000; ++value) histogram.Record(value * 1000);
  const auto steps = histogram.Steps();
  CHECK(steps.front().share == 0);
  CHECK(steps.back().share == 1);
  CHECK(steps.back().value == 10'000'000);
  CHECK(std::is_sorted(steps.begin(), steps.end(), [](auto& a, auto& b) { return a.value < b.value; }));
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  histogram.WriteText(file);
  std::string text(static_cast<size_t>(std::ftell(file)), ' ');
  std::rewind(file);
  CHECK(std::fread(text.data(), 1, text.size(), file) == text.size());
  std::fclose(file);
  CHECK(text.starts_with("       Value     Percentile TotalCount 1/(1-Percentile)\n\n"));
  CHECK(text.find("#[Max     =    10000.000, Total count    =        10000]\n") != std::string::npos);
}

TEST_CASE("the pattern tells a block that is lost, exchanged or changed") {
  using namespace sidesplice::load;
  std::vector<uint8_t> bytes(PatternAt(5), PatternAt(5) + kChunkBytes);
  CHECK(MatchesPattern(bytes.data(), bytes.size(), 5));
  CHECK_FALSE(MatchesPattern(bytes.data(), bytes.size(), 5 + 4096));
  for (const uint64_t block : {1u, 1024u, 16384u, 65536u, 262144u}) CHECK_FALSE(MatchesPattern(bytes.data(), 64, 5 + block));
  bytes[kChunkBytes / 2] ^= 1;
  CHECK_FALSE(MatchesPattern(bytes.data(), bytes.size(), 5));
}
