// What a peer's certificate says: the names and the number that policy decides by. Knows nothing of whether they may be believed.
#pragma once

#include <string>
#include <vector>

#include "tls/openssl_ptr.h"

namespace sidesplice::tls {

/** What the peer presented, and what it proves. */
struct PeerCertificate {
  X509Ptr leaf;
  X509StackPtr presented;
  /** As written in the certificate, in order. */
  std::vector<std::string> uri_sans;
  /** Upper-case hexadecimal. */
  std::string serial;
};

/** Every URI SAN, in order, as written. */
std::vector<std::string> UriSansOf(const X509* leaf);

/**
 * The one SPIFFE ID of `uri_sans` in the letters that expected ones are written in: scheme and trust domain have no case (SPIFFE ID, section
 * 2). Empty where there is not exactly one URI SAN.
 */
std::string ProvedId(const std::vector<std::string>& uri_sans);

PeerCertificate ReadPeerCertificate(X509Ptr leaf, X509StackPtr presented);

}  // namespace sidesplice::tls
