// What all peers do, and the app.
#include "simulator/peer.h"

#include <errno.h>

#include <algorithm>

#include "simulator/flow.h"

namespace sidesplice::simulator {

namespace {

constexpr size_t kReadBytes = 64 * 1024;
constexpr size_t kWriteBytes = 64 * 1024;

}  // namespace

void Peer::Act() {
  if (dice_.OneIn(habits_.pauses)) {
    asleep_until_ = kernel_.now_ns() + static_cast<int64_t>(dice_.Sized(static_cast<uint64_t>(habits_.longest_pause_ns)));
    return;
  }
  const bool can_read = CanRead();
  const bool can_write = CanWrite();
  if (can_read && (!can_write || dice_.OneIn(2))) return Read();
  if (can_write) return Write();
  if (!CanLeave()) return;
  if (habits_.leave == Leave::kProperly || habits_.leave == Leave::kSecond) {
    if (told_end_) return Depart(false);
    told_end_ = true;
    return TellEnd();
  }
  LeaveNow();
}

bool Peer::CanRead() const {
  if (got_end_ || !reads()) return false;
  return !end.arrived.empty() || end.ended || end.dead || end.error != 0;
}

bool Peer::CanLeave() const {
  if (end.connecting) return false;
  if (habits_.leave == Leave::kNever || !all_sent()) return false;
  if (!told_end_) return habits_.leave != Leave::kSecond || got_end_;
  return got_end_;
}

void Peer::Read() {
  uint8_t buffer[kReadBytes];
  const size_t most = std::min(sizeof(buffer), habits_.read_at_once);
  const ssize_t got = kernel_.Receive(end, buffer, dice_.OneIn(2) ? most : dice_.Between(1, most));
  if (got == -EAGAIN) return;
  if (got < 0) return Broken(static_cast<int>(-got));
  if (got > 0) return TakeBytes(buffer, static_cast<size_t>(got));
  got_end_ = true;
  // A connection that broke behind the other's end gives the end again.
  if (end.dead && !end.ended) return Broken(ECONNRESET);
  TakeEnd();
}

void Peer::Broken(int error) {
  got_error = true;
  flow.trace.Note("peer is told", end.connection, error);
  Depart(true);
}

void Peer::Depart(bool by_reset) {
  flow.trace.Note("peer leaves", end.connection, by_reset ? 1 : 0);
  gone_ = true;
  kernel_.Close(end, by_reset);
}

void Peer::GoHome() {
  if (!gone_) Depart(dice_.OneIn(2));
}

bool App::CanWrite() const { return sent < habits_.to_send && (end.room() > 0 || end.dead) && !end.shut; }

void App::Write() {
  const size_t most = std::min<uint64_t>(kWriteBytes, habits_.to_send - sent);
  const std::span<const uint8_t> bytes = out_.Bytes(sent, dice_.OneIn(2) ? most : dice_.Between(1, most));
  const ssize_t taken = kernel_.Send(end, bytes.data(), bytes.size());
  if (taken == -EAGAIN) return;
  if (taken < 0) return Broken(static_cast<int>(-taken));
  sent += static_cast<uint64_t>(taken);
  flow.trace.Note("app sends", end.connection, taken);
}

void App::TakeBytes(const uint8_t* bytes, size_t count) {
  if (!in_.Holds(received, {bytes, count})) Fail("an app got bytes that were not sent to it there, from byte " + std::to_string(received));
  received += count;
  flow.trace.Note("app gets", end.connection, static_cast<int64_t>(count));
}

void App::TakeEnd() {
  flow.trace.Note("app gets an end", end.connection);
  got_clean_end = true;
  flow.CheckAppEnd(*this);
}

void App::TellEnd() {
  flow.trace.Note("app ends", end.connection);
  ended_cleanly = true;
  kernel_.Shut(end);
}

}  // namespace sidesplice::simulator
