// Streams as fast as they go: blocks of the pattern until the time is over, then a receipt of what has arrived. A thread for each
// direction of each stream.
#include <errno.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "load/protocol.h"
#include "load/report.h"
#include "sys/calls.h"

namespace sidesplice::load {

namespace {

// So many bytes lie between two looks at the clock, and at most so many are still to come when it says stop.
constexpr uint64_t kBlockBytes = 4 << 20;
constexpr uint64_t kBlocksAhead = 3;

struct Totals {
  std::atomic<uint64_t> up{0};
  std::atomic<uint64_t> down{0};
  Errors errors;
};

struct Plan {
  Address to;
  bool up = false;
  bool down = false;
  double seconds = 0;
};

/** One stream. Where it goes both ways one thread writes, what it asks for included, and one reads. */
class Stream {
 public:
  Stream(const Plan& plan, uint64_t seed, Totals& totals) : plan_(plan), seed_(seed), totals_(totals) {}

  void Run() {
    const sys::Fd fd(Connect(plan_.to));
    if (!fd.valid()) return totals_.errors.Count("connect", fd.get());
    fd_ = fd.get();
    end_ = NowSeconds() + plan_.seconds;
    if (!Say(Verb::kHello, seed_)) return;
    std::thread receiving;
    if (plan_.up && plan_.down) receiving = std::thread([this] { Receive(); });
    if (plan_.up) SendBlocks();
    receiving.joinable() ? receiving.join() : Receive();
    if (!failed_) TakeReceipt();
  }

 private:
  bool Say(Verb verb, uint64_t amount) {
    const Message message{.verb = verb, .amount = amount};
    return Check("send", SendAll(fd_, &message, sizeof(message)));
  }

  bool Check(const char* what, int error) {
    if (error == 0) return true;
    if (!failed_.exchange(true)) totals_.errors.Count(what, error);
    return false;
  }

  void SendBlocks() {
    while (!failed_ && NowSeconds() < end_) {
      if (plan_.down && !AskAhead()) return;
      if (!Say(Verb::kSink, kBlockBytes)) return;
      for (uint64_t left = kBlockBytes; left > 0; left -= kChunkBytes) {
        if (!Check("send", SendAll(fd_, PatternAt(seed_ + sent_), kChunkBytes))) return;
        sent_ += kChunkBytes;
      }
    }
    Say(Verb::kReceipt, 0);
  }

  /** Downwards alone: whoever reads asks as well. */
  bool AskAhead() {
    while (asked_ < received_ / kBlockBytes + kBlocksAhead) {
      // Counted before: the answer may be read by the other thread at once.
      ++asked_;
      if (!Say(Verb::kSource, kBlockBytes)) return false;
    }
    return true;
  }

  /** Everything that was asked for, and the receipt behind it. */
  void Receive() {
    const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(kChunkBytes);
    bool asking = !plan_.up;
    while (receipt_bytes_ < sizeof(receipt_)) {
      if (asking) {
        asking = NowSeconds() < end_;
        if (!(asking ? AskAhead() : Say(Verb::kReceipt, 0))) return;
      }
      const ssize_t count = sys::Receive(fd_, buffer.get(), kChunkBytes);
      if (count <= 0) {
        Check("receive", count == 0 ? -EPIPE : static_cast<int>(count));
        return;
      }
      if (!Take(buffer.get(), static_cast<size_t>(count)) && !failed_.exchange(true))
        totals_.errors.Count("bytes differ");
      if (failed_) return;
    }
  }

  bool Take(const uint8_t* bytes, size_t count) {
    const auto pattern = std::min<uint64_t>(count, asked_ * kBlockBytes - received_);
    if (!MatchesPattern(bytes, pattern, seed_ + received_)) return false;
    received_ += pattern;
    const size_t rest = count - pattern;
    if (rest > sizeof(receipt_) - receipt_bytes_) return false;
    std::memcpy(reinterpret_cast<uint8_t*>(&receipt_) + receipt_bytes_, bytes + pattern, rest);
    receipt_bytes_ += rest;
    return true;
  }

  void TakeReceipt() {
    if (receipt_.magic != Message::kMagic || receipt_.verb != Verb::kReceipt) return totals_.errors.Count("bytes differ");
    if (receipt_.amount != sent_ || received_ != asked_ * kBlockBytes) return totals_.errors.Count("bytes missing");
    totals_.up += sent_;
    totals_.down += received_;
  }

  const Plan& plan_;
  const uint64_t seed_;
  Totals& totals_;
  int fd_ = -1;
  double end_ = 0;
  uint64_t sent_ = 0;
  std::atomic<uint64_t> received_{0};
  std::atomic<uint64_t> asked_{0};
  std::atomic<bool> failed_{false};
  Message receipt_;
  size_t receipt_bytes_ = 0;
};

}  // namespace

int RunBulk(const Options& options) {
  const std::string direction = options.Text("direction", "up");
  if (direction != "up" && direction != "down" && direction != "both")
    Fail("--direction: got " + direction + ", expected up, down or both");
  const Plan plan{.to = options.Required("to"),
                  .up = direction != "down",
                  .down = direction != "up",
                  .seconds = options.Number("seconds", 2)};
  const uint64_t streams = options.Count("streams", 1);
  Totals totals;
  const double begun = NowSeconds();
  std::vector<std::thread> threads;
  for (uint64_t number = 0; number < streams; ++number)
    threads.emplace_back([&plan, &totals, number] { Stream(plan, 1000 * number, totals).Run(); });
  for (std::thread& thread : threads) thread.join();
  const double seconds = NowSeconds() - begun;
  Report report;
  report.Put("seconds", seconds);
  report.Put("bytesUp", totals.up.load());
  report.Put("bytesDown", totals.down.load());
  report.Put("gbits", static_cast<double>(totals.up + totals.down) * 8 / 1e9 / seconds);
  return report.Finish(totals.errors);
}

}  // namespace sidesplice::load
