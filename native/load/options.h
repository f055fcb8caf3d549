// What the command line of a mode says: `--name value` pairs that the mode knows.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "load/net.h"

namespace sidesplice::load {

class Options {
 public:
  /** Ends the process with a word of what is wrong, here and below: there is nobody else to tell. */
  Options(int count, char** words, const std::set<std::string>& known);

  [[nodiscard]] bool Has(const char* name) const { return values_.contains(name); }
  [[nodiscard]] std::string Text(const char* name, const char* fallback) const;
  [[nodiscard]] double Number(const char* name, double fallback) const;
  [[nodiscard]] uint64_t Count(const char* name, uint64_t fallback) const;
  [[nodiscard]] Address Required(const char* name) const;

 private:
  std::map<std::string, std::string> values_;
};

[[noreturn]] void Fail(const std::string& why);

}  // namespace sidesplice::load
