// Addresses, blocking sockets, the clock.
#include "load/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <charconv>

#include "sys/calls.h"

namespace sidesplice::load {

namespace {

// A chain that moves nothing for so long has stalled; the slowest handshake under a storm takes a few seconds.
constexpr timeval kStall{.tv_sec = 20, .tv_usec = 0};
constexpr int kBacklog = 4096;

}  // namespace

std::optional<Address> ParseAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return std::nullopt;
  uint16_t port = 0;
  const char* end = text.data() + text.size();
  if (std::from_chars(text.data() + colon + 1, end, port).ptr != end) return std::nullopt;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  Address address;
  auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &four->sin_addr) == 1) {
    four->sin_family = AF_INET;
    four->sin_port = htons(port);
    address.length = sizeof(*four);
    return address;
  }
  if (inet_pton(AF_INET6, host.c_str(), &six->sin6_addr) != 1) return std::nullopt;
  six->sin6_family = AF_INET6;
  six->sin6_port = htons(port);
  address.length = sizeof(*six);
  return address;
}

std::string FormatBound(int listener) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (getsockname(listener, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return "";
  char host[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(storage);
    inet_ntop(AF_INET6, &six.sin6_addr, host, sizeof(host));
    return "[" + std::string(host) + "]:" + std::to_string(ntohs(six.sin6_port));
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(storage);
  inet_ntop(AF_INET, &four.sin_addr, host, sizeof(host));
  return std::string(host) + ":" + std::to_string(ntohs(four.sin_port));
}

int Listen(const Address& address) {
  sys::Fd fd(sys::Socket(address.storage.ss_family));
  if (!fd.valid()) return fd.get();
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) return -errno;
  if (listen(fd.get(), kBacklog) != 0) return -errno;
  return fd.Release();
}

int Connect(const Address& address) {
  sys::Fd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return -errno;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &kStall, sizeof(kStall));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kStall, sizeof(kStall));
  sys::SetConnectionOptions(fd.get());
  const int error = sys::Connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length);
  return error < 0 ? error : fd.Release();
}

int SendAll(int fd, const void* from, size_t bytes) {
  const auto* at = static_cast<const uint8_t*>(from);
  while (bytes > 0) {
    const ssize_t sent = sys::Send(fd, at, bytes);
    if (sent < 0) return static_cast<int>(sent);
    at += sent;
    bytes -= static_cast<size_t>(sent);
  }
  return 0;
}

int ReceiveAll(int fd, void* into, size_t bytes) {
  auto* at = static_cast<uint8_t*>(into);
  while (bytes > 0) {
    const ssize_t received = sys::Receive(fd, at, bytes);
    if (received < 0) return static_cast<int>(received);
    if (received == 0) return -EPIPE;
    at += received;
    bytes -= static_cast<size_t>(received);
  }
  return 0;
}

uint64_t NowNanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

double NowSeconds() { return static_cast<double>(NowNanoseconds()) / 1e9; }

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace sidesplice::load
