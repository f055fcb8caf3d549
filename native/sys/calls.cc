// The system calls, and what is set on sockets.
#include "sys/calls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>

#include "sys/fd.h"
#include "sys/retried.h"

namespace sidesplice::sys {

const Calls kKernel = {
    .socket = ::socket,
    .connect = ::connect,
    .accept4 = ::accept4,
    .shutdown = ::shutdown,
    .close = ::close,
    .recv = ::recv,
    .readv = ::readv,
    .send = ::send,
    .sendmsg = ::sendmsg,
    .recvmsg = ::recvmsg,
    .splice = ::splice,
    .pipe2 = ::pipe2,
    .getsockopt = ::getsockopt,
    .setsockopt = ::setsockopt,
    .getsockname = ::getsockname,
    .ioctl_number = [](int fd, unsigned long request, int* number) { return ::ioctl(fd, request, number); },
    .epoll_create1 = ::epoll_create1,
    .epoll_ctl = ::epoll_ctl,
    .epoll_wait = ::epoll_wait,
    .eventfd = ::eventfd,
    .read = ::read,
    .write = ::write,
    .clock_gettime = ::clock_gettime,
    .malloc_trim = ::malloc_trim,
};
const Calls* calls = &kKernel;

namespace {

// Long enough not to wake idle hosts, short enough to notice a dead peer before its peer's firewall forgets it.
constexpr int kKeepAliveIdleSeconds = 30;

}  // namespace

void Fd::Reset() {
  if (fd_ >= 0) Close(fd_);
  fd_ = -1;
}

int Socket(int family) {
  return Retried([&] { return calls->socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); });
}

int Connect(int fd, const sockaddr* address, socklen_t length) {
  return Retried([&] { return calls->connect(fd, address, length); });
}

int Accept(int listener, sockaddr_storage* from) {
  socklen_t length = sizeof(*from);
  return Retried([&] {
    length = sizeof(*from);
    return calls->accept4(listener, reinterpret_cast<sockaddr*>(from), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  });
}

int Shutdown(int fd, int how) {
  return Retried([&] { return calls->shutdown(fd, how); });
}

void Close(int fd) {
  // Not tried again: on Linux the descriptor is gone, also after EINTR (close(2)).
  calls->close(fd);
}

ssize_t Receive(int fd, void* into, size_t bytes) {
  return Retried([&] { return calls->recv(fd, into, bytes, 0); });
}

ssize_t Peek(int fd, void* into, size_t bytes) {
  return Retried([&] { return calls->recv(fd, into, bytes, MSG_PEEK); });
}

ssize_t ReadV(int fd, const iovec* parts, int count) {
  return Retried([&] { return calls->readv(fd, parts, count); });
}

ssize_t Send(int fd, const void* from, size_t bytes) {
  return Retried([&] { return calls->send(fd, from, bytes, MSG_NOSIGNAL); });
}

ssize_t SendV(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  return Retried([&] { return calls->sendmsg(fd, &message, MSG_NOSIGNAL); });
}

ssize_t Splice(int from, int to, size_t bytes) {
  // Never SPLICE_F_MORE: kernel TLS holds the rest of a record back for more that may not come (the stream would stall).
  return Retried([&] { return calls->splice(from, nullptr, to, nullptr, bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK); });
}

int Pipe(int ends[2]) {
  return Retried([&] { return calls->pipe2(ends, O_NONBLOCK | O_CLOEXEC); });
}

ssize_t Read(int fd, void* into, size_t bytes) {
  return Retried([&] { return calls->read(fd, into, bytes); });
}

int EpollCreate() {
  return Retried([&] { return calls->epoll_create1(EPOLL_CLOEXEC); });
}

int EpollControl(int epoll, int operation, int fd, uint32_t events, void* data) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = data;
  return Retried([&] { return calls->epoll_ctl(epoll, operation, fd, &event); });
}

int EpollWait(int epoll, epoll_event* events, int most, int timeout_ms) {
  const int ready = calls->epoll_wait(epoll, events, most, timeout_ms);
  // The caller looks at the clock again: an interrupted wait is a wait without events.
  return ready >= 0 ? ready : (errno == EINTR ? 0 : -errno);
}

int EventFd() {
  return Retried([&] { return calls->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); });
}

void Notify(int event) {
  const uint64_t one = 1;
  Retried([&] { return calls->write(event, &one, sizeof(one)); });
}

void TakeNotice(int event) {
  uint64_t count = 0;
  Retried([&] { return calls->read(event, &count, sizeof(count)); });
}

int64_t WallSeconds() { return static_cast<int64_t>(ClockMs(CLOCK_REALTIME) / 1000); }

double ClockMs(clockid_t clock) {
  timespec now{};
  calls->clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

void TrimHeap() { calls->malloc_trim(0); }

void SetConnectionOptions(int fd) {
  const int on = 1;
  // A unix socket knows none of them: that they fail there is meant.
  calls->setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  calls->setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  calls->setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleSeconds, sizeof(kKeepAliveIdleSeconds));
}

int SocketError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  return calls->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 ? error : errno;
}

sockaddr_storage LocalAddress(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  calls->getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return address;
}

bool HasHungUp(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (calls->getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return false;
  return info.tcpi_state == TCP_CLOSE_WAIT || info.tcpi_state == TCP_CLOSE;
}

int SendQueueBytes(int fd) {
  int bytes = 0;
  return calls->ioctl_number(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

int64_t SendRoomBytes(int fd) {
  uint32_t info[SK_MEMINFO_VARS] = {};
  socklen_t length = sizeof(info);
  if (calls->getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &length) != 0) return INT64_MAX;
  // TCP counts what it queues, a unix socket what it has handed over.
  const uint32_t queued = std::max(info[SK_MEMINFO_WMEM_QUEUED], info[SK_MEMINFO_WMEM_ALLOC]);
  return queued == 0 ? INT64_MAX : int64_t{info[SK_MEMINFO_SNDBUF]} - queued;
}

int ReceiveQueueBytes(int fd) {
  int bytes = 0;
  return calls->ioctl_number(fd, SIOCINQ, &bytes) == 0 ? bytes : 0;
}

void CloseByReset(int fd) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  calls->setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Close(fd);
}

const char* ErrorName(int error) {
  const char* name = strerrorname_np(error);
  return name != nullptr ? name : "unknown error";
}

}  // namespace sidesplice::sys
