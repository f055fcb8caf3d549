// New connections, so many under way at a time, each with an answer of a byte or more: a handshake through the whole chain each.
#include <errno.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "load/exchange.h"
#include "load/hdr.h"
#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "load/protocol.h"
#include "load/report.h"

namespace sidesplice::load {

sys::Fd Exchange(const Address& to, uint64_t seed, uint64_t bytes, Errors& errors) {
  sys::Fd fd(Connect(to));
  if (!fd.valid()) {
    errors.Count("connect", fd.get());
    return {};
  }
  const Message question[] = {{.verb = Verb::kHello, .amount = seed}, {.verb = Verb::kSource, .amount = bytes}};
  int error = SendAll(fd.get(), question, sizeof(question));
  thread_local const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(kChunkBytes);
  for (uint64_t received = 0; error == 0 && received < bytes;) {
    const uint64_t count = std::min<uint64_t>(bytes - received, kChunkBytes);
    error = ReceiveAll(fd.get(), buffer.get(), count);
    if (error == 0 && !MatchesPattern(buffer.get(), count, seed + received)) {
      errors.Count("bytes differ");
      return {};
    }
    received += count;
  }
  if (error == 0) return fd;
  errors.Count("exchange", error);
  return {};
}

int RunConnect(const Options& options) {
  const Address to = options.Required("to");
  const uint64_t bytes = std::max<uint64_t>(1, options.Count("bytes", 1));
  const double seconds = options.Number("seconds", 2);
  const double ends = NowSeconds() + seconds;
  Errors errors;
  Histogram histogram;
  std::mutex mutex;
  std::atomic<uint64_t> in_time{0};
  const auto work = [&](uint64_t number) {
    Histogram own;
    for (uint64_t round = 0; NowSeconds() < ends; ++round) {
      const uint64_t begun = NowNanoseconds();
      if (!Exchange(to, 1000 * number + round, bytes, errors).valid()) continue;
      own.Record(NowNanoseconds() - begun);
      if (NowSeconds() < ends) ++in_time;
    }
    const std::lock_guard lock(mutex);
    histogram.Add(own);
  };
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < std::max<uint64_t>(1, options.Count("in-flight", 16)); ++number)
    threads.emplace_back(work, number);
  for (std::thread& thread : threads) thread.join();
  WriteHdr(options, histogram);
  Report report;
  report.Put("seconds", seconds);
  report.Put("connections", histogram.count());
  report.Put("connectionsASecond", static_cast<double>(in_time) / seconds);
  report.Put("microseconds", histogram);
  return report.Finish(errors);
}

}  // namespace sidesplice::load
