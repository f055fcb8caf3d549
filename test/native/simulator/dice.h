// The one source of chance of a schedule: the same seed throws the same numbers on every machine.
#pragma once

#include <cstdint>

namespace sidesplice::simulator {

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}

  /** SplitMix64: any seed is as good as another, neighbours have nothing in common. */
  uint64_t Next() {
    uint64_t mixed = state_ += 0x9E3779B97F4A7C15;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB;
    return mixed ^ (mixed >> 31);
  }
  /** From 0 up to, not including, `end`. */
  uint64_t Below(uint64_t end) { return ((Next() >> 32) * end) >> 32; }
  /** Both ends included. */
  uint64_t Between(uint64_t first, uint64_t last) { return first + Below(last - first + 1); }
  /** Once in `times`; never for 0. */
  bool OneIn(uint64_t times) { return times != 0 && Below(times) == 0; }
  /** Mostly small, at times up to `most`: each power of two is as likely as another. */
  uint64_t Sized(uint64_t most) {
    uint64_t bits = 0;
    while (most >> bits > 1) bits++;
    const uint64_t size = Below(uint64_t{1} << (Below(bits + 1) + 1));
    return size > most ? most : size;
  }

 private:
  uint64_t state_;
};

}  // namespace sidesplice::simulator
