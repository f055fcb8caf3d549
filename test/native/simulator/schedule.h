// One run of the core from a seed: an engine on a kernel in memory, the peers around it, and the order in which all of them act.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/engine.h"
#include "simulator/dice.h"
#include "simulator/flow.h"
#include "simulator/kernel.h"
#include "simulator/policy.h"
#include "simulator/trace.h"

namespace sidesplice::simulator {

/** Set while it lives. */
struct Held {
  explicit Held(bool& of) : flag(of) { flag = true; }
  ~Held() { flag = false; }
  bool& flag;
};

class Schedule {
 public:
  struct Outcome {
    uint64_t hash = 0;
    uint64_t steps = 0;
    uint64_t bytes = 0;
    /** How often each reason came. */
    std::map<std::string, uint64_t> reasons;
  };

  Schedule(uint64_t seed, bool shown);
  ~Schedule();

  Outcome Run();

  const Script& ScriptOf(int fd);

 private:
  /** What may happen next. */
  enum class Kind : uint8_t { kTurn, kCarry, kRoom, kDial, kApp, kPeer, kAnswer, kTake, kArrive };
  static constexpr size_t kKinds = 9;
  struct Choice {
    Kind kind;
    size_t at;
    Flow* flow;
  };

  // What is thrown before it begins.
  void ThrowRates();
  bool OpenEngine();
  core::ListenerSpec ThrowSpec(bool inbound);
  Peer::Habits ThrowHabits(bool tls);
  void AddPeer(Flow& flow, End& end, bool tls, bool downstream);
  Leave ThrowLeave(bool tls);

  // How it goes on.
  void Step();
  void Interleave();
  void Gather();
  void AddFlowChoices(Flow& flow);
  void Add(Kind kind, size_t at, Flow* flow = nullptr);
  void ActOnOne();
  void Turn(size_t reactor);
  void TakeBatch();
  void Arrive();
  void Intrude();
  void Terminate();
  void ChangeIdentity();
  void ChangeListeners();
  /** Nothing moves but by time. */
  void WaitForTime();
  [[nodiscard]] int64_t NextEvent();
  void CheckQuiet();
  void Close();
  void CheckEnd();

  Dialed OnDialed(uint16_t port);
  void OnEstablished(uint16_t port, End& end);
  Flow& FlowOf(core::SessionId session);

  Trace trace_;
  Dice dice_;
  Kernel kernel_;
  const bool calm_;
  Policy policy_;
  std::vector<std::unique_ptr<Flow>> flows_;
  std::vector<Flow*> flow_of_connection_;
  size_t flows_planned_ = 0;
  std::shared_ptr<core::ListenerTally> tallies_[2];
  bool listening_[2] = {true, true};
  std::unique_ptr<core::Engine> engine_;
  std::vector<core::Reactor*> reactors_;
  std::vector<bool> busy_;
  std::vector<Choice> choices_;
  uint64_t weights_[kKinds] = {};
  uint64_t weight_ = 0;
  uint64_t intrusions_ = 0;
  uint64_t interleaves_ = 0;
  uint64_t closes_at_ = 0;
  /** Much is sent, and not byte by byte: that would take for ever. */
  bool bulk_ = false;
  /** Of a calm one: a peer may break off a session. */
  bool rude_ = false;
  bool woken_ = false;
  /** Whoever decides has one thread: it is in a call. */
  bool deciding_ = false;
  bool everybody_left_ = false;
  bool closing_ = false;
  bool stepping_ = false;
  /** The engine waits for its end, or ends its threads: none of them is in a call but by a step. */
  bool waiting_for_end_ = false;
  /** Not begun, or done. */
  bool over_ = true;
  int depth_ = 0;
  uint64_t idle_turns_ = 0;
  int64_t last_turn_ns_ = 0;
  uint64_t records_ = 0;
  Outcome outcome_;
};

}  // namespace sidesplice::simulator
