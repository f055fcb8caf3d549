// What happened in a schedule: a hash of all of it, by which two runs are compared, and the lines of it where somebody reads along.
#pragma once

#include <cstdint>
#include <string>

namespace sidesplice::simulator {

class Trace {
 public:
  explicit Trace(uint64_t seed, bool shown) : seed_(seed), shown_(shown) {}

  void Note(const char* what, int64_t first = 0, int64_t second = 0, int64_t third = 0) {
    Mix(static_cast<uint64_t>(static_cast<uint8_t>(what[0])) << 8 | static_cast<uint8_t>(what[1]));
    Mix(static_cast<uint64_t>(first));
    Mix(static_cast<uint64_t>(second));
    Mix(static_cast<uint64_t>(third));
    if (shown_) Show(what, first, second, third);
  }
  void Word(const char* what, const std::string& text) {
    for (const char letter : text) Mix(static_cast<uint8_t>(letter));
    if (shown_) ShowWord(what, text);
  }
  void SetClock(int64_t now_ns) { now_ns_ = now_ns; }
  [[nodiscard]] uint64_t hash() const { return hash_; }
  [[nodiscard]] uint64_t seed() const { return seed_; }

 private:
  void Mix(uint64_t value) { hash_ = (hash_ ^ value) * 0x100000001B3 ^ hash_ >> 29; }
  void Show(const char* what, int64_t first, int64_t second, int64_t third) const;
  void ShowWord(const char* what, const std::string& text) const;

  const uint64_t seed_;
  const bool shown_;
  int64_t now_ns_ = 0;
  uint64_t hash_ = 0xCBF29CE484222325;
};

/** The schedule that runs; a failure, a sanitizer's too, names its seed and how it is run again. */
void SetCurrentSeed(uint64_t seed, const char* program);
void TellSeed();
[[noreturn]] void Fail(const std::string& why);

}  // namespace sidesplice::simulator
