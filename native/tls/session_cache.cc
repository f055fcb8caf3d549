// Keeping and taking sessions.
#include "tls/session_cache.h"

#include <algorithm>
#include <utility>

namespace sidesplice::tls {

namespace {

/** By the server's word too (RFC 8446 section 4.6.1). */
bool IsGood(const SessionCache::Kept& kept, int64_t now) {
  const int64_t since = SSL_SESSION_get_time(kept.session.get());
  const int64_t lives = SSL_SESSION_get_ticket_lifetime_hint(kept.session.get());
  return now >= since && now < since + lives && now < kept.proof.until;
}

}  // namespace

void SessionCache::Keep(const std::string& place, SslSessionPtr session, const Proof& proof) {
  const std::lock_guard lock(mutex_);
  const auto of_place = [&](const Entry& entry) { return entry.place == place; };
  if (static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(), of_place)) >= most_of_place_)
    entries_.erase(std::find_if(entries_.begin(), entries_.end(), of_place));
  if (entries_.size() >= most_) entries_.pop_front();
  entries_.push_back({.place = place, .kept = {.session = std::move(session), .proof = proof}});
}

SessionCache::Kept SessionCache::Take(const std::string& place, int64_t now) {
  const std::lock_guard lock(mutex_);
  for (size_t at = entries_.size(); at-- > 0;) {
    if (entries_[at].place != place) continue;
    Kept kept = std::move(entries_[at].kept);
    entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(at));
    if (IsGood(kept, now)) return kept;
  }
  return {};
}

void SessionCache::Drop(const std::string& place) {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [&](const Entry& entry) { return entry.place == place; });
}

size_t SessionCache::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

void SessionCache::Shun(const std::string& place) {
  Drop(place);
  const std::lock_guard lock(mutex_);
  shunned_.push_back(place);
  if (shunned_.size() > most_) shunned_.pop_front();
}

bool SessionCache::IsShunned(const std::string& place) const {
  const std::lock_guard lock(mutex_);
  return std::find(shunned_.begin(), shunned_.end(), place) != shunned_.end();
}

bool SessionCache::Await() {
  const std::lock_guard lock(mutex_);
  if (awaited_ >= kMostAwaited) return false;
  awaited_++;
  return true;
}

void SessionCache::Awaited() {
  const std::lock_guard lock(mutex_);
  awaited_--;
}

}  // namespace sidesplice::tls
