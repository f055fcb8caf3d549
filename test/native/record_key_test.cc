// Single records: RFC 8448's opened and sealed to the byte, every field tampered with, padding, the size limits, and TLS 1.2
// against the construction of RFC 5246, 5288 and 7905 written down a second time.
#include "tls/record_key.h"

#include <doctest/doctest.h>

#include <openssl/hmac.h>

#include "support/bytes.h"
#include "support/record_writer.h"

using namespace sidesplice;
using test::Bytes;
using test::FromHex;
using test::ToHex;
using tls::Aead;
using tls::Alert;
using tls::ContentType;

namespace {

// RFC 8448 section 3.
constexpr std::string_view kServerSecret = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643";
constexpr std::string_view kClientSecret = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
constexpr std::string_view kClientHandshakeSecret = "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21";
constexpr std::string_view kPayload =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031";
constexpr std::string_view kTicketRecord =
    "17030300de3a6b8f90414a97d6959c3487680de5134a2b240e6cffac116e95d41d6af8f6b580dcf3d11d63c758db289a015940252f55713e061dc1"
    "3e078891a38efbcf5753ad8ef170ad3c7353d16d9da773b9ca7f2b9fa1b6c0d4a3d03f75e09c30ba1e62972ac46f75f7b981be63439b2999ce1306"
    "4615139891d5e4c5b406f16e3fc181a77ca475840025db2f0a77f81b5ab05b94c01346755f69232c86519d86cbeeac87aac347d143f9605d64f650"
    "db4d023e70e952ca49fe5137121c74bc2697687e248746d6df353005f3bce18696129c8153556b3b6c6779b37bf15985684f";
constexpr std::string_view kTicket =
    "040000c90000001efad6aac502000000b22c035d829359ee5ff7af4ec900000000262a6494dc486d2c8a34cb33fa90bf1b0070ad3c498883c9367c"
    "09a2be785abc55cd226097a3a982117283f82a03a143efd3ff5dd36d64e861be7fd61d2827db279cce145077d454a3664d4e6da4d29ee03725a6a4"
    "dafcd0fc67d2aea70529513e3da2677fa5906c5b3f7d8f92f228bda40dda721470f9fbf297b5aea617646fac5c03272e970727c621a79141ef5f7d"
    "e6505e5bfbc388e93343694093934ae4d3570008002a000400000400";
constexpr std::string_view kClientRecord =
    "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a6292a2977014"
    "bd1e3deae63aeebb21694915e4";
constexpr std::string_view kServerRecord =
    "17030300432e937e11ef4ac740e538ad36005fc4a46932fc3225d05f82aa1b36e30efaf97d90e6dffc602dcb501a59a8fcc49c4bf2e5f0a21c0047"
    "c2abf332540dd032e167c2955d";
constexpr std::string_view kClientAlert = "1703030013c9872760655666b74d7ff1153efd6db6d0b0e3";
constexpr std::string_view kServerAlert = "1703030013b58fd67166ebf599d24720cfbe7efa7a8864a9";
constexpr std::string_view kClientFinishedRecord =
    "170303003575ec4dc238cce60b298044a71e219c56cc77b0517fe9b93c7a4bfc44d87f38f80338ac98fc46deb384bd1caeacab6867d726c40546";

std::unique_ptr<tls::RecordKey> KeyOf(std::string_view secret) {
  return test::Key13(Aead::kAes128Gcm, FromHex(secret));
}

std::string Opened(tls::RecordKey& key, std::string_view record, ContentType type) {
  Bytes bytes = FromHex(record);
  const tls::Opened opened = key.Open(bytes);
  if (opened.refused) return "refused: " + tls::AlertName(static_cast<uint8_t>(opened.alert));
  if (opened.type != type) return "another type";
  return ToHex(opened.payload);
}

}  // namespace

TEST_CASE("the records that RFC 8448's server sends open to what it names, in their order") {
  const auto key = KeyOf(kServerSecret);
  CHECK(Opened(*key, kTicketRecord, ContentType::kHandshake) == kTicket);
  CHECK(Opened(*key, kServerRecord, ContentType::kApplicationData) == kPayload);
  CHECK(Opened(*key, kServerAlert, ContentType::kAlert) == "0100");
  CHECK(key->records() == 3);
}

TEST_CASE("a record out of its order does not open") {
  const auto key = KeyOf(kServerSecret);
  CHECK(Opened(*key, kServerRecord, ContentType::kApplicationData) == "refused: bad_record_mac");
}

TEST_CASE("the records that RFC 8448's client sends are sealed to the byte") {
  const auto key = KeyOf(kClientSecret);
  CHECK(ToHex(test::Sealed(*key, ContentType::kApplicationData, FromHex(kPayload))) == kClientRecord);
  CHECK(ToHex(test::Sealed(*key, ContentType::kAlert, FromHex("0100"))) == kClientAlert);
}

TEST_CASE("RFC 8448's client Finished opens under the handshake secret, and not under the application's") {
  CHECK(Opened(*KeyOf(kClientHandshakeSecret), kClientFinishedRecord, ContentType::kHandshake).starts_with("14000020a8ec436d"));
  CHECK(Opened(*KeyOf(kClientSecret), kClientFinishedRecord, ContentType::kHandshake) == "refused: bad_record_mac");
}

TEST_CASE("a record of which any one bit was changed does not open") {
  const Bytes whole = FromHex(kClientRecord);
  for (size_t at = 0; at < whole.size(); at++) {
    for (int bit = 0; bit < 8; bit++) {
      Bytes changed = whole;
      changed[at] ^= static_cast<uint8_t>(1 << bit);
      const auto key = KeyOf(kClientSecret);
      const tls::Opened opened = key->Open(changed);
      REQUIRE(opened.refused);
      REQUIRE(opened.alert == Alert::kBadRecordMac);
      REQUIRE(key->records() == 0);
    }
  }
}

TEST_CASE("a record cut short does not open, at any length") {
  const Bytes whole = FromHex(kClientRecord);
  for (size_t bytes = tls::kHeaderBytes; bytes < whole.size(); bytes++) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes));
    REQUIRE(KeyOf(kClientSecret)->Open(cut).refused);
  }
}

TEST_CASE("padding is taken off, and a record of nothing but zeros is refused with unexpected_message") {
  for (const size_t padding : {size_t{0}, size_t{1}, size_t{255}, size_t{16'380}}) {
    const auto [write, read] = test::KeyPair(tls::Version::kTls13, Aead::kAes128Gcm);
    Bytes record = test::Padded(*write, ContentType::kApplicationData, test::BytesOf("abc"), padding);
    const tls::Opened opened = read->Open(record);
    REQUIRE_FALSE(opened.refused);
    CHECK(opened.type == ContentType::kApplicationData);
    CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == test::BytesOf("abc"));

    Bytes zeros = test::Sealed(*write, ContentType{0}, Bytes(padding));
    const tls::Opened refused = read->Open(zeros);
    REQUIRE(refused.refused);
    CHECK(refused.alert == Alert::kUnexpectedMessage);
  }
}

TEST_CASE("the largest record opens, and one byte more is refused with record_overflow") {
  for (const tls::Version version : {tls::Version::kTls12, tls::Version::kTls13}) {
    const auto [write, read] = test::KeyPair(version, Aead::kAes256Gcm);
    Bytes largest = test::Sealed(*write, ContentType::kApplicationData, Bytes(tls::kMaxPayloadBytes, 7));
    CHECK_FALSE(read->Open(largest).refused);
    Bytes larger = test::Sealed(*write, ContentType::kApplicationData, Bytes(tls::kMaxPayloadBytes + 1, 7));
    const tls::Opened refused = read->Open(larger);
    REQUIRE(refused.refused);
    CHECK(refused.alert == Alert::kRecordOverflow);
  }
}

TEST_CASE("padding counts towards the size of a record") {
  const auto [write, read] = test::KeyPair(tls::Version::kTls13, Aead::kAes128Gcm);
  Bytes largest = test::Padded(*write, ContentType::kApplicationData, {1}, tls::kMaxPayloadBytes - 1);
  CHECK_FALSE(read->Open(largest).refused);
  Bytes larger = test::Padded(*write, ContentType::kApplicationData, {1}, tls::kMaxPayloadBytes);
  CHECK(read->Open(larger).alert == Alert::kRecordOverflow);
}

TEST_CASE("a key that was updated opens what an updated key sealed, from sequence 0, and nothing older") {
  for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
    const auto [write, read] = test::KeyPair(tls::Version::kTls13, aead);
    Bytes first = test::Sealed(*write, ContentType::kApplicationData, {1});
    const Bytes old = test::Sealed(*write, ContentType::kApplicationData, {2});
    REQUIRE_FALSE(read->Open(first).refused);
    REQUIRE(write->Update());
    REQUIRE(read->Update());
    CHECK(write->records() == 0);
    Bytes again = old;
    CHECK(read->Open(again).alert == Alert::kBadRecordMac);
    Bytes next = test::Sealed(*write, ContentType::kApplicationData, {3});
    CHECK_FALSE(read->Open(next).refused);
  }
}

TEST_CASE("a key that rested goes on as if it had not, also where it is exchanged meanwhile") {
  for (const tls::Version version : {tls::Version::kTls13, tls::Version::kTls12}) {
    for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
      const auto [write, read] = test::KeyPair(version, aead);
      const auto crosses = [&, &write = write, &read = read](uint8_t byte) {
        Bytes record = test::Sealed(*write, ContentType::kApplicationData, {byte});
        const tls::Opened opened = read->Open(record);
        return !opened.refused && Bytes(opened.payload.begin(), opened.payload.end()) == Bytes{byte};
      };
      CHECK(crosses(1));
      write->Rest();
      CHECK(crosses(2));
      read->Rest();
      read->Rest();
      CHECK(crosses(3));
      CHECK(write->records() == 3);
      if (version == tls::Version::kTls12) continue;
      for (tls::RecordKey* key : {write.get(), read.get()}) {
        key->Rest();
        REQUIRE(key->Update());
      }
      CHECK(crosses(4));
    }
  }
}

TEST_CASE("a key that was left to the kernel does not come back by resting") {
  const auto [write, read] = test::KeyPair(tls::Version::kTls13, Aead::kAes128Gcm);
  Bytes record = test::Sealed(*write, ContentType::kApplicationData, {1});
  for (tls::RecordKey* key : {write.get(), read.get()}) {
    key->LeaveToKernel();
    key->Rest();
  }
  CHECK_FALSE(write->Seal(record.data(), 1, ContentType::kApplicationData));
  CHECK(read->Open(record).alert == Alert::kInternalError);
}

TEST_CASE("an update's secret is HKDF-Expand-Label of the one before it (RFC 8446 section 7.2)") {
  Bytes next(32);
  // The construction by hand: HMAC of length, "tls13 traffic upd", no context, counter 1.
  Bytes info = FromHex("0020");
  info.push_back(17);
  for (const char letter : std::string_view("tls13 traffic upd")) info.push_back(static_cast<uint8_t>(letter));
  info.push_back(0);
  info.push_back(1);
  unsigned int bytes = 0;
  const Bytes secret = FromHex(kServerSecret);
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), info.data(), info.size(), next.data(), &bytes);
  const auto updated = KeyOf(kServerSecret);
  REQUIRE(updated->Update());
  Bytes record = test::Sealed(*updated, ContentType::kApplicationData, {42});
  CHECK_FALSE(test::Key13(Aead::kAes128Gcm, next)->Open(record).refused);
}

TEST_CASE("TLS 1.2's records are what RFC 5288 and 7905 construct, sealed and opened, from sequence 1 on") {
  for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
    const bool gcm = aead != Aead::kChaCha20Poly1305;
    const Bytes key_bytes(tls::KeyBytes(aead), 0x5c);
    const Bytes iv(gcm ? 4 : 12, 0xa7);
    constexpr uint64_t kFirstNonce = 0x0102030405060708;
    const auto write = tls::RecordKey::ForTls12(aead, key_bytes, iv, kFirstNonce);
    const auto read = tls::RecordKey::ForTls12(aead, key_bytes, iv, 0);
    for (uint64_t sequence = 1; sequence < 4; sequence++) {
      const Bytes payload(100 * sequence, 0x11);
      Bytes record = test::Sealed(*write, ContentType::kApplicationData, payload);
      CHECK(ToHex(record) == ToHex(test::Constructed12(aead, key_bytes, iv, sequence, kFirstNonce + sequence - 1, payload)));
      const tls::Opened opened = read->Open(record);
      REQUIRE_FALSE(opened.refused);
      CHECK(Bytes(opened.payload.begin(), opened.payload.end()) == payload);
    }
  }
}

TEST_CASE("a record of TLS 1.2 of which any one bit was changed does not open") {
  for (const Aead aead : {Aead::kAes128Gcm, Aead::kAes256Gcm, Aead::kChaCha20Poly1305}) {
    const auto [write, unused] = test::KeyPair(tls::Version::kTls12, aead);
    const Bytes whole = test::Sealed(*write, ContentType::kApplicationData, Bytes(40, 9));
    for (size_t at = 0; at < whole.size(); at++) {
      // The length field of the header says how many bytes are handed over: what is authenticated is their number.
      if (at == 3 || at == 4) continue;
      for (int bit = 0; bit < 8; bit++) {
        Bytes changed = whole;
        changed[at] ^= static_cast<uint8_t>(1 << bit);
        const auto [other, read] = test::KeyPair(tls::Version::kTls12, aead);
        REQUIRE(read->Open(changed).refused);
      }
    }
  }
}

TEST_CASE("a key does not open another one's records, nor its own direction's twice") {
  const auto [write, read] = test::KeyPair(tls::Version::kTls13, Aead::kChaCha20Poly1305);
  const Bytes record = test::Sealed(*write, ContentType::kApplicationData, {1, 2, 3});
  Bytes once = record;
  Bytes twice = record;
  CHECK_FALSE(read->Open(once).refused);
  CHECK(read->Open(twice).alert == Alert::kBadRecordMac);
  Bytes strange = record;
  CHECK(KeyOf(kClientSecret)->Open(strange).refused);
}
