// Round trips: on each connection one message is under way at a time, and the time until all of it is back is what counts.
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "load/hdr.h"
#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "load/protocol.h"
#include "load/report.h"
#include "sys/calls.h"

namespace sidesplice::load {

namespace {

// The first round trips of a connection pay for caches and congestion windows.
constexpr double kWarmUpSeconds = 0.2;
constexpr int kPatienceMs = 20'000;

struct Trip {
  sys::Fd fd;
  uint64_t position = 0;
  uint64_t left = 0;
  uint64_t sent_at = 0;
};

class Trips {
 public:
  Trips(uint64_t bytes, double seconds) : bytes_(bytes), begins_(NowSeconds() + kWarmUpSeconds), ends_(begins_ + seconds) {}

  bool Open(Trip& trip, const Address& to, uint64_t seed) {
    trip.fd = sys::Fd(Connect(to));
    if (!trip.fd.valid()) return Failed("connect", trip.fd.get());
    const Message greeting[] = {{.verb = Verb::kHello, .amount = seed}, {.verb = Verb::kEcho}};
    const int error = SendAll(trip.fd.get(), greeting, sizeof(greeting));
    return error == 0 || Failed("send", error);
  }

  bool Send(Trip& trip) {
    trip.left = bytes_;
    trip.sent_at = NowNanoseconds();
    const int error = SendAll(trip.fd.get(), PatternAt(trip.position), bytes_);
    return error == 0 || Failed("send", error);
  }

  /** Reads once; true also where the message is not whole yet. */
  bool Receive(Trip& trip) {
    const ssize_t count = sys::Receive(trip.fd.get(), buffer_.get(), trip.left);
    if (count <= 0) return Failed("receive", count == 0 ? -EPIPE : static_cast<int>(count));
    if (!MatchesPattern(buffer_.get(), static_cast<size_t>(count), trip.position)) {
      errors.Count("bytes differ");
      return false;
    }
    trip.position += static_cast<uint64_t>(count);
    trip.left -= static_cast<uint64_t>(count);
    if (trip.left > 0) return true;
    const uint64_t now = NowNanoseconds();
    if (static_cast<double>(trip.sent_at) / 1e9 >= begins_) histogram.Record(now - trip.sent_at);
    return true;
  }

  /** Not without one that counts, however slow the chain is. */
  [[nodiscard]] bool over() const { return NowSeconds() >= ends_ && histogram.count() > 0; }

  Histogram histogram;
  Errors errors;

  bool Failed(const char* what, int error) {
    errors.Count(what, error);
    return false;
  }

 private:
  const uint64_t bytes_;
  const double begins_;
  const double ends_;
  const std::unique_ptr<uint8_t[]> buffer_ = std::make_unique_for_overwrite<uint8_t[]>(kChunkBytes);
};

/** One connection: a read that blocks is the shortest way. */
void RunOne(Trips& trips, Trip& trip) {
  while (!trips.over()) {
    if (!trips.Send(trip)) return;
    while (trip.left > 0)
      if (!trips.Receive(trip)) return;
  }
}

void RunMany(Trips& trips, std::vector<Trip>& all) {
  const sys::Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  for (Trip& trip : all)
    if (!epoll.valid() || sys::EpollControl(epoll.get(), EPOLL_CTL_ADD, trip.fd.get(), EPOLLIN, &trip) != 0 ||
        !trips.Send(trip))
      return;
  size_t live = all.size();
  std::vector<epoll_event> events(all.size());
  while (live > 0) {
    const int ready = sys::EpollWait(epoll.get(), events.data(), static_cast<int>(events.size()), kPatienceMs);
    if (ready == 0) return trips.errors.Count("receive", -ETIMEDOUT);
    for (int at = 0; at < ready; ++at) {
      auto& trip = *static_cast<Trip*>(events[static_cast<size_t>(at)].data.ptr);
      if (!trips.Receive(trip)) return;
      if (trip.left > 0) continue;
      if (trips.over()) {
        --live;
      } else if (!trips.Send(trip)) {
        return;
      }
    }
  }
}

}  // namespace

int RunRtt(const Options& options) {
  const uint64_t bytes = options.Count("bytes", 64);
  if (bytes == 0 || bytes > kChunkBytes) Fail("--bytes: got another number than 1 to " + std::to_string(kChunkBytes));
  const Address to = options.Required("to");
  std::vector<Trip> all(std::max<uint64_t>(1, options.Count("connections", 1)));
  const double seconds = options.Number("seconds", 2);
  Trips trips(bytes, seconds);
  bool opened = true;
  for (size_t number = 0; number < all.size() && opened; ++number) {
    all[number].position = 1000 * number;
    opened = trips.Open(all[number], to, 1000 * number);
  }
  if (opened) all.size() == 1 ? RunOne(trips, all.front()) : RunMany(trips, all);
  WriteHdr(options, trips.histogram);
  Report report;
  report.Put("seconds", seconds);
  report.Put("trips", trips.histogram.count());
  report.Put("microseconds", trips.histogram);
  return report.Finish(trips.errors);
}

}  // namespace sidesplice::load
