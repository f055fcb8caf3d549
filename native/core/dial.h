// Opening a connection within a time limit, to the first of some addresses that answers: TCP, or on this machine a unix socket.
#pragma once

#include <sys/socket.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/own_dials.h"
#include "core/reactor.h"
#include "core/types.h"
#include "sys/fd.h"

namespace sidesplice::core {

/** An address in the form of the system calls. */
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

/** Nothing where the host is a name, or a unix socket's path too long. */
std::optional<SocketAddress> ParseAddress(const Address& address);
/** `127.0.0.1:80`, `[::1]:80`, an IPv4 address as such, also where a socket of IPv6 names it; empty for a unix socket's end. */
std::string FormatAddress(const sockaddr_storage& address);
/** As it is written in files and logs. */
std::string FormatAddress(const Address& address);

class Dial final : public Watcher {
 public:
  struct Result {
    sys::Fd fd;
    /** Held for as long as the connection is open. */
    std::shared_ptr<void> own;
    bool timed_out = false;
    /** A positive errno where it failed. */
    int error = 0;
  };
  using OnDone = std::function<void(Result)>;

  Dial(Reactor& reactor, OwnDials& own_dials, OnDone on_done)
      : reactor_(reactor), own_dials_(own_dials), on_done_(std::move(on_done)) {}
  ~Dial() { Stop(); }
  Dial(const Dial&) = delete;
  Dial& operator=(const Dial&) = delete;

  /** `on_done` is called once, not before this returns. Destroying it gives up. */
  void Begin(std::vector<SocketAddress> addresses, double limit_ms);
  void OnReady(uint32_t events) override;

 private:
  void Next();
  void Stop();
  void Done(Result result);

  Reactor& reactor_;
  OwnDials& own_dials_;
  OnDone on_done_;
  std::vector<SocketAddress> addresses_;
  size_t next_ = 0;
  int last_error_ = 0;
  sys::Fd fd_;
  std::shared_ptr<void> own_;
  Timer limit_;
  Timer patience_;
};

}  // namespace sidesplice::core
