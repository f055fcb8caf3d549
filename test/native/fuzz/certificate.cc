// A certificate of any bytes: its names and serial are read, and it is judged; it is never taken, as nobody of ours signed it.
#include <cstdint>
#include <cstdlib>

#include "support/certificates.h"
#include "tls/peer_certificate.h"

using namespace sidesplice;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const unsigned char* at = bytes;
  tls::X509Ptr leaf(d2i_X509(nullptr, &at, static_cast<long>(size)));
  ERR_clear_error();
  if (leaf == nullptr) return 0;
  tls::X509StackPtr presented(sk_X509_new_null());
  X509_up_ref(leaf.get());
  sk_X509_push(presented.get(), leaf.get());
  const tls::PeerCertificate peer = tls::ReadPeerCertificate(std::move(leaf), std::move(presented));
  size_t named = 0;
  for (const std::string& uri : peer.uri_sans) named += uri.size();
  if (named > size) std::abort();
  if (peer.serial.find_first_not_of("0123456789ABCDEF-") != std::string::npos) std::abort();
  for (const tls::Role role : {tls::Role::kServer, tls::Role::kClient})
    if (test::TheMesh().identity->Verify(peer.leaf.get(), peer.presented.get(), role) == X509_V_OK) std::abort();
  return 0;
}
