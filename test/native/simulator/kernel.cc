// Connections: how bytes, ends and resets get from one end to the other.
#include "simulator/kernel.h"

#include <errno.h>
#include <netinet/in.h>

#include <algorithm>
#include <string>
#include <utility>

namespace sidesplice::simulator {

namespace {

constexpr uint16_t kFirstPort = 20'000;
// Mostly as small as a test needs to see a queue run full; at times as large as to hold a bulk read.
constexpr uint64_t kMostRoom = 512 * 1024;

}  // namespace

std::pair<End*, End*> Kernel::MakeConnection() {
  const uint32_t number = connections_++;
  for (int at = 0; at < 2; at++) {
    ends_.push_back(std::make_unique<End>());
    End& end = *ends_.back();
    end.connection = number;
    end.port = static_cast<uint16_t>(kFirstPort + number);
    end.send_room = least_room + dice_.Sized(kMostRoom);
    end.receive_room = least_room + dice_.Sized(kMostRoom);
  }
  End* one = ends_[ends_.size() - 2].get();
  End* other = ends_.back().get();
  one->other = other;
  other->other = one;
  return {one, other};
}

int Kernel::Listen(uint16_t port) {
  const int fd = Open(File::Kind::kListener);
  FileOf(fd).port = port;
  listeners_.emplace_back(port, fd);
  return fd;
}

End* Kernel::Connect(uint16_t port) {
  for (const auto& [at, fd] : listeners_) {
    if (at != port) continue;
    const auto [theirs, ours] = MakeConnection();
    trace_.Note("connect", theirs->connection, port);
    FileOf(fd).backlog.push_back(ours);
    Wake(fd, EPOLLIN);
    return theirs;
  }
  return nullptr;
}

size_t Kernel::waiting() const {
  size_t count = 0;
  for (const auto& [port, fd] : listeners_) count += FileOf(fd).backlog.size();
  return count;
}

void Kernel::Advance(int64_t ns) {
  now_ns_ += ns;
  trace_.SetClock(now_ns_);
  trace_.Note("advance", ns / 1000);
}

ssize_t Kernel::Send(End& end, const uint8_t* bytes, size_t count) {
  if (end.error != 0) return -std::exchange(end.error, 0);
  if (end.dead || end.shut) return -EPIPE;
  if (end.connecting) return -EAGAIN;
  size_t taken = std::min(count, end.room());
  // Without memory for more than a part of it (sk_stream_wait_memory): whoever was told so is told when there is.
  if (end.fd >= 0 && taken > 0 && dice_.OneIn(rates.pressure)) taken = dice_.Below(taken);
  if (taken < count) end.told_full = true;
  if (taken == 0) return count == 0 ? 0 : -EAGAIN;
  end.sent.Push(bytes, taken);
  end.sent_total += taken;
  changes_++;
  return static_cast<ssize_t>(taken);
}

/** Data first, then the end, then the error (tcp_recvmsg). */
ssize_t Kernel::Receive(End& end, uint8_t* into, size_t count) {
  const size_t taken = std::min(count, end.arrived.size());
  if (taken > 0) {
    std::copy_n(end.arrived.data(), taken, into);
    end.arrived.Drop(taken);
    end.read_total += taken;
    changes_++;
    return static_cast<ssize_t>(taken);
  }
  if (end.ended) {
    end.end_read = true;
    return 0;
  }
  if (end.error != 0) return -std::exchange(end.error, 0);
  if (end.dead) return 0;
  return -EAGAIN;
}

void Kernel::Shut(End& end) {
  if (end.dead || end.shut) return;
  end.shut = true;
  changes_++;
  // inet_shutdown() wakes whoever polls.
  Wake(end.fd, 0);
}

void Kernel::Close(End& end, bool by_reset) {
  if (end.closed) return;
  end.closed = true;
  end.fd = -1;
  changes_++;
  if (end.dead) return;
  if (end.connecting) {
    end.dead = true;
    return;
  }
  // Unread data is told to the other end by an RST (RFC 2525 section 2.17); where both are done there is nobody to tell.
  const bool rude = by_reset || !end.arrived.empty();
  if (rude && !end.finished() && !(end.ended && end.shut && end.sent.empty())) {
    end.sent.Clear();
    end.dead = true;
    end.reset_sent = true;
    end.other->reset_arrives = true;
    return;
  }
  end.arrived.Clear();
  end.shut = true;
}

bool Kernel::CanCarry(const End& from) const {
  const End& to = *from.other;
  if (to.reset_arrives) return true;
  if (from.connecting || from.dead) return false;
  if (!from.sent.empty()) return to.closed || to.dead || to.arrived.size() < to.receive_room;
  return from.shut && !from.fin_arrived;
}

void Kernel::Carry(End& from) {
  End& to = *from.other;
  if (to.reset_arrives) {
    to.reset_arrives = false;
    return ArriveReset(to);
  }
  if (!from.sent.empty()) {
    if (to.closed || to.dead) {
      // Nobody reads it any more: that is told by an RST, and what was still on the way from there is lost.
      trace_.Note("bounce", from.connection, static_cast<int64_t>(from.sent.size()));
      to.sent.Clear();
      to.dead = true;
      return ArriveReset(from);
    }
    const size_t room = std::min(to.receive_room - to.arrived.size(), from.sent.size());
    const size_t count = dice_.OneIn(2) ? room : dice_.Between(1, room);
    trace_.Note("carry", from.connection, from.fd, static_cast<int64_t>(count));
    to.arrived.Push(from.sent.data(), count);
    to.arrived_total += count;
    from.sent.Drop(count);
    return Wake(to.fd, EPOLLIN);
  }
  trace_.Note("fin", from.connection, from.fd);
  from.fin_arrived = true;
  to.ended = true;
  // tcp_fin() at the one end; at the other the acknowledgement of its FIN.
  Wake(to.fd, 0);
  Wake(from.fd, 0);
}

void Kernel::TellRoom(End& end) {
  trace_.Note("room", end.connection, end.fd);
  end.told_full = false;
  Wake(end.fd, EPOLLOUT);
}

void Kernel::ArriveReset(End& end) {
  // Both ends are done, or it knows already.
  if (end.dead || end.finished()) return;
  trace_.Note("reset", end.connection, end.fd);
  // tcp_reset(): behind the other's FIN it is a pipe that broke.
  Kill(end, end.ended && !end.shut ? EPIPE : ECONNRESET);
}

void Kernel::Kill(End& end, int error) {
  end.stuck = end.sent.size() + (end.shut && !end.fin_arrived ? 1 : 0);
  end.sent.Clear();
  end.dead = true;
  end.connecting = false;
  if (!end.closed) end.error = error;
  Wake(end.fd, 0);
}

bool Kernel::CanAnswerDial(const End& end) const {
  return end.connecting && !end.closed && end.fd >= 0 && end.stuck != SIZE_MAX;
}

void Kernel::AnswerDial(End& end) {
  // What becomes of it was thrown when it was dialed, and kept where a queue's length stands later.
  const auto fate = static_cast<Dialed>(std::exchange(end.stuck, 0));
  trace_.Note("dial answered", end.connection, static_cast<int>(fate));
  if (fate != Dialed::kLater) return Kill(end, fate == Dialed::kRefusedLater ? ECONNREFUSED : EHOSTUNREACH);
  end.connecting = false;
  hooks_.established(end.other->port, *end.other);
  Wake(end.fd, 0);
}

}  // namespace sidesplice::simulator
