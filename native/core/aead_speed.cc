// Measuring it.
#include "core/aead_speed.h"

#include <ctime>
#include <vector>

#include "tls/record_key.h"

namespace sidesplice::core {

namespace {

double ThreadSeconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

}  // namespace

double AeadSpeed(tls::Aead aead, double seconds) {
  // Of zeros: nothing is ever sent that is sealed under it.
  const std::vector<uint8_t> secret(tls::KeyBytes(aead));
  const auto key = tls::MakeAeadKey(aead, secret);
  if (key == nullptr) return 0;
  std::vector<uint8_t> record(tls::kMaxPayloadBytes + tls::kTagBytes);
  const std::vector<uint8_t> nonce(tls::kIvBytes);
  const std::span<const uint8_t> header(record.data(), tls::kHeaderBytes);
  const double start = ThreadSeconds();
  double passed = 0;
  size_t records = 0;
  for (; passed < seconds; records++) {
    if (!key->Seal(nonce.data(), header, std::span(record).first(tls::kMaxPayloadBytes))) return 0;
    passed = ThreadSeconds() - start;
  }
  return static_cast<double>(records * tls::kMaxPayloadBytes) / passed / 1e9;
}

}  // namespace sidesplice::core
