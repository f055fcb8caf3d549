// The engine: who lives where, and who is told what.
#include "core/engine.h"

#include <sys/resource.h>

#include <algorithm>
#include <utility>

#include "core/conclude.h"
#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// Handshakes give way to the bytes of sessions that stand. Not idle: then a busy machine would starve them.
constexpr int kHandshakeNiceness = 10;
constexpr uint64_t kDescriptorsPerSession = 2;
// A full handshake's CPU on our side: 0.6 to 1 ms here (scripts/measure-handshakes.sh).
constexpr double kHandshakeCpuMs = 1;
// How much of its time limit a handshake may wait for its first step while its thread has a CPU for itself. At a twentieth, 500 of them for each
// thread in the usual 10 s, one that is left a tenth of a CPU still ends them in time; and a peer whose own limit is shorter has not gone meanwhile.
constexpr double kWaitShare = 0.05;
// A short time limit must not have connections accepted one by one.
constexpr uint64_t kFewestUnbegun = 16;
// How far back a worker's bytes are looked at, and what of them makes no difference.
constexpr double kLookMs = 100;
constexpr uint64_t kTrifleBytes = 64 * 1024;
// Long enough that a steady trickle of connections costs no trim, and that sessions which fell silent have let go of what they can.
constexpr double kTrimAfterMs = 4'000;
// So many connections on their way at once are a burst, of which megabytes stay; and how long after it they are given back.
constexpr size_t kBurst = 64;
constexpr double kTrimAfterBurstMs = 20'000;
// Logs, watches, admin connections, listeners, the loops' own.
constexpr uint64_t kDescriptorHeadroom = 64;

uint64_t DescriptorLimit() {
  rlimit limit{};
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : UINT64_MAX;
}

}  // namespace

Engine::Engine(Options options)
    : options_(std::move(options)), outbox_(options_.wake), descriptors_(options_.descriptors != 0 ? options_.descriptors : DescriptorLimit()) {}

std::unique_ptr<Engine> Engine::Open(Options options, int* error) {
  std::unique_ptr<Engine> engine(new Engine(std::move(options)));
  int failed = engine->Start(engine->front_, "front", 0);
  for (unsigned at = 0; at < engine->options_.handshake_threads && failed == 0; at++) {
    engine->handshakes_.push_back(std::make_unique<HandshakeThread>());
    failed = engine->Start(engine->handshakes_.back()->reactor(), "handshake", kHandshakeNiceness);
  }
  const Worker::Options worker{.rekey_after_records = engine->options_.rekey_after_records,
                               .kernel = engine->options_.kernel,
                               .most_pipes = PipesOf(engine->options_.workers)};
  for (unsigned at = 0; at < engine->options_.workers && failed == 0; at++) {
    engine->workers_.push_back(std::make_unique<Worker>(worker, engine->memory_));
    failed = engine->Start(engine->workers_.back()->reactor(), "relay", 0);
  }
  std::vector<Worker*> all;
  for (const std::unique_ptr<Worker>& worker : engine->workers_) all.push_back(worker.get());
  for (Worker* worker : all) worker->Meet(all);
  if (failed == 0) return engine;
  // Nothing has begun, and the front may be what is lacking: there is no end to wait for, and its threads go with it.
  engine->closed_ = true;
  *error = -failed;
  return nullptr;
}

int Engine::Start(Reactor& reactor, const char* name, int niceness) const {
  return options_.step ? reactor.Open() : reactor.Start(name, niceness);
}

std::vector<Reactor*> Engine::Reactors() {
  std::vector<Reactor*> all = {&front_};
  for (const std::unique_ptr<HandshakeThread>& handshakes : handshakes_) all.push_back(&handshakes->reactor());
  for (const std::unique_ptr<Worker>& worker : workers_) all.push_back(&worker->reactor());
  return all;
}

Engine::~Engine() { Close(); }

void Engine::SetIdentity(std::shared_ptr<const tls::Identity> identity) {
  const std::lock_guard lock(mutex_);
  identity_ = std::move(identity);
}

std::shared_ptr<const tls::Identity> Engine::identity() {
  const std::lock_guard lock(mutex_);
  return identity_;
}

void Engine::SetGeneration(Generation generation) {
  Generation now = generation_.load();
  while (now < generation && !generation_.compare_exchange_weak(now, generation)) {
  }
}

void Engine::AddListener(uint32_t id, sys::Fd fd, ListenerSpec spec, std::shared_ptr<ListenerTally> tally) {
  auto shared_fd = std::make_shared<sys::Fd>(std::move(fd));
  auto shared_spec = std::make_shared<const ListenerSpec>(std::move(spec));
  front_.Post([this, id, shared_fd, shared_spec, tally = std::move(tally)] {
    auto listener = std::make_unique<Listener>(
        front_,
        Listener::Owner{.has_room =
                            [this](const Listener& of) {
                              if (HasRoom(of)) return true;
                              // Looked at again behind the word: a session that ends in between sees it, or is seen.
                              some_paused_ = true;
                              return HasRoom(of);
                            },
                        .accepted = [this](Listener& of, sys::Fd from, const sockaddr_storage& address) {
                          Accepted(of, std::move(from), address);
                        }},
        std::move(*shared_fd));
    listener->Set(shared_spec, tally);
    listener->Resume();
    listeners_[id] = std::move(listener);
  });
}

void Engine::ChangeListener(uint32_t id, ListenerSpec spec, std::shared_ptr<ListenerTally> tally) {
  auto shared_spec = std::make_shared<const ListenerSpec>(std::move(spec));
  front_.Post([this, id, shared_spec, tally = std::move(tally)] {
    const auto found = listeners_.find(id);
    if (found != listeners_.end()) found->second->Set(shared_spec, tally);
  });
}

void Engine::CloseListener(uint32_t id, bool take_queued) {
  front_.Post([this, id, take_queued] {
    const auto found = listeners_.find(id);
    if (found != listeners_.end()) {
      // close(2) resets what is queued.
      if (take_queued) found->second->TakeQueued();
      listeners_.erase(found);
    }
    outbox_.Add([&](Batch& batch) { batch.closed.push_back(id); });
  });
}

void Engine::Give(Answer answer) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = sessions_.find(answer.session);
    if (found == sessions_.end()) return;
    // At once, so that whoever decides next sees whose session it is: from the answer on it is within reach of Terminate.
    if (answer.admitted && answer.peer) found->second->SetPeer(*answer.peer);
  }
  auto shared = std::make_shared<Answer>(std::move(answer));
  front_.Post([this, shared] {
    const auto found = setups_.find(shared->session);
    if (found != setups_.end()) found->second->OnAnswer(std::move(*shared));
  });
}

void Engine::GiveAddresses(SessionId session, std::string host, std::vector<SocketAddress> addresses, std::string error) {
  front_.Post([this, session, host = std::move(host), addresses = std::move(addresses), error = std::move(error)] {
    const auto found = setups_.find(session);
    if (found != setups_.end()) found->second->OnLookup(host, addresses, error);
  });
}

size_t Engine::Terminate(const std::vector<SessionId>& sessions, const char* reason) {
  std::vector<SessionId> live;
  {
    const std::lock_guard lock(mutex_);
    for (const SessionId session : sessions) {
      const auto found = sessions_.find(session);
      if (found == sessions_.end() || found->second->over) continue;
      const char* none = nullptr;
      if (found->second->ending.compare_exchange_strong(none, reason)) live.push_back(session);
    }
  }
  if (live.empty()) return 0;
  front_.Post([this, live, reason] {
    for (const SessionId session : live) {
      const auto found = setups_.find(session);
      if (found != setups_.end()) found->second->Terminate(reason);
    }
  });
  for (const std::unique_ptr<Worker>& worker : workers_) worker->Terminate(live, reason);
  return live.size();
}

std::vector<SessionView> Engine::Sessions() const {
  const std::lock_guard lock(mutex_);
  std::vector<SessionView> views;
  views.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_)
    if (session->ending == nullptr) views.push_back(session->View());
  std::sort(views.begin(), views.end(), [](const SessionView& one, const SessionView& other) { return one.id < other.id; });
  return views;
}

std::vector<SessionId> Engine::SessionIds() const {
  const std::lock_guard lock(mutex_);
  std::vector<SessionId> ids;
  ids.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) ids.push_back(id);
  return ids;
}

Batch Engine::Take() {
  Batch batch = outbox_.Take();
  const std::lock_guard lock(mutex_);
  for (const Record& record : batch.ended) sessions_.erase(record.view.id);
  return batch;
}

void Engine::Close() {
  if (std::exchange(closed_, true)) return;
  front_.Post([this] {
    closing_ = true;
    listeners_.clear();
  });
  Terminate(SessionIds(), "shutdown");
  // What was accepted between the two.
  front_.Post([this] {
    std::vector<Setup*> all;
    for (const auto& [id, setup] : setups_) all.push_back(setup.get());
    for (Setup* setup : all) setup->Terminate("shutdown");
    const std::lock_guard lock(live_mutex_);
    cut_ = true;
    none_live_.notify_all();
  });
  {
    // That none lives says nothing before the front has heard of it: it may be about to accept one.
    const auto over = [this] { return cut_ && live_ == 0; };
    std::unique_lock lock(live_mutex_);
    while (options_.step && !over()) {
      lock.unlock();
      options_.step();
      lock.lock();
    }
    none_live_.wait(lock, over);
  }
  for (const std::unique_ptr<Worker>& worker : workers_) worker->Stop();
  for (const std::unique_ptr<HandshakeThread>& handshakes : handshakes_) handshakes->reactor().Stop();
  front_.Post([this] {
    lingering_.Cut();
    trim_.Cancel();
    burst_trim_.Cancel();
  });
  front_.Stop();
}

HandshakeThread& Engine::handshakes() { return *handshakes_[next_handshake_++ % handshakes_.size()]; }

void Engine::Begun() {
  unbegun_--;
  if (some_paused_) front_.Post([this] { ResumeListeners(); });
}

/**
 * Peers that are accepted wait here for their first step, others in the kernel's backlog: none is begun that will time out. A peer that is silent
 * after its first step costs nothing and keeps nobody out.
 */
bool Engine::MayBegin(const ListenerSpec& spec) const {
  const double in_time = spec.handshake_timeout_ms * kWaitShare / kHandshakeCpuMs * static_cast<double>(handshakes_.size());
  const uint64_t most = options_.unbegun_handshakes != 0 ? options_.unbegun_handshakes
                                                         : std::max(kFewestUnbegun, static_cast<uint64_t>(in_time));
  return unbegun_ < most;
}

void Engine::Accepted(Listener& listener, sys::Fd fd, const sockaddr_storage& from) {
  sys::SetConnectionOptions(fd.get());
  ListenerTally& tally = *listener.tally();
  tally.accepted++;
  tally.open++;
  live_++;
  Session session;
  // A unix socket's other end has no address.
  const std::string downstream = FormatAddress(from);
  session.own_downstream = !downstream.empty() && own_dials_->Has(downstream, FormatAddress(sys::LocalAddress(fd.get())));
  {
    const std::lock_guard lock(mutex_);
    session.shared = std::make_shared<SessionShared>(next_session_++, listener.spec(), listener.tally());
    if (!downstream.empty()) session.shared->SetDownstream(downstream);
    sessions_[session.shared->id] = session.shared;
  }
  if (listener.spec()->inbound) strangers_++;
  Adopt(MakeSetup(*this, std::move(session), std::move(fd)));
}

void Engine::Adopt(std::unique_ptr<Setup> setup) {
  Setup* adopted = setup.get();
  const std::shared_ptr<SessionShared> shared = adopted->session().shared;
  setups_[shared->id] = std::move(setup);
  if (setups_.size() >= kBurst && !burst_trim_.armed()) TrimAfterBurst();
  // Ended from outside while it was on its way here; and nothing begins any more once all ends.
  const char* ending = closing_ ? "shutdown" : shared->ending.load();
  if (ending != nullptr) adopted->Terminate(ending);
  else adopted->Begin();
}

/** Who proves nothing may have half of what there is: it must not keep the local app from its upstreams. */
bool Engine::HasRoom(const Listener& listener) const {
  const ListenerSpec& spec = *listener.spec();
  if (listener.tally()->waiting >= spec.max_waiting) return false;
  if (spec.inbound && !MayBegin(spec)) return false;
  const uint64_t sessions = live_ + 1;
  if (sessions * kDescriptorsPerSession + kDescriptorHeadroom > descriptors_) return false;
  return !spec.inbound || (strangers_ + 1) * kDescriptorsPerSession * 2 + kDescriptorHeadroom <= descriptors_;
}

void Engine::ResumeListeners() {
  some_paused_ = false;
  for (const auto& [id, listener] : listeners_) listener->Resume();
}

bool Engine::MayAsk(Setup* setup) {
  const Session& session = setup->session();
  if (session.shared->tally->waiting < session.spec().max_waiting) return true;
  held_back_.push_back(session.shared->id);
  return false;
}

void Engine::Answered(const ListenerTally&) {
  // In the order in which they came; one whose listener is still full goes to the end.
  for (size_t left = held_back_.size(); left > 0; left--) {
    const SessionId next = held_back_.front();
    held_back_.pop_front();
    const auto found = setups_.find(next);
    if (found == setups_.end()) continue;
    const Session& session = found->second->session();
    if (session.shared->tally->waiting >= session.spec().max_waiting) {
      held_back_.push_back(next);
      continue;
    }
    found->second->OnMayAsk();
  }
  if (some_paused_) front_.AtEndOfTurn([this] { ResumeListeners(); });
}

void Engine::Admitted() { strangers_--; }

void Engine::StartRelay(Session session, Legs legs) {
  session.shared->state = SessionState::kRelaying;
  LeastBusy().Take(std::move(session), std::move(legs), [this](Session ended, RelayEnd end, sys::Fd downstream) {
    OnRelayEnd(std::move(ended), end, std::move(downstream));
  });
}

/** The one that moved the fewest bytes lately; among equals the one with the fewest sessions. */
Worker& Engine::LeastBusy() {
  const double now = NowMs();
  if (now - looked_at_ >= kLookMs) {
    looks_.resize(workers_.size());
    for (size_t at = 0; at < workers_.size(); at++) {
      const uint64_t moved = workers_[at]->moved();
      looks_[at] = {.moved = moved, .lately = moved - looks_[at].moved};
    }
    looked_at_ = now;
  }
  size_t least = 0;
  const auto busyness = [&](size_t at) { return std::pair(looks_[at].lately / kTrifleBytes, workers_[at]->load()); };
  for (size_t at = 1; at < workers_.size(); at++)
    if (busyness(at) < busyness(least)) least = at;
  return *workers_[least];
}

/** On a worker's thread. */
void Engine::OnRelayEnd(Session session, const RelayEnd& end, sys::Fd downstream) {
  Conclusion conclusion = Conclude(session, end);
  if (!conclusion.retry) return Finish(std::move(session), std::move(conclusion.reason), std::move(conclusion.detail));
  session.shared->state = SessionState::kDialing;
  Retry(std::move(session), std::move(downstream));
}

void Engine::Retry(Session session, sys::Fd downstream) {
  struct Parcel {
    Session session;
    sys::Fd downstream;
  };
  auto parcel = std::make_shared<Parcel>(Parcel{std::move(session), std::move(downstream)});
  front_.Post([this, parcel] { Adopt(MakeRetry(*this, std::move(parcel->session), std::move(parcel->downstream))); });
}

void Engine::Finish(Session session, std::string reason, std::optional<std::string> detail) {
  SessionShared& shared = *session.shared;
  shared.over = true;
  // Whoever ended it from outside was told that it lived: that is its end, whatever its connections said before the word was there.
  if (const char* ending = shared.ending; ending != nullptr && reason != ending) {
    reason = ending;
    detail.reset();
  }
  shared.tally->open--;
  Record record = session.RecordOf(std::move(reason), std::move(detail));
  outbox_.Add([&](Batch& batch) { batch.ended.push_back(std::move(record)); });
  {
    const std::lock_guard lock(live_mutex_);
    if (--live_ == 0) none_live_.notify_all();
  }
  if (some_paused_) front_.Post([this] { ResumeListeners(); });
}

/**
 * A handshake takes tens of kilobytes and gives them back to the allocator, which keeps them for the next one: what a burst of connections
 * needed would stay with the process for ever. Once none is on its way it goes back to the system (malloc_trim(3)).
 */
void Engine::TrimLater() {
  trim_.Set(front_, kTrimAfterMs, [] { sys::TrimHeap(); });
}

/** While connections keep coming one is always on its way: then it goes back once there are few. */
void Engine::TrimAfterBurst() {
  burst_trim_.Set(front_, kTrimAfterBurstMs, [this] {
    if (setups_.size() < kBurst) sys::TrimHeap();
    else TrimAfterBurst();
  });
}

void Engine::Release(Setup* setup) {
  const auto found = setups_.find(setup->id());
  if (found == setups_.end()) return;
  if (setup->is_stranger()) strangers_--;
  if (setups_.size() == 1) TrimLater();
  // It is inside its own call.
  front_.AtEndOfTurn([gone = std::shared_ptr<Setup>(std::move(found->second))] {});
  setups_.erase(found);
}

}  // namespace sidesplice::core
