// How fast this processor seals records.
#pragma once

#include "tls/aead.h"

namespace sidesplice::core {

/** Gigabytes of full records that one core seals in a second of its own time, measured for so long; 0 where OpenSSL fails. */
double AeadSpeed(tls::Aead aead, double seconds);

}  // namespace sidesplice::core
