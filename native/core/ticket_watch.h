// The start of a session that we opened: its first records are handed to what takes tickets, until one was taken, or something else came, or a second
// is over. Then nothing of it is left.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/reactor.h"
#include "tls/ticket_taker.h"

namespace sidesplice::core {

class TicketWatch {
 public:
  /** A server sends its tickets with its Finished or right behind ours; kept longer, each idle session would have an SSL. */
  static constexpr double kLimitMs = 1'000;

  /** `expire` is called on the reactor's thread when it has waited long enough. */
  TicketWatch(Reactor& reactor, std::unique_ptr<tls::TicketTaker> taker, std::function<void()> expire) : taker_(std::move(taker)) {
    limit_.Set(reactor, kLimitMs, std::move(expire));
  }

  /** A record as it came: it is opened in place, so what is given on is a copy. */
  void Hold(std::span<const uint8_t> record) { held_.assign(record.begin(), record.end()); }
  /** What that record was. False where there is nothing more to wait for. */
  [[nodiscard]] bool Tell(tls::ContentType type) { return type == tls::ContentType::kHandshake && taker_->Give(held_); }

 private:
  std::unique_ptr<tls::TicketTaker> taker_;
  std::vector<uint8_t> held_;
  Timer limit_;
};

}  // namespace sidesplice::core
