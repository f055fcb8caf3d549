// Bytes of tests: from hexadecimal, and random ones from a seed that a failure names.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sidesplice::test {

using Bytes = std::vector<uint8_t>;

inline Bytes FromHex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char letter : text) {
    if (letter == ' ') continue;
    const int digit = letter <= '9' ? letter - '0' : (letter | 0x20) - 'a' + 10;
    if (high < 0) {
      high = digit;
      continue;
    }
    bytes.push_back(static_cast<uint8_t>(high << 4 | digit));
    high = -1;
  }
  return bytes;
}

inline std::string ToHex(std::span<const uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

inline Bytes BytesOf(std::string_view text) { return {text.begin(), text.end()}; }

/** SIDESPLICE_SEED, or a fixed one: a run that failed can be repeated. */
uint32_t Seed();

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}

  /** From 0 up to, not including, `end`. */
  size_t Below(size_t end) { return std::uniform_int_distribution<size_t>(0, end - 1)(engine_); }
  Bytes Data(size_t size) {
    Bytes data(size);
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(engine_());
    return data;
  }

 private:
  std::mt19937 engine_;
};

}  // namespace sidesplice::test
