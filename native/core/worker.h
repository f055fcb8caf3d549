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

class Worker {
 public:
  struct Options {
    uint64_t rekey_after_records = 0;
    KernelTls kernel = {};
    /** At a time. */
    size_t most_pipes = 0;
  };

  Worker(const Options& options, BufferMemory& memory) : options_(options), ledger_(memory) {}

  Reactor& reactor() { return reactor_; }
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

  const Options options_;
  Reactor reactor_;
  // Before whatever owns bytes.
  BufferLedger ledger_;
  Lingering lingering_{reactor_};
  Parking parking_{reactor_, [](Relay& relay) { relay.Resume(); }};
  Scratch scratch_;
  PipePool pipes_{options_.most_pipes};
  std::unordered_map<SessionId, Relay*> relays_;
  std::atomic<uint64_t> load_{0};
  std::atomic<uint64_t> moved_{0};
};

}  // namespace sidesplice::core
