// AEADs under one key: published vectors, each of our own against OpenSSL's to the byte, and every field tampered with.
#include "tls/aead.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "support/bytes.h"
#include "tls/vaes_gcm.h"

using namespace sidesplice;
using test::Bytes;
using test::FromHex;
using test::ToHex;
using tls::Aead;

namespace {

std::unique_ptr<tls::AeadKey> OpenSslKey(Aead aead, const Bytes& key) {
  tls::UseOpenSslOnly(true);
  auto made = tls::MakeAeadKey(aead, key);
  tls::UseOpenSslOnly(false);
  REQUIRE(made != nullptr);
  return made;
}

constexpr uint8_t kBefore = 0xA5;

/** At `offset` of a buffer without a byte to spare; what stands before has to stay. */
Bytes Placed(const Bytes& data, size_t offset, size_t bytes) {
  Bytes buffer(offset + bytes, kBefore);
  std::copy(data.begin(), data.end(), buffer.begin() + static_cast<ptrdiff_t>(offset));
  return buffer;
}

Bytes Behind(const Bytes& buffer, size_t offset, size_t bytes) {
  const auto from = buffer.begin() + static_cast<ptrdiff_t>(offset);
  CHECK(std::all_of(buffer.begin(), from, [](uint8_t byte) { return byte == kBefore; }));
  return {from, from + static_cast<ptrdiff_t>(bytes)};
}

/** Data and tag. */
Bytes Sealed(tls::AeadKey& key, const Bytes& nonce, const Bytes& additional, const Bytes& data, size_t offset = 0) {
  Bytes buffer = Placed(data, offset, data.size() + tls::kTagBytes);
  REQUIRE(key.Seal(nonce.data(), additional, std::span(buffer).subspan(offset, data.size())));
  return Behind(buffer, offset, data.size() + tls::kTagBytes);
}

bool Opens(tls::AeadKey& key, const Bytes& nonce, const Bytes& additional, const Bytes& sealed, Bytes* data = nullptr, size_t offset = 0) {
  const size_t bytes = sealed.size() - tls::kTagBytes;
  Bytes buffer = Placed(sealed, offset, sealed.size());
  const bool good = key.Open(nonce.data(), additional, std::span(buffer).subspan(offset, bytes));
  if (data != nullptr) *data = Behind(buffer, offset, bytes);
  return good;
}

}  // namespace

TEST_CASE("AES-GCM as its authors have it (McGrew and Viega, test cases 1 to 3 and 13 to 15)") {
  const std::string text =
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
  const std::string half_key = "feffe9928665731c6d6a8f9467308308";
  const std::string zeros = "00000000000000000000000000000000";
  const std::string no_nonce = "000000000000000000000000";
  const std::string nonce = "cafebabefacedbaddecaf888";
  const struct {
    Aead aead;
    std::string key, nonce, data, sealed;
  } cases[] = {
      {Aead::kAes128Gcm, zeros, no_nonce, "", "58e2fccefa7e3061367f1d57a4e7455a"},
      {Aead::kAes128Gcm, zeros, no_nonce, zeros, "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf"},
      {Aead::kAes128Gcm, half_key, nonce, text,
       "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985"
       "4d5c2af327cd64a62cf35abd2ba6fab4"},
      {Aead::kAes256Gcm, zeros + zeros, no_nonce, "", "530f8afbc74536b9a963b4f1c4cb738b"},
      {Aead::kAes256Gcm, zeros + zeros, no_nonce, zeros, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
      {Aead::kAes256Gcm, half_key + half_key, nonce, text,
       "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad"
       "b094dac5d93471bdec1a502270e3cc6c"},
  };
  for (const auto& [aead, key, iv, data, sealed] : cases) {
    const auto here = tls::MakeAeadKey(aead, FromHex(key));
    REQUIRE(here != nullptr);
    CHECK(ToHex(Sealed(*here, FromHex(iv), {}, FromHex(data))) == sealed);
    CHECK(ToHex(Sealed(*OpenSslKey(aead, FromHex(key)), FromHex(iv), {}, FromHex(data))) == sealed);
  }
}

TEST_CASE("our AES-GCM is OpenSSL's to the byte, at every length and place, and each opens the other's") {
  test::Random random(test::Seed());
  for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm}) {
    const Bytes secret = random.Data(tls::KeyBytes(aead));
    const auto ours = tls::MakeVaesGcm(secret);
    // A processor without it: there is none, and none is taken.
    if (!tls::HasVaesGcm()) {
      CHECK(ours == nullptr);
      CHECK(!tls::UsesVaesGcm());
      continue;
    }
    REQUIRE(ours != nullptr);
    const auto theirs = OpenSslKey(aead, secret);
    std::vector<size_t> lengths;
    for (size_t length = 0; length <= 800; length++) lengths.push_back(length);
    for (size_t length = 16'384 - 130; length <= 16'384 + 258; length++) lengths.push_back(length);
    for (const size_t length : lengths) {
      CAPTURE(length);
      const Bytes nonce = random.Data(tls::kIvBytes);
      const Bytes additional = random.Data(length % (tls::kMaxAdditionalBytes + 1));
      const Bytes data = random.Data(length);
      const Bytes sealed = Sealed(*ours, nonce, additional, data, length % 37);
      REQUIRE(sealed == Sealed(*theirs, nonce, additional, data));
      Bytes opened;
      REQUIRE(Opens(*ours, nonce, additional, sealed, &opened, (length + 11) % 37));
      REQUIRE(opened == data);
      REQUIRE(Opens(*theirs, nonce, additional, sealed));
    }
  }
}

TEST_CASE("each bit of what is authenticated is: of the nonce, beside the data, of the data, of the tag") {
  for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
    const auto key = tls::MakeAeadKey(aead, Bytes(tls::KeyBytes(aead), 7));
    Bytes nonce(tls::kIvBytes, 1);
    Bytes additional(tls::kMaxAdditionalBytes, 2);
    // Whole strides, a part of one, a vector, a block and a part of one.
    Bytes sealed = Sealed(*key, nonce, additional, Bytes(2 * 192 + 64 + 32 + 16 + 5, 3));
    REQUIRE(Opens(*key, nonce, additional, sealed));
    for (Bytes* field : {&nonce, &additional, &sealed}) {
      for (size_t bit = 0; bit < field->size() * 8; bit++) {
        (*field)[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
        CHECK(!Opens(*key, nonce, additional, sealed));
        (*field)[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
      }
    }
    CHECK(Opens(*key, nonce, additional, sealed));
  }
}

TEST_CASE("a key of one AEAD opens nothing of another") {
  const Bytes secret(32, 9);
  const Bytes nonce(tls::kIvBytes, 1);
  const Bytes sealed = Sealed(*tls::MakeAeadKey(Aead::kAes256Gcm, secret), nonce, {}, Bytes(100, 3));
  CHECK(!Opens(*tls::MakeAeadKey(Aead::kChaCha20Poly1305, secret), nonce, {}, sealed));
  CHECK(!Opens(*tls::MakeAeadKey(Aead::kAes128Gcm, Bytes(16, 9)), nonce, {}, sealed));
}
