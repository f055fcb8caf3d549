// One listening socket: takes connections while there is room for them, and leaves the rest in the kernel's backlog.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>

#include "core/reactor.h"
#include "core/session.h"
#include "sys/fd.h"

namespace sidesplice::core {

class Listener final : public Watcher {
 public:
  struct Owner {
    /** Whether another connection of this listener has room now. */
    std::function<bool(const Listener&)> has_room;
    std::function<void(Listener&, sys::Fd, const sockaddr_storage&)> accepted;
  };

  Listener(Reactor& reactor, Owner owner, sys::Fd fd) : reactor_(reactor), owner_(std::move(owner)), fd_(std::move(fd)) {}
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  /** Connections that are accepted from now on are held to this. */
  void Set(std::shared_ptr<const ListenerSpec> spec, std::shared_ptr<ListenerTally> tally);
  /** Takes connections again where there is room; nothing where it does. */
  void Resume();
  /** Takes what the kernel has queued by now, whether there is room or not. */
  void TakeQueued();
  void OnReady(uint32_t events) override;

  [[nodiscard]] const std::shared_ptr<const ListenerSpec>& spec() const { return spec_; }
  [[nodiscard]] const std::shared_ptr<ListenerTally>& tally() const { return tally_; }

 private:
  void Pause();
  void RetryLater();
  /** False where there is nothing to accept now. */
  bool AcceptOne();

  Reactor& reactor_;
  const Owner owner_;
  sys::Fd fd_;
  std::shared_ptr<const ListenerSpec> spec_;
  std::shared_ptr<ListenerTally> tally_;
  Timer retry_;
  double retry_ms_ = 0;
  bool watching_ = false;
};

}  // namespace sidesplice::core
