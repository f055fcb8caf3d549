// A table of random bytes; a stream reads it from a place of its own.
#include "simulator/stream.h"

#include <cstring>
#include <vector>

#include "simulator/dice.h"

namespace sidesplice::simulator {

namespace {

// Prime: no power of two, of which buffers and records are made, leads to the same place again.
constexpr size_t kPeriod = 65'521;

const uint8_t* Table() {
  static const std::vector<uint8_t> kTable = [] {
    std::vector<uint8_t> table(kPeriod + Stream::kMost);
    Dice dice(1);
    for (size_t at = 0; at < kPeriod; at++) table[at] = static_cast<uint8_t>(dice.Next());
    for (size_t at = kPeriod; at < table.size(); at++) table[at] = table[at - kPeriod];
    return table;
  }();
  return kTable.data();
}

}  // namespace

std::span<const uint8_t> Stream::Bytes(uint64_t at, size_t count) const { return {Table() + (at + shift_) % kPeriod, count}; }

bool Stream::Holds(uint64_t at, std::span<const uint8_t> bytes) const {
  while (!bytes.empty()) {
    const size_t part = bytes.size() < kMost ? bytes.size() : kMost;
    if (std::memcmp(Bytes(at, part).data(), bytes.data(), part) != 0) return false;
    at += part;
    bytes = bytes.subspan(part);
  }
  return true;
}

}  // namespace sidesplice::simulator
