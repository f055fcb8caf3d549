// What a run found, as one line of JSON on standard output.
#pragma once

#include <cstdint>
#include <string>

#include "load/errors.h"
#include "load/histogram.h"

namespace sidesplice::load {

class Report {
 public:
  void Put(const char* name, double value);
  void Put(const char* name, uint64_t value);
  /** Percentiles in microseconds, and the steps of the curve. */
  void Put(const char* name, const Histogram& histogram);
  /** Writes it, the errors among it, and returns the exit code: 0, or 3 with an error. */
  [[nodiscard]] int Finish(const Errors& errors);

 private:
  void Name(const char* name);

  std::string text_;
};

}  // namespace sidesplice::load
