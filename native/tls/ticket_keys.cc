// Making, exchanging and using the keys of tickets.
#include "tls/ticket_keys.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include <algorithm>

#include "sys/calls.h"

namespace sidesplice::tls {

namespace {

constexpr int kIvBytes = 16;

// Fetched once, never freed, as the ciphers of records.
const EVP_CIPHER* Aes256() {
  static const EVP_CIPHER* const kCipher = EVP_CIPHER_fetch(nullptr, "AES-256-CBC", nullptr);
  return kCipher;
}

bool SetMac(EVP_MAC_CTX* context, const std::array<uint8_t, 32>& key) {
  char digest[] = "SHA256";
  const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0), OSSL_PARAM_construct_end()};
  return EVP_MAC_init(context, key.data(), key.size(), params) == 1;
}

}  // namespace

TicketKeys::~TicketKeys() {
  Wipe(&current_);
  Wipe(&former_);
}

void TicketKeys::Wipe(Key* key) { OPENSSL_cleanse(key, sizeof(*key)); }

bool TicketKeys::Turn() const {
  const int64_t now = sys::WallSeconds();
  // Keys are exchanged when one is needed, which may be late: what was sealed with the former is over all the same.
  if (now - former_.from >= 2 * kPeriodSeconds) Wipe(&former_);
  const int64_t age = now - current_.from;
  // A clock that was set back makes it a key of the future: that one is over too.
  if (current_.from != 0 && age >= 0 && age < kPeriodSeconds) return true;
  Key made;
  const bool good = RAND_bytes(made.name.data(), static_cast<int>(made.name.size())) == 1 &&
                    RAND_priv_bytes(made.cipher.data(), static_cast<int>(made.cipher.size())) == 1 &&
                    RAND_priv_bytes(made.mac.data(), static_cast<int>(made.mac.size())) == 1;
  if (good) {
    // One period more and no longer: what was idle for two has no former key.
    if (age >= 0 && age < 2 * kPeriodSeconds) former_ = current_;
    else Wipe(&former_);
    current_ = made;
    current_.from = now;
  }
  Wipe(&made);
  return good;
}

int TicketKeys::Seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const {
  const std::lock_guard lock(mutex_);
  if (!Turn() || RAND_bytes(iv, kIvBytes) != 1) return -1;
  std::copy(current_.name.begin(), current_.name.end(), name);
  return EVP_EncryptInit_ex2(cipher, Aes256(), current_.cipher.data(), iv, nullptr) == 1 && SetMac(mac, current_.mac) ? 1 : -1;
}

int TicketKeys::Open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const {
  const std::lock_guard lock(mutex_);
  if (!Turn()) return 0;
  for (const Key* key : {&current_, &former_}) {
    if (key->from == 0 || !std::equal(key->name.begin(), key->name.end(), name)) continue;
    return EVP_DecryptInit_ex2(cipher, Aes256(), key->cipher.data(), iv, nullptr) == 1 && SetMac(mac, key->mac) ? 1 : -1;
  }
  return 0;
}

}  // namespace sidesplice::tls
