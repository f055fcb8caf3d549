// An AEAD under one key: seals and opens in place. Nonces, sequence and record are RecordKey's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace sidesplice::tls {

enum class Aead : uint8_t { kAes128Gcm, kAes256Gcm, kChaCha20Poly1305 };

inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kIvBytes = 12;
/** The most that RecordKey authenticates beside a payload: one block. */
inline constexpr size_t kMaxAdditionalBytes = 13;

size_t KeyBytes(Aead aead);

/** Whether AES-GCM of keys that are made from now on is OpenSSL's alone. Of the process; FIPS mode is that of the time of the call. */
void UseOpenSslOnly(bool only);
/** Whether AES-GCM is ours: this processor is one where that is faster, and neither UseOpenSslOnly() nor FIPS mode is on. */
bool UsesVaesGcm();

class AeadKey {
 public:
  AeadKey() = default;
  virtual ~AeadKey() = default;
  AeadKey(const AeadKey&) = delete;
  AeadKey& operator=(const AeadKey&) = delete;

  /**
   * Encrypts `data` in place, and writes the tag of `kTagBytes` behind it.
   * @param nonce of kIvBytes
   * @param additional of kMaxAdditionalBytes at most
   * @return false where OpenSSL fails
   */
  [[nodiscard]] virtual bool Seal(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) = 0;
  /** Decrypts `data` in place; the tag stands behind it. False where it is not authentic: what `data` holds then is nobody's. */
  [[nodiscard]] virtual bool Open(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) = 0;
};

/** `key` is KeyBytes(aead). Null where OpenSSL fails. */
std::unique_ptr<AeadKey> MakeAeadKey(Aead aead, std::span<const uint8_t> key);

}  // namespace sidesplice::tls
