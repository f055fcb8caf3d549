// Finding it, by /proc.
#include "core/startup_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "sys/calls.h"

namespace sidesplice::core {

std::vector<Mapping> UnwrittenMappings(std::string_view smaps, std::string_view file) {
  std::vector<Mapping> found;
  // Of the mapping whose lines are being read; none while it is another file's or may be written.
  Mapping candidate;
  std::istringstream lines{std::string(smaps)};
  for (std::string line; std::getline(lines, line);) {
    size_t from = 0;
    size_t to = 0;
    char access[5] = "";
    int path = 0;
    // Three fields lie between the access and the path: offset, device, inode.
    if (std::sscanf(line.c_str(), "%zx-%zx %4s %*s %*s %*s %n", &from, &to, access, &path) == 3) {
      const bool fits = access[0] == 'r' && access[1] == '-' && access[3] == 'p' && path > 0 && line.substr(static_cast<size_t>(path)) == file;
      candidate = fits ? Mapping{from, to - from} : Mapping{};
      continue;
    }
    size_t kilobytes = 0;
    // Pages that were written are anonymous from then on: relocated ones, which the loader has made unwritable since, are such.
    if (candidate.bytes > 0 && std::sscanf(line.c_str(), "Anonymous: %zu kB", &kilobytes) == 1 && kilobytes == 0) found.push_back(candidate);
  }
  return found;
}

void LetGoOfStartup() {
  sys::TrimHeap();
  char program[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", program, sizeof(program));
  std::ifstream file("/proc/self/smaps");
  if (length <= 0 || !file) return;
  std::stringstream smaps;
  smaps << file.rdbuf();
  for (const Mapping& mapping : UnwrittenMappings(smaps.str(), {program, static_cast<size_t>(length)})) {
    // An address of our own that is a number only in smaps. It fails where the mapping is locked (mlockall(2)): then it stays.
    madvise(reinterpret_cast<void*>(mapping.from), mapping.bytes, MADV_DONTNEED);  // NOLINT(performance-no-int-to-ptr)
  }
}

}  // namespace sidesplice::core
