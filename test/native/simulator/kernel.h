// A kernel in memory, as far as the core sees one: connections with their queues, FIN and RST, listening sockets, epoll with its edges,
// event descriptors, a clock that stands still until somebody moves it. Faithful where the core depends on it (tcp(7), epoll(7), and the
// order in which Linux looks at data, errors and ends); the network between two ends moves when the schedule says so.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "simulator/dice.h"
#include "simulator/trace.h"

namespace sidesplice::simulator {

/** Bytes in order. */
class ByteQueue {
 public:
  [[nodiscard]] size_t size() const { return bytes_.size() - from_; }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] const uint8_t* data() const { return bytes_.data() + from_; }
  [[nodiscard]] uint8_t* data() { return bytes_.data() + from_; }
  void Push(const uint8_t* bytes, size_t count) { bytes_.insert(bytes_.end(), bytes, bytes + count); }
  void Drop(size_t count) {
    from_ += count;
    if (from_ == bytes_.size()) Clear();
  }
  void Clear() {
    bytes_.clear();
    from_ = 0;
  }

 private:
  std::vector<uint8_t> bytes_;
  size_t from_ = 0;
};

/** One end of a connection. */
struct End {
  End* other = nullptr;
  uint32_t connection = 0;
  /** Of the core; -1 for a peer's, and once closed. */
  int fd = -1;
  /** Its address names this port. */
  uint16_t port = 0;
  /** Sent and not arrived; arrived and not read. */
  ByteQueue sent;
  ByteQueue arrived;
  size_t send_room = 0;
  size_t receive_room = 0;
  /** What was ever sent, has ever arrived, was ever read. */
  uint64_t sent_total = 0;
  uint64_t arrived_total = 0;
  uint64_t read_total = 0;
  /** SO_ERROR. */
  int error = 0;
  bool connecting = false;
  /** Our FIN stands behind what was sent; it has arrived. */
  bool shut = false;
  bool fin_arrived = false;
  /** The other end's FIN is here; a read has told of it. */
  bool ended = false;
  bool end_read = false;
  /** An RST came or went: nothing moves any more. */
  bool dead = false;
  bool reset_sent = false;
  bool reset_arrives = false;
  /** Closed by its owner; what it had sent goes on. */
  bool closed = false;
  /** SOCK_NOSPACE: whoever has seen it full is told when there is room. */
  bool told_full = false;
  /** SIOCOUTQ stands where it stood when an RST came. */
  size_t stuck = 0;
  /** The core has watched it for what can be read. */
  bool served = false;

  [[nodiscard]] size_t room() const { return send_room - std::min(send_room, sent.size()); }
  /** As sk_stream_is_writeable() has it: a third is free. */
  [[nodiscard]] bool writable() const { return room() * 3 >= send_room; }
  /** Both FINs have arrived. */
  [[nodiscard]] bool finished() const { return ended && fin_arrived; }
};

/** What becomes of a dial. */
enum class Dialed { kAtOnce, kLater, kRefusedAtOnce, kRefusedLater, kUnreachableLater, kBlackHole };

class Kernel {
 public:
  /** How often calls of the core fail, each once in so many; 0 for never. */
  struct Rates {
    uint64_t interrupted = 0;
    uint64_t no_memory = 0;
    uint64_t no_descriptor = 0;
    uint64_t pressure = 0;
    uint64_t aborted_accept = 0;
  };
  struct Hooks {
    /** Before a call of the core that others may come in between of. */
    std::function<void()> enter;
    /** The core dials this port. */
    std::function<Dialed(uint16_t)> dialed;
    /** A dial to this port stands; this is the end of who was dialed. */
    std::function<void(uint16_t, End&)> established;
  };

  Kernel(Dice& dice, Trace& trace, Hooks hooks) : dice_(dice), trace_(trace), hooks_(std::move(hooks)) {}

  Rates rates;
  /** Of a queue of a connection. */
  uint64_t least_room = 17;

  // The world's own.
  int Listen(uint16_t port);
  /** A connection to a listening socket, that waits in its backlog; null where nobody listens there. */
  End* Connect(uint16_t port);
  ssize_t Send(End& end, const uint8_t* bytes, size_t count);
  ssize_t Receive(End& end, uint8_t* into, size_t count);
  void Shut(End& end);
  void Close(End& end, bool by_reset);
  [[nodiscard]] int64_t now_ns() const { return now_ns_; }
  void Advance(int64_t ns);
  /** An edge that nobody needed: epoll may always give one. */
  void Disturb(End& end) { Wake(end.fd, 0); }

  // The network: one step of it, where there is one.
  [[nodiscard]] const std::vector<std::unique_ptr<End>>& ends() const { return ends_; }
  [[nodiscard]] bool CanCarry(const End& from) const;
  void Carry(End& from);
  [[nodiscard]] bool CanTellRoom(const End& end) const { return end.fd >= 0 && end.told_full && end.writable() && !end.dead; }
  void TellRoom(End& end);
  [[nodiscard]] bool CanAnswerDial(const End& end) const;
  void AnswerDial(End& end);

  /** Whether a wait on this epoll descriptor would return at once. */
  [[nodiscard]] bool HasReady(int epoll) const;
  /** Epoll descriptors in the order in which they were made. */
  [[nodiscard]] const std::vector<int>& epolls() const { return epolls_; }
  /** Whether an end of the core is watched. */
  [[nodiscard]] bool IsWatched(const End& end) const { return end.fd >= 0 && FileOf(end.fd).watched; }
  [[nodiscard]] size_t open_descriptors() const { return open_; }
  /** What the core accepted, in this order: its sessions are numbered so. */
  [[nodiscard]] const std::vector<End*>& accepted() const { return accepted_; }
  /** Connections that were not accepted yet. */
  [[nodiscard]] size_t waiting() const;
  [[nodiscard]] const End& EndOf(int fd) { return *FileOf(fd).end; }
  /** Grows with all that the core changes. */
  [[nodiscard]] uint64_t changes() const { return changes_; }

  // The calls of the core, with errno; -1 where they fail.
  int CallSocket();
  int CallConnect(int fd, const sockaddr* address);
  int CallAccept(int fd, sockaddr* address, socklen_t* length);
  int CallShutdown(int fd);
  int CallClose(int fd);
  ssize_t CallReceive(int fd, std::span<const iovec> parts);
  ssize_t CallSend(int fd, std::span<const iovec> parts);
  int CallSocketError(int fd, int* error);
  int CallOption(int fd, int level, int name);
  int CallName(int fd, sockaddr* address, socklen_t* length);
  int CallQueue(int fd, bool outgoing, int* bytes);
  int CallEpollCreate();
  int CallEpollControl(int epoll, int operation, int fd, const epoll_event* event);
  int CallEpollWait(int epoll, epoll_event* events, int most);
  int CallEventFd();
  ssize_t CallReadEvent(int fd);
  ssize_t CallWriteEvent(int fd);

 private:
  struct File {
    enum class Kind : uint8_t { kNone, kSocket, kEnd, kListener, kEpoll, kEvent };
    Kind kind = Kind::kNone;
    bool watched = false;
    bool queued = false;
    bool resets = false;
    int epoll = -1;
    uint32_t events = 0;
    void* data = nullptr;
    End* end = nullptr;
    uint16_t port = 0;
    uint64_t count = 0;
    std::deque<End*> backlog;
    std::vector<int> ready;
  };

  int Failed(int error);
  /** Of a call on `fd`: lets others in, may be interrupted. False where it was. */
  bool Enter(int fd);
  int Open(File::Kind kind);
  [[nodiscard]] File& FileOf(int fd);
  [[nodiscard]] const File& FileOf(int fd) const;
  std::pair<End*, End*> MakeConnection();
  /** `events` of 0: what has changed is not named (sk_state_change), everybody looks. */
  void Wake(int fd, uint32_t events);
  [[nodiscard]] uint32_t EventsOf(File& file);
  void Unqueue(File& file, int fd);
  void ArriveReset(End& end);
  void Kill(End& end, int error);

  Dice& dice_;
  Trace& trace_;
  const Hooks hooks_;
  std::deque<File> files_;
  std::vector<std::unique_ptr<End>> ends_;
  std::vector<End*> accepted_;
  std::vector<int> epolls_;
  std::vector<std::pair<uint16_t, int>> listeners_;
  int64_t now_ns_ = 1'000'000'000;
  size_t open_ = 0;
  uint64_t changes_ = 0;
  uint32_t connections_ = 0;
};

/** The table by which the core's calls go to `kernel`. */
void Install(Kernel* kernel);
void Uninstall();

}  // namespace sidesplice::simulator
