// The keys that a server seals its tickets with: made at random, for one identity in one process, and exchanged every hour.
#pragma once

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <mutex>

namespace sidesplice::tls {

class TicketKeys {
 public:
  /** A ticket lives an hour at most, and one of the last minute of a key still opens in the hour behind it. */
  static constexpr int64_t kPeriodSeconds = 3'600;

  TicketKeys() = default;
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // As SSL_CTX_set_tlsext_ticket_key_evp_cb(3) has it: 1 where all is set up, 0 where there is no key, negative where OpenSSL fails. From any thread.
  [[nodiscard]] int Seal(unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const;
  [[nodiscard]] int Open(const unsigned char* name, const unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac) const;

 private:
  struct Key {
    std::array<uint8_t, 16> name{};
    std::array<uint8_t, 32> cipher{};
    std::array<uint8_t, 32> mac{};
    /** When it began; 0 for none. */
    int64_t from = 0;
  };

  static void Wipe(Key* key);

  /** With the mutex: makes of `current_` and `former_` what they are now. False where there is no randomness. */
  [[nodiscard]] bool Turn() const;

  mutable std::mutex mutex_;
  mutable Key current_;
  mutable Key former_;
};

}  // namespace sidesplice::tls
