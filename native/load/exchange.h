// One short connection: hello, a question, so many bytes of answer.
#pragma once

#include <cstdint>

#include "load/errors.h"
#include "load/net.h"

namespace sidesplice::load {

/** The connection with its answer taken, or not valid; then the error has been counted. `bytes` is what the app is asked for. */
sys::Fd Exchange(const Address& to, uint64_t seed, uint64_t bytes, Errors& errors);

}  // namespace sidesplice::load
