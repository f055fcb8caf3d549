// A thread of relays: they, their scratch and the legs that linger are its own.
#pragma once

#include <atomic>
#include <memory>
#include <unordered_map>
#include <vector>

#include "core/kernel_leg.h"
#include "core/linger.h"
#include "core/reactor.h"
#include "core/relay.h"
#include "core/scratch.h"
#include "core/splice_pipe.h"

namespace sidesplice::core {

class Worker final : private Relay::Host {
 public:
  struct Options {
    uint64_t rekey_after_records = 0;
    KernelTls kernel = {};
    /** At a time. */
    size_t most_pipes = 0;
  };

  Worker(const Options& options, BufferMemory& memory) : options_(options), ledger_(memory) {}

  Reactor& reactor() { return reactor_; }
  /** Before it takes anything: all there are, itself among them, to which it may hand sessions. */
  void Meet(std::vector<Worker*> all) { all_ = std::move(all); }
  /** From any thread. */
  void Take(Session session, Legs legs, Relay::OnEnd on_end);
  void Terminate(std::vector<SessionId> sessions, const char* reason);
  /** What lingers goes, the thread ends. No session is left by then. */
  void Stop();
  /** Sessions that it has. */
  [[nodiscard]] uint64_t load() const { return load_.load(); }
  /** Bytes that its relays have moved since it began. */
  [[nodiscard]] uint64_t moved() const { return moved_.load(std::memory_order_relaxed); }

 private:
  void Begin(Session session, Legs legs, Relay::OnEnd on_end);
  Relay* BeginRelay(Session session, Legs legs, Relay::OnEnd on_end);
  void Gone(SessionId session) override;
  bool HandsOver(Relay& relay) override;
  /** From any thread: a relay that has left another worker. */
  void Receive(Relay* relay);
  void LookAround(double now);
  [[nodiscard]] Relay::Home home() {
    return {reactor_, lingering_, scratch_, moved_, options_.rekey_after_records, pipes_, ledger_, parking_, slumber_, this};
  }

  const Options options_;
  Reactor reactor_;
  // Before whatever owns bytes.
  BufferLedger ledger_;
  Lingering lingering_{reactor_};
  Parking parking_{reactor_, [](Relay& relay) { relay.Resume(); }};
  Slumber slumber_{reactor_};
  Scratch scratch_;
  PipePool pipes_{options_.most_pipes};
  std::unordered_map<SessionId, Relay*> relays_;
  std::atomic<uint64_t> load_{0};
  std::atomic<uint64_t> moved_{0};

  std::vector<Worker*> all_;
  /** By worker: what it had moved by the last look around, and in the window before it. */
  struct Look {
    uint64_t moved = 0;
    uint64_t lately = 0;
  };
  std::vector<Look> looks_;
  double looked_at_ = 0;
  /** Windows of time are numbered by the looks between them; relays that were bulk in this one and in the one before. */
  uint64_t window_ = 0;
  size_t bulk_ = 0;
  size_t bulk_before_ = 0;
  bool handed_over_ = false;
};

}  // namespace sidesplice::core
