// sidesplice-load: load for a chain of proxies, the app behind it, and the least of a relay to compare with. It speaks plaintext on
// both ends, checks every byte, and says what it found as JSON.
#include <sys/resource.h>

#include <csignal>
#include <map>
#include <string>

#include "load/modes.h"

using sidesplice::load::Fail;
using sidesplice::load::Options;

namespace {

const std::map<std::string, int (*)(const Options&)> kModes = {
    {"app", sidesplice::load::RunApp},   {"relay", sidesplice::load::RunRelay},     {"bulk", sidesplice::load::RunBulk},
    {"rtt", sidesplice::load::RunRtt},   {"connect", sidesplice::load::RunConnect}, {"idle", sidesplice::load::RunIdle},
};

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string name = count > 1 ? words[1] : "";
  const auto mode = kModes.find(name);
  if (mode == kModes.end()) Fail("got \"" + name + "\", expected app, relay, bulk, rtt, connect or idle");
  const Options options(count - 2, words + 2);
  if (options.Has("nice") && setpriority(PRIO_PROCESS, 0, static_cast<int>(options.Count("nice", 0))) != 0)
    Fail("the priority can't be lowered");
  sidesplice::load::RaiseDescriptorLimit();
  return mode->second(options);
}
