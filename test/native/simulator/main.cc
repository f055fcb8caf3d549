// Runs schedules: native-simulator --seed FIRST --schedules HOW_MANY [--trace]. Ends with the seed of the first that fails.
#include <signal.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "simulator/allocations.h"
#include "simulator/schedule.h"

using namespace sidesplice::simulator;

namespace {

// A schedule takes milliseconds; one that takes this long goes round in a turn that does not end.
constexpr unsigned kLongestSeconds = 120;
constexpr uint64_t kRepeatEach = 256;
constexpr uint64_t kTellEach = 1'000'000;

struct Options {
  uint64_t seed = 1;
  uint64_t schedules = 1;
  bool trace = false;
};

uint64_t NumberOf(const char* text) {
  char* end = nullptr;
  const uint64_t number = std::strtoull(text, &end, 10);
  if (*text == '\0' || *end != '\0') {
    std::fprintf(stderr, "got %s, expected a number\n", text);
    std::exit(2);
  }
  return number;
}

Options OptionsOf(int count, char** arguments) {
  Options options;
  for (int at = 1; at < count; at++) {
    const std::string name = arguments[at];
    if (name == "--trace") options.trace = true;
    else if (name == "--seed" && at + 1 < count) options.seed = NumberOf(arguments[++at]);
    else if (name == "--schedules" && at + 1 < count) options.schedules = NumberOf(arguments[++at]);
    else {
      std::fprintf(stderr, "got %s, expected --seed N, --schedules N, --trace\n", arguments[at]);
      std::exit(2);
    }
  }
  return options;
}

void OnSignal(int signal) {
  TellSeed();
  ::signal(signal, SIG_DFL);
  raise(signal);
}

struct Ran {
  Schedule::Outcome outcome;
  int64_t left = 0;
};

Ran RunOne(uint64_t seed, bool shown) {
  Ran ran;
  const int64_t before = LiveAllocations();
  {
    Schedule schedule(seed, shown);
    Schedule::Outcome outcome = schedule.Run();
    // What the outcome itself holds is no loss.
    ran.outcome.hash = outcome.hash;
    ran.outcome.steps = outcome.steps;
    ran.outcome.bytes = outcome.bytes;
    ran.outcome.reasons.swap(outcome.reasons);
  }
  int64_t kept = 0;
  for (const auto& [reason, times] : ran.outcome.reasons) kept += reason.capacity() > std::string().capacity() ? 2 : 1;
  ran.left = LiveAllocations() - before - kept;
  return ran;
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
extern "C" void __sanitizer_set_death_callback(void (*callback)());
#endif

int main(int count, char** arguments) {
  const Options options = OptionsOf(count, arguments);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(TellSeed);
#endif
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGALRM}) ::signal(signal, OnSignal);
  // What was told is told before it crashes.
  if (options.trace) std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Schedule::Outcome total;
  for (uint64_t at = 0; at < options.schedules; at++) {
    const uint64_t seed = options.seed + at;
    SetCurrentSeed(seed, arguments[0]);
    if (at % kRepeatEach == 0) alarm(kLongestSeconds);
    Ran ran = RunOne(seed, options.trace);
    // What the process keeps from a first time on is no loss: it is not taken again.
    if (ran.left != 0 || at % kRepeatEach == 0) {
      const Ran again = RunOne(seed, false);
      if (again.outcome.hash != ran.outcome.hash) Fail("the same seed went another way");
      if (again.left != 0) Fail(std::to_string(again.left) + " allocations are left");
    }
    total.steps += ran.outcome.steps;
    total.bytes += ran.outcome.bytes;
    total.hash = total.hash * 31 + ran.outcome.hash;
    for (const auto& [reason, times] : ran.outcome.reasons) total.reasons[reason] += times;
    if ((at + 1) % kTellEach == 0) {
      std::printf("%" PRIu64 " schedules\n", at + 1);
      std::fflush(stdout);
    }
  }
  uint64_t sessions = 0;
  for (const auto& [reason, times] : total.reasons) sessions += times;
  std::printf("%" PRIu64 " schedules from seed %" PRIu64 ": %" PRIu64 " sessions, %" PRIu64 " steps, %" PRIu64 " bytes, hash %016" PRIx64 "\n",
              options.schedules, options.seed, sessions, total.steps, total.bytes, total.hash);
  for (const auto& [reason, times] : total.reasons) std::printf("  %-26s %" PRIu64 "\n", reason.c_str(), times);
  return 0;
}
