// What a client says to the app at the far end of a chain: messages of 16 bytes, some with bytes of the pattern behind them. No
// message needs a connection to close by halves, which not every proxy passes on.
#pragma once

#include <bit>
#include <cstdint>

namespace sidesplice::load {

static_assert(std::endian::native == std::endian::little, "messages are sent as they lie in memory");

enum class Verb : uint32_t {
  /** First on each connection; `amount` is the seed of both directions. */
  kHello = 1,
  /** `amount` bytes follow, which the app compares and drops. */
  kSink,
  /** The app sends `amount` bytes, behind those that were asked for before. */
  kSource,
  /** The app answers with a receipt once all that was asked for is sent. `amount` of the answer: bytes that came as they should. */
  kReceipt,
  /** The app's answer where bytes were not those of the pattern; it reads no further. */
  kMismatch,
  /** From here on the app sends back what it is sent. */
  kEcho,
};

struct Message {
  uint32_t magic = kMagic;
  Verb verb = Verb::kHello;
  uint64_t amount = 0;

  static constexpr uint32_t kMagic = 0x31425353;  // "SSB1"
};
static_assert(sizeof(Message) == 16);

}  // namespace sidesplice::load
