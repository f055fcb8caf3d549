// Calls that fail when they are told to. A call that would have gone on without waiting (EAGAIN, fewer bytes) is followed by a new
// edge from epoll, as the kernel would give one: a loop that is edge-triggered may wait for it.
#include "support/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::test {

namespace {

struct Watched {
  int epoll = -1;
  epoll_event event{};
};

std::mutex mutex;
std::optional<Call> armed;
size_t left = 0;
int armed_fault = 0;
bool came_to_it = false;
std::map<int, Watched> watched;

/** The fault of this very call; 0 for none. */
int FaultOf(Call call) {
  const std::lock_guard lock(mutex);
  if (armed != call || --left > 0) return 0;
  armed.reset();
  came_to_it = true;
  return armed_fault;
}

void TellAgain(int fd) {
  const std::lock_guard lock(mutex);
  const auto found = watched.find(fd);
  if (found != watched.end()) ::epoll_ctl(found->second.epoll, EPOLL_CTL_MOD, fd, &found->second.event);
}

int Failed(int fault) {
  errno = fault;
  return -1;
}

/** `full` makes the call, `less` with one byte. */
template <typename Full, typename Less>
ssize_t Moved(Call call, int fd, Full full, Less less) {
  const int fault = FaultOf(call);
  if (fault == 0) return full();
  const ssize_t result = fault == kShort ? less() : Failed(fault);
  const int error = errno;
  if (fault == kShort || fault == EAGAIN) TellAgain(fd);
  errno = error;
  return result;
}

int Socket(int family, int type, int protocol) {
  const int fault = FaultOf(Call::kSocket);
  return fault == 0 ? ::socket(family, type, protocol) : Failed(fault);
}

int Connect(int fd, const sockaddr* address, socklen_t length) {
  const int fault = FaultOf(Call::kConnect);
  return fault == 0 ? ::connect(fd, address, length) : Failed(fault);
}

int Accept(int fd, sockaddr* address, socklen_t* length, int flags) {
  const int fault = FaultOf(Call::kAccept);
  return fault == 0 ? ::accept4(fd, address, length, flags) : Failed(fault);
}

int Shutdown(int fd, int how) {
  const int fault = FaultOf(Call::kShutdown);
  return fault == 0 ? ::shutdown(fd, how) : Failed(fault);
}

int Close(int fd) {
  {
    const std::lock_guard lock(mutex);
    watched.erase(fd);
  }
  const int fault = FaultOf(Call::kClose);
  const int result = ::close(fd);
  // As close(2) has it: the descriptor is gone all the same.
  return fault == 0 ? result : Failed(fault);
}

ssize_t Recv(int fd, void* into, size_t bytes, int flags) {
  return Moved(Call::kRecv, fd, [&] { return ::recv(fd, into, bytes, flags); }, [&] { return ::recv(fd, into, 1, flags); });
}

ssize_t ReadV(int fd, const iovec* parts, int count) {
  return Moved(Call::kReadV, fd, [&] { return ::readv(fd, parts, count); },
               [&] { return ::recv(fd, parts[0].iov_base, 1, 0); });
}

ssize_t Send(int fd, const void* from, size_t bytes, int flags) {
  return Moved(Call::kSend, fd, [&] { return ::send(fd, from, bytes, flags); }, [&] { return ::send(fd, from, 1, flags); });
}

ssize_t SendMessage(int fd, const msghdr* message, int flags) {
  return Moved(Call::kSendMessage, fd, [&] { return ::sendmsg(fd, message, flags); },
               [&] { return ::send(fd, message->msg_iov[0].iov_base, 1, flags); });
}

int EpollControl(int epoll, int operation, int fd, epoll_event* event) {
  const int fault = operation == EPOLL_CTL_ADD ? FaultOf(Call::kEpollAdd) : 0;
  if (fault != 0) return Failed(fault);
  const std::lock_guard lock(mutex);
  if (operation == EPOLL_CTL_ADD) watched[fd] = {.epoll = epoll, .event = *event};
  if (operation == EPOLL_CTL_DEL) watched.erase(fd);
  return ::epoll_ctl(epoll, operation, fd, event);
}

int EpollWait(int epoll, epoll_event* events, int most, int timeout_ms) {
  const int fault = FaultOf(Call::kEpollWait);
  return fault == 0 ? ::epoll_wait(epoll, events, most, timeout_ms) : Failed(fault);
}

ssize_t ReceiveMessage(int fd, msghdr* message, int flags) {
  return Moved(Call::kReceiveMessage, fd, [&] { return ::recvmsg(fd, message, flags); },
               [&] {
                 iovec one{message->msg_iov[0].iov_base, 1};
                 message->msg_iov = &one;
                 return ::recvmsg(fd, message, flags);
               });
}

ssize_t Splice(int from, off64_t* from_at, int to, off64_t* to_at, size_t bytes, unsigned flags) {
  const int fault = FaultOf(Call::kSplice);
  if (fault == 0) return ::splice(from, from_at, to, to_at, bytes, flags);
  const ssize_t result = fault == kShort ? ::splice(from, from_at, to, to_at, 1, flags) : Failed(fault);
  const int error = errno;
  if (fault == kShort || fault == EAGAIN)
    for (const int fd : {from, to}) TellAgain(fd);
  errno = error;
  return result;
}

int Pipe(int* ends, int flags) {
  const int fault = FaultOf(Call::kPipe);
  return fault == 0 ? ::pipe2(ends, flags) : Failed(fault);
}

int SetOption(int fd, int level, int name, const void* value, socklen_t length) {
  const int fault = FaultOf(Call::kSetOption);
  return fault == 0 ? ::setsockopt(fd, level, name, value, length) : Failed(fault);
}

const sys::Calls kFaulty = [] {
  sys::Calls table = sys::kKernel;
  table.socket = Socket;
  table.connect = Connect;
  table.accept4 = Accept;
  table.shutdown = Shutdown;
  table.close = Close;
  table.recv = Recv;
  table.readv = ReadV;
  table.send = Send;
  table.sendmsg = SendMessage;
  table.recvmsg = ReceiveMessage;
  table.splice = Splice;
  table.pipe2 = Pipe;
  table.setsockopt = SetOption;
  table.epoll_ctl = EpollControl;
  table.epoll_wait = EpollWait;
  return table;
}();

}  // namespace

Faults::Faults() { sys::calls = &kFaulty; }

Faults::~Faults() {
  sys::calls = &sys::kKernel;
  const std::lock_guard lock(mutex);
  watched.clear();
}

void Faults::Arm(Call call, size_t nth, int fault) {
  const std::lock_guard lock(mutex);
  armed = call;
  left = nth;
  armed_fault = fault;
  came_to_it = false;
}

bool Faults::came() const {
  const std::lock_guard lock(mutex);
  return came_to_it;
}

bool Faults::Disarm() {
  const std::lock_guard lock(mutex);
  armed.reset();
  return came_to_it;
}

}  // namespace sidesplice::test
