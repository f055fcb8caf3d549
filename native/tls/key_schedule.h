// The two derivations that keys of records need: HKDF-Expand-Label (RFC 8446 section 7.1) and the PRF of TLS 1.2 (RFC 5246 section 5).
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace sidesplice::tls {

/** With an empty context; `out` is at most one block of the digest. False where OpenSSL fails. */
[[nodiscard]] bool ExpandLabel(const EVP_MD* digest, std::span<const uint8_t> secret, std::string_view label,
                               std::span<uint8_t> out);

/** P_hash over label and seed. False where OpenSSL fails. */
[[nodiscard]] bool Prf12(const EVP_MD* digest, std::span<const uint8_t> secret, std::string_view label,
                         std::span<const uint8_t> seed, std::span<uint8_t> out);

}  // namespace sidesplice::tls
