// How many allocations by new live now. One thread.
#pragma once

#include <cstdint>

namespace sidesplice::simulator {

int64_t LiveAllocations();

}  // namespace sidesplice::simulator
