// How a schedule goes on: of all that may happen one thing does, until nothing is left.
#include "simulator/schedule.h"

#include <algorithm>
#include <utility>

#include "support/certificates.h"

namespace sidesplice::simulator {

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kNever = INT64_MAX;
// A loop without a timer waits this long.
constexpr int kNoTimerMs = 60'000;
// Far past what the longest schedule takes.
constexpr uint64_t kMostSteps = 400'000;
// A turn that finds nothing to do is one too many at most; a relay that was put off has one more.
constexpr uint64_t kMostIdleTurns = 20;
constexpr int kDeepest = 3;

}  // namespace

void Schedule::Step() {
  const Held held(stepping_);
  waiting_for_end_ = closing_;
  if (++outcome_.steps > kMostSteps) Fail("it does not come to an end");
  if (!deciding_ && dice_.OneIn(intrusions_)) Intrude();
  Gather();
  if (choices_.empty()) return WaitForTime();
  ActOnOne();
}

/** Others come in between two calls of a thread. */
void Schedule::Interleave() {
  if (depth_ >= kDeepest || over_ || (waiting_for_end_ && !stepping_) || !dice_.OneIn(interleaves_)) return;
  depth_++;
  if (!deciding_ && dice_.OneIn(intrusions_)) Intrude();
  Gather();
  if (!choices_.empty()) ActOnOne();
  depth_--;
}

void Schedule::Add(Kind kind, size_t at, Flow* flow) {
  choices_.push_back({.kind = kind, .at = at, .flow = flow});
  weight_ += weights_[static_cast<size_t>(kind)];
}

void Schedule::Gather() {
  choices_.clear();
  weight_ = 0;
  for (size_t at = 0; at < reactors_.size(); at++)
    if (!busy_[at] && (kernel_.HasReady(kernel_.epolls()[at]) || reactors_[at]->WaitMs() == 0)) Add(Kind::kTurn, at);
  for (size_t at = 0; at < kernel_.ends().size(); at++) {
    const End& end = *kernel_.ends()[at];
    if (kernel_.CanCarry(end)) Add(Kind::kCarry, at);
    if (kernel_.CanTellRoom(end)) Add(Kind::kRoom, at);
    if (kernel_.CanAnswerDial(end)) Add(Kind::kDial, at);
  }
  for (const std::unique_ptr<Flow>& flow : flows_) AddFlowChoices(*flow);
  if (flows_.size() < flows_planned_) Add(Kind::kArrive, 0);
  if (deciding_) return;
  if (woken_) Add(Kind::kTake, 0);
  for (size_t at = 0; at < policy_.questions(); at++)
    if (policy_.IsDue(at, kernel_.now_ns())) Add(Kind::kAnswer, at);
}

void Schedule::AddFlowChoices(Flow& flow) {
  for (size_t at = 0; at < flow.apps.size(); at++)
    if (flow.apps[at]->CanAct()) Add(Kind::kApp, at, &flow);
  for (size_t at = 0; at < flow.peers.size(); at++)
    if (flow.peers[at]->CanAct()) Add(Kind::kPeer, at, &flow);
}

void Schedule::ActOnOne() {
  uint64_t left = dice_.Below(weight_);
  const auto weight_of = [&](const Choice& choice) { return weights_[static_cast<size_t>(choice.kind)]; };
  const auto chosen = std::find_if(choices_.begin(), choices_.end(), [&](const Choice& choice) {
    if (left < weight_of(choice)) return true;
    left -= weight_of(choice);
    return false;
  });
  const Choice choice = *chosen;
  // What came may wake a thread that can do nothing about it.
  if (choice.kind != Kind::kTurn) idle_turns_ = 0;
  switch (choice.kind) {
    case Kind::kTurn:
      return Turn(choice.at);
    case Kind::kCarry:
      return kernel_.Carry(*kernel_.ends()[choice.at]);
    case Kind::kRoom:
      return kernel_.TellRoom(*kernel_.ends()[choice.at]);
    case Kind::kDial:
      return kernel_.AnswerDial(*kernel_.ends()[choice.at]);
    case Kind::kApp:
      return choice.flow->apps[choice.at]->Act();
    case Kind::kPeer:
      return choice.flow->peers[choice.at]->Act();
    case Kind::kAnswer: {
      const Held held(deciding_);
      return policy_.Answer(choice.at, *engine_, kernel_.now_ns());
    }
    case Kind::kTake:
      return TakeBatch();
    case Kind::kArrive:
      return Arrive();
  }
}

void Schedule::Turn(size_t reactor) {
  trace_.Note("turn", static_cast<int64_t>(reactor));
  const uint64_t before = kernel_.changes();
  busy_[reactor] = true;
  reactors_[reactor]->Turn();
  busy_[reactor] = false;
  const bool idle = before == kernel_.changes() && last_turn_ns_ == kernel_.now_ns();
  idle_turns_ = idle ? idle_turns_ + 1 : 0;
  last_turn_ns_ = kernel_.now_ns();
  if (idle_turns_ > kMostIdleTurns) Fail("a thread turns without anything to do");
}

void Schedule::TakeBatch() {
  const Held held(deciding_);
  woken_ = false;
  core::Batch batch = engine_->Take();
  trace_.Note("batch", static_cast<int64_t>(batch.admit.size() + batch.route.size()), static_cast<int64_t>(batch.lookup.size()),
              static_cast<int64_t>(batch.ended.size()));
  policy_.Take(batch, kernel_.now_ns());
  for (core::Record& record : batch.ended) {
    Flow& flow = FlowOf(record.view.id);
    trace_.Word("ended", record.reason + " " + record.detail.value_or(""));
    if (flow.record) Fail("session " + std::to_string(record.view.id) + " has ended twice");
    outcome_.reasons[record.reason]++;
    records_++;
    flow.record = std::move(record);
    flow.CheckRecord();
  }
}

/** What is done to it from outside, whatever it is about. */
void Schedule::Intrude() {
  const Held held(deciding_);
  switch (dice_.Below(calm_ ? 3 : 8)) {
    case 0:
      // As an event that has come to nothing meanwhile.
      if (!kernel_.ends().empty()) kernel_.Disturb(*kernel_.ends()[dice_.Below(kernel_.ends().size())]);
      return;
    case 1:
      return kernel_.Advance(static_cast<int64_t>(dice_.Sized(calm_ ? kMs : 20 * kMs)));
    case 2:
      for (const core::SessionView& view : engine_->Sessions())
        trace_.Note("session", static_cast<int64_t>(view.id), static_cast<int>(view.state));
      return;
    case 3:
    case 4:
      return Terminate();
    case 5:
      policy_.generation++;
      trace_.Note("generation", static_cast<int64_t>(policy_.generation));
      return engine_->SetGeneration(policy_.generation);
    case 6:
      return ChangeIdentity();
    default:
      return ChangeListeners();
  }
}

void Schedule::Terminate() {
  if (kernel_.accepted().empty()) return;
  const core::SessionId session = dice_.Between(1, kernel_.accepted().size());
  const char* reason = dice_.OneIn(2) ? "no_longer_allowed" : "drained";
  trace_.Note("terminate", static_cast<int64_t>(session));
  if (engine_->Terminate({session}, reason) == 0) return;
  Flow& flow = FlowOf(session);
  if (flow.record) Fail("session " + std::to_string(session) + " was ended from outside behind its end");
  flow.ended_by = reason;
}

void Schedule::WaitForTime() {
  CheckQuiet();
  const int64_t next = NextEvent();
  if (next != kNever) {
    kernel_.Advance(std::max<int64_t>(next - kernel_.now_ns(), 1) + static_cast<int64_t>(dice_.OneIn(4) ? dice_.Below(2 * kMs) : 0));
    return;
  }
  if (everybody_left_) {
    over_ = true;
    return;
  }
  everybody_left_ = true;
  trace_.Note("everybody leaves");
  for (const std::unique_ptr<Flow>& flow : flows_) {
    for (const std::unique_ptr<App>& app : flow->apps) app->GoHome();
    for (const std::unique_ptr<TlsPeer>& peer : flow->peers) peer->GoHome();
  }
}

int64_t Schedule::NextEvent() {
  int64_t next = deciding_ ? kNever : policy_.NextDue();
  for (core::Reactor* reactor : reactors_) {
    const int wait_ms = reactor->WaitMs();
    if (wait_ms < kNoTimerMs) next = std::min(next, kernel_.now_ns() + wait_ms * kMs);
  }
  for (const std::unique_ptr<Flow>& flow : flows_) {
    for (const std::unique_ptr<App>& app : flow->apps) next = std::min(next, app->WakesAt());
    for (const std::unique_ptr<TlsPeer>& peer : flow->peers) next = std::min(next, peer->WakesAt());
  }
  return next;
}

void Schedule::CheckQuiet() {
  // Who is ended from outside ends by the threads that it is on, and by no time.
  if (deciding_) Fail("the engine is closed, and a session waits for more than its threads");
  for (const std::unique_ptr<Flow>& flow : flows_)
    if (flow->ended_by != nullptr && !flow->record) Fail("session " + std::to_string(flow->session) + " was ended from outside, and lives");
  for (const core::SessionView& view : engine_->Sessions())
    if (view.state == core::SessionState::kRelaying) FlowOf(view.id).CheckQuiet(kernel_);
}

Schedule::Outcome Schedule::Run() {
  if (!OpenEngine()) return outcome_;
  while (!over_ && (closes_at_ == 0 || outcome_.steps < closes_at_)) Step();
  // By itself all has ended by now.
  if (over_ && records_ != kernel_.accepted().size())
    Fail(std::to_string(kernel_.accepted().size() - records_) + " sessions live, and nothing will ever end them");
  if (over_) CheckEnd();
  Close();
  return outcome_;
}

void Schedule::CheckEnd() {
  if (kernel_.waiting() != 0) Fail(std::to_string(kernel_.waiting()) + " connections wait in a backlog, and nobody will accept them");
  size_t expected = reactors_.size() * 2;
  for (const bool listens : listening_) expected += listens ? 1 : 0;
  if (kernel_.open_descriptors() != expected)
    Fail(std::to_string(kernel_.open_descriptors()) + " descriptors are open where all has ended, expected " + std::to_string(expected));
}

void Schedule::Close() {
  trace_.Note("close engine");
  over_ = false;
  {
    const Held held(deciding_);
    closing_ = true;
    engine_->Close();
  }
  TakeBatch();
  if (!engine_->SessionIds().empty()) Fail("a session is left where the engine is closed");
  over_ = true;
  engine_.reset();
  reactors_.clear();
  if (records_ != kernel_.accepted().size())
    Fail(std::to_string(kernel_.accepted().size()) + " connections were accepted, and " + std::to_string(records_) + " have ended");
  if (kernel_.open_descriptors() != 0) Fail(std::to_string(kernel_.open_descriptors()) + " descriptors are open where the engine is closed");
  for (const auto& tally : tallies_) {
    if (tally->open != 0 || tally->waiting != 0) Fail("a listener counts sessions that are over");
    for (const core::EndpointCounts& counts : tally->Endpoints())
      if (counts.open != 0 || counts.dialing != 0) Fail("an endpoint counts sessions that are over");
  }
  for (const std::unique_ptr<Flow>& flow : flows_) {
    outcome_.bytes += flow->record ? flow->record->view.bytes_to_upstream + flow->record->view.bytes_to_downstream : 0;
    flow->CheckOver();
  }
  outcome_.hash = trace_.hash();
}

}  // namespace sidesplice::simulator
