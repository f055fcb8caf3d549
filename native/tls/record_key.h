// One direction of a TLS connection after its handshake: the key, the nonce, and sealing and opening of single records in place.
// TLS 1.3 (RFC 8446 section 5) and the AEAD suites of TLS 1.2 (RFC 5246 section 6.2.3.3, RFC 5288, RFC 7905).
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tls/aead.h"
#include "tls/alert.h"

namespace sidesplice::tls {

enum class Version : uint8_t { kTls12, kTls13 };

enum class ContentType : uint8_t { kChangeCipherSpec = 20, kAlert = 21, kHandshake = 22, kApplicationData = 23 };

inline constexpr size_t kHeaderBytes = 5;
inline constexpr size_t kExplicitNonceBytes = 8;
/** RFC 8446 section 5.1: the most that a record may carry. */
inline constexpr size_t kMaxPayloadBytes = 16'384;
/** RFC 8446 section 5.2 and RFC 5246 section 6.2.3: what may follow a header at most. */
inline constexpr size_t kMaxBody13Bytes = kMaxPayloadBytes + 256;
inline constexpr size_t kMaxBody12Bytes = kMaxPayloadBytes + 2'048;
/** The longest record that we seal: TLS 1.2 with its explicit nonce. */
inline constexpr size_t kMaxOverheadBytes = kHeaderBytes + kExplicitNonceBytes + kTagBytes;

/** A traffic secret of TLS 1.3; wiped when it goes. */
struct Secret {
  std::array<uint8_t, EVP_MAX_MD_SIZE> bytes{};
  size_t size = 0;

  Secret() = default;
  Secret(const Secret&) = default;
  Secret& operator=(const Secret&) = default;
  ~Secret();
};

struct Opened {
  /** Set where the record is refused: the connection is over, and this is what the peer is told. */
  bool refused = false;
  Alert alert = Alert::kBadRecordMac;
  ContentType type = ContentType::kApplicationData;
  std::span<uint8_t> payload;
};

struct KernelKey;

class RecordKey {
 public:
  /** `digest` is the one of the suite. Null where OpenSSL fails. */
  static std::unique_ptr<RecordKey> ForTls13(Aead aead, const EVP_MD* digest, const Secret& secret);
  /** `iv` is 4 bytes for GCM, 12 for ChaCha20; `next_nonce` the first explicit nonce to seal with. Sequence 0 was Finished. */
  static std::unique_ptr<RecordKey> ForTls12(Aead aead, std::span<const uint8_t> key, std::span<const uint8_t> iv,
                                             uint64_t next_nonce);
  ~RecordKey();
  RecordKey(const RecordKey&) = delete;
  RecordKey& operator=(const RecordKey&) = delete;

  [[nodiscard]] Version version() const { return version_; }
  /** Where a payload stands in its record. */
  [[nodiscard]] size_t payload_offset() const { return kHeaderBytes + explicit_bytes(); }
  /** What a record takes beside its payload. */
  [[nodiscard]] size_t overhead() const { return payload_offset() + (version_ == Version::kTls13 ? 1 : 0) + kTagBytes; }
  /** What one record may carry: less where the peer asked for it (RFC 6066 section 4). */
  [[nodiscard]] size_t max_payload() const { return max_payload_; }
  void LimitPayload(size_t bytes) { max_payload_ = bytes; }
  /** What may follow a header at most. */
  [[nodiscard]] size_t max_body() const { return version_ == Version::kTls13 ? kMaxBody13Bytes : kMaxBody12Bytes; }
  /** How many records were sealed or opened under the key of now. */
  [[nodiscard]] uint64_t records() const { return records_; }
  /** So many were sealed under it before it came to be ours. */
  void Skip(uint64_t records) {
    sequence_ += records;
    records_ += records;
  }
  [[nodiscard]] bool is_gcm() const { return aead_ != Aead::kChaCha20Poly1305; }

  /**
   * Seals the payload that stands at `payload_offset()` of `record`, which has room for it and `overhead()`. False where OpenSSL fails.
   * The record is payload + overhead() bytes long then.
   */
  [[nodiscard]] bool Seal(uint8_t* record, size_t payload_bytes, ContentType type);

  /** Opens a whole record in place, its header included. */
  [[nodiscard]] Opened Open(std::span<uint8_t> record);

  /** TLS 1.3: the next generation of the key (RFC 8446 section 7.2). False where OpenSSL fails. */
  [[nodiscard]] bool Update();

  [[nodiscard]] Aead aead() const { return aead_; }
  /** The key as it stands, in the kernel's shape. False where there is none, as after LeaveToKernel(). */
  [[nodiscard]] bool CopyForKernel(KernelKey* into) const;
  /** The kernel has the key: this object seals and opens no more, until Update(). What was kept of the key is wiped. */
  void LeaveToKernel();
  /** The kernel gets no key of this connection: what was kept of it for that is wiped. */
  void KeepFromKernel();
  /** Frees what the next record can make anew, from the traffic secret. Nothing in TLS 1.2, where no more is kept than is used. */
  void Rest();

 private:
  RecordKey(Version version, Aead aead) : version_(version), aead_(aead) {}

  [[nodiscard]] size_t explicit_bytes() const {
    return version_ == Version::kTls12 && is_gcm() ? kExplicitNonceBytes : 0;
  }
  [[nodiscard]] bool Derive(std::span<uint8_t> key) const;
  [[nodiscard]] bool SetKey(std::span<const uint8_t> key);
  [[nodiscard]] bool Expand();
  /** Whether it can seal and open; a key that rests is made anew. */
  [[nodiscard]] bool IsAwake() { return aead_key_ != nullptr || (resting_ && Wake()); }
  /** False where OpenSSL fails. */
  [[nodiscard]] bool Wake();
  void Nonce(const uint8_t* explicit_nonce, uint8_t* nonce) const;
  /** What is authenticated beside the payload; its length. */
  size_t Additional(const uint8_t* header, size_t payload_bytes, uint8_t* aad) const;
  void Next() {
    sequence_++;
    records_++;
  }
  [[nodiscard]] Opened Inner(std::span<uint8_t> plain) const;

  const Version version_;
  const Aead aead_;
  std::unique_ptr<AeadKey> aead_key_;
  std::array<uint8_t, kIvBytes> iv_{};
  uint64_t sequence_ = 0;
  uint64_t records_ = 0;
  uint64_t next_nonce_ = 0;
  bool resting_ = false;
  size_t max_payload_ = kMaxPayloadBytes;
  const EVP_MD* digest_ = nullptr;
  /** TLS 1.3: the traffic secret. TLS 1.2: the key itself, until it is known whether the kernel gets it. */
  Secret secret_;
};

}  // namespace sidesplice::tls
