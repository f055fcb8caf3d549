// JSON by hand: names and values are this program's own, and hold nothing that has to be escaped but error texts, which are plain.
#include "load/report.h"

#include <cstdio>

namespace sidesplice::load {

namespace {

constexpr int kExitWithErrors = 3;

std::string Number(double value) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return text;
}

std::string Microseconds(uint64_t nanoseconds) {
  char text[40];
  std::snprintf(text, sizeof(text), "%.3f", static_cast<double>(nanoseconds) / 1e3);
  return text;
}

}  // namespace

void Report::Name(const char* name) {
  text_ += text_.empty() ? "{\"" : ",\"";
  text_ += name;
  text_ += "\":";
}

void Report::Put(const char* name, double value) {
  Name(name);
  text_ += Number(value);
}

void Report::Put(const char* name, uint64_t value) {
  Name(name);
  text_ += std::to_string(value);
}

void Report::Put(const char* name, const Histogram& histogram) {
  Name(name);
  text_ += "{\"count\":" + std::to_string(histogram.count());
  text_ += ",\"mean\":" + Number(histogram.mean() / 1e3);
  text_ += ",\"p50\":" + Microseconds(histogram.At(0.5)) + ",\"p90\":" + Microseconds(histogram.At(0.9));
  text_ += ",\"p99\":" + Microseconds(histogram.At(0.99)) + ",\"p999\":" + Microseconds(histogram.At(0.999));
  text_ += ",\"max\":" + Microseconds(histogram.max()) + ",\"curve\":[";
  bool first = true;
  for (const Histogram::Step& step : histogram.Steps()) {
    text_ += std::string(first ? "" : ",") + "[" + Number(step.share) + "," + Microseconds(step.value) + "]";
    first = false;
  }
  text_ += "]}";
}

int Report::Finish(const Errors& errors) {
  Name("errors");
  text_ += "{";
  bool first = true;
  for (const auto& [what, count] : errors.counts()) {
    text_ += std::string(first ? "" : ",") + "\"" + what + "\":" + std::to_string(count);
    first = false;
  }
  text_ += "}}\n";
  std::fputs(text_.c_str(), stdout);
  std::fflush(stdout);
  return errors.any() ? kExitWithErrors : 0;
}

}  // namespace sidesplice::load
