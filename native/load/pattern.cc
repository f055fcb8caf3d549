// One table, longer than the pattern's period by a chunk.
#include "load/pattern.h"

#include <cstring>
#include <vector>

namespace sidesplice::load {

namespace {

// The largest prime below 2^16: no block of a size that programs like is a multiple of it, so a block that was lost, doubled or
// exchanged for another shows. Short enough to stay in a CPU's second-level cache, or comparing would cost what the proxy costs.
constexpr uint64_t kPeriod = 65521;

std::vector<uint8_t> MakeTable() {
  std::vector<uint8_t> table(kPeriod + kChunkBytes);
  uint64_t state = 0x9e3779b97f4a7c15;
  for (size_t at = 0; at < kPeriod; ++at) {
    // xorshift64 (Marsaglia 2003).
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    table[at] = static_cast<uint8_t>(state >> 32);
  }
  for (size_t at = kPeriod; at < table.size(); ++at) table[at] = table[at - kPeriod];
  return table;
}

const std::vector<uint8_t> kTable = MakeTable();

}  // namespace

const uint8_t* PatternAt(uint64_t position) { return kTable.data() + position % kPeriod; }

bool MatchesPattern(const uint8_t* bytes, size_t count, uint64_t position) {
  return std::memcmp(bytes, PatternAt(position), count) == 0;
}

}  // namespace sidesplice::load
