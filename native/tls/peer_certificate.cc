// Reading a peer's certificate.
#include "tls/peer_certificate.h"

#include <openssl/bn.h>

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

namespace sidesplice::tls {

std::vector<std::string> UriSansOf(const X509* leaf) {
  std::vector<std::string> found;
  const GeneralNamesPtr names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, nullptr, nullptr)));
  for (int at = 0; at < sk_GENERAL_NAME_num(names.get()); at++) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), at);
    if (name->type != GEN_URI) continue;
    const auto* text = reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.uniformResourceIdentifier));
    found.emplace_back(text, static_cast<size_t>(ASN1_STRING_length(name->d.uniformResourceIdentifier)));
  }
  return found;
}

namespace {

std::string SerialOf(const X509* leaf) {
  BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), nullptr);
  char* hex = number == nullptr ? nullptr : BN_bn2hex(number);
  std::string serial = hex == nullptr ? "" : hex;
  OPENSSL_free(hex);
  BN_free(number);
  return serial;
}

}  // namespace

std::string ProvedId(const std::vector<std::string>& uri_sans) {
  constexpr std::string_view kScheme = "spiffe://";
  if (uri_sans.size() != 1) return {};
  std::string uri = uri_sans[0];
  const size_t path = uri.find('/', std::min(kScheme.size(), uri.size()));
  const size_t end = path == std::string::npos ? uri.size() : path;
  for (size_t at = 0; at < end; at++) uri[at] = static_cast<char>(std::tolower(static_cast<unsigned char>(uri[at])));
  return uri;
}

PeerCertificate ReadPeerCertificate(X509Ptr leaf, X509StackPtr presented) {
  PeerCertificate peer;
  peer.uri_sans = UriSansOf(leaf.get());
  peer.serial = SerialOf(leaf.get());
  peer.leaf = std::move(leaf);
  peer.presented = std::move(presented);
  return peer;
}

}  // namespace sidesplice::tls
