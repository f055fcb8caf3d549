// Relays of a worker.
#include "core/worker.h"

#include <utility>

#include "core/record_relay.h"
#include "core/splice_relay.h"

namespace sidesplice::core {

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
  Relay* relay = BeginRelay(std::move(session), std::move(legs),
                              [this, on_end = std::move(on_end)](Session ended, RelayEnd end, sys::Fd downstream) {
                                relays_.erase(ended.shared->id);
                                load_--;
                                on_end(std::move(ended), std::move(end), std::move(downstream));
                              });
  if (relay == nullptr) return;
  relays_[shared->id] = relay;
  // Ended from outside since.
  const char* ending = shared->ending;
  if (ending != nullptr) relay->Terminate(ending);
}

/** The kernel's where it takes the keys. A peer that asked for short records has them from us: the kernel knows one size. */
Relay* Worker::BeginRelay(Session session, Legs legs, Relay::OnEnd on_end) {
  const Relay::Home home{reactor_, lingering_, scratch_, moved_, options_.rekey_after_records, pipes_, ledger_, parking_};
  if (options_.kernel.Takes(legs.write->aead()) && legs.write->max_payload() == tls::kMaxPayloadBytes) {
    KernelLeg leg;
    const KernelLeg::Result result = leg.Take(legs.tls.get(), &legs.read, &legs.write, options_.kernel.rekeys);
    if (result != KernelLeg::Result::kRefused) {
      const bool half = result == KernelLeg::Result::kHalf;
      return SpliceRelay::Begin(home, std::move(session), std::move(legs), std::move(leg), half, std::move(on_end));
    }
  }
  return RecordRelay::Begin(home, std::move(session), std::move(legs), std::move(on_end));
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
