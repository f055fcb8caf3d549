// What a schedule is made of, thrown before it begins and whenever somebody comes.
#include <algorithm>
#include <iterator>
#include <utility>

#include "simulator/schedule.h"
#include "support/certificates.h"

namespace sidesplice::simulator {

namespace {

constexpr uint16_t kPublicPort = 1;
constexpr uint16_t kUpstreamPort = 2;
constexpr uint64_t kManyBytes = 400'000;
constexpr uint64_t kFewBytes = 3'000;
constexpr uint64_t kBulkRoom = 3'000;
constexpr uint64_t kHeadroom = 64;

Schedule* running = nullptr;

/** Of the same root, and of another: what was verified under the one does not hold under the other. */
std::shared_ptr<const tls::Identity> IdentityAt(uint64_t at) {
  static const test::Certified kElsewhere = test::MakeRoot();
  static const std::shared_ptr<const tls::Identity> kStranger =
      test::IdentityOf(test::TheMesh().web, {}, {&kElsewhere});
  if (at == 0) return kStranger;
  return at % 2 == 0 ? test::TheMesh().identity : test::TheMesh().identity_rsa;
}

}  // namespace

const Script& ScriptOf(int fd) { return running->ScriptOf(fd); }

Schedule::Schedule(uint64_t seed, bool shown)
    : trace_(seed, shown),
      dice_(seed),
      kernel_(dice_, trace_,
              {.enter = [this] { Interleave(); },
               .dialed = [this](uint16_t port) { return OnDialed(port); },
               .established = [this](uint16_t port, End& end) { OnEstablished(port, end); }}),
      calm_(dice_.OneIn(4)),
      policy_(dice_, trace_, calm_, [this](core::SessionId session) -> Flow& { return FlowOf(session); }) {
  running = this;
  Install(&kernel_);
}

Schedule::~Schedule() {
  Uninstall();
  running = nullptr;
}

void Schedule::ThrowRates() {
  for (uint64_t& weight : weights_) {
    constexpr uint64_t kWeights[] = {1, 3, 12};
    weight = kWeights[dice_.Below(3)];
  }
  constexpr uint64_t kInterleaves[] = {0, 2, 6, 30};
  interleaves_ = kInterleaves[dice_.Below(4)];
  constexpr uint64_t kIntrusions[] = {0, 100, 300, 20};
  intrusions_ = kIntrusions[dice_.Below(4)];
  Kernel::Rates& rates = kernel_.rates;
  rates.interrupted = dice_.OneIn(3) ? 20 : 0;
  rates.pressure = dice_.OneIn(2) ? 4 : 0;
  rude_ = dice_.OneIn(3);
  bulk_ = dice_.OneIn(12);
  if (bulk_) kernel_.least_room = kBulkRoom;
  flows_planned_ = dice_.OneIn(2) ? 1 : dice_.Between(1, dice_.OneIn(4) ? 6 : 3);
  if (calm_) return;
  rates.no_memory = dice_.OneIn(3) ? dice_.Between(10, 150) : 0;
  rates.no_descriptor = dice_.OneIn(6) ? dice_.Between(4, 40) : 0;
  rates.aborted_accept = dice_.OneIn(4) ? 3 : 0;
  closes_at_ = dice_.OneIn(3) ? 1 + dice_.Sized(600) : 0;
}

core::ListenerSpec Schedule::ThrowSpec(bool inbound) {
  core::ListenerSpec spec;
  spec.key = spec.name = inbound ? "public" : "upstream";
  spec.inbound = inbound;
  spec.handshake_timeout_ms = calm_ ? 20'000 : 1 + static_cast<double>(dice_.Sized(600));
  spec.half_close_timeout_ms = calm_ ? 20'000 : 1 + static_cast<double>(dice_.Sized(600));
  spec.idle_timeout_ms = calm_ || dice_.OneIn(2) ? 0 : 1 + static_cast<double>(dice_.Sized(1'500));
  spec.max_waiting = static_cast<uint32_t>(dice_.Between(1, 4));
  return spec;
}

bool Schedule::OpenEngine() {
  ThrowRates();
  int error = 0;
  constexpr uint64_t kRekeys[] = {1, 3, 20, 1 << 24};
  engine_ = core::Engine::Open({.workers = 1 + static_cast<unsigned>(dice_.Below(2)),
                                .handshake_threads = 1 + (dice_.OneIn(4) ? 1U : 0U),
                                .rekey_after_records = kRekeys[dice_.Below(4)],
                                .wake = [this] { woken_ = true; },
                                .step = [this] { Step(); },
                                .begin_handshake = BeginScripted,
                                .descriptors = dice_.OneIn(4) ? kHeadroom + dice_.Between(4, 12) : 4'096},
                               &error);
  if (engine_ == nullptr) {
    if (error <= 0) Fail("no engine, and no reason");
    if (kernel_.open_descriptors() != 0) Fail("an engine that could not be opened leaves descriptors");
    outcome_.hash = trace_.hash();
    return false;
  }
  reactors_ = engine_->Reactors();
  busy_.assign(reactors_.size(), false);
  for (auto& tally : tallies_) tally = std::make_shared<core::ListenerTally>();
  const Held held(deciding_);
  if (calm_ || !dice_.OneIn(20)) engine_->SetIdentity(IdentityAt(1 + dice_.Below(2)));
  engine_->SetGeneration(policy_.generation);
  engine_->AddListener(1, sys::Fd(kernel_.Listen(kPublicPort)), ThrowSpec(true), tallies_[0]);
  engine_->AddListener(2, sys::Fd(kernel_.Listen(kUpstreamPort)), ThrowSpec(false), tallies_[1]);
  over_ = false;
  return true;
}

Leave Schedule::ThrowLeave(bool tls) {
  // At most one in a session, and that one says all it has to say.
  constexpr Leave kRude[] = {Leave::kFatalAlert, Leave::kWithoutCloseNotify, Leave::kInsideRecord};
  if (calm_ && rude_ && dice_.OneIn(2)) return tls ? kRude[dice_.Below(3)] : Leave::kReset;
  if (calm_ || dice_.OneIn(2)) return dice_.OneIn(4) ? Leave::kSecond : Leave::kProperly;
  return static_cast<Leave>(dice_.Below(static_cast<uint64_t>(tls ? Leave::kGarbage : Leave::kNever) + 1));
}

Peer::Habits Schedule::ThrowHabits(bool tls) {
  Peer::Habits habits;
  habits.leave = ThrowLeave(tls);
  habits.to_send = dice_.OneIn(5) ? 0 : 1 + dice_.Sized(bulk_ ? kManyBytes : kFewBytes);
  if (dice_.OneIn(3)) habits.read_at_once = (bulk_ ? kBulkRoom : 1) + dice_.Sized(4'000);
  if (calm_) return habits;
  if (dice_.OneIn(12)) habits.reads_up_to = dice_.Sized(kFewBytes);
  if (dice_.OneIn(4)) {
    habits.pauses = dice_.Between(2, 30);
    habits.longest_pause_ns = static_cast<int64_t>(dice_.Sized(2'000'000'000));
  }
  return habits;
}

void Schedule::Arrive() {
  bool inbound = dice_.OneIn(2);
  End* end = kernel_.Connect(inbound ? kPublicPort : kUpstreamPort);
  if (end == nullptr) {
    inbound = !inbound;
    end = kernel_.Connect(inbound ? kPublicPort : kUpstreamPort);
  }
  // Nobody listens any more.
  if (end == nullptr) {
    flows_planned_ = flows_.size();
    return;
  }
  flows_.push_back(std::make_unique<Flow>(flows_.size(), inbound, calm_, trace_));
  Flow& flow = *flows_.back();
  flow_of_connection_.resize(std::max<size_t>(flow_of_connection_.size(), end->connection + 1));
  flow_of_connection_[end->connection] = &flow;
  AddPeer(flow, *end, inbound, true);
}

void Schedule::AddPeer(Flow& flow, End& end, bool tls, bool downstream) {
  Peer::Habits habits = ThrowHabits(tls);
  // Two of whom each waits for the other's end would wait for ever; and two who break it off are not to be told apart.
  const bool one_too_many = calm_ || habits.leave == Leave::kSecond;
  if (!downstream && one_too_many && flow.downstream().habits().leave != Leave::kProperly) habits.leave = Leave::kProperly;
  const uint64_t out = flow.number * 2 + (downstream ? 0 : 1);
  const uint64_t in = flow.number * 2 + (downstream ? 1 : 0);
  if (!tls) {
    flow.apps.push_back(std::make_unique<App>(kernel_, dice_, flow, end, habits, out, in));
    return;
  }
  constexpr uint64_t kOdd[] = {0, 2, 6};
  const TlsPeer::Manners manners{.odd_records = kOdd[dice_.Below(3)], .fin_behind_close_notify = !dice_.OneIn(4)};
  flow.peers.push_back(std::make_unique<TlsPeer>(kernel_, dice_, flow, end, habits, Script::Throw(dice_, downstream, calm_), manners, out, in));
}

Dialed Schedule::OnDialed(uint16_t) {
  if (calm_ || !dice_.OneIn(4)) return dice_.OneIn(2) ? Dialed::kAtOnce : Dialed::kLater;
  return static_cast<Dialed>(dice_.Below(static_cast<uint64_t>(Dialed::kBlackHole) + 1));
}

void Schedule::OnEstablished(uint16_t port, End& end) {
  Flow& flow = *flows_[FlowAt(port)];
  flow_of_connection_.resize(std::max<size_t>(flow_of_connection_.size(), end.connection + 1));
  flow_of_connection_[end.connection] = &flow;
  AddPeer(flow, end, !flow.inbound, false);
}

void Schedule::ChangeIdentity() { engine_->SetIdentity(IdentityAt(dice_.Below(6))); }

void Schedule::ChangeListeners() {
  const uint64_t at = dice_.Below(2);
  if (!listening_[at]) return;
  if (!dice_.OneIn(4)) return engine_->ChangeListener(static_cast<uint32_t>(at + 1), ThrowSpec(at == 0), tallies_[at]);
  listening_[at] = false;
  engine_->CloseListener(static_cast<uint32_t>(at + 1), dice_.OneIn(2));
}

Flow& Schedule::FlowOf(core::SessionId session) {
  if (session == 0 || session > kernel_.accepted().size()) Fail("session " + std::to_string(session) + " was never accepted");
  Flow& flow = *flow_of_connection_[kernel_.accepted()[session - 1]->connection];
  flow.session = session;
  return flow;
}

const Script& Schedule::ScriptOf(int fd) {
  const End& end = kernel_.EndOf(fd);
  for (const auto& peer : flow_of_connection_[end.connection]->peers)
    if (&peer->end == end.other) return peer->script();
  Fail("a handshake with nobody");
}

}  // namespace sidesplice::simulator
