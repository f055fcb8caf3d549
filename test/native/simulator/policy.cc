// Answers.
#include "simulator/policy.h"

#include <algorithm>
#include <utility>

#include "core/dial.h"
#include "support/certificates.h"

namespace sidesplice::simulator {

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr int64_t kPolicyLimitNs = 2'000 * kMs;
constexpr const char* kOther = "spiffe://test.consul/ns/default/dc/dc1/svc/other";

}  // namespace

void Policy::Add(core::SessionId session, std::string host, int64_t now_ns) {
  Question question{.session = session, .host = std::move(host), .due_ns = now_ns};
  if (dice_.OneIn(4)) question.due_ns += static_cast<int64_t>(dice_.Sized(20 * kMs));
  if (!calm_ && dice_.OneIn(20)) question.due_ns += static_cast<int64_t>(dice_.Sized(kPolicyLimitNs));
  if (!calm_ && dice_.OneIn(40)) {
    question.silent = true;
    question.due_ns = now_ns + kPolicyLimitNs;
  }
  questions_.push_back(std::move(question));
}

void Policy::Take(const core::Batch& batch, int64_t now_ns) {
  for (const core::AdmitQuestion& question : batch.admit) Add(question.session, "", now_ns);
  for (const core::RouteQuestion& question : batch.route) Add(question.session, "", now_ns);
  for (const core::LookupQuestion& question : batch.lookup) Add(question.session, question.host, now_ns);
}

int64_t Policy::NextDue() const {
  int64_t next = INT64_MAX;
  for (const Question& question : questions_) next = std::min(next, question.due_ns);
  return next;
}

void Policy::Answer(size_t at, core::Engine& engine, int64_t now_ns) {
  const Question question = questions_[at];
  trace_.Note("answer", static_cast<int64_t>(question.session), question.host.empty() ? 0 : 1, question.silent ? 1 : 0);
  // A second one comes behind it, now or later, whatever it says by then.
  if (!calm_ && !question.silent && dice_.OneIn(10)) questions_[at].due_ns = now_ns + static_cast<int64_t>(dice_.Sized(50 * kMs));
  else questions_.erase(questions_.begin() + static_cast<std::ptrdiff_t>(at));
  if (question.host.empty()) engine.Give(Decide(question));
  else GiveAddresses(question, engine);
}

core::Answer Policy::Decide(const Question& question) {
  Flow& flow = flow_of_(question.session);
  core::Answer answer;
  answer.session = question.session;
  answer.generation = generation;
  if (!calm_ && dice_.OneIn(16)) answer.generation = generation - 1;
  if (question.silent || (!calm_ && dice_.OneIn(16))) {
    answer.reason = question.silent ? "policy_timeout" : dice_.OneIn(2) ? "denied" : "no_endpoints";
    return answer;
  }
  answer.admitted = true;
  answer.peer = test::kWeb;
  answer.connect_timeout_ms = calm_ ? 20'000 : 1 + static_cast<double>(dice_.Sized(1'000));
  if (flow.inbound) {
    answer.target = AddressAt(static_cast<uint16_t>(kFirstFlowPort + flow.number * kPortsPerFlow));
    return answer;
  }
  if (flow.plan.empty() || (!calm_ && dice_.OneIn(8))) Plan(flow);
  answer.attempts = flow.plan;
  return answer;
}

void Policy::Plan(Flow& flow) {
  flow.plan.clear();
  const uint64_t endpoints = calm_ ? 1 : dice_.Below(4);
  for (uint64_t at = 0; at < endpoints; at++) {
    const auto port = static_cast<uint16_t>(kFirstFlowPort + flow.number * kPortsPerFlow + at);
    flow.plan.push_back({.endpoint = "endpoint-" + std::to_string(at),
                         .address = AddressAt(port),
                         .expect = {!calm_ && dice_.OneIn(20) ? kOther : test::kWeb},
                         .server_name = "",
                         .time_limit_ms = calm_ ? 20'000 : 1 + static_cast<double>(dice_.Sized(500))});
  }
}

core::Address Policy::AddressAt(uint16_t port) { return {.host = dice_.OneIn(6) ? "db.test" : "127.0.0.1", .port = port}; }

void Policy::GiveAddresses(const Question& question, core::Engine& engine) {
  if (question.silent || (!calm_ && dice_.OneIn(8))) return engine.GiveAddresses(question.session, question.host, {}, "ENOTFOUND");
  std::vector<core::SocketAddress> addresses;
  const uint64_t count = calm_ ? 1 : dice_.Between(1, 3);
  for (uint64_t at = 0; at < count; at++) addresses.push_back(*core::ParseAddress({.host = "127.0.0." + std::to_string(at + 1), .port = 0}));
  const bool elsewhere = !calm_ && dice_.OneIn(10);
  engine.GiveAddresses(question.session, elsewhere ? "other.test" : question.host, std::move(addresses), "");
}

}  // namespace sidesplice::simulator
