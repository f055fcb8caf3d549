// The engine's surroundings.
#include "support/world.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "support/certificates.h"

namespace sidesplice::test {

namespace {

constexpr int kLookMs = 5;

core::ListenerSpec SpecOf(const char* key, bool inbound, double half_close_timeout_ms) {
  core::ListenerSpec spec;
  spec.key = key;
  spec.name = key;
  spec.inbound = inbound;
  spec.handshake_timeout_ms = kPatienceMs;
  spec.half_close_timeout_ms = half_close_timeout_ms;
  spec.max_waiting = 1024;
  return spec;
}

}  // namespace

EchoApp::EchoApp() : listening_(Listen()), thread_([this] { Accept(); }) {}

EchoApp::~EchoApp() {
  stopping_ = true;
  thread_.join();
  for (std::thread& echo : echoes_) echo.join();
}

void EchoApp::Accept() {
  while (!stopping_) {
    if (!WaitFor(listening_.fd.get(), POLLIN, kLookMs)) continue;
    const int accepted = accept4(listening_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (accepted >= 0) echoes_.emplace_back([accepted] { Echo(sys::Fd(accepted)); });
  }
}

void EchoApp::Echo(sys::Fd fd) {
  uint8_t part[16'384];
  for (;;) {
    const ssize_t got = recv(fd.get(), part, sizeof(part), 0);
    if (got > 0 && !WriteAll(fd.get(), std::span(part, static_cast<size_t>(got)))) return;
    if (got == 0) return;
    if (got < 0 && (errno != EAGAIN || !WaitFor(fd.get(), POLLIN))) return;
  }
}

World::World(WorldOptions options) {
  int error = 0;
  engine_ = core::Engine::Open({.workers = options.workers,
                                .handshake_threads = options.handshake_threads,
                                .rekey_after_records = options.rekey_after_records,
                                .unbegun_handshakes = options.unbegun_handshakes,
                                .kernel = options.kernel,
                                .wake =
                                    [this] {
                                      const std::lock_guard lock(mutex_);
                                      wake_ = true;
                                      woken_.notify_one();
                                    }},
                               &error);
  if (engine_ == nullptr) {
    std::fprintf(stderr, "no engine: errno %d\n", error);
    std::abort();
  }
  engine_->SetIdentity(TheMesh().identity);
  engine_->SetGeneration(1);
  Listening inbound = Listen();
  Listening outbound = Listen();
  public_port_ = inbound.port;
  upstream_port_ = outbound.port;
  engine_->AddListener(1, std::move(inbound.fd), SpecOf("public", true, options.half_close_timeout_ms), inbound_);
  engine_->AddListener(2, std::move(outbound.fd), SpecOf("upstream", false, options.half_close_timeout_ms), outbound_);
  policy_ = std::thread([this] { Decide(); });
}

World::~World() {
  Close();
  engine_.reset();
}

void World::Close() {
  if (!policy_.joinable()) return;
  engine_->Close();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    woken_.notify_one();
  }
  policy_.join();
  Answer(engine_->Take());
}

void World::Decide() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    woken_.wait(lock, [this] { return wake_ || stopping_; });
    wake_ = false;
    lock.unlock();
    Answer(engine_->Take());
    lock.lock();
  }
}

void World::Answer(core::Batch batch) {
  const core::Generation generation = 1;
  for (const core::AdmitQuestion& question : batch.admit) {
    core::Answer answer;
    answer.session = question.session;
    answer.generation = generation;
    answer.admitted = !refusing_;
    if (refusing_) answer.reason = "denied";
    answer.peer = question.uri_sans.empty() ? "" : question.uri_sans[0];
    answer.target = {.host = "127.0.0.1", .port = app_.port()};
    answer.connect_timeout_ms = kPatienceMs;
    engine_->Give(std::move(answer));
  }
  for (const core::RouteQuestion& question : batch.route) {
    core::Answer answer;
    answer.session = question.session;
    answer.generation = generation;
    answer.admitted = true;
    answer.connect_timeout_ms = kPatienceMs;
    answer.attempts.push_back({.endpoint = "db-1",
                               .address = {.host = "127.0.0.1", .port = public_port_},
                               .expect = {kWeb},
                               .server_name = "",
                               .time_limit_ms = kPatienceMs});
    engine_->Give(std::move(answer));
  }
  const std::lock_guard lock(mutex_);
  for (const core::Record& record : batch.ended)
    if (!ended_.emplace(record.view.id, record.reason).second) twice_++;
}

Journey World::Travel(const Bytes& bytes) {
  Journey journey;
  int error = 0;
  const sys::Fd fd = ConnectTo(upstream_port_, &error);
  if (!fd.valid()) {
    // On one CPU a session may have failed, and been reset, before connect(2) returns to whom it belongs.
    if (error == ECONNRESET) journey.end = Stream::End::kReset;
    return journey;
  }
  bool written = false;
  std::thread writes([&] {
    written = WriteAll(fd.get(), bytes);
    if (written) shutdown(fd.get(), SHUT_WR);
  });
  Stream stream = ReadToEnd(fd.get());
  // A writer that still waits must not wait for ever: nobody reads any more.
  if (stream.end != Stream::End::kFin) shutdown(fd.get(), SHUT_RDWR);
  writes.join();
  journey.back = std::move(stream.bytes);
  // A socket tells of a reset once: where the writer was told, the reader is told of an end.
  journey.end = written ? stream.end : Stream::End::kReset;
  return journey;
}

bool World::AllEnded() {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (ended_.size() == inbound_->accepted + outbound_->accepted && inbound_->open + outbound_->open == 0) return true;
    }
    if (std::chrono::steady_clock::now() > limit) return false;
    poll(nullptr, 0, kLookMs);
  }
}

std::map<std::string, size_t> World::Reasons() {
  const std::lock_guard lock(mutex_);
  std::map<std::string, size_t> reasons;
  for (const auto& [session, reason] : ended_) reasons[reason]++;
  return reasons;
}

}  // namespace sidesplice::test
