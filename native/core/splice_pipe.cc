// Pipes are made when they are needed first, and kept.
#include "core/splice_pipe.h"

#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

// The most that the kernel lets anyone have for one (pipe(7), /proc/sys/fs/pipe-max-size).
constexpr int kWantedBytes = 1024 * 1024;
// What a pipe holds where nothing was asked for (pipe(7)).
constexpr size_t kDefaultBytes = 64 * 1024;
// The kernel lets a user have 64 MiB of them in all (pipe(7), pipe-user-pages-soft): half of that is left to others.
constexpr size_t kMostPipes = 32;

}  // namespace

size_t PipesOf(size_t workers) { return std::max<size_t>(kMostPipes / std::max<size_t>(workers, 1), 1); }

SplicePipe::SplicePipe(SplicePipe&& other) noexcept { *this = std::move(other); }

SplicePipe& SplicePipe::operator=(SplicePipe&& other) noexcept {
  read_ = std::move(other.read_);
  write_ = std::move(other.write_);
  capacity_ = std::exchange(other.capacity_, 0);
  held_ = std::exchange(other.held_, 0);
  return *this;
}

ssize_t SplicePipe::Fill(int from) {
  const ssize_t got = sys::Splice(from, write_.get(), room());
  if (got > 0) held_ += static_cast<size_t>(got);
  return got;
}

ssize_t SplicePipe::Drain(int to) {
  const ssize_t sent = sys::Splice(read_.get(), to, held_);
  if (sent > 0) held_ -= static_cast<size_t>(sent);
  return sent;
}

void SplicePipe::Empty(Pending* into) {
  while (held_ > 0) {
    uint8_t* room = into->Grow(held_);
    const ssize_t got = sys::Read(read_.get(), room, held_);
    // What a pipe holds can be read; nothing else reads it.
    const size_t taken = got > 0 ? static_cast<size_t>(got) : 0;
    into->Shrink(held_ - taken);
    held_ = taken > 0 ? held_ - taken : 0;
  }
}

SplicePipe PipePool::Take() {
  if (!idle_.empty()) {
    SplicePipe pipe = std::move(idle_.back());
    idle_.pop_back();
    taken_++;
    return pipe;
  }
  SplicePipe pipe;
  int ends[2];
  if (taken_ >= most_ || sys::Pipe(ends) < 0) return pipe;
  pipe.read_ = sys::Fd(ends[0]);
  pipe.write_ = sys::Fd(ends[1]);
  // Past the user's share it stays as small as it is, and does all the same.
  const int bytes = fcntl(ends[1], F_SETPIPE_SZ, kWantedBytes);
  const int had = bytes > 0 ? bytes : fcntl(ends[1], F_GETPIPE_SZ);
  pipe.capacity_ = had > 0 ? static_cast<size_t>(had) : kDefaultBytes;
  taken_++;
  return pipe;
}

void PipePool::Give(SplicePipe pipe) {
  taken_--;
  if (pipe.empty()) idle_.push_back(std::move(pipe));
}

}  // namespace sidesplice::core
