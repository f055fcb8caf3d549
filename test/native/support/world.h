// A whole engine at work: an outbound listener that leads to an inbound one of the same engine, an app behind it that echoes, and a
// thread that answers as policy would.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/engine.h"
#include "support/sockets.h"

namespace sidesplice::test {

struct WorldOptions {
  unsigned workers = 2;
  unsigned handshake_threads = 1;
  uint64_t rekey_after_records = 1 << 24;
  double half_close_timeout_ms = kPatienceMs;
  /** Handshakes of peers that may wait for their first step; 0 for the engine's own choice. */
  uint64_t unbegun_handshakes = 0;
  core::KernelTls kernel = {};
};

/** Sends back what it gets, and its end behind it. */
class EchoApp {
 public:
  EchoApp();
  ~EchoApp();
  [[nodiscard]] uint16_t port() const { return listening_.port; }

 private:
  void Accept();
  static void Echo(sys::Fd fd);

  Listening listening_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> echoes_;
  std::thread thread_;
};

/** One connection of the app to itself, by way of both sidecars. */
struct Journey {
  Bytes back;
  Stream::End end = Stream::End::kNone;
};

class World {
 public:
  explicit World(WorldOptions options = {});
  ~World();

  [[nodiscard]] core::Engine& engine() { return *engine_; }
  /** Where a client connects. */
  [[nodiscard]] uint16_t port() const { return upstream_port_; }
  /** Where a peer connects. */
  [[nodiscard]] uint16_t public_port() const { return public_port_; }
  /** Sends all, closes its direction, reads to the end. */
  Journey Travel(const Bytes& bytes);
  /** Policy says no from here on, or yes again. */
  void Refuse(bool refuse) { refusing_ = refuse; }
  /** Ends everything; records and counts can be looked at afterwards. */
  void Close();
  /** Whether as many sessions have ended as were accepted: looked at until they have. */
  bool AllEnded();
  /** Reasons and how often each came. */
  std::map<std::string, size_t> Reasons();
  /** Sessions of which a second record came. */
  [[nodiscard]] size_t twice() const { return twice_; }

 private:
  void Decide();
  void Answer(core::Batch batch);

  EchoApp app_;
  std::unique_ptr<core::Engine> engine_;
  std::shared_ptr<core::ListenerTally> inbound_ = std::make_shared<core::ListenerTally>();
  std::shared_ptr<core::ListenerTally> outbound_ = std::make_shared<core::ListenerTally>();
  uint16_t public_port_ = 0;
  uint16_t upstream_port_ = 0;
  std::atomic<bool> refusing_{false};

  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
  bool stopping_ = false;
  std::map<core::SessionId, std::string> ended_;
  std::atomic<size_t> twice_{0};
  std::thread policy_;
};

}  // namespace sidesplice::test
