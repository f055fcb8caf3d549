// The kernel's structs: version and cipher in the machine's byte order, then IV, key, salt and sequence, packed.
#include "tls/kernel_key.h"

#include <openssl/crypto.h>

#include <cstring>

namespace sidesplice::tls {

namespace {

// linux/tls.h, whose older versions lack ChaCha20-Poly1305.
constexpr uint16_t kVersion12 = 0x0303;
constexpr uint16_t kVersion13 = 0x0304;
constexpr uint16_t kCipherAes128Gcm = 51;
constexpr uint16_t kCipherAes256Gcm = 52;
constexpr uint16_t kCipherChaCha20Poly1305 = 54;
constexpr size_t kSaltBytes = 4;

uint16_t CipherOf(Aead aead) {
  if (aead == Aead::kAes128Gcm) return kCipherAes128Gcm;
  return aead == Aead::kAes256Gcm ? kCipherAes256Gcm : kCipherChaCha20Poly1305;
}

void PutUint64(uint64_t value, uint8_t* into) {
  for (int at = 7; at >= 0; at--, value >>= 8) into[at] = static_cast<uint8_t>(value);
}

}  // namespace

KernelKey::~KernelKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

size_t KernelKey::BytesOf(Aead aead) { return 2 * sizeof(uint16_t) + kIvBytes + KeyBytes(aead) + kSequenceBytes; }

void KernelKey::Set(const Facts& facts) {
  size_ = 0;
  const auto put = [&](const void* from, size_t bytes) {
    std::memcpy(bytes_.data() + size_, from, bytes);
    size_ += bytes;
  };
  const uint16_t version = facts.version == Version::kTls13 ? kVersion13 : kVersion12;
  const uint16_t cipher = CipherOf(facts.aead);
  put(&version, sizeof(version));
  put(&cipher, sizeof(cipher));
  uint8_t number[8];
  if (facts.aead == Aead::kChaCha20Poly1305) {
    put(facts.iv.data(), kIvBytes);
    put(facts.key.data(), facts.key.size());
  } else {
    // RFC 5288: of TLS 1.2 the salt is all that the handshake gave; the rest travels with each record.
    PutUint64(facts.nonce, number);
    put(facts.version == Version::kTls13 ? facts.iv.data() + kSaltBytes : number, kIvBytes - kSaltBytes);
    put(facts.key.data(), facts.key.size());
    put(facts.iv.data(), kSaltBytes);
  }
  PutUint64(facts.sequence, number);
  put(number, sizeof(number));
}

}  // namespace sidesplice::tls
