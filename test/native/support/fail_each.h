// Each system call of a kind fails in its turn, in sessions of a whole engine.
#pragma once

#include <cstddef>

#include "support/faults.h"
#include "support/world.h"

namespace sidesplice::test {

struct Row {
  Call call;
  const char* name;
  int fault;
};

/**
 * Each call of `row` in turn, or each `step`th, until a session makes no more of them. How many there were. A harmless one must not be noticed; after any
 * other the session fails for itself alone, and not quietly; no descriptor and no session remains.
 */
size_t FailEach(const Row& row, bool harmless, WorldOptions options = {}, size_t bytes = 40'000, size_t step = 1);

}  // namespace sidesplice::test
