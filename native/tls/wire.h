// What is under an SSL: a socket, or sealed records that somebody else has read from it; and what passes there that OpenSSL does not tell.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tls/record_key.h"
#include "tls/resumption.h"

namespace sidesplice::tls {

class Identity;

// A Finished message of TLS 1.2 as a GCM record: header, explicit nonce, message header and 12 bytes, tag.
inline constexpr size_t kFinished12Bytes = kHeaderBytes + kExplicitNonceBytes + 16 + kTagBytes;

/** The app data of its SSL. */
class Wire {
 public:
  explicit Wire(int fd) : fd_(fd) {}
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  static Wire* Of(const SSL* ssl) { return static_cast<Wire*>(SSL_get_app_data(ssl)); }
  /** False where OpenSSL has no memory. It outlives the SSL. */
  [[nodiscard]] bool AttachTo(SSL* ssl);
  /** From here on the SSL reads what it is given, and what it writes goes nowhere. */
  void LeaveSocket() { fd_ = -1; }
  void Give(std::span<const uint8_t> records) { given_ = records; }
  [[nodiscard]] bool has_given() const { return !given_.empty(); }
  /** A line of the key log: label, client random, secret (SSLKEYLOGFILE's format). */
  void NoteKeyLogLine(std::string_view line);

  [[nodiscard]] uint64_t bytes_read() const { return bytes_read_; }
  /** A positive errno, or 0. */
  [[nodiscard]] int last_error() const { return last_error_; }
  [[nodiscard]] bool ended() const { return ended_; }
  /** Of the last bytes written: a Finished of TLS 1.2 holds the explicit nonce that ours go on from. 0 where it was none. */
  [[nodiscard]] uint64_t last_explicit_nonce() const;
  [[nodiscard]] const Secret& client_secret() const { return client_; }
  [[nodiscard]] const Secret& server_secret() const { return server_; }
  /** Records that a server of TLS 1.3 has written behind its Finished: tickets, under the key that is ours then. */
  [[nodiscard]] uint64_t records_behind_flight() const { return behind_flight_; }

  // What the handshake is told, and learns, in OpenSSL's callbacks.
  std::vector<std::string> expect;
  /** What the peer proves instead. */
  std::string unexpected;
  const Identity* identity = nullptr;
  /** What is proved of the peer. */
  Proof proof;
  /** Of a client that takes tickets: under what they are kept. */
  std::string place;
  /** A session of an earlier connection was offered. */
  bool offered = false;
  /** Kept or not. */
  size_t tickets_seen = 0;
  /** Of a client: where it is to be given a ticket. */
  struct Wants {
    bool behind_full = false;
    bool behind_resumed = false;
  };
  Wants wants;

 private:
  static BIO_METHOD* Method();
  static int Read(BIO* bio, char* into, size_t bytes, size_t* got);
  static int Write(BIO* bio, const char* from, size_t bytes, size_t* sent);
  static long Control(BIO* bio, int command, long argument, void* pointer);

  [[nodiscard]] size_t TakeGiven(char* into, size_t bytes);
  void NoteWritten(std::span<const uint8_t> bytes);
  void CountRecords(std::span<const uint8_t> bytes);

  int fd_;
  std::span<const uint8_t> given_;
  uint64_t bytes_read_ = 0;
  int last_error_ = 0;
  bool ended_ = false;
  std::array<uint8_t, kFinished12Bytes> tail_{};
  size_t tail_bytes_ = 0;
  Secret client_;
  Secret server_;
  /** A server reads again: all that it has to say before the client's Finished has been written. */
  bool flight_over_ = false;
  uint64_t behind_flight_ = 0;
  /** Of the record that is being written: its header so far, and what is left of its body. */
  std::array<uint8_t, kHeaderBytes> header_{};
  size_t header_bytes_ = 0;
  size_t body_left_ = 0;
};

}  // namespace sidesplice::tls
