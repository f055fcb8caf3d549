// Who we are and whom we trust, as handshakes use it: built once for each leaf and set of roots, shared, never changed.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "tls/openssl_ptr.h"
#include "tls/session_cache.h"
#include "tls/ticket_keys.h"
#include "tls/verified_chains.h"

namespace sidesplice::tls {

enum class Role { kServer, kClient };

class Identity {
 public:
  struct Parts {
    std::string_view chain_pem;
    std::string_view key_pem;
    std::string_view roots_pem;
    /** Best first, as SSL_CTX_set1_groups_list(3) takes them. */
    std::string groups = "X25519:P-256:P-384";
    /** Whether connections of TLS 1.3 may resume earlier ones, in both roles. */
    bool resumption = true;
  };
  /** Null where OpenSSL does not take it; `why` says what it said. */
  static std::shared_ptr<const Identity> Build(const Parts& parts, std::string* why);

  [[nodiscard]] SSL_CTX* context() const { return context_.get(); }
  /** Equal where two identities trust the same roots, whatever their order. */
  [[nodiscard]] const std::string& trust() const { return trust_; }
  /**
   * Whether what a peer presented chains to a root of now, with all rules for a peer's certificate. 0, or the X509_V_ERR of what does
   * not hold. `peer` is what the peer is in the connection.
   */
  [[nodiscard]] int Verify(X509* leaf, STACK_OF(X509) * presented, Role peer) const;
  /** Chains that held, by handshakes and by Verify: those of this identity's roots, so that another one begins with none. */
  [[nodiscard]] const VerifiedChains& verified() const { return verified_; }
  [[nodiscard]] bool resumes() const { return resumes_; }
  /** Of what `trust` says. */
  [[nodiscard]] const VerifiedChains::Digest& trust_digest() const { return trust_digest_; }
  // By an identity of its own, also of the same leaf: tickets and sessions of an earlier one are of no use to it.
  [[nodiscard]] const TicketKeys& ticket_keys() const { return ticket_keys_; }
  [[nodiscard]] SessionCache& sessions() const { return sessions_; }

 private:
  Identity() = default;
  static int VerifyInHandshake(X509_STORE_CTX* context, void* identity);
  /** All that does not change while a certificate is valid; `context` holds what was presented, and the fault where there is one. */
  [[nodiscard]] bool Holds(X509_STORE_CTX* context, Role peer, Proof* proof) const;

  mutable VerifiedChains verified_;
  mutable SessionCache sessions_;
  TicketKeys ticket_keys_;
  bool resumes_ = false;
  VerifiedChains::Digest trust_digest_{};
  SslCtxPtr context_;
  X509StorePtr roots_;
  std::string trust_;
};

}  // namespace sidesplice::tls
