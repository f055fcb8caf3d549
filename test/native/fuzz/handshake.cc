// A handshake fed any bytes, as a server and as a client: it is done, or fails with a reason, and never waits at the end of a stream.
//   byte 0: role; the rest is what the peer sends
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>

#include "support/certificates.h"
#include "sys/fd.h"
#include "tls/handshake.h"

using namespace sidesplice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 1) return 0;
  const tls::Role role = (bytes[0] & 1) != 0 ? tls::Role::kClient : tls::Role::kServer;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const sys::Fd ours(ends[0]);
  const sys::Fd peer(ends[1]);
  [[maybe_unused]] const ssize_t sent = send(peer.get(), bytes + 1, size - 1, MSG_NOSIGNAL);
  shutdown(peer.get(), SHUT_WR);
  const auto handshake = tls::Handshake::Begin(test::TheMesh().identity, role, ours.get(), {.server_name = "db.test.consul", .expect = {}});
  const tls::Handshake::Step step = handshake->Advance();
  if (step == tls::Handshake::Step::kWantRead || step == tls::Handshake::Step::kWantWrite) std::abort();
  if (step == tls::Handshake::Step::kDone) std::abort();
  if (handshake->detail().empty()) std::abort();
  if (handshake->fault() == tls::HandshakeFault::kAlert && handshake->alert() == 0) std::abort();
  return 0;
}
