// Telling what happened.
#include "simulator/trace.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace sidesplice::simulator {

namespace {

uint64_t current_seed = 0;
const char* current_program = "native-simulator";

}  // namespace

void Trace::Show(const char* what, int64_t first, int64_t second, int64_t third) const {
  std::printf("%12.3f  %-22s %" PRId64 " %" PRId64 " %" PRId64 "\n", static_cast<double>(now_ns_) / 1e6, what, first, second, third);
}

void Trace::ShowWord(const char* what, const std::string& text) const {
  std::printf("%12.3f  %-22s %s\n", static_cast<double>(now_ns_) / 1e6, what, text.c_str());
}

void SetCurrentSeed(uint64_t seed, const char* program) {
  current_seed = seed;
  current_program = program;
}

/** Also from a signal's handler: no more than write(2). */
void TellSeed() {
  char line[512];
  const int length = std::snprintf(line, sizeof(line), "failed: seed %" PRIu64 "; again: %s --seed %" PRIu64 " --schedules 1 --trace\n",
                                   current_seed, current_program, current_seed);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, static_cast<size_t>(length));
}

void Fail(const std::string& why) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s\n", why.c_str());
  TellSeed();
  _exit(1);
}

}  // namespace sidesplice::simulator
