// The system calls of the data plane, through a table that a test may replace: all that it knows of the kernel, its clock among it,
// comes from there. EINTR is handled here and nowhere else. Every function returns what the call returns, or the negative errno.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <cstddef>
#include <cstdint>

namespace sidesplice::sys {

/** The raw calls, with errno, as the C library has them. Set by name, so that a table of a test is the kernel's but for what it replaces. */
struct Calls {
  int (*socket)(int, int, int);
  int (*connect)(int, const sockaddr*, socklen_t);
  int (*accept4)(int, sockaddr*, socklen_t*, int);
  int (*shutdown)(int, int);
  int (*close)(int);
  ssize_t (*recv)(int, void*, size_t, int);
  ssize_t (*readv)(int, const iovec*, int);
  ssize_t (*send)(int, const void*, size_t, int);
  ssize_t (*sendmsg)(int, const msghdr*, int);
  ssize_t (*recvmsg)(int, msghdr*, int);
  ssize_t (*splice)(int, off64_t*, int, off64_t*, size_t, unsigned);
  int (*pipe2)(int*, int);
  int (*getsockopt)(int, int, int, void*, socklen_t*);
  int (*setsockopt)(int, int, int, const void*, socklen_t);
  int (*getsockname)(int, sockaddr*, socklen_t*);
  /** ioctl(2) with a request that fills in a number. */
  int (*ioctl_number)(int, unsigned long, int*);
  int (*epoll_create1)(int);
  int (*epoll_ctl)(int, int, int, epoll_event*);
  int (*epoll_wait)(int, epoll_event*, int, int);
  int (*eventfd)(unsigned, int);
  ssize_t (*read)(int, void*, size_t);
  ssize_t (*write)(int, const void*, size_t);
  int (*clock_gettime)(clockid_t, timespec*);
  int (*malloc_trim)(size_t);
};

extern const Calls kKernel;
/** The table in use; replaced by tests before any thread runs. */
extern const Calls* calls;

int Socket(int family);
int Connect(int fd, const sockaddr* address, socklen_t length);
/** Non-blocking, close-on-exec. */
int Accept(int listener, sockaddr_storage* from);
int Shutdown(int fd, int how);
void Close(int fd);
ssize_t Receive(int fd, void* into, size_t bytes);
/** What is there to be read, and stays there. */
ssize_t Peek(int fd, void* into, size_t bytes);
ssize_t ReadV(int fd, const iovec* parts, int count);
/** Never raises SIGPIPE. */
ssize_t Send(int fd, const void* from, size_t bytes);
ssize_t SendV(int fd, const iovec* parts, int count);
/** From a socket to a pipe, or from a pipe to a socket; never waits. A pipe to a socket that is gone raises SIGPIPE, which Node ignores. */
ssize_t Splice(int from, int to, size_t bytes);
/** Both ends of a pipe, non-blocking: the one to read, the one to write. */
int Pipe(int ends[2]);
ssize_t Read(int fd, void* into, size_t bytes);
/** Close-on-exec. */
int EpollCreate();
int EpollControl(int epoll, int operation, int fd, uint32_t events, void* data);
int EpollWait(int epoll, epoll_event* events, int most, int timeout_ms);
/** A descriptor that is readable from `Notify` to `TakeNotice`; non-blocking, close-on-exec (eventfd(2)). */
int EventFd();
void Notify(int event);
void TakeNotice(int event);
/** Milliseconds of a clock, CLOCK_MONOTONIC or CLOCK_REALTIME. */
double ClockMs(clockid_t clock);
/** Seconds since the epoch. */
int64_t WallSeconds();
/** Has the allocator give back what it keeps (malloc_trim(3)). */
void TrimHeap();

/** What every TCP connection of the data plane is set to. */
void SetConnectionOptions(int fd);
/** The pending error of a socket, as a positive errno; 0 for none (SO_ERROR, socket(7)). */
int SocketError(int fd);
/** The address of this end. */
sockaddr_storage LocalAddress(int fd);
/** Whether the other end of a TCP connection has closed it, with whatever it sent before (TCP_INFO, tcp(7)). */
bool HasHungUp(int fd);
/** Bytes that have been sent and not acknowledged, or not sent yet (SIOCOUTQ, tcp(7)); 0 where that can't be told. */
int SendQueueBytes(int fd);
/** How much more the send queue takes, by the kernel's own measure (SO_MEMINFO, socket(7)); all there is where it is empty, or can't be told. */
int64_t SendRoomBytes(int fd);
/** Bytes that wait to be read (SIOCINQ, tcp(7)). */
int ReceiveQueueBytes(int fd);
/** Closes by an RST (SO_LINGER of 0, socket(7)). */
void CloseByReset(int fd);

/** The name of an errno, as Node has it: ECONNREFUSED. */
const char* ErrorName(int error);

}  // namespace sidesplice::sys
