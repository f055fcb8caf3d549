// The bytes that every stream consists of: known at each position, so that whoever receives them can tell what is missing, doubled,
// out of order or of another stream.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sidesplice::load {

/** The most that is sent or read at once: what one read of a relay takes. */
constexpr size_t kChunkBytes = 256 * 1024;

/** `kChunkBytes` of a stream from `position` on. Two streams are told apart by their seeds, which are added to positions. */
const uint8_t* PatternAt(uint64_t position);
/** At most `kChunkBytes`. */
bool MatchesPattern(const uint8_t* bytes, size_t count, uint64_t position);

}  // namespace sidesplice::load
