// The other side of the engine's questions: answers at once, late, twice, of an older generation, or by the refusal that stands for none.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/engine.h"
#include "simulator/dice.h"
#include "simulator/flow.h"

namespace sidesplice::simulator {

class Policy {
 public:
  using FlowOf = std::function<Flow&(core::SessionId)>;

  Policy(Dice& dice, Trace& trace, bool calm, FlowOf flow_of) : dice_(dice), trace_(trace), calm_(calm), flow_of_(std::move(flow_of)) {}

  void Take(const core::Batch& batch, int64_t now_ns);
  /** Questions, of which those that are due can be answered. */
  [[nodiscard]] size_t questions() const { return questions_.size(); }
  [[nodiscard]] bool IsDue(size_t at, int64_t now_ns) const { return questions_[at].due_ns <= now_ns; }
  [[nodiscard]] int64_t NextDue() const;
  void Answer(size_t at, core::Engine& engine, int64_t now_ns);

  core::Generation generation = 1;

 private:
  struct Question {
    core::SessionId session = 0;
    /** Of a lookup; empty for a decision. */
    std::string host;
    int64_t due_ns = 0;
    /** No answer in time: a refusal. */
    bool silent = false;
  };

  void Add(core::SessionId session, std::string host, int64_t now_ns);
  [[nodiscard]] core::Answer Decide(const Question& question);
  void Plan(Flow& flow);
  [[nodiscard]] core::Address AddressAt(uint16_t port);
  void GiveAddresses(const Question& question, core::Engine& engine);

  Dice& dice_;
  Trace& trace_;
  const bool calm_;
  const FlowOf flow_of_;
  std::vector<Question> questions_;
};

/** The ports that belong to a flow: its endpoints, or its local apps. */
inline constexpr uint16_t kFirstFlowPort = 30'000;
inline constexpr uint16_t kPortsPerFlow = 8;
inline uint64_t FlowAt(uint16_t port) { return static_cast<uint64_t>(port - kFirstFlowPort) / kPortsPerFlow; }

}  // namespace sidesplice::simulator
