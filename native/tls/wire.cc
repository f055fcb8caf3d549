// A BIO over a socket or a span, and the key log.
#include "tls/wire.h"

#include <openssl/bio.h>

#include <algorithm>
#include <cstring>

#include "sys/calls.h"

namespace sidesplice::tls {

bool Wire::AttachTo(SSL* ssl) {
  BIO* bio = BIO_new(Method());
  if (bio == nullptr) return false;
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl, bio, bio);
  SSL_set_app_data(ssl, this);
  return true;
}

size_t Wire::TakeGiven(char* into, size_t bytes) {
  const size_t taken = std::min(bytes, given_.size());
  std::memcpy(into, given_.data(), taken);
  given_ = given_.subspan(taken);
  return taken;
}

int Wire::Read(BIO* bio, char* into, size_t bytes, size_t* got) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  // OpenSSL sends a whole flight before it reads, and the key of what a server says afterwards exists by then.
  if (wire->server_.size != 0) wire->flight_over_ = true;
  if (wire->fd_ < 0) {
    if (wire->given_.empty()) {
      BIO_set_retry_read(bio);
      return 0;
    }
    *got = wire->TakeGiven(into, bytes);
    return 1;
  }
  const ssize_t result = sys::Receive(wire->fd_, into, bytes);
  if (result > 0) {
    wire->bytes_read_ += static_cast<uint64_t>(result);
    *got = static_cast<size_t>(result);
    return 1;
  }
  if (result == -EAGAIN) BIO_set_retry_read(bio);
  else if (result == 0) wire->ended_ = true;
  else wire->last_error_ = static_cast<int>(-result);
  return 0;
}

int Wire::Write(BIO* bio, const char* from, size_t bytes, size_t* sent) {
  auto* wire = static_cast<Wire*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (wire->fd_ < 0) {
    *sent = bytes;
    return 1;
  }
  const ssize_t result = sys::Send(wire->fd_, from, bytes);
  if (result >= 0) {
    wire->NoteWritten({reinterpret_cast<const uint8_t*>(from), static_cast<size_t>(result)});
    *sent = static_cast<size_t>(result);
    return 1;
  }
  if (result == -EAGAIN) BIO_set_retry_write(bio);
  else wire->last_error_ = static_cast<int>(-result);
  return 0;
}

long Wire::Control(BIO* bio, int command, long, void*) {
  const auto* wire = static_cast<const Wire*>(BIO_get_data(bio));
  if (command == BIO_CTRL_FLUSH) return 1;
  return command == BIO_CTRL_EOF && wire->ended_ ? 1 : 0;
}

BIO_METHOD* Wire::Method() {
  static BIO_METHOD* const kMethod = [] {
    BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sidesplice wire");
    BIO_meth_set_read_ex(method, Read);
    BIO_meth_set_write_ex(method, Write);
    BIO_meth_set_ctrl(method, Control);
    return method;
  }();
  return kMethod;
}

void Wire::NoteWritten(std::span<const uint8_t> bytes) {
  if (flight_over_) CountRecords(bytes);
  if (bytes.size() >= tail_.size()) {
    std::copy(bytes.end() - static_cast<ptrdiff_t>(tail_.size()), bytes.end(), tail_.begin());
    tail_bytes_ = tail_.size();
    return;
  }
  const size_t kept = std::min(tail_bytes_, tail_.size() - bytes.size());
  std::memmove(tail_.data(), tail_.data() + tail_bytes_ - kept, kept);
  std::copy(bytes.begin(), bytes.end(), tail_.begin() + static_cast<ptrdiff_t>(kept));
  tail_bytes_ = kept + bytes.size();
}

/** Walks from header to header; a write may end anywhere. */
void Wire::CountRecords(std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const size_t skipped = std::min(body_left_, bytes.size());
    body_left_ -= skipped;
    bytes = bytes.subspan(skipped);
    if (bytes.empty()) return;
    header_[header_bytes_++] = bytes[0];
    bytes = bytes.subspan(1);
    if (header_bytes_ < kHeaderBytes) continue;
    header_bytes_ = 0;
    body_left_ = static_cast<size_t>(header_[3]) << 8 | header_[4];
    behind_flight_++;
  }
}

uint64_t Wire::last_explicit_nonce() const {
  uint64_t nonce = 0;
  if (tail_bytes_ == kFinished12Bytes)
    for (size_t at = 0; at < kExplicitNonceBytes; at++) nonce = nonce << 8 | tail_[kHeaderBytes + at];
  return nonce;
}

void Wire::NoteKeyLogLine(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last == first) return;
  const std::string_view label = line.substr(0, first);
  Secret* secret = label == "CLIENT_TRAFFIC_SECRET_0"   ? &client_
                   : label == "SERVER_TRAFFIC_SECRET_0" ? &server_
                                                        : nullptr;
  if (secret == nullptr) return;
  const std::string_view hex = line.substr(last + 1);
  size_t bytes = 0;
  const auto digit = [](char letter) -> uint8_t {
    return static_cast<uint8_t>(letter <= '9' ? letter - '0' : (letter | 0x20) - 'a' + 10);
  };
  for (size_t at = 0; at + 1 < hex.size() && bytes < secret->bytes.size(); at += 2)
    secret->bytes[bytes++] = static_cast<uint8_t>(digit(hex[at]) << 4 | digit(hex[at + 1]));
  secret->size = bytes;
}

}  // namespace sidesplice::tls
