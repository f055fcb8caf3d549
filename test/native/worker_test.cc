// Two workers with sessions of their own making: which of them a bulk session is on, and that it is whole wherever it goes.
#include "core/worker.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "support/relay_rig.h"

using namespace sidesplice;
using core::Worker;
using test::Bytes;

namespace {

constexpr size_t kMiB = 1024 * 1024;

/** A session with an app that sends without end, and a peer that reads. */
struct Flow {
  explicit Flow(core::SessionId id) {
    auto spec = std::make_shared<core::ListenerSpec>();
    spec->key = "flow";
    spec->inbound = true;
    spec->half_close_timeout_ms = test::kPatienceMs;
    shared = std::make_shared<core::SessionShared>(id, spec, std::make_shared<core::ListenerTally>());
    std::tie(legs.plain, app) = test::TcpPair();
    std::tie(legs.tls, peer.fd) = test::TcpPair();
    std::tie(legs.read, peer.write) = test::KeyPair(tls::Version::kTls13, tls::Aead::kAes128Gcm, 1);
    std::tie(legs.write, peer.read) = test::KeyPair(tls::Version::kTls13, tls::Aead::kAes128Gcm, 2);
  }
  ~Flow() {
    if (writes.joinable()) writes.join();
    if (reads.joinable()) reads.join();
  }

  void Take(Worker& worker) {
    core::Session session;
    session.shared = shared;
    worker.Take(std::move(session), std::move(legs), [this](core::Session, core::RelayEnd end, sys::Fd) {
      kind = end.kind;
      ends++;
    });
  }
  /** Both threads end by themselves: `stopping`, or the end of the session. */
  void Run(const std::atomic<bool>& stopping) {
    writes = std::thread([this, &stopping] {
      Bytes part(256 * 1024);
      uint8_t next = 0;
      while (!stopping) {
        for (uint8_t& byte : part) byte = next++;
        if (!test::WriteAll(app.get(), part)) return;
        sent += part.size();
      }
      shutdown(app.get(), SHUT_WR);
    });
    reads = std::thread([this] {
      uint8_t next = 0;
      while (auto record = peer.Next()) {
        if (record->type != tls::ContentType::kApplicationData) {
          ended = record->type == tls::ContentType::kAlert && record->payload == Bytes{1, 0};
          break;
        }
        for (const uint8_t byte : record->payload) whole = whole && byte == next++;
        received += record->payload.size();
      }
      // What has ended must not be waited for by its writer.
      shutdown(peer.fd.get(), SHUT_RDWR);
    });
  }
  [[nodiscard]] bool EndsOnce() const {
    for (int waited = 0; ends == 0 && waited < test::kPatienceMs; waited += 5) poll(nullptr, 0, 5);
    return ends == 1;
  }

  std::shared_ptr<core::SessionShared> shared;
  core::Legs legs;
  sys::Fd app;
  test::RecordPeer peer;
  std::atomic<size_t> sent{0};
  std::atomic<size_t> received{0};
  std::atomic<int> ends{0};
  core::RelayEnd::Kind kind{};
  bool whole = true;
  bool ended = false;
  std::thread writes;
  std::thread reads;
};

/** As the engine ends a session from outside: whoever has it, or will. */
void Terminate(core::SessionShared& session, std::array<Worker*, 2> workers) {
  const char* none = nullptr;
  if (!session.ending.compare_exchange_strong(none, "no_longer_allowed")) return;
  for (Worker* worker : workers) worker->Terminate({session.id}, "no_longer_allowed");
}

struct Pair {
  Pair() {
    for (Worker* worker : both) {
      worker->Meet({both.begin(), both.end()});
      REQUIRE(worker->reactor().Start("relay", 0) == 0);
    }
  }
  ~Pair() {
    for (Worker* worker : both) worker->Stop();
  }

  core::BufferMemory memory{core::BufferMemory::kNoCap};
  Worker busy{{.rekey_after_records = 1 << 24}, memory};
  Worker idle{{.rekey_after_records = 1 << 24}, memory};
  std::array<Worker*, 2> both{&busy, &idle};
};

}  // namespace

TEST_CASE("of two bulk sessions on one thread one goes to the idle other, and every byte arrives in its order") {
  Pair workers;
  std::atomic<bool> stopping{false};
  Flow one(1);
  Flow other(2);
  one.Take(workers.busy);
  other.Take(workers.busy);
  one.Run(stopping);
  other.Run(stopping);
  for (int waited = 0; workers.idle.moved() < 4 * kMiB && waited < test::kPatienceMs; waited += 5) poll(nullptr, 0, 5);
  CHECK(workers.idle.moved() >= 4 * kMiB);
  CHECK(workers.busy.load() == 1);
  CHECK(workers.idle.load() == 1);
  stopping = true;
  for (Flow* flow : {&one, &other}) {
    flow->writes.join();
    flow->reads.join();
    CHECK(flow->whole);
    CHECK(flow->ended);
    CHECK(flow->received == flow->sent);
    CHECK(flow->EndsOnce());
  }
  CHECK(workers.busy.load() + workers.idle.load() == 0);
  CHECK(workers.memory.owned() == 0);
}

TEST_CASE("a bulk session that has its thread for itself stays there") {
  Pair workers;
  std::atomic<bool> stopping{false};
  Flow one(1);
  Flow quiet(2);
  one.Take(workers.busy);
  quiet.Take(workers.busy);
  one.Run(stopping);
  const auto begun = core::NowMs();
  for (int waited = 0; (one.received < 64 * kMiB || core::NowMs() - begun < 400) && waited < test::kPatienceMs; waited += 5)
    poll(nullptr, 0, 5);
  CHECK(workers.idle.moved() == 0);
  CHECK(workers.busy.load() == 2);
  stopping = true;
  one.writes.join();
  one.reads.join();
  CHECK(one.whole);
  Terminate(*one.shared, workers.both);
  Terminate(*quiet.shared, workers.both);
  CHECK(one.EndsOnce());
  CHECK(quiet.EndsOnce());
}

TEST_CASE("a session that is ended from outside ends once, also on its way from one thread to the other") {
  test::Random random(test::Seed());
  for (int round = 0; round < 8; round++) {
    Pair workers;
    std::atomic<bool> stopping{false};
    Flow one(1);
    Flow other(2);
    one.Take(workers.busy);
    other.Take(workers.busy);
    one.Run(stopping);
    other.Run(stopping);
    // As soon as it may be on its way, and somewhat later.
    const size_t moved = round % 2 == 0 ? 0 : random.Below(8 * kMiB);
    const auto begun = core::NowMs();
    while (workers.busy.load() == 2 && core::NowMs() - begun < test::kPatienceMs) std::this_thread::yield();
    for (int waited = 0; workers.idle.moved() < moved && waited < test::kPatienceMs; waited += 1) poll(nullptr, 0, 1);
    Terminate(*one.shared, workers.both);
    Terminate(*other.shared, workers.both);
    stopping = true;
    for (Flow* flow : {&one, &other}) {
      CHECK(flow->EndsOnce());
      CHECK(flow->kind == core::RelayEnd::Kind::kTerminated);
      flow->writes.join();
      flow->reads.join();
      CHECK(flow->whole);
    }
    CHECK(workers.busy.load() + workers.idle.load() == 0);
  }
}
