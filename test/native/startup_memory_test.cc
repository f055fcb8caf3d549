// What of a process's mappings is let go of after its start: only what the file still has.
#include "core/startup_memory.h"

#include <doctest/doctest.h>

#include <fstream>
#include <sstream>
#include <string>

using namespace sidesplice;

namespace {

std::string Mapping(const std::string& access, const std::string& file, int anonymous) {
  return "00400000-00402000 " + access + " 00000000 fe:00 1234                     " + file +
         "\nSize:                  8 kB\nRss:                   8 kB\nAnonymous:          " + std::to_string(anonymous) +
         " kB\nAnonHugePages:         0 kB\nVmFlags: rd ex mr mw me\n";
}

size_t Found(const std::string& smaps) { return core::UnwrittenMappings(smaps, "/opt/a b/node").size(); }

size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t all = 0;
  size_t resident = 0;
  statm >> all >> resident;
  return resident * 4096;
}

/** Read once here, and never again. */
template <size_t kBytes>
const char* Constants() {
  alignas(4096) static const volatile char kConstants[kBytes] = {1};
  size_t sum = 0;
  for (size_t at = 0; at < kBytes; at += 4096) sum += static_cast<size_t>(kConstants[at]);
  CHECK(sum == 1);
  return const_cast<const char*>(kConstants);
}

}  // namespace

TEST_CASE("code and constants of the program itself are let go of, nothing else") {
  const std::string program = "/opt/a b/node";
  const auto found = core::UnwrittenMappings(Mapping("r-xp", program, 0), program);
  REQUIRE(found.size() == 1);
  CHECK(found[0].from == 0x400000);
  CHECK(found[0].bytes == 0x2000);
  CHECK(Found(Mapping("r--p", program, 0)) == 1);
  CHECK(Found(Mapping("r-xp", program, 0) + Mapping("rw-p", program, 4) + Mapping("r--p", program, 0)) == 2);

  // Relocated, and unwritable since: the file has it not.
  CHECK(Found(Mapping("r--p", program, 4)) == 0);
  CHECK(Found(Mapping("rw-p", program, 0)) == 0);
  CHECK(Found(Mapping("rwxp", program, 0)) == 0);
  CHECK(Found(Mapping("r--s", program, 0)) == 0);
  CHECK(Found(Mapping("---p", program, 0)) == 0);
  CHECK(Found(Mapping("r-xp", "/opt/a b/node.so", 0)) == 0);
  CHECK(Found(Mapping("r-xp", "", 0)) == 0);
  CHECK(Found(Mapping("r-xp", program + " (deleted)", 0)) == 0);
  CHECK(Found("") == 0);
  CHECK(Found("no such line\nAnonymous: 0 kB\n") == 0);
}

TEST_CASE("what is let go of is still there when it is used again, and was not resident meanwhile") {
  constexpr size_t kBytes = 8 << 20;
  const char* constants = Constants<kBytes>();
  const size_t before = ResidentBytes();
  core::LetGoOfStartup();
  CHECK(before - ResidentBytes() > kBytes / 2);
  CHECK(Constants<kBytes>() == constants);
}
