// The buffers of a worker, used by one relay at a time within a turn: an idle session owns none.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tls/record_key.h"

namespace sidesplice::core {

// Measured: 16 records in one send cost a sixteenth of the system calls, more bring nothing.
inline constexpr size_t kRecordsAtOnce = 16;
inline constexpr size_t kSealBytes = kRecordsAtOnce * (tls::kMaxPayloadBytes + tls::kMaxOverheadBytes + 1);
inline constexpr size_t kLargestRecordBytes = tls::kHeaderBytes + tls::kMaxBody12Bytes;
inline constexpr size_t kOpenBytes = kRecordsAtOnce * kLargestRecordBytes;
inline constexpr size_t kPartsAtOnce = 64;

class Scratch {
 public:
  Scratch() : seal_(new uint8_t[kSealBytes]), open_(new uint8_t[kLargestRecordBytes + kOpenBytes]) {}

  uint8_t* seal() { return seal_.get(); }
  /** Behind `kLargestRecordBytes` of room for a record of which a part was kept. */
  uint8_t* open() { return open_.get() + kLargestRecordBytes; }

  /** Plaintext of opened records, in order, that is to be sent. */
  std::array<iovec, kPartsAtOnce> parts{};
  size_t part_count = 0;

 private:
  std::unique_ptr<uint8_t[]> seal_;
  std::unique_ptr<uint8_t[]> open_;
};

}  // namespace sidesplice::core
