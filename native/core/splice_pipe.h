// The kernel pipes that splice(2) moves bytes through, and the few of them that a worker has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/pending.h"
#include "sys/fd.h"

namespace sidesplice::core {

/** One direction's hold on a pipe of the pool: there is one while bytes are in it. */
class SplicePipe {
 public:
  SplicePipe() = default;
  SplicePipe(SplicePipe&& other) noexcept;
  SplicePipe& operator=(SplicePipe&& other) noexcept;

  [[nodiscard]] bool valid() const { return read_.valid(); }
  [[nodiscard]] bool empty() const { return held_ == 0; }
  [[nodiscard]] size_t room() const { return capacity_ - held_; }

  /** From a socket, `room()` at most; as splice(2) has it. */
  ssize_t Fill(int from);
  /** To a socket; as splice(2) has it. */
  ssize_t Drain(int to);
  /** What is in it, for whoever sends it otherwise. */
  void Empty(Pending* into);

 private:
  friend class PipePool;

  sys::Fd read_;
  sys::Fd write_;
  size_t capacity_ = 0;
  size_t held_ = 0;
};

class PipePool {
 public:
  /** `most` pipes at a time. */
  explicit PipePool(size_t most) : most_(most) {}
  PipePool(const PipePool&) = delete;
  PipePool& operator=(const PipePool&) = delete;

  /** Not valid where there is none to be had: bytes are copied then. */
  SplicePipe Take();
  /** Into the hands of the next, or away where bytes are left in it that nobody wants. */
  void Give(SplicePipe pipe);

  [[nodiscard]] size_t taken() const { return taken_; }
  [[nodiscard]] size_t idle() const { return idle_.size(); }

 private:
  const size_t most_;
  size_t taken_ = 0;
  std::vector<SplicePipe> idle_;
};

/** For each of so many workers. */
size_t PipesOf(size_t workers);

}  // namespace sidesplice::core
