// Sessions of a worker that have something to let go of while they are quiet: looked at now and then until they have.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "core/reactor.h"

namespace sidesplice::core {

class Slumber {
 public:
  class Sleeper {
   public:
    /** Nothing has moved for a while. */
    virtual void Rest() = 0;
    /** When something did last, as NowMs(). */
    [[nodiscard]] virtual double moved_at() const = 0;

   protected:
    ~Sleeper() = default;

   private:
    friend class Slumber;
    static constexpr size_t kNowhere = std::numeric_limits<size_t>::max();
    size_t place_ = kNowhere;
  };

  explicit Slumber(Reactor& reactor) : reactor_(reactor) {}

  /** It has something to let go of, until it rests or is forgotten; said as often as one likes. */
  void Wake(Sleeper& sleeper) {
    if (sleeper.place_ == Sleeper::kNowhere) Seat(sleeper);
  }
  void Forget(Sleeper& sleeper);

 private:
  void Seat(Sleeper& sleeper);
  void Look();

  Reactor& reactor_;
  std::vector<Sleeper*> awake_;
  /** Of a round that goes on: so many, from the front, have not been looked at. */
  size_t left_ = 0;
  Timer look_;
};

}  // namespace sidesplice::core
