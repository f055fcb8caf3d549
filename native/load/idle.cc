// Connections that are held: opened in steps, each answered once; at the end each is asked again, so that none died unseen.
#include <cstdio>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "load/exchange.h"
#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "load/protocol.h"
#include "load/report.h"

namespace sidesplice::load {

namespace {

// Two handshakes of a millisecond each: so many keep a chain's cores busy, and wait nowhere near a time limit.
constexpr uint64_t kInFlight = 16;

class Held {
 public:
  explicit Held(const Address& to) : to_(to) {}

  void Grow(uint64_t to_count) {
    const uint64_t from = fds_.size();
    fds_.resize(std::max(from, to_count));
    Share(from, to_count, [this](uint64_t number) { fds_[number] = Exchange(to_, number, 1, errors); });
  }

  void AskAll() {
    Share(0, fds_.size(), [this](uint64_t number) {
      if (!fds_[number].valid()) return;
      const Message question{.verb = Verb::kSource, .amount = 1};
      uint8_t answer = 0;
      int error = SendAll(fds_[number].get(), &question, sizeof(question));
      if (error == 0) error = ReceiveAll(fds_[number].get(), &answer, 1);
      if (error != 0) errors.Count("held", error);
      else if (!MatchesPattern(&answer, 1, number + 1)) errors.Count("bytes differ");
    });
  }

  [[nodiscard]] uint64_t count() const {
    uint64_t live = 0;
    for (const sys::Fd& fd : fds_) live += fd.valid() ? 1 : 0;
    return live;
  }

  Errors errors;

 private:
  template <typename Work>
  void Share(uint64_t from, uint64_t to, Work work) {
    std::vector<std::thread> threads;
    for (uint64_t first = 0; first < kInFlight; ++first)
      threads.emplace_back([=] {
        for (uint64_t number = from + first; number < to; number += kInFlight) work(number);
      });
    for (std::thread& thread : threads) thread.join();
  }

  const Address to_;
  std::vector<sys::Fd> fds_;
};

}  // namespace

int RunIdle(const Options& options) {
  Held held(options.Required("to"));
  std::istringstream steps(options.Text("steps", "1000"));
  for (std::string step; std::getline(steps, step, ',');) {
    held.Grow(std::stoull(step));
    std::printf("{\"held\":%llu}\n", static_cast<unsigned long long>(held.count()));
    std::fflush(stdout);
    // Whoever holds the other end measures meanwhile.
    for (int letter = std::getchar(); letter != '\n' && letter != EOF;) letter = std::getchar();
  }
  held.AskAll();
  Report report;
  report.Put("held", held.count());
  return report.Finish(held.errors);
}

}  // namespace sidesplice::load
