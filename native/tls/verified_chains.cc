// Remembering verified chains.
#include "tls/verified_chains.h"

#include <algorithm>

namespace sidesplice::tls {

int64_t VerifiedChains::HeldUntil(const Digest& chain, int64_t now) const {
  const std::lock_guard lock(mutex_);
  const auto found = chains_.find(chain);
  // A clock that was set back may stand before a NotBefore that it had passed.
  return found != chains_.end() && now >= found->second.from && now < found->second.until ? found->second.until : 0;
}

void VerifiedChains::Remember(const Digest& chain, int64_t now, int64_t until) {
  const Span span{.from = now, .until = std::min(until, now + kLongestSeconds)};
  if (span.until <= span.from) return;
  const std::lock_guard lock(mutex_);
  const auto [at, fresh] = chains_.insert_or_assign(chain, span);
  if (!fresh) return;
  order_.push_back(chain);
  if (order_.size() <= most_) return;
  chains_.erase(order_.front());
  order_.pop_front();
}

size_t VerifiedChains::size() const {
  const std::lock_guard lock(mutex_);
  return chains_.size();
}

}  // namespace sidesplice::tls
