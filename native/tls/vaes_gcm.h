// AES-GCM (NIST SP 800-38D) on vectors of 256 bits, for processors that have VAES and VPCLMULQDQ and no AVX-512: there OpenSSL 3.5
// takes one block an instruction. Constant in time: no branch and no address depends on a key or on data.
#pragma once

#include "tls/aead.h"

namespace sidesplice::tls {

/** Whether this processor is one of those, and its kernel saves such vectors. */
bool HasVaesGcm();

/** `key` is 16 or 32 bytes. Null unless HasVaesGcm(). */
std::unique_ptr<AeadKey> MakeVaesGcm(std::span<const uint8_t> key);

}  // namespace sidesplice::tls
