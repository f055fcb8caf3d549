// OpenSSL's AEADs, and which implementation a key gets.
#include "tls/aead.h"

#include <openssl/evp.h>

#include <atomic>

#include "tls/openssl_ptr.h"
#include "tls/vaes_gcm.h"

namespace sidesplice::tls {

namespace {

/** Fetched once: a fetch takes locks and searches providers (EVP_CIPHER_fetch(3)). Never freed: threads use them while a process exits. */
const EVP_CIPHER* CipherOf(Aead aead) {
  static const EVP_CIPHER* const kAes128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static const EVP_CIPHER* const kAes256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  static const EVP_CIPHER* const kChaCha = EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr);
  if (aead == Aead::kAes128Gcm) return kAes128;
  return aead == Aead::kAes256Gcm ? kAes256 : kChaCha;
}

class OpenSslAead final : public AeadKey {
 public:
  /** Direction is chosen at each record: GCM and ChaCha20 use one key schedule for both. */
  bool Set(Aead aead, std::span<const uint8_t> key) {
    return context_ != nullptr && EVP_CipherInit_ex2(context_.get(), CipherOf(aead), key.data(), nullptr, 1, nullptr) == 1;
  }

  bool Seal(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) override {
    uint8_t* const tag = data.data() + data.size();
    int made = 0;
    return Run(nonce, additional, data, 1) && EVP_CipherFinal_ex(context_.get(), tag, &made) == 1 &&
           EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_GET_TAG, kTagBytes, tag) == 1;
  }

  bool Open(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) override {
    uint8_t* const tag = data.data() + data.size();
    int made = 0;
    const bool good = Run(nonce, additional, data, 0) &&
                      EVP_CIPHER_CTX_ctrl(context_.get(), EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag) == 1 &&
                      EVP_CipherFinal_ex(context_.get(), tag, &made) == 1;
    // A record that was forged leaves a word in the thread's queue; a later call's words must not be mixed with it.
    if (!good) ERR_clear_error();
    return good;
  }

 private:
  bool Run(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data, int seals) {
    EVP_CIPHER_CTX* const context = context_.get();
    int made = 0;
    return EVP_CipherInit_ex2(context, nullptr, nullptr, nonce, seals, nullptr) == 1 &&
           EVP_CipherUpdate(context, nullptr, &made, additional.data(), static_cast<int>(additional.size())) == 1 &&
           EVP_CipherUpdate(context, data.data(), &made, data.data(), static_cast<int>(data.size())) == 1;
  }

  CipherCtxPtr context_{EVP_CIPHER_CTX_new()};
};

/** Who has asked for validated cryptography gets no other. */
bool IsFips() { return EVP_default_properties_is_fips_enabled(nullptr) == 1; }

/** Asked for when the process chooses, not at each key. */
bool MayUseVaesGcm() { return HasVaesGcm() && !IsFips(); }

std::atomic<bool>& VaesGcmInUse() {
  static std::atomic<bool> in_use{MayUseVaesGcm()};
  return in_use;
}

}  // namespace

size_t KeyBytes(Aead aead) { return aead == Aead::kAes128Gcm ? 16 : 32; }

void UseOpenSslOnly(bool only) { VaesGcmInUse().store(!only && MayUseVaesGcm(), std::memory_order_relaxed); }

bool UsesVaesGcm() { return VaesGcmInUse().load(std::memory_order_relaxed); }

std::unique_ptr<AeadKey> MakeAeadKey(Aead aead, std::span<const uint8_t> key) {
  if (aead != Aead::kChaCha20Poly1305 && UsesVaesGcm()) return MakeVaesGcm(key);
  auto made = std::make_unique<OpenSslAead>();
  if (!made->Set(aead, key)) return nullptr;
  return made;
}

}  // namespace sidesplice::tls
