// One connection of the app: what it was asked for and has not done yet.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "load/protocol.h"
#include "sys/fd.h"

namespace sidesplice::load {

class AppConnection {
 public:
  explicit AppConnection(sys::Fd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const { return fd_.get(); }
  /** Reads and writes what can be; false once it is over. `scratch` holds `kChunkBytes`. */
  [[nodiscard]] bool OnReady(uint8_t* scratch);
  /** Of EPOLLIN and EPOLLOUT. */
  [[nodiscard]] uint32_t wanted() const;
  uint32_t watched = 0;

 private:
  [[nodiscard]] bool Read(uint8_t* scratch);
  [[nodiscard]] bool Take(const uint8_t* bytes, size_t count);
  [[nodiscard]] size_t TakeMessage(const uint8_t* bytes, size_t count);
  [[nodiscard]] bool Begin(const Message& message);
  [[nodiscard]] bool Write();
  [[nodiscard]] bool writing() const { return source_left_ > 0 || !pending_.empty() || receipt_due_; }
  void Answer(Verb verb);

  sys::Fd fd_;
  std::array<uint8_t, sizeof(Message)> partial_{};
  size_t partial_bytes_ = 0;
  uint64_t seed_ = 0;
  uint64_t received_ = 0;
  uint64_t sent_ = 0;
  uint64_t sink_left_ = 0;
  uint64_t source_left_ = 0;
  bool echoing_ = false;
  bool receipt_due_ = false;
  bool input_ended_ = false;
  /** Answers and echoes that the kernel has not taken. */
  std::vector<uint8_t> pending_;
};

}  // namespace sidesplice::load
