// Taking tickets.
#include "tls/ticket_taker.h"

#include <utility>

namespace sidesplice::tls {

TicketTaker::TicketTaker(std::shared_ptr<const Identity> identity, std::unique_ptr<Wire> wire, SslPtr ssl)
    : identity_(std::move(identity)), wire_(std::move(wire)), ssl_(std::move(ssl)) {
  wire_->LeaveSocket();
}

TicketTaker::~TicketTaker() {
  // Without it the session would be taken for broken, and not be resumed (SSL_free(3)).
  SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  identity_->sessions().Awaited();
}

bool TicketTaker::Give(std::span<const uint8_t> record) {
  const ErrorScope errors;
  wire_->Give(record);
  uint8_t byte = 0;
  size_t got = 0;
  const int result = SSL_read_ex(ssl_.get(), &byte, sizeof(byte), &got);
  const bool waits = result != 1 && SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ && !wire_->has_given();
  wire_->Give({});
  // One is enough.
  return waits && wire_->tickets_seen == 0;
}

}  // namespace sidesplice::tls
