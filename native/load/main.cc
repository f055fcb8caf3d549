// sidesplice-load: load for a chain of proxies, the app behind it, and the least of a relay to compare with. It speaks plaintext on
// both ends, checks every byte, and says what it found as JSON.
#include <sys/resource.h>

#include <csignal>
#include <map>
#include <set>
#include <string>

#include "load/modes.h"

using sidesplice::load::Fail;
using sidesplice::load::Options;

namespace {

struct Mode {
  int (*run)(const Options&);
  std::set<std::string> options;
};

const std::map<std::string, Mode> kModes = {
    {"app", {sidesplice::load::RunApp, {"listen"}}},
    {"relay", {sidesplice::load::RunRelay, {"listen", "to"}}},
    {"bulk", {sidesplice::load::RunBulk, {"to", "direction", "streams", "seconds", "nice"}}},
    {"rtt", {sidesplice::load::RunRtt, {"to", "bytes", "connections", "seconds", "nice", "hdr"}}},
    {"connect", {sidesplice::load::RunConnect, {"to", "bytes", "in-flight", "seconds", "nice", "hdr"}}},
    {"idle", {sidesplice::load::RunIdle, {"to", "steps"}}},
};

}  // namespace

int main(int count, char** words) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::string name = count > 1 ? words[1] : "";
  const auto mode = kModes.find(name);
  if (mode == kModes.end()) Fail("got \"" + name + "\", expected app, relay, bulk, rtt, connect or idle");
  const Options options(count - 2, words + 2, mode->second.options);
  if (options.Has("nice") && setpriority(PRIO_PROCESS, 0, static_cast<int>(options.Count("nice", 0))) != 0)
    Fail("the priority can't be lowered");
  sidesplice::load::RaiseDescriptorLimit();
  return mode->second.run(options);
}
