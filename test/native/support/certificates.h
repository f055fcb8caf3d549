// Certificates for tests, made in memory: roots, intermediates, and leaves with one thing about each that a rule is about.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tls/identity.h"

namespace sidesplice::test {

inline constexpr const char* kWeb = "spiffe://test.consul/ns/default/dc/dc1/svc/web";

struct CertificateOptions {
  std::vector<std::string> uris = {kWeb};
  bool ca = false;
  /** As of X509V3_EXT: empty for no extended key usage at all. */
  std::string usage = "serverAuth,clientAuth";
  bool rsa = false;
  /** Seconds from now. */
  long begins = -3600;
  long ends = 3600;
  long serial = 0xABCDEF;
  /** Bytes of an extension that nobody knows. */
  size_t ballast = 0;
};

/** A certificate and its key. */
struct Certified {
  tls::X509Ptr certificate;
  tls::PkeyPtr key;

  [[nodiscard]] std::string CertificatePem() const;
  [[nodiscard]] std::string KeyPem() const;
};

/** Signed by `issuer`, or by itself where there is none. */
Certified Issue(const CertificateOptions& options, const Certified* issuer);

/**
 * `victim`'s certificate with a key that only says that it fits: its public half is the certificate's, by which OpenSSL compares, its private half
 * is another's. What a peer presents that has copied a certificate.
 */
Certified Steal(const Certified& victim);

/** A root. */
Certified MakeRoot();

/** An identity of `leaf`, presenting `chain` behind it, that trusts `roots`. Never null: a test that can't build one ends. */
std::shared_ptr<const tls::Identity> IdentityOf(const Certified& leaf, const std::vector<const Certified*>& chain,
                                                const std::vector<const Certified*>& roots);

/** One root and two leaves of it, made once: web by EC, and the same by RSA. */
struct Mesh {
  Certified root;
  Certified web;
  Certified web_rsa;
  std::shared_ptr<const tls::Identity> identity;
  std::shared_ptr<const tls::Identity> identity_rsa;
};
const Mesh& TheMesh();

}  // namespace sidesplice::test
