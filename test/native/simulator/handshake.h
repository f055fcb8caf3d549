// A handshake without OpenSSL: flights of so many bytes, by turns, as both ends know them beforehand; then real keys. It fails where
// and how its script says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "simulator/dice.h"
#include "tls/handshake.h"

namespace sidesplice::simulator {

struct Script {
  struct Flight {
    bool from_core = false;
    size_t bytes = 0;
  };

  static Script Throw(Dice& dice, bool core_is_server, bool calm);

  tls::Version version = tls::Version::kTls13;
  tls::Aead aead = tls::Aead::kAes128Gcm;
  bool core_is_server = false;
  uint8_t secret = 0;
  std::vector<Flight> flights;
  /** The flight at which the core's side fails; none where it is none of them. */
  size_t core_fails_at = SIZE_MAX;
  tls::HandshakeFault fault = tls::HandshakeFault::kProtocol;
  uint8_t alert = 0;
  bool no_memory = false;
  bool no_keys = false;
  /** The core may write no longer records. */
  size_t most_payload = tls::kMaxPayloadBytes;
  /** The flight at which the peer leaves, or falls silent. */
  size_t peer_leaves_at = SIZE_MAX;
  bool peer_falls_silent = false;

  /** Of the direction that the client, or the server, writes. */
  [[nodiscard]] std::unique_ptr<tls::RecordKey> Key(bool of_client) const;
};

/** The core's side; what is at the other end of `fd` is asked of the schedule that runs. */
std::unique_ptr<tls::Handshake> BeginScripted(std::shared_ptr<const tls::Identity> identity, tls::Role ours, int fd,
                                              tls::Handshake::Peer peer);
/** The script of the connection of which `fd` is the core's end. */
const Script& ScriptOf(int fd);

}  // namespace sidesplice::simulator
