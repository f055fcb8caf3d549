// Parsing of options.
#include "load/options.h"

#include <cstdio>
#include <cstdlib>

namespace sidesplice::load {

namespace {
constexpr int kExitUsage = 1;
}

void Fail(const std::string& why) {
  std::fprintf(stderr, "sidesplice-load: %s\n", why.c_str());
  std::exit(kExitUsage);
}

Options::Options(int count, char** words, const std::set<std::string>& known) {
  for (int at = 0; at < count; at += 2) {
    const std::string name = words[at];
    if (!name.starts_with("--")) Fail("got " + name + ", expected --name value");
    if (!known.contains(name.substr(2))) Fail("got " + name + ", which this mode does not know");
    if (at + 1 == count) Fail(name + ": got nothing, expected a value");
    values_[name.substr(2)] = words[at + 1];
  }
}

std::string Options::Text(const char* name, const char* fallback) const {
  const auto found = values_.find(name);
  return found == values_.end() ? fallback : found->second;
}

double Options::Number(const char* name, double fallback) const {
  const auto found = values_.find(name);
  if (found == values_.end()) return fallback;
  char* end = nullptr;
  const double value = std::strtod(found->second.c_str(), &end);
  if (*end != '\0' || found->second.empty() || !(value >= 0))
    Fail("--" + std::string(name) + ": got " + found->second + ", expected a number");
  return value;
}

uint64_t Options::Count(const char* name, uint64_t fallback) const {
  return static_cast<uint64_t>(Number(name, static_cast<double>(fallback)));
}

Address Options::Required(const char* name) const {
  const std::string text = Text(name, "");
  const auto address = ParseAddress(text);
  if (!address) Fail("--" + std::string(name) + ": got \"" + text + "\", expected IP:PORT");
  return *address;
}

}  // namespace sidesplice::load
