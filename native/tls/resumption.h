// Resumption in TLS 1.3 (RFC 8446 section 2.2) as both roles do it: which sessions there may be, what a server's tickets are bound to, and
// where a client's sessions are kept. An identity has one of each, so that another certificate or other roots begin with none.
#pragma once

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tls/openssl_ptr.h"
#include "tls/verified_chains.h"

namespace sidesplice::tls {

class Identity;

using SslSessionPtr = std::unique_ptr<SSL_SESSION, Freed<SSL_SESSION_free>>;

/** A peer's chain, verified by one identity: for as long as the identity remembers it, a connection may go without it. */
struct Proof {
  VerifiedChains::Digest chain{};
  /** Seconds since the epoch; 0 where nothing may be resumed by it. */
  int64_t until = 0;
  /** Of all certificates that were presented. */
  int bytes = 0;
};

/** Makes `context` give tickets, read them, and take them; `identity` outlives what is made of it. False where OpenSSL fails. */
[[nodiscard]] bool EnableResumption(SSL_CTX* context, const Identity* identity);

/** The peer's chain was verified; a client whose chain can't be proved again, or that has not asked for one, gets no ticket. */
void NoteProof(SSL* ssl, const Proof& proof);

/** What a client presented in the handshake that this one resumes, its leaf excepted. */
[[nodiscard]] X509StackPtr PresentedBefore(const SSL_SESSION* session);

}  // namespace sidesplice::tls
