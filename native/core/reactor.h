// A thread with one epoll loop: descriptors that are watched, timers, and tasks from other threads. What it serves is touched by
// its thread alone; other threads post.
#pragma once

#include <pthread.h>
#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>
#include <vector>

#include "sys/fd.h"

namespace sidesplice::core {

/** Monotonic milliseconds (CLOCK_MONOTONIC), as every time of the core. */
double NowMs();

class Watcher {
 public:
  /** `events` as epoll_wait(2) gave them; never called after the descriptor was forgotten. */
  virtual void OnReady(uint32_t events) = 0;

 protected:
  ~Watcher() = default;
};

class Reactor;

/** One deadline; cancelled with its owner. */
class Timer {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Cancel(); }

  /** Replaces what was set. */
  void Set(Reactor& reactor, double after_ms, std::function<void()> expire);
  void Cancel();
  [[nodiscard]] bool armed() const { return reactor_ != nullptr; }

 private:
  friend class Reactor;
  Reactor* reactor_ = nullptr;
  double due_at_ = 0;
  /** Of those that are due at the same time the one that was set first expires first. */
  uint64_t number_ = 0;
  std::function<void()> expire_;
};

class Reactor {
 public:
  using Task = std::function<void()>;

  Reactor() = default;
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  /** 0, or the negative errno of what could not be made. `niceness` is added to that of the process (setpriority(2)). */
  [[nodiscard]] int Start(const char* name, int niceness);
  /** As Start, without a thread: whoever opened it calls Turn, and is its thread. */
  [[nodiscard]] int Open();
  /** One round of the loop: what was posted, what is ready, what is due, what was put off. False once it has stopped. */
  bool Turn();
  /** How long the next turn would wait for an event at most. */
  [[nodiscard]] int WaitMs() const;
  /** Runs what has been posted, then ends the thread. */
  void Stop();

  /** From any thread. Tasks of one thread run in the order in which they were posted. */
  void Post(Task task);

  /** The rest on the reactor's own thread. Edge-triggered unless `level`. Returns 0 or a negative errno. */
  [[nodiscard]] int Watch(int fd, Watcher* watcher, uint32_t events);
  /** No event of this turn that came for it is delivered any more. */
  void Forget(int fd, Watcher* watcher);
  /** Runs at the end of the turn: where an object ends itself, it does so outside its own calls. */
  void AtEndOfTurn(Task task) { ending_.push_back(std::move(task)); }
  /** Runs in a later turn, one task a turn, behind what is ready by then: for who has used up its share of this one. */
  void NextTurn(Task task) { next_.push_back(std::move(task)); }

  [[nodiscard]] bool on_thread() const { return pthread_equal(pthread_self(), thread_) != 0; }

 private:
  friend class Timer;
  struct ByTime {
    bool operator()(const Timer* one, const Timer* other) const {
      return one->due_at_ != other->due_at_ ? one->due_at_ < other->due_at_ : one->number_ < other->number_;
    }
  };

  static void* RunThread(void* reactor);
  void Run();
  void RunPosted();
  void RunTimers();
  void RunNext();
  void RunEnding();

  sys::Fd epoll_;
  sys::Fd wake_;
  // Not std::thread, which throws where there is none to be had, and nothing here catches.
  pthread_t thread_{};
  bool running_ = false;
  std::atomic<bool> stopping_{false};
  const char* name_ = "";
  int niceness_ = 0;

  std::mutex mutex_;
  std::vector<Task> posted_;

  std::set<Timer*, ByTime> timers_;
  uint64_t timers_set_ = 0;
  std::vector<Task> ending_;
  std::deque<Task> next_;
  /** Watchers that were forgotten while the events of a turn are delivered. */
  std::vector<Watcher*> forgotten_;
  bool delivering_ = false;
};

}  // namespace sidesplice::core
