// Counts what is allocated by new and not deleted yet: what a schedule leaves is seen at its end, in every build.
#include "simulator/allocations.h"

#include <cstdlib>
#include <new>

namespace {

int64_t live = 0;

void* Allocate(size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) std::abort();
  live++;
  return memory;
}

void Free(void* memory) {
  if (memory == nullptr) return;
  live--;
  std::free(memory);
}

}  // namespace

// Not those that take an alignment: nothing here needs one.
void* operator new(size_t bytes) { return Allocate(bytes); }
void* operator new[](size_t bytes) { return Allocate(bytes); }
void operator delete(void* memory) noexcept { Free(memory); }
void operator delete[](void* memory) noexcept { Free(memory); }
void operator delete(void* memory, size_t) noexcept { Free(memory); }
void operator delete[](void* memory, size_t) noexcept { Free(memory); }

namespace sidesplice::simulator {

int64_t LiveAllocations() { return live; }

}  // namespace sidesplice::simulator
