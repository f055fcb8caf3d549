// AES in counter mode and GHASH, twelve blocks at a time. GHASH is computed as POLYVAL of reversed blocks (RFC 8452, appendix A).
#include "tls/vaes_gcm.h"

#include <openssl/crypto.h>

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#define SIDESPLICE_VAES __attribute__((target("avx2,aes,pclmul,vaes,vpclmulqdq")))
#define SIDESPLICE_VAES_INLINE SIDESPLICE_VAES __attribute__((always_inline)) inline

namespace sidesplice::tls {

namespace {

constexpr size_t kBlockBytes = 16;
constexpr size_t kVectorBytes = 2 * kBlockBytes;
// As many as are under way at once: enough to hide an instruction's latency, few enough for sixteen registers (with eight some go by memory).
constexpr size_t kVectors = 6;
constexpr size_t kStrideBlocks = 2 * kVectors;
constexpr size_t kStrideBytes = kVectors * kVectorBytes;
// What is less than a stride goes by these.
constexpr size_t kTailVectors = 2;
constexpr size_t kTailBytes = kTailVectors * kVectorBytes;
static_assert(kStrideBytes == 3 * kTailBytes);
constexpr size_t kMostRounds = 14;
constexpr size_t kProductsPerVector = 3;
constexpr size_t kProducts = kVectors * kProductsPerVector;

/** Three sums of products of 64 bits, before their reduction: of the low halves, of the high ones, and of both halves' sums (Karatsuba). */
struct Product {
  __m256i low;
  __m256i sums;
  __m256i high;
};

SIDESPLICE_VAES_INLINE __m256i Load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
SIDESPLICE_VAES_INLINE void Store(uint8_t* into, __m256i value) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(into), value); }
SIDESPLICE_VAES_INLINE __m256i Load(const __m128i* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
SIDESPLICE_VAES_INLINE __m256i Both(__m128i value) { return _mm256_broadcastsi128_si256(value); }
SIDESPLICE_VAES_INLINE __m128i Fold(__m256i value) {
  return _mm_xor_si128(_mm256_castsi256_si128(value), _mm256_extracti128_si256(value, 1));
}

SIDESPLICE_VAES_INLINE __m128i Reversal() { return _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15); }
SIDESPLICE_VAES_INLINE __m256i Reversed(__m256i blocks) { return _mm256_shuffle_epi8(blocks, Both(Reversal())); }
SIDESPLICE_VAES_INLINE __m128i Reversed(__m128i block) { return _mm_shuffle_epi8(block, Reversal()); }

/** The sum of each block's halves, in both of them. */
SIDESPLICE_VAES_INLINE __m256i HalvesSum(__m256i blocks) { return _mm256_xor_si256(blocks, _mm256_shuffle_epi32(blocks, 0x4E)); }

SIDESPLICE_VAES_INLINE void AddLow(__m256i a, __m256i b, Product* sum) {
  sum->low = _mm256_xor_si256(sum->low, _mm256_clmulepi64_epi128(a, b, 0x00));
}

SIDESPLICE_VAES_INLINE void AddHigh(__m256i a, __m256i b, Product* sum) {
  sum->high = _mm256_xor_si256(sum->high, _mm256_clmulepi64_epi128(a, b, 0x11));
}

SIDESPLICE_VAES_INLINE void AddSums(__m256i a, __m256i b_halves_sum, Product* sum) {
  sum->sums = _mm256_xor_si256(sum->sums, _mm256_clmulepi64_epi128(HalvesSum(a), b_halves_sum, 0x00));
}

SIDESPLICE_VAES_INLINE void Multiply(__m256i a, __m256i b, __m256i b_halves_sum, Product* sum) {
  AddLow(a, b, sum);
  AddHigh(a, b, sum);
  AddSums(a, b_halves_sum, sum);
}

/** Modulo x^128 + x^127 + x^126 + x^121 + 1, by two Montgomery steps of 64 bits: the polynomial's low half is 1. */
SIDESPLICE_VAES_INLINE __m256i Reduced(const Product& sum) {
  const __m256i polynomial = _mm256_set1_epi64x(static_cast<int64_t>(0xC200'0000'0000'0000));
  __m256i middle = _mm256_xor_si256(sum.sums, _mm256_xor_si256(sum.low, sum.high));
  middle = _mm256_xor_si256(middle, _mm256_shuffle_epi32(sum.low, 0x4E));
  middle = _mm256_xor_si256(middle, _mm256_clmulepi64_epi128(sum.low, polynomial, 0x00));
  const __m256i high = _mm256_xor_si256(sum.high, _mm256_shuffle_epi32(middle, 0x4E));
  return _mm256_xor_si256(high, _mm256_clmulepi64_epi128(middle, polynomial, 0x00));
}

SIDESPLICE_VAES_INLINE Product Zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()}; }

SIDESPLICE_VAES_INLINE __m128i Dot(__m128i a, __m128i b) {
  Product product = Zero();
  const __m256i factor = _mm256_zextsi128_si256(b);
  Multiply(_mm256_zextsi128_si256(a), factor, HalvesSum(factor), &product);
  return _mm256_castsi256_si128(Reduced(product));
}

/** Also where nobody reads it any more. */
SIDESPLICE_VAES_INLINE void Clear(uint8_t* text) {
  for (size_t at = 0; at < kTailBytes; at += kVectorBytes) Store(text + at, _mm256_setzero_si256());
  __asm__ volatile("" : : "r"(text) : "memory");
}

class VaesGcm final : public AeadKey {
 public:
  SIDESPLICE_VAES VaesGcm(std::span<const uint8_t> key);
  ~VaesGcm() override;

  bool Seal(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) override;
  bool Open(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) override;

 private:
  enum class Way { kSeal, kOpen };

  template <int kRounds, Way kWay>
  SIDESPLICE_VAES __m128i Run(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) const;
  template <Way kWay>
  SIDESPLICE_VAES void Tag(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data, uint8_t* tag) const;
  template <int kRounds, size_t kCount>
  SIDESPLICE_VAES_INLINE void Crypt(__m256i* counters, uint8_t* text) const;
  template <int kRounds>
  SIDESPLICE_VAES_INLINE void Stride(__m256i* counters, uint8_t* text, const uint8_t* hashed, Product* sum) const;
  SIDESPLICE_VAES_INLINE void HashVector(const uint8_t* hashed, size_t power, __m128i before, Product* sum) const;
  SIDESPLICE_VAES_INLINE Product Hash(const uint8_t* hashed, size_t blocks, const Product& before) const;
  template <int kRounds>
  SIDESPLICE_VAES_INLINE __m128i EncryptedBlock(__m128i block) const;
  SIDESPLICE_VAES void Expand(std::span<const uint8_t> key);

  __m128i round_keys_[kMostRounds + 1];
  // H^12 to H, and zero for the half of a vector that has no block.
  __m128i powers_[kStrideBlocks + 1];
  // Of each the sum of its halves.
  __m128i halves_sums_[kStrideBlocks + 1];
  const bool aes256_;
};

template <int kWord>
SIDESPLICE_VAES_INLINE __m128i NextRoundKey(__m128i previous, __m128i assist) {
  assist = _mm_shuffle_epi32(assist, kWord);
  // Each word is the sum of those before it (FIPS 197, section 5.2).
  previous = _mm_xor_si128(previous, _mm_slli_si128(previous, 4));
  previous = _mm_xor_si128(previous, _mm_slli_si128(previous, 8));
  return _mm_xor_si128(previous, assist);
}

template <int kConstant>
SIDESPLICE_VAES_INLINE __m128i AfterRotation(__m128i previous, __m128i last) {
  return NextRoundKey<0xFF>(previous, _mm_aeskeygenassist_si128(last, kConstant));
}

SIDESPLICE_VAES_INLINE __m128i AfterSubstitution(__m128i previous, __m128i last) {
  return NextRoundKey<0xAA>(previous, _mm_aeskeygenassist_si128(last, 0));
}

SIDESPLICE_VAES void VaesGcm::Expand(std::span<const uint8_t> key) {
  __m128i* const keys = round_keys_;
  std::memcpy(keys, key.data(), key.size());
  if (!aes256_) {
    keys[1] = AfterRotation<0x01>(keys[0], keys[0]);
    keys[2] = AfterRotation<0x02>(keys[1], keys[1]);
    keys[3] = AfterRotation<0x04>(keys[2], keys[2]);
    keys[4] = AfterRotation<0x08>(keys[3], keys[3]);
    keys[5] = AfterRotation<0x10>(keys[4], keys[4]);
    keys[6] = AfterRotation<0x20>(keys[5], keys[5]);
    keys[7] = AfterRotation<0x40>(keys[6], keys[6]);
    keys[8] = AfterRotation<0x80>(keys[7], keys[7]);
    keys[9] = AfterRotation<0x1B>(keys[8], keys[8]);
    keys[10] = AfterRotation<0x36>(keys[9], keys[9]);
    return;
  }
  keys[2] = AfterRotation<0x01>(keys[0], keys[1]);
  keys[3] = AfterSubstitution(keys[1], keys[2]);
  keys[4] = AfterRotation<0x02>(keys[2], keys[3]);
  keys[5] = AfterSubstitution(keys[3], keys[4]);
  keys[6] = AfterRotation<0x04>(keys[4], keys[5]);
  keys[7] = AfterSubstitution(keys[5], keys[6]);
  keys[8] = AfterRotation<0x08>(keys[6], keys[7]);
  keys[9] = AfterSubstitution(keys[7], keys[8]);
  keys[10] = AfterRotation<0x10>(keys[8], keys[9]);
  keys[11] = AfterSubstitution(keys[9], keys[10]);
  keys[12] = AfterRotation<0x20>(keys[10], keys[11]);
  keys[13] = AfterSubstitution(keys[11], keys[12]);
  keys[14] = AfterRotation<0x40>(keys[12], keys[13]);
}

SIDESPLICE_VAES VaesGcm::VaesGcm(std::span<const uint8_t> key) : aes256_(key.size() == 32) {
  Expand(key);
  const __m128i zero = _mm_setzero_si128();
  const __m128i hash_key = Reversed(aes256_ ? EncryptedBlock<14>(zero) : EncryptedBlock<10>(zero));
  // Times x, so that products come out where GHASH wants them.
  const __m128i carries = _mm_srai_epi32(_mm_shuffle_epi32(hash_key, 0xFF), 31);
  const __m128i polynomial = _mm_set_epi64x(static_cast<int64_t>(0xC200'0000'0000'0000), 1);
  const __m128i shifted = _mm_or_si128(_mm_slli_epi64(hash_key, 1), _mm_slli_si128(_mm_srli_epi64(hash_key, 63), 8));
  const __m128i first = _mm_xor_si128(shifted, _mm_and_si128(carries, polynomial));
  powers_[kStrideBlocks] = zero;
  __m128i power = first;
  for (size_t at = kStrideBlocks; at-- > 0; power = Dot(power, first)) powers_[at] = power;
  for (size_t at = 0; at <= kStrideBlocks; at++)
    halves_sums_[at] = _mm256_castsi256_si128(HalvesSum(_mm256_zextsi128_si256(powers_[at])));
}

VaesGcm::~VaesGcm() {
  OPENSSL_cleanse(round_keys_, sizeof(round_keys_));
  OPENSSL_cleanse(powers_, sizeof(powers_));
  OPENSSL_cleanse(halves_sums_, sizeof(halves_sums_));
}

template <int kRounds>
SIDESPLICE_VAES_INLINE __m128i VaesGcm::EncryptedBlock(__m128i block) const {
  block = _mm_xor_si128(block, round_keys_[0]);
  for (int round = 1; round < kRounds; round++) block = _mm_aesenc_si128(block, round_keys_[round]);
  return _mm_aesenclast_si128(block, round_keys_[kRounds]);
}

/** Adds the products of two blocks with the powers from that place on; `before` is what was hashed until the first of them. */
SIDESPLICE_VAES_INLINE void VaesGcm::HashVector(const uint8_t* hashed, size_t power, __m128i before, Product* sum) const {
  const __m256i blocks = _mm256_xor_si256(Reversed(Load(hashed)), _mm256_zextsi128_si256(before));
  Multiply(blocks, Load(powers_ + power), Load(halves_sums_ + power), sum);
}

/** Up to a stride of blocks; behind an odd last one stand zeros. `before` and the answer are sums that are not reduced yet. */
SIDESPLICE_VAES_INLINE Product VaesGcm::Hash(const uint8_t* hashed, size_t blocks, const Product& before) const {
  Product sum = Zero();
  __m128i hash = Fold(Reduced(before));
  for (size_t at = 0; at < blocks; at += 2, hash = _mm_setzero_si128())
    HashVector(hashed + at * kBlockBytes, kStrideBlocks - blocks + at, hash, &sum);
  return sum;
}

/** Counters, under the key that is added before the first round. */
template <size_t kCount>
SIDESPLICE_VAES_INLINE void Begin(__m256i* counters, __m256i whiten, __m256i* stream) {
  const __m256i two = _mm256_set_epi32(0, 0, 0, 2, 0, 0, 0, 2);
#pragma GCC unroll 8
  for (size_t at = 0; at < kCount; at++) {
    stream[at] = _mm256_xor_si256(Reversed(*counters), whiten);
    *counters = _mm256_add_epi32(*counters, two);
  }
}

template <size_t kCount>
SIDESPLICE_VAES_INLINE void Round(__m256i* stream, __m256i key) {
#pragma GCC unroll 8
  for (size_t at = 0; at < kCount; at++) stream[at] = _mm256_aesenc_epi128(stream[at], key);
}

template <size_t kCount>
SIDESPLICE_VAES_INLINE void End(__m256i* stream, __m256i key, uint8_t* text) {
#pragma GCC unroll 8
  for (size_t at = 0; at < kCount; at++) {
    uint8_t* const here = text + at * kVectorBytes;
    Store(here, _mm256_xor_si256(Load(here), _mm256_aesenclast_epi128(stream[at], key)));
  }
}

/** Encrypts or decrypts as many vectors. */
template <int kRounds, size_t kCount>
SIDESPLICE_VAES_INLINE void VaesGcm::Crypt(__m256i* counters, uint8_t* text) const {
  __m256i stream[kCount];
  Begin<kCount>(counters, Both(round_keys_[0]), stream);
#pragma GCC unroll 16
  for (int round = 1; round < kRounds; round++) Round<kCount>(stream, Both(round_keys_[round]));
  End<kCount>(stream, Both(round_keys_[kRounds]), text);
}

/**
 * Encrypts or decrypts a stride, and hashes another meanwhile, a product or two in each round: neither waits for what the other computes, and
 * the units for both are busy. `sum` is that of the stride before, which is reduced on the way, and then that of this one.
 */
template <int kRounds>
SIDESPLICE_VAES_INLINE void VaesGcm::Stride(__m256i* counters, uint8_t* text, const uint8_t* hashed, Product* sum) const {
  __m256i stream[kVectors];
  Begin<kVectors>(counters, Both(round_keys_[0]), stream);
  const Product before = *sum;
  *sum = Zero();
  __m128i hash = _mm_setzero_si128();
  __m256i blocks = _mm256_setzero_si256();
#pragma GCC unroll 16
  for (int round = 1; round < kRounds; round++) {
    Round<kVectors>(stream, Both(round_keys_[round]));
    if (round == 2) hash = Fold(Reduced(before));
#pragma GCC unroll 8
    for (size_t product = kProducts * (round - 1) / (kRounds - 1); product < kProducts * round / (kRounds - 1); product++) {
      // The first vector comes last: it waits for the stride before.
      const size_t vector = (product / kProductsPerVector + 1) % kVectors;
      const size_t part = product % kProductsPerVector;
      if (part == 0) blocks = Reversed(Load(hashed + vector * kVectorBytes));
      if (part == 0 && vector == 0) blocks = _mm256_xor_si256(blocks, _mm256_zextsi128_si256(hash));
      if (part == 0) AddLow(blocks, Load(powers_ + 2 * vector), sum);
      else if (part == 1) AddHigh(blocks, Load(powers_ + 2 * vector), sum);
      else AddSums(blocks, Load(halves_sums_ + 2 * vector), sum);
    }
  }
  End<kVectors>(stream, Both(round_keys_[kRounds]), text);
}

/** The tag. */
template <int kRounds, VaesGcm::Way kWay>
SIDESPLICE_VAES __m128i VaesGcm::Run(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) const {
  alignas(kVectorBytes) uint8_t text[kTailBytes];
  Clear(text);
  std::copy(additional.begin(), additional.end(), text);
  Product hash = Hash(text, 1, Zero());

  // Reversed: the counter is the lowest word. One of them masks the tag, data begins at two.
  std::memcpy(text, nonce, kIvBytes);
  std::memset(text + kIvBytes, 0, kBlockBytes - kIvBytes);
  const __m128i start = Reversed(_mm_load_si128(reinterpret_cast<const __m128i*>(text)));
  __m256i counters = _mm256_add_epi32(Both(start), _mm256_set_epi32(0, 0, 0, 3, 0, 0, 0, 2));

  uint8_t* at = data.data();
  size_t left = data.size();
  if (kWay == Way::kOpen) {
    for (; left >= kStrideBytes; left -= kStrideBytes, at += kStrideBytes) Stride<kRounds>(&counters, at, at, &hash);
  } else if (left >= kStrideBytes) {
    // What is hashed has to be encrypted first: it stays a stride behind.
    Crypt<kRounds, kVectors>(&counters, at);
    for (; left >= 2 * kStrideBytes; left -= kStrideBytes, at += kStrideBytes) Stride<kRounds>(&counters, at + kStrideBytes, at, &hash);
    hash = Hash(at, kStrideBlocks, hash);
    left -= kStrideBytes;
    at += kStrideBytes;
  }
  if (const size_t whole = left - left % kTailBytes; whole > 0) {
    if (kWay == Way::kOpen) hash = Hash(at, whole / kBlockBytes, hash);
    if (whole == 2 * kTailBytes) Crypt<kRounds, 2 * kTailVectors>(&counters, at);
    else Crypt<kRounds, kTailVectors>(&counters, at);
    if (kWay == Way::kSeal) hash = Hash(at, whole / kBlockBytes, hash);
    left -= whole;
    at += whole;
  }
  if (left > 0) {
    const size_t blocks = (left + kBlockBytes - 1) / kBlockBytes;
    Clear(text);
    std::memcpy(text, at, left);
    if (kWay == Way::kOpen) hash = Hash(text, blocks, hash);
    Crypt<kRounds, kTailVectors>(&counters, text);
    std::memcpy(at, text, left);
    std::memset(text + left, 0, sizeof(text) - left);
    if (kWay == Way::kSeal) hash = Hash(text, blocks, hash);
    Clear(text);
  }

  const __m128i bits = _mm_set_epi64x(static_cast<int64_t>(additional.size() * 8), static_cast<int64_t>(data.size() * 8));
  const __m128i hashed = Dot(_mm_xor_si128(Fold(Reduced(hash)), bits), powers_[kStrideBlocks - 1]);
  const __m128i one = _mm_set_epi32(0, 0, 0, 1);
  return _mm_xor_si128(Reversed(hashed), EncryptedBlock<kRounds>(Reversed(_mm_add_epi32(start, one))));
}

template <VaesGcm::Way kWay>
SIDESPLICE_VAES void VaesGcm::Tag(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data, uint8_t* tag) const {
  const __m128i made = aes256_ ? Run<14, kWay>(nonce, additional, data) : Run<10, kWay>(nonce, additional, data);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(tag), made);
}

bool VaesGcm::Seal(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) {
  Tag<Way::kSeal>(nonce, additional, data, data.data() + data.size());
  return true;
}

bool VaesGcm::Open(const uint8_t* nonce, std::span<const uint8_t> additional, std::span<uint8_t> data) {
  uint8_t expected[kTagBytes];
  Tag<Way::kOpen>(nonce, additional, data, expected);
  return CRYPTO_memcmp(expected, data.data() + data.size(), kTagBytes) == 0;
}

/** Whether the kernel saves the vectors of 256 bits with a thread (Intel's manual, volume 1, section 14.3). */
bool SavesVectors() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  constexpr uint32_t kSseAndAvx = 0b110;
  return (low & kSseAndAvx) == kSseAndAvx;
}

bool Detect() {
  constexpr uint32_t kPclmul = 1U << 1U, kSsse3 = 1U << 9U, kAes = 1U << 25U, kXsave = 1U << 27U, kAvx = 1U << 28U;
  constexpr uint32_t kBase = kPclmul | kSsse3 | kAes | kXsave | kAvx;
  constexpr uint32_t kAvx2 = 1U << 5U, kAvx512 = 1U << 16U;
  constexpr uint32_t kVaes = 1U << 9U, kVpclmul = 1U << 10U;
  uint32_t a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & kBase) != kBase || !SavesVectors()) return false;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (b & kAvx2) != 0 && (b & kAvx512) == 0 && (c & kVaes) != 0 && (c & kVpclmul) != 0;
}

}  // namespace

bool HasVaesGcm() {
  static const bool kHas = Detect();
  return kHas;
}

std::unique_ptr<AeadKey> MakeVaesGcm(std::span<const uint8_t> key) {
  if (!HasVaesGcm()) return nullptr;
  return std::make_unique<VaesGcm>(key);
}

}  // namespace sidesplice::tls

#else

namespace sidesplice::tls {

bool HasVaesGcm() { return false; }

std::unique_ptr<AeadKey> MakeVaesGcm(std::span<const uint8_t> /*key*/) { return nullptr; }

}  // namespace sidesplice::tls

#endif
