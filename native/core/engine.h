// The core put together: the front, the threads of the handshakes, the workers, and what is asked of them from outside.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/core.h"
#include "core/listener.h"
#include "core/setup.h"
#include "core/worker.h"

namespace sidesplice::core {

class Engine final : private Core {
 public:
  struct Options {
    unsigned workers = 1;
    unsigned handshake_threads = 1;
    uint64_t rekey_after_records = 0;
    /** Handshakes of peers that may wait for their first step; 0 for what the threads can do in time. */
    uint64_t unbegun_handshakes = 0;
    KernelTls kernel = {};
    /** Bytes that sessions may own, all together. */
    uint64_t buffer_memory = BufferMemory::kNoCap;
    /** Called from any thread where there is something to take. */
    std::function<void()> wake;
    /**
     * Where it is set there are no threads: whoever opened the engine has its reactors take their turns, and this is called by Close, over
     * and over, to have one take a turn.
     */
    std::function<void()> step = {};
    tls::BeginHandshake begin_handshake = tls::Handshake::Begin;
    /** How many the process may have; 0 for what the system says. */
    uint64_t descriptors = 0;
  };

  /** Null where threads or descriptors are lacking: then `error` is a positive errno. */
  static std::unique_ptr<Engine> Open(Options options, int* error);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // From one thread, the one that decides.
  void SetIdentity(std::shared_ptr<const tls::Identity> identity);
  /** Answers of an older one are asked for again. */
  void SetGeneration(Generation generation);
  /** Takes a listening socket over. `id` is the caller's. */
  void AddListener(uint32_t id, sys::Fd fd, ListenerSpec spec, std::shared_ptr<ListenerTally> tally);
  void ChangeListener(uint32_t id, ListenerSpec spec, std::shared_ptr<ListenerTally> tally);
  /** Batch::closed tells when it has. */
  void CloseListener(uint32_t id, bool take_queued);
  void Give(Answer answer);
  /** `host` as it was asked about. */
  void GiveAddresses(SessionId session, std::string host, std::vector<SocketAddress> addresses, std::string error);
  /** How many of them lived. `reason` is a literal. */
  size_t Terminate(const std::vector<SessionId>& sessions, const char* reason);
  [[nodiscard]] std::vector<SessionView> Sessions() const;
  [[nodiscard]] std::vector<SessionId> SessionIds() const;
  /** Bytes that sessions own now. */
  [[nodiscard]] uint64_t OwnedBytes() const { return static_cast<uint64_t>(std::max<int64_t>(memory_.owned(), 0)); }
  /** What came about since the last time. Sessions whose records are in it live no more. */
  [[nodiscard]] Batch Take();
  /** Cuts everything and ends the threads. Every record can be taken afterwards. */
  void Close();
  /** Of an engine without threads: all that take turns, the front first, then those of the handshakes, then the workers'. */
  [[nodiscard]] std::vector<Reactor*> Reactors();

 private:
  explicit Engine(Options options);

  // Core, for setups.
  Reactor& front() override { return front_; }
  Lingering& lingering() override { return lingering_; }
  Outbox& outbox() override { return outbox_; }
  OwnDials& own_dials() override { return *own_dials_; }
  std::shared_ptr<const tls::Identity> identity() override;
  Generation generation() override { return generation_.load(); }
  HandshakeThread& handshakes() override;
  tls::BeginHandshake begin_handshake() override { return options_.begin_handshake; }
  bool takes_tickets() override { return !options_.kernel.takes_any(); }
  void Beginning() override { unbegun_++; }
  void Begun() override;
  void StartRelay(Session session, Legs legs) override;
  void Finish(Session session, std::string reason, std::optional<std::string> detail) override;
  void Release(Setup* setup) override;
  bool MayAsk(Setup* setup) override;
  void Answered(const ListenerTally& tally) override;
  void Admitted() override;

  [[nodiscard]] int Start(Reactor& reactor, const char* name, int niceness) const;
  void Accepted(Listener& listener, sys::Fd fd, const sockaddr_storage& from);
  [[nodiscard]] bool HasRoom(const Listener& listener) const;
  [[nodiscard]] bool MayBegin(const ListenerSpec& spec) const;
  void ResumeListeners();
  void OnRelayEnd(Session session, const RelayEnd& end, sys::Fd downstream);
  void Retry(Session session, sys::Fd downstream);
  void Adopt(std::unique_ptr<Setup> setup);
  [[nodiscard]] Worker& LeastBusy();
  void TrimLater();
  void TrimAfterBurst();

  const Options options_;
  BufferMemory memory_{options_.buffer_memory};
  Outbox outbox_;
  const std::shared_ptr<OwnDials> own_dials_ = std::make_shared<OwnDials>();
  Reactor front_;
  Lingering lingering_{front_};
  std::vector<std::unique_ptr<HandshakeThread>> handshakes_;
  std::vector<std::unique_ptr<Worker>> workers_;
  const uint64_t descriptors_;

  std::atomic<Generation> generation_{0};
  mutable std::mutex mutex_;
  std::shared_ptr<const tls::Identity> identity_;
  std::unordered_map<SessionId, std::shared_ptr<SessionShared>> sessions_;
  SessionId next_session_ = 1;

  // Sessions that have begun and not finished.
  std::atomic<uint64_t> live_{0};
  std::mutex live_mutex_;
  std::condition_variable none_live_;
  /** The front accepts no more, and has ended what it had. With the mutex. */
  bool cut_ = false;
  std::atomic<bool> some_paused_{false};
  // Of peers that were accepted: handshakes that wait for their first step.
  std::atomic<uint64_t> unbegun_{0};

  // On the front's thread.
  std::map<uint32_t, std::unique_ptr<Listener>> listeners_;
  std::unordered_map<SessionId, std::unique_ptr<Setup>> setups_;
  std::deque<SessionId> held_back_;
  uint64_t strangers_ = 0;
  Timer trim_;
  Timer burst_trim_;
  size_t next_handshake_ = 0;
  /** By worker: what it had moved when it was looked at last, and what it moved between the last two looks. */
  struct Look {
    uint64_t moved = 0;
    uint64_t lately = 0;
  };
  std::vector<Look> looks_;
  double looked_at_ = 0;
  bool closing_ = false;
  bool closed_ = false;
};

}  // namespace sidesplice::core
