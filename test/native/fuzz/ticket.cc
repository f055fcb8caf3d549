// What a server says behind its handshake, any bytes in one record or two, to a client that waits for a ticket: it is taken or it is not, and what is
// kept of it has a bound.
//   byte 0: the share of the first record, of 255; the rest is handshake messages
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "support/certificates.h"
#include "support/record_writer.h"
#include "sys/calls.h"
#include "sys/fd.h"
#include "tls/handshake.h"

using namespace sidesplice;
using tls::Role;

namespace {

constexpr size_t kMostTicketBytes = 8 * 1024;

std::shared_ptr<const tls::Identity> GivesNone() {
  const std::string leaf = test::TheMesh().web.CertificatePem();
  const std::string key = test::TheMesh().web.KeyPem();
  const std::string roots = test::TheMesh().root.CertificatePem();
  std::string why;
  return tls::Identity::Build({.chain_pem = leaf, .key_pem = key, .roots_pem = roots, .resumption = false}, &why);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2 || size > tls::kMaxPayloadBytes) return 0;
  static const std::shared_ptr<const tls::Identity> kServer = GivesNone();
  const auto client = test::IdentityOf(test::TheMesh().web, {}, {&test::TheMesh().root});
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  const sys::Fd ours(ends[0]);
  const sys::Fd theirs(ends[1]);
  const auto dials = tls::Handshake::Begin(client, Role::kClient, ours.get(), {.server_name = "", .expect = {}, .origin = "db"});
  const auto dialed = tls::Handshake::Begin(kServer, Role::kServer, theirs.get(), {});
  using Step = tls::Handshake::Step;
  Step one = Step::kWantRead;
  Step other = Step::kWantRead;
  for (int turn = 0; turn < 16 && (one != Step::kDone || other != Step::kDone); turn++) {
    if (one != Step::kDone) one = dials->Advance();
    if (other != Step::kDone) other = dialed->Advance();
  }
  if (one != Step::kDone || other != Step::kDone) std::abort();
  const auto secured = dials->Take();
  const auto server = dialed->Take();
  if (secured == nullptr || server == nullptr || secured->tickets == nullptr) std::abort();

  const size_t first = 1 + (size - 1) * bytes[0] / 255;
  const test::Bytes parts[] = {{bytes + 1, bytes + first}, {bytes + first, bytes + size}};
  for (const test::Bytes& part : parts) {
    if (part.empty()) continue;
    if (!secured->tickets->Give(test::Sealed(*server->write, tls::ContentType::kHandshake, part))) break;
  }
  if (client->sessions().size() > 1) std::abort();
  const tls::SessionCache::Kept kept = client->sessions().Take("db\n\n", sys::WallSeconds());
  if (kept.session == nullptr) return 0;
  const unsigned char* ticket = nullptr;
  size_t ticket_bytes = 0;
  SSL_SESSION_get0_ticket(kept.session.get(), &ticket, &ticket_bytes);
  if (ticket_bytes == 0 || ticket_bytes > kMostTicketBytes) std::abort();
  return 0;
}
