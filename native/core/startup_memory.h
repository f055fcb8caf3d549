// What only the start of a process needed.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace sidesplice::core {

struct Mapping {
  size_t from = 0;
  size_t bytes = 0;
};

/** Of what smaps says (proc_pid_smaps(5)), the mappings of this file that are as the file is: never written, by nobody. */
std::vector<Mapping> UnwrittenMappings(std::string_view smaps, std::string_view file);

/**
 * Takes the program's own code and constants out of memory, and what malloc keeps for later; what runs again is mapped anew at its next use, from
 * the page cache. Of a Node that has started two thirds never run again: they count as resident, and the kernel reclaims them last while they are mapped.
 */
void LetGoOfStartup();

}  // namespace sidesplice::core
