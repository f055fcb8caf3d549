// Dialing.
#include "core/dial.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>
#include <string_view>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// How long one address of a name has before the next is tried (RFC 8305 section 5).
constexpr double kPatienceMs = 250;
// A unix socket whose backlog is full refuses at once (EAGAIN, connect(2)), where TCP would wait.
constexpr double kFullBacklogRetryMs = 10;
constexpr std::string_view kUnix = "unix:";

std::optional<SocketAddress> UnixAddress(std::string_view path) {
  SocketAddress parsed;
  auto* local = reinterpret_cast<sockaddr_un*>(&parsed.storage);
  if (path.empty() || path.size() >= sizeof(local->sun_path)) return std::nullopt;
  local->sun_family = AF_UNIX;
  std::memcpy(local->sun_path, path.data(), path.size());
  parsed.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return parsed;
}

}  // namespace

std::optional<SocketAddress> ParseAddress(const Address& address) {
  if (address.host.starts_with(kUnix)) return UnixAddress(std::string_view(address.host).substr(kUnix.size()));
  SocketAddress parsed;
  auto* four = reinterpret_cast<sockaddr_in*>(&parsed.storage);
  if (inet_pton(AF_INET, address.host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(address.port);
    parsed.length = sizeof(*four);
    return parsed;
  }
  auto* six = reinterpret_cast<sockaddr_in6*>(&parsed.storage);
  const size_t zone = address.host.find('%');
  if (inet_pton(AF_INET6, address.host.substr(0, zone).c_str(), &six->sin6_addr) != 1) return std::nullopt;
  if (zone != std::string::npos) six->sin6_scope_id = if_nametoindex(address.host.c_str() + zone + 1);
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(address.port);
  parsed.length = sizeof(*six);
  return parsed;
}

std::string FormatAddress(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "";
  if (address.ss_family == AF_INET) {
    const auto* four = reinterpret_cast<const sockaddr_in*>(&address);
    inet_ntop(AF_INET, &four->sin_addr, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(four->sin_port));
  }
  if (address.ss_family != AF_INET6) return {};
  const auto* six = reinterpret_cast<const sockaddr_in6*>(&address);
  if (IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
    inet_ntop(AF_INET, six->sin6_addr.s6_addr + 12, text, sizeof(text));
    return std::string(text) + ":" + std::to_string(ntohs(six->sin6_port));
  }
  inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof(text));
  return "[" + std::string(text) + "]:" + std::to_string(ntohs(six->sin6_port));
}

std::string FormatAddress(const Address& address) {
  if (address.host.starts_with(kUnix)) return address.host;
  const bool six = address.host.find(':') != std::string::npos;
  return (six ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

void Dial::Begin(std::vector<SocketAddress> addresses, double limit_ms) {
  addresses_ = std::move(addresses);
  limit_.Set(reactor_, limit_ms, [this] { Done({.fd = {}, .own = {}, .timed_out = true, .error = 0}); });
  Next();
}

void Dial::Next() {
  Stop();
  while (next_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_++];
    const int socket = sys::Socket(address.storage.ss_family);
    if (socket < 0) {
      last_error_ = -socket;
      // A family that this machine lacks is no word about the others; without descriptors all fail.
      if (socket == -EMFILE || socket == -ENFILE) break;
      continue;
    }
    fd_ = sys::Fd(socket);
    sys::SetConnectionOptions(socket);
    const int connected = sys::Connect(socket, reinterpret_cast<const sockaddr*>(&address.storage), address.length);
    const int watched =
        connected == 0 || connected == -EINPROGRESS ? reactor_.Watch(socket, this, EPOLLOUT | EPOLLET) : connected;
    if (watched == 0) {
      // Known before anybody can accept it. A unix socket has no address of its own end.
      if (address.storage.ss_family != AF_UNIX)
        own_ = own_dials_.Note(FormatAddress(sys::LocalAddress(socket)), FormatAddress(address.storage));
      if (next_ < addresses_.size()) patience_.Set(reactor_, kPatienceMs, [this] { Next(); });
      return;
    }
    last_error_ = -watched;
    fd_.Reset();
    if (connected == -EAGAIN) {
      next_--;
      return patience_.Set(reactor_, kFullBacklogRetryMs, [this] { Next(); });
    }
  }
  // Not from within the caller's own call.
  patience_.Set(reactor_, 0, [this] { Done({.fd = {}, .own = {}, .timed_out = false, .error = last_error_}); });
}

void Dial::OnReady(uint32_t) {
  const int error = sys::SocketError(fd_.get());
  if (error != 0) {
    last_error_ = error;
    return Next();
  }
  reactor_.Forget(fd_.get(), this);
  Done({.fd = std::move(fd_), .own = std::move(own_), .timed_out = false, .error = 0});
}

void Dial::Stop() {
  patience_.Cancel();
  if (!fd_.valid()) return;
  reactor_.Forget(fd_.get(), this);
  fd_.Reset();
  own_.reset();
}

void Dial::Done(Result result) {
  Stop();
  limit_.Cancel();
  const OnDone on_done = std::move(on_done_);
  on_done(std::move(result));
}

}  // namespace sidesplice::core
