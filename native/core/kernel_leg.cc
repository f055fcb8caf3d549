// Keys in, bytes counted against what TCP was given.
#include "core/kernel_leg.h"

#include <openssl/crypto.h>

#include <array>
#include <utility>

#include "sys/calls.h"
#include "sys/kernel_tls.h"
#include "tls/kernel_key.h"

namespace sidesplice::core {

namespace {

bool Install(int fd, sys::TlsWay way, const tls::RecordKey& key) {
  tls::KernelKey given;
  return key.CopyForKernel(&given) && sys::SetTlsKey(fd, way, given.bytes()) == 0;
}

}  // namespace

KernelLeg::Result KernelLeg::Take(int fd, std::unique_ptr<tls::RecordKey>* read, std::unique_ptr<tls::RecordKey>* write,
                                  bool rekeys) {
  // It fails where the peer has closed its direction already, among others: then records are our own, nothing is lost by that.
  if (sys::AttachTls(fd) != 0) return Result::kRefused;
  version_ = (*write)->version();
  aead_ = (*write)->aead();
  overhead_ = static_cast<uint8_t>((*write)->overhead());
  if (!Install(fd, sys::TlsWay::kReceive, **read)) return Result::kRefused;
  if (!Install(fd, sys::TlsWay::kSend, **write)) return Result::kHalf;
  counts_ = ReadSequence(fd, &first_sequence_) && sys::TcpBytesWritten(fd, &base_);
  (*read)->LeaveToKernel();
  (*write)->LeaveToKernel();
  if (rekeys && version_ == tls::Version::kTls13) {
    read_ = std::move(*read);
    write_ = std::move(*write);
  }
  read->reset();
  write->reset();
  return Result::kTaken;
}

ssize_t KernelLeg::Send(int fd, std::span<const uint8_t> bytes) {
  const ssize_t sent = sys::Send(fd, bytes.data(), bytes.size());
  if (sent > 0) sent_ += static_cast<uint64_t>(sent);
  return sent;
}

int KernelLeg::SendControl(int fd, tls::ContentType type, std::span<const uint8_t> bytes) {
  const ssize_t sent = sys::SendRecord(fd, static_cast<uint8_t>(type), bytes.data(), bytes.size());
  if (sent < 0) return static_cast<int>(sent);
  sent_ += static_cast<uint64_t>(sent);
  return 0;
}

bool KernelLeg::AllPushed(int fd) const {
  uint64_t written = 0;
  uint64_t sequence = 0;
  if (!counts_ || !ReadSequence(fd, &sequence) || !sys::TcpBytesWritten(fd, &written)) return true;
  const uint64_t records = records_before_ + sequence - first_sequence_;
  return written - base_ >= sent_ + records * overhead_;
}

uint64_t KernelLeg::Records(int fd) const {
  uint64_t sequence = 0;
  return ReadSequence(fd, &sequence) ? sequence - first_sequence_ : 0;
}

bool KernelLeg::ReadSequence(int fd, uint64_t* sequence) const {
  std::array<uint8_t, tls::KernelKey::kMostBytes> key{};
  const size_t size = tls::KernelKey::BytesOf(aead_);
  const bool got = sys::GetTlsSendKey(fd, std::span(key.data(), size)) == 0;
  uint64_t value = 0;
  for (size_t at = size - tls::KernelKey::kSequenceBytes; at < size; at++) value = value << 8 | key[at];
  OPENSSL_cleanse(key.data(), key.size());
  *sequence = value;
  return got;
}

bool KernelLeg::RekeyRead(int fd) {
  if (!read_->Update() || !Install(fd, sys::TlsWay::kReceive, *read_)) return false;
  read_->LeaveToKernel();
  return true;
}

bool KernelLeg::RekeyWrite(int fd) {
  records_before_ += Records(fd);
  first_sequence_ = 0;
  if (!write_->Update() || !Install(fd, sys::TlsWay::kSend, *write_)) return false;
  write_->LeaveToKernel();
  return true;
}

}  // namespace sidesplice::core
