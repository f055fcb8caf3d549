// `--hdr FILE`: where a mode leaves its histogram in HdrHistogram's text.
#pragma once

#include "load/histogram.h"
#include "load/options.h"

namespace sidesplice::load {

inline void WriteHdr(const Options& options, const Histogram& histogram) {
  if (!options.Has("hdr")) return;
  const std::string name = options.Text("hdr", "");
  std::FILE* file = std::fopen(name.c_str(), "w");
  if (file == nullptr) Fail("can't write " + name);
  histogram.WriteText(file);
  std::fclose(file);
}

}  // namespace sidesplice::load
