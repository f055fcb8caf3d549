// Key derivations, on HMAC.
#include "tls/key_schedule.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <vector>

namespace sidesplice::tls {

bool ExpandLabel(const EVP_MD* digest, std::span<const uint8_t> secret, std::string_view label,
                 std::span<uint8_t> out) {
  constexpr std::string_view kPrefix = "tls13 ";
  const auto block = static_cast<size_t>(EVP_MD_get_size(digest));
  if (out.size() > block) return false;
  std::vector<uint8_t> info;
  info.push_back(static_cast<uint8_t>(out.size() >> 8));
  info.push_back(static_cast<uint8_t>(out.size()));
  info.push_back(static_cast<uint8_t>(kPrefix.size() + label.size()));
  info.insert(info.end(), kPrefix.begin(), kPrefix.end());
  info.insert(info.end(), label.begin(), label.end());
  info.push_back(0);
  // HKDF-Expand's counter of its first, here its only, block.
  info.push_back(1);
  std::array<uint8_t, EVP_MAX_MD_SIZE> made{};
  unsigned int bytes = 0;
  const bool good = HMAC(digest, secret.data(), static_cast<int>(secret.size()), info.data(), info.size(), made.data(),
                         &bytes) != nullptr;
  if (good) std::copy_n(made.begin(), out.size(), out.begin());
  OPENSSL_cleanse(made.data(), made.size());
  return good;
}

bool Prf12(const EVP_MD* digest, std::span<const uint8_t> secret, std::string_view label,
           std::span<const uint8_t> seed, std::span<uint8_t> out) {
  std::vector<uint8_t> labelled(label.begin(), label.end());
  labelled.insert(labelled.end(), seed.begin(), seed.end());
  const auto hmac = [&](const std::vector<uint8_t>& of, uint8_t* into) {
    unsigned int bytes = 0;
    return HMAC(digest, secret.data(), static_cast<int>(secret.size()), of.data(), of.size(), into, &bytes) != nullptr;
  };
  const auto block = static_cast<size_t>(EVP_MD_get_size(digest));
  std::array<uint8_t, EVP_MAX_MD_SIZE> made{};
  std::vector<uint8_t> chain = labelled;
  bool good = true;
  for (size_t at = 0; at < out.size() && good; at += block) {
    std::vector<uint8_t> next(block);
    good = hmac(chain, next.data());
    chain = next;
    std::vector<uint8_t> input = chain;
    input.insert(input.end(), labelled.begin(), labelled.end());
    good = good && hmac(input, made.data());
    std::copy_n(made.begin(), std::min(block, out.size() - at), out.begin() + static_cast<std::ptrdiff_t>(at));
  }
  OPENSSL_cleanse(made.data(), made.size());
  return good;
}

}  // namespace sidesplice::tls
