// A client's SSL behind its handshake: off the socket, kept for as long as tickets may come first, and given the records that may hold them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "tls/identity.h"
#include "tls/wire.h"

namespace sidesplice::tls {

class TicketTaker {
 public:
  /** Of a handshake that is done, and of which the identity's sessions may wait for a ticket. */
  TicketTaker(std::shared_ptr<const Identity> identity, std::unique_ptr<Wire> wire, SslPtr ssl);
  ~TicketTaker();
  TicketTaker(const TicketTaker&) = delete;
  TicketTaker& operator=(const TicketTaker&) = delete;

  /** The next record of the peer as it came, sealed: none may have been left out. False where it is of no more use. */
  [[nodiscard]] bool Give(std::span<const uint8_t> record);

 private:
  // In this order: an SSL goes before what it points to.
  std::shared_ptr<const Identity> identity_;
  std::unique_ptr<Wire> wire_;
  SslPtr ssl_;
};

}  // namespace sidesplice::tls
