// Derivations against published values: RFC 8448 section 3 (HKDF-Expand-Label), and the vectors of the TLS 1.2 PRF that were
// published on the IETF's TLS list for RFC 5246.
#include "tls/key_schedule.h"

#include <doctest/doctest.h>

#include "support/bytes.h"

using namespace sidesplice;
using test::FromHex;
using test::ToHex;

namespace {

std::string Expanded(const EVP_MD* digest, std::string_view secret, std::string_view label, size_t bytes) {
  test::Bytes out(bytes);
  return tls::ExpandLabel(digest, FromHex(secret), label, out) ? ToHex(out) : "refused";
}

std::string Prf(const EVP_MD* digest, std::string_view secret, std::string_view seed, size_t bytes) {
  test::Bytes out(bytes);
  return tls::Prf12(digest, FromHex(secret), "test label", FromHex(seed), out) ? ToHex(out) : "refused";
}

}  // namespace

TEST_CASE("traffic secrets of RFC 8448 give the keys and IVs that it names") {
  struct Row {
    const char* secret;
    const char* key;
    const char* iv;
  };
  const Row rows[] = {
      {"b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38", "3fce516009c21727d0f2e4e86ee403bc",
       "5d313eb2671276ee13000b30"},
      {"b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21", "dbfaa693d1762c5b666af5d950258d01",
       "5bd3c71b836e0b76bb73265f"},
      {"a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643", "9f02283b6c9c07efc26bb9f2ac92e356",
       "cf782b88dd83549aadf1e984"},
      {"9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5", "17422dda596ed5d9acd890e3c63f5051",
       "5b78923dee08579033e523d9"},
  };
  for (const Row& row : rows) {
    CHECK(Expanded(EVP_sha256(), row.secret, "key", 16) == row.key);
    CHECK(Expanded(EVP_sha256(), row.secret, "iv", 12) == row.iv);
  }
}

TEST_CASE("the label is part of what is derived") {
  constexpr std::string_view kSecret = "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38";
  CHECK(Expanded(EVP_sha256(), kSecret, "key", 12) != Expanded(EVP_sha256(), kSecret, "iv", 12));
}

TEST_CASE("more than one block of the digest is refused, not cut short") {
  constexpr std::string_view kSecret = "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38";
  CHECK(Expanded(EVP_sha256(), kSecret, "key", 32) != "refused");
  CHECK(Expanded(EVP_sha256(), kSecret, "key", 33) == "refused");
}

TEST_CASE("the PRF of TLS 1.2 on SHA-256 gives its published values, over more than one block") {
  CHECK(Prf(EVP_sha256(), "9bbe436ba940f017b17652849a71db35", "a0ba9f936cda311827a6f796ffd5198c", 100) ==
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17"
        "abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66");
}

TEST_CASE("the PRF of TLS 1.2 on SHA-384 gives its published values, over more than one block") {
  CHECK(Prf(EVP_sha384(), "b80b733d6ceefcdc71566ea48e5567df", "cd665cf6a8447dd6ff8b27555edb7465", 148) ==
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0e534cb400fed2700"
        "884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d9184259b5bf8cd4d90fa0d31e2dec479e4f1a2"
        "6066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703d73e56f");
}

TEST_CASE("a shorter output of the PRF is the beginning of a longer one") {
  const std::string long_one = Prf(EVP_sha256(), "9bbe436ba940f017b17652849a71db35", "a0ba", 65);
  CHECK(long_one.starts_with(Prf(EVP_sha256(), "9bbe436ba940f017b17652849a71db35", "a0ba", 31)));
}
