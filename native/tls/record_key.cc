// Sealing and opening records.
#include "tls/record_key.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "tls/kernel_key.h"
#include "tls/key_schedule.h"
#include "tls/openssl_ptr.h"

namespace sidesplice::tls {

namespace {

constexpr uint8_t kLegacyVersionMajor = 3;
constexpr uint8_t kLegacyVersionMinor = 3;
constexpr size_t kGcmFixedIvBytes = 4;

void PutUint64(uint64_t value, uint8_t* into) {
  for (int at = 7; at >= 0; at--, value >>= 8) into[at] = static_cast<uint8_t>(value);
}

Opened Refused(Alert alert) { return {.refused = true, .alert = alert, .type = {}, .payload = {}}; }

}  // namespace

Secret::~Secret() { OPENSSL_cleanse(bytes.data(), bytes.size()); }

RecordKey::~RecordKey() { OPENSSL_cleanse(iv_.data(), iv_.size()); }

std::unique_ptr<RecordKey> RecordKey::ForTls13(Aead aead, const EVP_MD* digest, const Secret& secret) {
  const ErrorScope errors;
  std::unique_ptr<RecordKey> key(new RecordKey(Version::kTls13, aead));
  key->digest_ = digest;
  key->secret_ = secret;
  return key->Expand() ? std::move(key) : nullptr;
}

std::unique_ptr<RecordKey> RecordKey::ForTls12(Aead aead, std::span<const uint8_t> key, std::span<const uint8_t> iv,
                                               uint64_t next_nonce) {
  const ErrorScope errors;
  std::unique_ptr<RecordKey> made(new RecordKey(Version::kTls12, aead));
  std::copy(iv.begin(), iv.end(), made->iv_.begin());
  made->sequence_ = 1;
  made->next_nonce_ = next_nonce;
  std::copy(key.begin(), key.end(), made->secret_.bytes.begin());
  made->secret_.size = key.size();
  return made->SetKey(key) ? std::move(made) : nullptr;
}

bool RecordKey::SetKey(std::span<const uint8_t> key) {
  aead_key_ = MakeAeadKey(aead_, key);
  return aead_key_ != nullptr;
}

/** The raw key of now. */
bool RecordKey::Derive(std::span<uint8_t> key) const {
  const std::span<const uint8_t> secret(secret_.bytes.data(), secret_.size);
  if (version_ == Version::kTls13) return ExpandLabel(digest_, secret, "key", key);
  std::copy(secret.begin(), secret.end(), key.begin());
  return secret.size() == key.size();
}

bool RecordKey::CopyForKernel(KernelKey* into) const {
  const ErrorScope errors;
  if (aead_key_ == nullptr) return false;
  std::array<uint8_t, 32> key{};
  const std::span<uint8_t> used(key.data(), KeyBytes(aead_));
  const bool good = Derive(used);
  if (good) into->Set({.version = version_, .aead = aead_, .key = used, .iv = iv_, .nonce = next_nonce_, .sequence = sequence_});
  OPENSSL_cleanse(key.data(), key.size());
  return good;
}

void RecordKey::LeaveToKernel() {
  KeepFromKernel();
  aead_key_.reset();
}

void RecordKey::KeepFromKernel() {
  if (version_ != Version::kTls12) return;
  OPENSSL_cleanse(secret_.bytes.data(), secret_.bytes.size());
  secret_.size = 0;
}

void RecordKey::Rest() {
  // A key that is the kernel's must not come back: both would seal under the same nonces.
  if (version_ != Version::kTls13 || aead_key_ == nullptr) return;
  aead_key_.reset();
  resting_ = true;
}

bool RecordKey::Wake() {
  const ErrorScope errors;
  if (Expand()) return true;
  aead_key_.reset();
  return false;
}

bool RecordKey::Expand() {
  std::array<uint8_t, 32> key{};
  const std::span<uint8_t> used(key.data(), KeyBytes(aead_));
  const std::span<const uint8_t> secret(secret_.bytes.data(), secret_.size);
  const bool good = Derive(used) && ExpandLabel(digest_, secret, "iv", iv_) && SetKey(used);
  OPENSSL_cleanse(key.data(), key.size());
  if (good) resting_ = false;
  return good;
}

bool RecordKey::Update() {
  const ErrorScope errors;
  Secret next;
  next.size = secret_.size;
  const std::span<const uint8_t> secret(secret_.bytes.data(), secret_.size);
  if (!ExpandLabel(digest_, secret, "traffic upd", std::span(next.bytes.data(), next.size))) return false;
  secret_ = next;
  sequence_ = 0;
  records_ = 0;
  return Expand();
}

void RecordKey::Nonce(const uint8_t* explicit_nonce, uint8_t* nonce) const {
  std::memcpy(nonce, iv_.data(), kIvBytes);
  if (explicit_bytes() != 0) {
    std::memcpy(nonce + kGcmFixedIvBytes, explicit_nonce, kExplicitNonceBytes);
    return;
  }
  uint8_t sequence[8];
  PutUint64(sequence_, sequence);
  for (size_t at = 0; at < sizeof(sequence); at++) nonce[kIvBytes - sizeof(sequence) + at] ^= sequence[at];
}

size_t RecordKey::Additional(const uint8_t* header, size_t payload_bytes, uint8_t* aad) const {
  if (version_ == Version::kTls13) {
    std::memcpy(aad, header, kHeaderBytes);
    return kHeaderBytes;
  }
  PutUint64(sequence_, aad);
  std::memcpy(aad + 8, header, 3);
  aad[11] = static_cast<uint8_t>(payload_bytes >> 8);
  aad[12] = static_cast<uint8_t>(payload_bytes);
  return kMaxAdditionalBytes;
}

bool RecordKey::Seal(uint8_t* record, size_t payload_bytes, ContentType type) {
  if (!IsAwake()) return false;
  const bool inner_type = version_ == Version::kTls13;
  const size_t body = payload_bytes + overhead() - kHeaderBytes;
  record[0] = static_cast<uint8_t>(inner_type ? ContentType::kApplicationData : type);
  record[1] = kLegacyVersionMajor;
  record[2] = kLegacyVersionMinor;
  record[3] = static_cast<uint8_t>(body >> 8);
  record[4] = static_cast<uint8_t>(body);
  uint8_t* payload = record + payload_offset();
  size_t sealed = payload_bytes;
  if (inner_type) payload[sealed++] = static_cast<uint8_t>(type);
  if (explicit_bytes() != 0) PutUint64(next_nonce_++, record + kHeaderBytes);

  uint8_t nonce[kIvBytes];
  Nonce(record + kHeaderBytes, nonce);
  uint8_t aad[kMaxAdditionalBytes];
  const size_t aad_bytes = Additional(record, payload_bytes, aad);
  const bool good = aead_key_->Seal(nonce, {aad, aad_bytes}, {payload, sealed});
  Next();
  return good;
}

Opened RecordKey::Open(std::span<uint8_t> record) {
  const size_t fixed = payload_offset() + kTagBytes;
  // Shorter than its tag: nothing that could be authentic (RFC 8446 section 5.2).
  if (record.size() < fixed) return Refused(Alert::kBadRecordMac);
  if (!IsAwake()) return Refused(Alert::kInternalError);
  uint8_t* payload = record.data() + payload_offset();
  const size_t sealed = record.size() - fixed;
  uint8_t nonce[kIvBytes];
  Nonce(record.data() + kHeaderBytes, nonce);
  uint8_t aad[kMaxAdditionalBytes];
  const size_t aad_bytes = Additional(record.data(), sealed, aad);
  if (!aead_key_->Open(nonce, {aad, aad_bytes}, {payload, sealed})) return Refused(Alert::kBadRecordMac);
  Next();
  const std::span<uint8_t> plain(payload, sealed);
  if (version_ == Version::kTls13) return Inner(plain);
  if (sealed > kMaxPayloadBytes) return Refused(Alert::kRecordOverflow);
  return {.refused = false, .alert = {}, .type = static_cast<ContentType>(record[0]), .payload = plain};
}

/** TLSInnerPlaintext: payload, type, zeros (RFC 8446 section 5.4). */
Opened RecordKey::Inner(std::span<uint8_t> plain) const {
  size_t end = plain.size();
  while (end > 0 && plain[end - 1] == 0) end--;
  if (end == 0) return Refused(Alert::kUnexpectedMessage);
  if (plain.size() > kMaxPayloadBytes + 1) return Refused(Alert::kRecordOverflow);
  return {.refused = false,
          .alert = {},
          .type = static_cast<ContentType>(plain[end - 1]),
          .payload = plain.first(end - 1)};
}

}  // namespace sidesplice::tls
