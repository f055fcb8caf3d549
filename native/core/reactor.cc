// The loop of a reactor.
#include "core/reactor.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sys/calls.h"

namespace sidesplice::core {

namespace {

constexpr int kEventsPerTurn = 256;
// A loop without a timer wakes now and then all the same; nothing hangs on it.
constexpr int kLongestWaitMs = 60'000;

}  // namespace

double NowMs() { return sys::ClockMs(CLOCK_MONOTONIC); }

void Timer::Set(Reactor& reactor, double after_ms, std::function<void()> expire) {
  Cancel();
  reactor_ = &reactor;
  due_at_ = NowMs() + std::max(after_ms, 0.0);
  number_ = reactor.timers_set_++;
  expire_ = std::move(expire);
  reactor.timers_.insert(this);
}

void Timer::Cancel() {
  if (reactor_ == nullptr) return;
  reactor_->timers_.erase(this);
  reactor_ = nullptr;
  expire_ = nullptr;
}

Reactor::~Reactor() { Stop(); }

int Reactor::Open() {
  const int epoll = sys::EpollCreate();
  if (epoll < 0) return epoll;
  epoll_ = sys::Fd(epoll);
  const int wake = sys::EventFd();
  if (wake < 0) return wake;
  wake_ = sys::Fd(wake);
  return sys::EpollControl(epoll, EPOLL_CTL_ADD, wake, EPOLLIN, nullptr);
}

int Reactor::Start(const char* name, int niceness) {
  const int opened = Open();
  if (opened < 0) return opened;
  name_ = name;
  niceness_ = niceness;
  const int failed = pthread_create(&thread_, nullptr, RunThread, this);
  running_ = failed == 0;
  return -failed;
}

void* Reactor::RunThread(void* reactor) {
  static_cast<Reactor*>(reactor)->Run();
  return nullptr;
}

void Reactor::Stop() {
  if (!wake_.valid() || stopping_.exchange(true)) return;
  Post([] {});
  if (std::exchange(running_, false)) {
    pthread_join(thread_, nullptr);
    return;
  }
  while (Turn()) {
  }
}

void Reactor::Post(Task task) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = posted_.empty();
    posted_.push_back(std::move(task));
  }
  if (!first) return;
  sys::Notify(wake_.get());
}

int Reactor::Watch(int fd, Watcher* watcher, uint32_t events) {
  return sys::EpollControl(epoll_.get(), EPOLL_CTL_ADD, fd, events, watcher);
}

void Reactor::Forget(int fd, Watcher* watcher) {
  sys::EpollControl(epoll_.get(), EPOLL_CTL_DEL, fd, 0, nullptr);
  if (delivering_) forgotten_.push_back(watcher);
}

void Reactor::Run() {
  pthread_setname_np(pthread_self(), name_);
  // On Linux the calling thread alone, by its thread ID (setpriority(2), NOTES).
  if (niceness_ != 0) {
    const auto tid = static_cast<id_t>(syscall(SYS_gettid));
    setpriority(PRIO_PROCESS, tid, getpriority(PRIO_PROCESS, tid) + niceness_);
  }
  while (Turn()) {
  }
}

bool Reactor::Turn() {
  const bool stop = stopping_.load();
  RunPosted();
  if (stop) {
    // What was put off is done yet: objects end there.
    while (!next_.empty() || !ending_.empty()) {
      RunNext();
      RunEnding();
    }
    return false;
  }
  const bool some_wait = !next_.empty();
  epoll_event events[kEventsPerTurn];
  const int ready = sys::EpollWait(epoll_.get(), events, kEventsPerTurn, WaitMs());
  delivering_ = true;
  const auto is_wake = [](const epoll_event& event) { return event.data.ptr == nullptr; };
  // What was posted goes first: it may be why the other events came, as a connection to a listener that is just another's now.
  if (std::any_of(events, events + std::max(ready, 0), is_wake)) {
    sys::TakeNotice(wake_.get());
    RunPosted();
  }
  for (int at = 0; at < ready; at++) {
    auto* watcher = static_cast<Watcher*>(events[at].data.ptr);
    if (watcher == nullptr) continue;
    if (std::find(forgotten_.begin(), forgotten_.end(), watcher) == forgotten_.end())
      watcher->OnReady(events[at].events);
  }
  delivering_ = false;
  forgotten_.clear();
  RunTimers();
  // One: whatever becomes ready meanwhile waits for no more than a share.
  if (some_wait) RunNext();
  RunEnding();
  return true;
}

void Reactor::RunNext() {
  if (next_.empty()) return;
  const Task next = std::move(next_.front());
  next_.pop_front();
  next();
}

void Reactor::RunEnding() {
  // What ends may end others.
  while (!ending_.empty()) {
    std::vector<Task> ending = std::move(ending_);
    ending_.clear();
    for (Task& task : ending) task();
  }
}

void Reactor::RunPosted() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(posted_);
  }
  for (Task& task : tasks) task();
}

void Reactor::RunTimers() {
  const double now = NowMs();
  while (!timers_.empty() && (*timers_.begin())->due_at_ <= now) {
    Timer* timer = *timers_.begin();
    std::function<void()> expire = std::move(timer->expire_);
    timer->Cancel();
    expire();
  }
}

int Reactor::WaitMs() const {
  if (!next_.empty() || !ending_.empty()) return 0;
  if (timers_.empty()) return kLongestWaitMs;
  const double left = (*timers_.begin())->due_at_ - NowMs();
  return static_cast<int>(std::clamp(std::ceil(left), 0.0, static_cast<double>(kLongestWaitMs)));
}

}  // namespace sidesplice::core
