// A TLS leg whose records the kernel makes and opens: its keys, what went into it, and whether all of that is with TCP.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "tls/record_key.h"

namespace sidesplice::core {

/** What the kernel can do, as the probe at the start has found, and what of it is used. */
struct KernelTls {
  /** By tls::Aead, a bit each: the ciphers that are left to the kernel. 0: none is. */
  uint8_t ciphers = 0;
  /** It can exchange keys. */
  bool rekeys = false;

  [[nodiscard]] bool takes_any() const { return ciphers != 0; }
  [[nodiscard]] bool Takes(tls::Aead aead) const { return (ciphers >> static_cast<unsigned>(aead) & 1) != 0; }
};

class KernelLeg {
 public:
  enum class Result : uint8_t {
    /** The kernel has both keys. */
    kTaken,
    /** It has none: the leg is as it was, records can be our own. */
    kRefused,
    /** It has one of them: the connection is of no use any more. */
    kHalf,
  };

  /** Gives the keys of a leg that stands between two records to the kernel. */
  Result Take(int fd, std::unique_ptr<tls::RecordKey>* read, std::unique_ptr<tls::RecordKey>* write, bool rekeys);

  [[nodiscard]] tls::Version version() const { return version_; }
  [[nodiscard]] bool is_gcm() const { return aead_ != tls::Aead::kChaCha20Poly1305; }

  /** As send(2). */
  ssize_t Send(int fd, std::span<const uint8_t> bytes);
  /** A record of its own; 0, or a negative errno. */
  int SendControl(int fd, tls::ContentType type, std::span<const uint8_t> bytes);
  /** Was spliced into it. */
  void NoteSpliced(size_t bytes) { sent_ += bytes; }
  /**
   * Whether every record that was made has been given to TCP: the kernel keeps back what a full send queue has no room for, and a FIN
   * would go before it. True where that can't be told.
   */
  [[nodiscard]] bool AllPushed(int fd) const;
  /** Records made under the key of now. */
  [[nodiscard]] uint64_t Records(int fd) const;

  [[nodiscard]] bool rekeys() const { return write_ != nullptr; }
  /** The peer's next key. False where the kernel does not take it. */
  [[nodiscard]] bool RekeyRead(int fd);
  /** Our next key, behind a KeyUpdate that was sent. */
  [[nodiscard]] bool RekeyWrite(int fd);

 private:
  [[nodiscard]] bool ReadSequence(int fd, uint64_t* sequence) const;

  tls::Version version_ = tls::Version::kTls13;
  tls::Aead aead_ = tls::Aead::kAes128Gcm;
  uint8_t overhead_ = 0;
  bool counts_ = false;
  uint64_t sent_ = 0;
  /** What TCP had been given before the first record of the kernel's. */
  uint64_t base_ = 0;
  /** The first sequence number under the key of now, and the records under keys before it. */
  uint64_t first_sequence_ = 0;
  uint64_t records_before_ = 0;
  /** Where the kernel can exchange keys: what the next ones follow from. */
  std::unique_ptr<tls::RecordKey> read_;
  std::unique_ptr<tls::RecordKey> write_;
};

}  // namespace sidesplice::core
