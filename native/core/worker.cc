// Relays of a worker.
#include "core/worker.h"

#include <utility>

#include "core/record_relay.h"
#include "core/splice_relay.h"

namespace sidesplice::core {

namespace {

// As far back as the placement of new sessions looks, and what of it makes no difference.
constexpr double kWindowMs = 100;
constexpr uint64_t kTrifleBytes = 64 * 1024;

}  // namespace

void Worker::Take(Session session, Legs legs, Relay::OnEnd on_end) {
  load_++;
  struct Parcel {
    Session session;
    Legs legs;
    Relay::OnEnd on_end;
  };
  // A task can be copied; what travels in it can't.
  auto parcel = std::make_shared<Parcel>(Parcel{std::move(session), std::move(legs), std::move(on_end)});
  reactor_.Post([this, parcel] { Begin(std::move(parcel->session), std::move(parcel->legs), std::move(parcel->on_end)); });
}

void Worker::Begin(Session session, Legs legs, Relay::OnEnd on_end) {
  const std::shared_ptr<SessionShared> shared = session.shared;
  Relay* relay = BeginRelay(std::move(session), std::move(legs), std::move(on_end));
  if (relay == nullptr) return;
  relays_[shared->id] = relay;
  // Ended from outside since.
  const char* ending = shared->ending;
  if (ending != nullptr) relay->Terminate(ending);
}

/** The kernel's where it takes the keys. A peer that asked for short records has them from us: the kernel knows one size. */
Relay* Worker::BeginRelay(Session session, Legs legs, Relay::OnEnd on_end) {
  if (options_.kernel.Takes(legs.write->aead()) && legs.write->max_payload() == tls::kMaxPayloadBytes) {
    KernelLeg leg;
    const KernelLeg::Result result = leg.Take(legs.tls.get(), &legs.read, &legs.write, options_.kernel.rekeys);
    if (result != KernelLeg::Result::kRefused) {
      const bool half = result == KernelLeg::Result::kHalf;
      return SpliceRelay::Begin(home(), std::move(session), std::move(legs), std::move(leg), half, std::move(on_end));
    }
  }
  return RecordRelay::Begin(home(), std::move(session), std::move(legs), std::move(on_end));
}

void Worker::Gone(SessionId session) {
  relays_.erase(session);
  load_--;
}

/**
 * Two that are bulk share a thread while another has nothing to do: one of them goes there. Not a session that has a thread for itself already, nor
 * more than one in a window, since the other thread's idleness is of the last.
 */
bool Worker::HandsOver(Relay& relay) {
  if (all_.size() < 2) return false;
  const double now = NowMs();
  if (now - looked_at_ >= kWindowMs) LookAround(now);
  if (std::exchange(relay.bulk_window, window_) != window_) bulk_++;
  if (bulk_before_ < 2 || handed_over_) return false;
  const auto known = relays_.find(relay.id());
  // In its first turn it is not known yet.
  if (known == relays_.end()) return false;
  for (size_t at = 0; at < all_.size(); at++) {
    if (all_[at] == this || looks_[at].lately >= kTrifleBytes) continue;
    handed_over_ = true;
    relays_.erase(known);
    load_--;
    relay.Leave();
    all_[at]->Receive(&relay);
    return true;
  }
  return false;
}

void Worker::LookAround(double now) {
  looks_.resize(all_.size());
  for (size_t at = 0; at < all_.size(); at++) {
    const uint64_t moved = all_[at]->moved();
    looks_[at] = {.moved = moved, .lately = moved - looks_[at].moved};
  }
  // What was bulk before a pause says nothing of now.
  bulk_before_ = now - looked_at_ < 2 * kWindowMs ? bulk_ : 0;
  bulk_ = 0;
  handed_over_ = false;
  looked_at_ = now;
  window_++;
}

void Worker::Receive(Relay* relay) {
  load_++;
  reactor_.Post([this, relay] {
    const SessionId session = relay->id();
    // Not known before: so that it is not handed on in its first turn, and looked at behind it.
    if (relay->Arrive(home())) relays_[session] = relay;
  });
}

void Worker::Terminate(std::vector<SessionId> sessions, const char* reason) {
  reactor_.Post([this, sessions = std::move(sessions), reason] {
    for (const SessionId session : sessions) {
      const auto found = relays_.find(session);
      if (found != relays_.end()) found->second->Terminate(reason);
    }
  });
}

void Worker::Stop() {
  reactor_.Post([this] { lingering_.Cut(); });
  reactor_.Stop();
}

}  // namespace sidesplice::core
