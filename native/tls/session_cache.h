// The sessions that a client may resume: a bounded number, each used once, none past what it was verified for.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

#include "tls/resumption.h"

namespace sidesplice::tls {

class SessionCache {
 public:
  /** A session holds its peer's certificates: some ten kilobytes. */
  static constexpr size_t kMost = 256;
  /** Connections to one place that begin at once; each that was opened by one brings another. */
  static constexpr size_t kMostOfPlace = 16;
  /** Connections of which the SSL is kept for the ticket that may come, at the same time: 70 kB each, for a second at most. */
  static constexpr size_t kMostAwaited = 256;

  explicit SessionCache(size_t most = kMost, size_t most_of_place = kMostOfPlace) : most_(most), most_of_place_(most_of_place) {}

  // From any thread. Times are seconds since the epoch.
  /** `place` is all that a session is bound to, beside the identity. The oldest goes where there is no room. */
  void Keep(const std::string& place, SslSessionPtr session, const Proof& proof);
  struct Kept {
    SslSessionPtr session;
    Proof proof;
  };
  /** The newest; it is not there any more. No session where there is none that may still be used. */
  [[nodiscard]] Kept Take(const std::string& place, int64_t now);
  /** What is kept for a place is of no use there. */
  void Drop(const std::string& place);
  [[nodiscard]] size_t size() const;
  /** Drops, and keeps nothing there any more: for places of now, the oldest is forgotten where there are too many. */
  void Shun(const std::string& place);
  [[nodiscard]] bool IsShunned(const std::string& place) const;
  /** Whether one more ticket may be waited for; if so, `Awaited` follows when it is over. */
  [[nodiscard]] bool Await();
  void Awaited();

 private:
  struct Entry {
    std::string place;
    Kept kept;
  };

  const size_t most_;
  const size_t most_of_place_;
  mutable std::mutex mutex_;
  /** In the order in which they came. */
  std::deque<Entry> entries_;
  std::deque<std::string> shunned_;
  size_t awaited_ = 0;
};

}  // namespace sidesplice::tls
