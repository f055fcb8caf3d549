// Descriptors, epoll, and the calls as the core makes them.
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include <algorithm>
#include <string>
#include <utility>

#include "simulator/kernel.h"
#include "sys/calls.h"

namespace sidesplice::simulator {

namespace {

// Far from those that the process really has.
constexpr int kFirstFd = 1'000;
constexpr int kErrorsOfMemory[] = {ENOMEM, ENOBUFS};

Kernel* installed = nullptr;

sockaddr_in AddressOf(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

void PutAddress(uint16_t port, sockaddr* address, socklen_t* length) {
  *reinterpret_cast<sockaddr_in*>(address) = AddressOf(port);
  *length = sizeof(sockaddr_in);
}

}  // namespace

int Kernel::Failed(int error) {
  errno = error;
  return -1;
}

Kernel::File& Kernel::FileOf(int fd) {
  const auto at = static_cast<size_t>(fd - kFirstFd);
  if (fd < kFirstFd || at >= files_.size() || files_[at].kind == File::Kind::kNone)
    Fail("a call on descriptor " + std::to_string(fd) + ", which is not open");
  return files_[at];
}

const Kernel::File& Kernel::FileOf(int fd) const { return files_[static_cast<size_t>(fd - kFirstFd)]; }

int Kernel::Open(File::Kind kind) {
  size_t at = 0;
  while (at < files_.size() && files_[at].kind != File::Kind::kNone) at++;
  if (at == files_.size()) files_.emplace_back();
  files_[at] = File();
  files_[at].kind = kind;
  open_++;
  changes_++;
  return kFirstFd + static_cast<int>(at);
}

bool Kernel::Enter(int fd) {
  hooks_.enter();
  [[maybe_unused]] const File& open = FileOf(fd);
  return !dice_.OneIn(rates.interrupted);
}

void Kernel::Wake(int fd, uint32_t events) {
  if (fd < 0) return;
  File& file = FileOf(fd);
  if (!file.watched || file.queued) return;
  if (events != 0 && (events & file.events) == 0) return;
  file.queued = true;
  FileOf(file.epoll).ready.push_back(fd);
}

/** tcp_poll(). */
uint32_t Kernel::EventsOf(File& file) {
  if (file.kind == File::Kind::kListener) return file.backlog.empty() ? 0U : static_cast<uint32_t>(EPOLLIN);
  if (file.kind == File::Kind::kEvent) return file.count > 0 ? static_cast<uint32_t>(EPOLLIN) : 0U;
  if (file.kind != File::Kind::kEnd) return EPOLLOUT | EPOLLHUP;
  End& end = *file.end;
  if (end.connecting) return 0;
  uint32_t events = 0;
  if (end.dead || (end.ended && end.shut)) events |= EPOLLHUP;
  if (end.dead || end.ended) events |= EPOLLIN | EPOLLRDHUP;
  if (!end.arrived.empty()) events |= EPOLLIN;
  if (end.dead || end.shut || end.writable()) events |= EPOLLOUT;
  else end.told_full = true;
  if (end.error != 0) events |= EPOLLERR;
  return events;
}

void Kernel::Unqueue(File& file, int fd) {
  file.watched = false;
  if (std::exchange(file.queued, false)) std::erase(FileOf(file.epoll).ready, fd);
}

bool Kernel::HasReady(int epoll) const { return !FileOf(epoll).ready.empty(); }

int Kernel::CallSocket() {
  hooks_.enter();
  if (dice_.OneIn(rates.no_descriptor)) return Failed(dice_.OneIn(2) ? EMFILE : ENFILE);
  if (dice_.OneIn(rates.no_memory)) return Failed(kErrorsOfMemory[dice_.Below(2)]);
  return Open(File::Kind::kSocket);
}

int Kernel::CallConnect(int fd, const sockaddr* address) {
  if (!Enter(fd)) return Failed(EINTR);
  const uint16_t port = ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port);
  if (dice_.OneIn(rates.no_memory)) return Failed(dice_.OneIn(2) ? ENOMEM : EAGAIN);
  const Dialed fate = hooks_.dialed(port);
  trace_.Note("dial", fd, port, static_cast<int>(fate));
  if (fate == Dialed::kRefusedAtOnce) return Failed(dice_.OneIn(2) ? ECONNREFUSED : ENETUNREACH);
  const auto [ours, theirs] = MakeConnection();
  File& file = FileOf(fd);
  file.kind = File::Kind::kEnd;
  file.end = ours;
  ours->fd = fd;
  theirs->port = port;
  if (fate == Dialed::kAtOnce) {
    hooks_.established(port, *theirs);
    return 0;
  }
  ours->connecting = true;
  ours->stuck = fate == Dialed::kBlackHole ? SIZE_MAX : static_cast<size_t>(fate);
  return Failed(EINPROGRESS);
}

int Kernel::CallAccept(int fd, sockaddr* address, socklen_t* length) {
  if (!Enter(fd)) return Failed(EINTR);
  File& listener = FileOf(fd);
  if (listener.backlog.empty()) return Failed(EAGAIN);
  if (dice_.OneIn(rates.no_descriptor)) return Failed(dice_.OneIn(2) ? EMFILE : ENFILE);
  if (dice_.OneIn(rates.no_memory)) return Failed(kErrorsOfMemory[dice_.Below(2)]);
  if (dice_.OneIn(rates.aborted_accept)) {
    Close(*listener.backlog.front(), true);
    listener.backlog.pop_front();
    return Failed(dice_.OneIn(2) ? ECONNABORTED : EPROTO);
  }
  End* end = listener.backlog.front();
  listener.backlog.pop_front();
  const int accepted = Open(File::Kind::kEnd);
  FileOf(accepted).end = end;
  accepted_.push_back(end);
  end->fd = accepted;
  PutAddress(end->other->port, address, length);
  trace_.Note("accept", accepted, end->connection);
  return accepted;
}

int Kernel::CallShutdown(int fd) {
  if (!Enter(fd)) return Failed(EINTR);
  End& end = *FileOf(fd).end;
  trace_.Note("shutdown", fd, end.connection);
  if (end.dead) return Failed(ENOTCONN);
  Shut(end);
  return 0;
}

int Kernel::CallClose(int fd) {
  hooks_.enter();
  File& file = FileOf(fd);
  trace_.Note("close", fd, file.resets ? 1 : 0);
  if (file.watched) Unqueue(file, fd);
  if (file.kind == File::Kind::kEnd) Close(*file.end, file.resets);
  if (file.kind == File::Kind::kListener) {
    std::erase_if(listeners_, [&](const auto& one) { return one.second == fd; });
    for (End* end : file.backlog) Close(*end, true);
    file.backlog.clear();
  }
  file = File();
  open_--;
  changes_++;
  // The descriptor is gone all the same (close(2)).
  return dice_.OneIn(rates.interrupted) ? Failed(EINTR) : 0;
}

ssize_t Kernel::CallReceive(int fd, std::span<const iovec> parts) {
  if (!Enter(fd)) return Failed(EINTR);
  End& end = *FileOf(fd).end;
  if (dice_.OneIn(rates.no_memory)) return Failed(ENOMEM);
  ssize_t total = 0;
  for (const iovec& part : parts) {
    const ssize_t got = total > 0 && end.arrived.empty() ? 0 : Receive(end, static_cast<uint8_t*>(part.iov_base), part.iov_len);
    if (got <= 0 && total == 0) total = got;
    if (got <= 0) break;
    total += got;
  }
  trace_.Note("read", fd, end.connection, total);
  return total < 0 ? Failed(static_cast<int>(-total)) : total;
}

ssize_t Kernel::CallSend(int fd, std::span<const iovec> parts) {
  if (!Enter(fd)) return Failed(EINTR);
  End& end = *FileOf(fd).end;
  if (dice_.OneIn(rates.no_memory)) return Failed(kErrorsOfMemory[dice_.Below(2)]);
  ssize_t total = 0;
  for (const iovec& part : parts) {
    const ssize_t sent = Send(end, static_cast<const uint8_t*>(part.iov_base), part.iov_len);
    if (sent < 0 && total == 0) total = sent;
    if (sent < 0) break;
    total += sent;
    if (static_cast<size_t>(sent) < part.iov_len) break;
  }
  trace_.Note("write", fd, end.connection, total);
  return total < 0 ? Failed(static_cast<int>(-total)) : total;
}

int Kernel::CallSocketError(int fd, int* error) {
  End* end = FileOf(fd).end;
  *error = end == nullptr ? 0 : std::exchange(end->error, 0);
  return 0;
}

int Kernel::CallOption(int fd, int level, int name) {
  File& file = FileOf(fd);
  if (level == SOL_SOCKET && name == SO_LINGER) file.resets = true;
  const bool of_socket = level == SOL_SOCKET && (name == SO_LINGER || name == SO_KEEPALIVE);
  const bool of_tcp = level == IPPROTO_TCP && (name == TCP_NODELAY || name == TCP_KEEPIDLE);
  // It has no more: no kernel TLS.
  return of_socket || of_tcp ? 0 : Failed(ENOPROTOOPT);
}

int Kernel::CallName(int fd, sockaddr* address, socklen_t* length) {
  const File& file = FileOf(fd);
  PutAddress(file.end == nullptr ? file.port : file.end->port, address, length);
  return 0;
}

int Kernel::CallQueue(int fd, bool outgoing, int* bytes) {
  const End& end = *FileOf(fd).end;
  const size_t unacknowledged = end.dead ? end.stuck : end.sent.size() + (end.shut && !end.fin_arrived ? 1 : 0);
  *bytes = static_cast<int>(outgoing ? unacknowledged : end.arrived.size());
  return 0;
}

int Kernel::CallEpollCreate() {
  if (dice_.OneIn(rates.no_descriptor)) return Failed(EMFILE);
  epolls_.push_back(Open(File::Kind::kEpoll));
  return epolls_.back();
}

int Kernel::CallEpollControl(int epoll, int operation, int fd, const epoll_event* event) {
  if (!Enter(fd)) return Failed(EINTR);
  File& file = FileOf(fd);
  changes_++;
  if (operation == EPOLL_CTL_DEL) {
    if (!file.watched || file.epoll != epoll) return Failed(ENOENT);
    Unqueue(file, fd);
    return 0;
  }
  if (file.watched) Fail("descriptor " + std::to_string(fd) + " is watched twice");
  if (dice_.OneIn(rates.no_memory)) return Failed(dice_.OneIn(2) ? ENOMEM : ENOSPC);
  file.watched = true;
  file.epoll = epoll;
  file.events = event->events | EPOLLERR | EPOLLHUP;
  file.data = event->data.ptr;
  if (file.end != nullptr && (event->events & EPOLLIN) != 0) file.end->served = true;
  trace_.Note("watch", fd, epoll, event->events);
  // What is ready by now is told.
  if ((EventsOf(file) & file.events) != 0) Wake(fd, 0);
  return 0;
}

int Kernel::CallEpollWait(int epoll, epoll_event* events, int most) {
  if (!Enter(epoll)) return Failed(EINTR);
  std::vector<int>& ready = FileOf(epoll).ready;
  if (ready.empty()) return 0;
  // The rest was not there yet when this returned.
  const size_t looked_at = std::min<size_t>(dice_.OneIn(2) ? ready.size() : dice_.Between(1, ready.size()), static_cast<size_t>(most));
  const std::vector<int> taken(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(looked_at));
  ready.erase(ready.begin(), ready.begin() + static_cast<std::ptrdiff_t>(looked_at));
  int count = 0;
  for (const int fd : taken) {
    File& file = FileOf(fd);
    file.queued = false;
    const uint32_t now = EventsOf(file) & file.events;
    if (now == 0) continue;
    events[count].events = now;
    events[count].data.ptr = file.data;
    trace_.Note("event", epoll, fd, now);
    count++;
    if ((file.events & EPOLLET) == 0) Wake(fd, 0);
  }
  return count;
}

int Kernel::CallEventFd() {
  if (dice_.OneIn(rates.no_descriptor)) return Failed(EMFILE);
  return Open(File::Kind::kEvent);
}

ssize_t Kernel::CallReadEvent(int fd) {
  if (!Enter(fd)) return Failed(EINTR);
  File& file = FileOf(fd);
  if (file.count == 0) return Failed(EAGAIN);
  file.count = 0;
  return sizeof(uint64_t);
}

ssize_t Kernel::CallWriteEvent(int fd) {
  if (fd < 0) return Failed(EBADF);
  if (!Enter(fd)) return Failed(EINTR);
  FileOf(fd).count++;
  changes_++;
  Wake(fd, EPOLLIN);
  return sizeof(uint64_t);
}

void Install(Kernel* kernel) {
  static const sys::Calls kTable = [] {
    sys::Calls table = sys::kKernel;
    table.socket = [](int, int, int) { return installed->CallSocket(); };
    table.connect = [](int fd, const sockaddr* address, socklen_t) { return installed->CallConnect(fd, address); };
    table.accept4 = [](int fd, sockaddr* address, socklen_t* length, int) { return installed->CallAccept(fd, address, length); };
    table.shutdown = [](int fd, int) { return installed->CallShutdown(fd); };
    table.close = [](int fd) { return installed->CallClose(fd); };
    table.recv = [](int fd, void* into, size_t bytes, int) {
      const iovec part{.iov_base = into, .iov_len = bytes};
      return installed->CallReceive(fd, {&part, 1});
    };
    table.readv = [](int fd, const iovec* parts, int count) {
      return installed->CallReceive(fd, {parts, static_cast<size_t>(count)});
    };
    table.send = [](int fd, const void* from, size_t bytes, int) {
      const iovec part{.iov_base = const_cast<void*>(from), .iov_len = bytes};
      return installed->CallSend(fd, {&part, 1});
    };
    table.sendmsg = [](int fd, const msghdr* message, int) {
      return installed->CallSend(fd, {message->msg_iov, message->msg_iovlen});
    };
    table.getsockopt = [](int fd, int, int, void* value, socklen_t*) { return installed->CallSocketError(fd, static_cast<int*>(value)); };
    table.setsockopt = [](int fd, int level, int name, const void*, socklen_t) { return installed->CallOption(fd, level, name); };
    table.getsockname = [](int fd, sockaddr* address, socklen_t* length) { return installed->CallName(fd, address, length); };
    table.ioctl_number = [](int fd, unsigned long request, int* bytes) { return installed->CallQueue(fd, request == SIOCOUTQ, bytes); };
    table.epoll_create1 = [](int) { return installed->CallEpollCreate(); };
    table.epoll_ctl = [](int epoll, int operation, int fd, epoll_event* event) {
      return installed->CallEpollControl(epoll, operation, fd, event);
    };
    table.epoll_wait = [](int epoll, epoll_event* events, int most, int) { return installed->CallEpollWait(epoll, events, most); };
    table.eventfd = [](unsigned, int) { return installed->CallEventFd(); };
    table.read = [](int fd, void*, size_t) { return installed->CallReadEvent(fd); };
    table.write = [](int fd, const void*, size_t) { return installed->CallWriteEvent(fd); };
    table.clock_gettime = [](clockid_t, timespec* now) {
      now->tv_sec = installed->now_ns() / 1'000'000'000;
      now->tv_nsec = installed->now_ns() % 1'000'000'000;
      return 0;
    };
    table.malloc_trim = [](size_t) { return 0; };
    return table;
  }();
  installed = kernel;
  sys::calls = &kTable;
}

void Uninstall() { sys::calls = &sys::kKernel; }

}  // namespace sidesplice::simulator
