// Keys in the kernel's shape, by the kernel's own header; and that the kernel's not taking them leaves a session as it was.
#include <doctest/doctest.h>
#include <errno.h>
#include <linux/tls.h>
#include <openssl/evp.h>

#include <cstring>
#include <numeric>

#include "core/kernel_probe.h"
#include "support/faults.h"
#include "support/world.h"
#include "sys/calls.h"
#include "tls/kernel_key.h"

using namespace sidesplice;
using test::Bytes;
using tls::Aead;
using tls::Version;

namespace {

Bytes Counting(size_t bytes, uint8_t from) {
  Bytes all(bytes);
  std::iota(all.begin(), all.end(), from);
  return all;
}

template <typename Info>
Info Given(Version version, Aead aead, const Bytes& key, const Bytes& iv) {
  tls::KernelKey given;
  given.Set({.version = version, .aead = aead, .key = key, .iv = iv, .nonce = 0x0102030405060708, .sequence = 0x1112});
  Info info{};
  REQUIRE(given.bytes().size() == sizeof(info));
  REQUIRE(tls::KernelKey::BytesOf(aead) == sizeof(info));
  std::memcpy(&info, given.bytes().data(), sizeof(info));
  const Bytes sequence = {0, 0, 0, 0, 0, 0, 0x11, 0x12};
  CHECK(std::memcmp(info.rec_seq, sequence.data(), sequence.size()) == 0);
  return info;
}

template <size_t size>
Bytes Of(const unsigned char (&field)[size]) {
  return Bytes(field, field + size);
}

int set_options = 0;

int CountSetOption(int fd, int level, int name, const void* value, socklen_t length) {
  set_options++;
  return ::setsockopt(fd, level, name, value, length);
}

}  // namespace

TEST_CASE("TLS 1.3: salt and IV are the derived IV, cut in two") {
  const Bytes iv = Counting(12, 100);
  const auto small = Given<tls12_crypto_info_aes_gcm_128>(Version::kTls13, Aead::kAes128Gcm, Counting(16, 1), iv);
  CHECK(small.info.version == TLS_1_3_VERSION);
  CHECK(small.info.cipher_type == TLS_CIPHER_AES_GCM_128);
  CHECK(Of(small.key) == Counting(16, 1));
  CHECK(Of(small.salt) == Counting(4, 100));
  CHECK(Of(small.iv) == Counting(8, 104));
  const auto large = Given<tls12_crypto_info_aes_gcm_256>(Version::kTls13, Aead::kAes256Gcm, Counting(32, 1), iv);
  CHECK(large.info.cipher_type == TLS_CIPHER_AES_GCM_256);
  CHECK(Of(large.key) == Counting(32, 1));
  CHECK(Of(large.salt) == Counting(4, 100));
  CHECK(Of(large.iv) == Counting(8, 104));
}

TEST_CASE("TLS 1.2 with AES-GCM: the salt is the handshake's, the IV the next explicit nonce") {
  const auto info = Given<tls12_crypto_info_aes_gcm_128>(Version::kTls12, Aead::kAes128Gcm, Counting(16, 1), Counting(12, 100));
  CHECK(info.info.version == TLS_1_2_VERSION);
  CHECK(Of(info.salt) == Counting(4, 100));
  CHECK(Of(info.iv) == Counting(8, 1));
}

TEST_CASE("ChaCha20-Poly1305 has no salt in either version") {
  for (const Version version : {Version::kTls12, Version::kTls13}) {
    const auto info =
        Given<tls12_crypto_info_chacha20_poly1305>(version, Aead::kChaCha20Poly1305, Counting(32, 1), Counting(12, 100));
    CHECK(info.info.cipher_type == TLS_CIPHER_CHACHA20_POLY1305);
    CHECK(Of(info.key) == Counting(32, 1));
    CHECK(Of(info.iv) == Counting(12, 100));
  }
}

TEST_CASE("a key that was left to the kernel can be copied no more, until the next one follows from it") {
  tls::Secret secret;
  secret.size = 32;
  for (const Version version : {Version::kTls13, Version::kTls12}) {
    const auto key = version == Version::kTls13
                         ? tls::RecordKey::ForTls13(Aead::kAes128Gcm, EVP_sha256(), secret)
                         : tls::RecordKey::ForTls12(Aead::kAes128Gcm, Counting(16, 1), Counting(4, 1), 1);
    tls::KernelKey given;
    CHECK(key->CopyForKernel(&given));
    key->LeaveToKernel();
    CHECK_FALSE(key->CopyForKernel(&given));
    if (version == Version::kTls13) {
      CHECK(key->Update());
      CHECK(key->CopyForKernel(&given));
    }
  }
}

TEST_CASE("a TLS 1.2 key that is kept from the kernel goes on sealing, and is kept nowhere else") {
  const auto key = tls::RecordKey::ForTls12(Aead::kAes128Gcm, Counting(16, 1), Counting(4, 1), 1);
  key->KeepFromKernel();
  tls::KernelKey given;
  CHECK_FALSE(key->CopyForKernel(&given));
  Bytes record(1 + key->overhead());
  CHECK(key->Seal(record.data(), 1, tls::ContentType::kApplicationData));
}

TEST_CASE("where the kernel has no TLS one system call finds that out") {
  sys::Calls counting = sys::kKernel;
  counting.setsockopt = CountSetOption;
  sys::calls = &counting;
  set_options = 0;
  const core::KernelFacts facts = core::ProbeKernelTls();
  sys::calls = &sys::kKernel;
  // On a machine whose kernel has it, the probe itself is tested: see kernel/.
  if (facts.why.empty()) return;
  CHECK(set_options == 1);
  CHECK_FALSE(facts.rekeys);
}

TEST_CASE("where the kernel does not take the keys, a session's records are our own") {
  test::Faults faults;
  // Of each of two relays: the first call attaches.
  for (const size_t nth : {1, 2}) {
    faults.Arm(test::Call::kSetOption, nth, ENOENT);
    test::World world({.workers = 1, .kernel = {.ciphers = 7, .rekeys = false}});
    const Bytes data(100'000, 7);
    const test::Journey journey = world.Travel(data);
    CHECK(faults.Disarm());
    CHECK(journey.back == data);
    CHECK(journey.end == test::Stream::End::kFin);
  }
}
