// Loopback connections.
#include "support/sockets.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace sidesplice::test {

namespace {

sockaddr_in Loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void MakeNonBlocking(int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

}  // namespace

uint32_t Seed() {
  const char* given = std::getenv("SIDESPLICE_SEED");
  return given == nullptr ? 20'241'129 : static_cast<uint32_t>(std::strtoul(given, nullptr, 10));
}

Listening Listen() {
  Listening listening;
  listening.fd = sys::Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t length = sizeof(address);
  bind(listening.fd.get(), reinterpret_cast<sockaddr*>(&address), length);
  listen(listening.fd.get(), 1024);
  getsockname(listening.fd.get(), reinterpret_cast<sockaddr*>(&address), &length);
  MakeNonBlocking(listening.fd.get());
  listening.port = ntohs(address.sin_port);
  return listening;
}

sys::Fd ConnectTo(uint16_t port, int* error) {
  sys::Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in address = Loopback(port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (error != nullptr) *error = errno;
    return {};
  }
  MakeNonBlocking(fd.get());
  return fd;
}

std::pair<sys::Fd, sys::Fd> TcpPair() {
  const Listening listening = Listen();
  sys::Fd one = ConnectTo(listening.port);
  WaitFor(listening.fd.get(), POLLIN);
  sys::Fd other(accept4(listening.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
  MakeNonBlocking(other.get());
  return {std::move(one), std::move(other)};
}

bool WaitFor(int fd, short events, int limit_ms) {
  pollfd one{.fd = fd, .events = events, .revents = 0};
  for (;;) {
    const int ready = poll(&one, 1, limit_ms);
    if (ready >= 0 || errno != EINTR) return ready > 0;
  }
}

bool WriteAll(int fd, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) bytes = bytes.subspan(static_cast<size_t>(sent));
    else if (sent < 0 && errno != EAGAIN && errno != EINTR) return false;
    else if (!WaitFor(fd, POLLOUT)) return false;
  }
  return true;
}

Stream ReadUpTo(int fd, size_t bytes) {
  Stream stream;
  uint8_t part[16'384];
  while (stream.bytes.size() < bytes) {
    const ssize_t got = recv(fd, part, std::min(sizeof(part), bytes - stream.bytes.size()), 0);
    if (got > 0) {
      stream.bytes.insert(stream.bytes.end(), part, part + got);
    } else if (got == 0) {
      stream.end = Stream::End::kFin;
      return stream;
    } else if (errno != EAGAIN && errno != EINTR) {
      stream.end = Stream::End::kReset;
      return stream;
    } else if (!WaitFor(fd, POLLIN)) {
      return stream;
    }
  }
  return stream;
}

bool IsQuiet(int fd, int limit_ms) { return !WaitFor(fd, POLLIN, limit_ms); }

size_t OpenDescriptors() {
  DIR* folder = opendir("/proc/self/fd");
  size_t count = 0;
  while (const dirent* entry = readdir(folder))
    if (entry->d_name[0] != '.') count++;
  closedir(folder);
  // The folder's own.
  return count - 1;
}

bool DescriptorsBecome(size_t count) {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMs);
  while (OpenDescriptors() != count) {
    if (std::chrono::steady_clock::now() > limit) return false;
    poll(nullptr, 0, 5);
  }
  return true;
}

}  // namespace sidesplice::test
