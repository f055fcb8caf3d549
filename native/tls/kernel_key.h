// A traffic key in the shape in which the kernel takes it (setsockopt(SOL_TLS, TLS_TX or TLS_RX), Documentation/networking/tls.rst).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "tls/record_key.h"

namespace sidesplice::tls {

struct KernelKey {
  struct Facts {
    Version version = Version::kTls13;
    Aead aead = Aead::kAes128Gcm;
    std::span<const uint8_t> key;
    std::span<const uint8_t> iv;
    /** Of TLS 1.2 with AES-GCM: the explicit nonce of the next record. */
    uint64_t nonce = 0;
    uint64_t sequence = 0;
  };

  KernelKey() = default;
  KernelKey(const KernelKey&) = delete;
  KernelKey& operator=(const KernelKey&) = delete;
  ~KernelKey();

  void Set(const Facts& facts);
  [[nodiscard]] std::span<const uint8_t> bytes() const { return {bytes_.data(), size_}; }

  /** Sizes of what the kernel has for a cipher, and where its record sequence number stands in it: at the end. */
  static size_t BytesOf(Aead aead);
  static constexpr size_t kSequenceBytes = 8;
  /** The longest: ChaCha20 with a header of 4, an IV of 12, a key of 32 and the sequence. */
  static constexpr size_t kMostBytes = 4 + 12 + 32 + kSequenceBytes;

 private:
  std::array<uint8_t, kMostBytes> bytes_{};
  size_t size_ = 0;
};

}  // namespace sidesplice::tls
