// Writing records.
#include "support/record_writer.h"

#include <algorithm>
#include <cstdlib>

#include "tls/openssl_ptr.h"

namespace sidesplice::test {

namespace {

void Put(Bytes& into, uint64_t value, int bytes) {
  for (int at = bytes - 1; at >= 0; at--) into.push_back(static_cast<uint8_t>(value >> (8 * at)));
}

const char* NameOf(tls::Aead aead) {
  if (aead == tls::Aead::kAes128Gcm) return "AES-128-GCM";
  return aead == tls::Aead::kAes256Gcm ? "AES-256-GCM" : "ChaCha20-Poly1305";
}

}  // namespace

std::unique_ptr<tls::RecordKey> Key13(tls::Aead aead, const Bytes& secret) {
  tls::Secret held;
  held.size = secret.size();
  std::copy(secret.begin(), secret.end(), held.bytes.begin());
  return tls::RecordKey::ForTls13(aead, aead == tls::Aead::kAes256Gcm ? EVP_sha384() : EVP_sha256(), held);
}

Keys KeyPair(tls::Version version, tls::Aead aead, uint8_t number) {
  if (version == tls::Version::kTls13) {
    const Bytes secret(aead == tls::Aead::kAes256Gcm ? 48 : 32, number);
    return {Key13(aead, secret), Key13(aead, secret)};
  }
  const Bytes key(tls::KeyBytes(aead), number);
  const Bytes iv(aead == tls::Aead::kChaCha20Poly1305 ? 12 : 4, number);
  return {tls::RecordKey::ForTls12(aead, key, iv, 77), tls::RecordKey::ForTls12(aead, key, iv, 99)};
}

Bytes Sealed(tls::RecordKey& key, tls::ContentType type, const Bytes& payload) {
  Bytes record(payload.size() + key.overhead());
  std::copy(payload.begin(), payload.end(), record.begin() + static_cast<std::ptrdiff_t>(key.payload_offset()));
  if (!key.Seal(record.data(), payload.size(), type)) std::abort();
  return record;
}

Bytes Padded(tls::RecordKey& key, tls::ContentType type, const Bytes& payload, size_t padding) {
  if (padding == 0) return Sealed(key, type, payload);
  // What the seal takes for the type is the last zero.
  Bytes inner = payload;
  inner.push_back(static_cast<uint8_t>(type));
  inner.resize(inner.size() + padding - 1);
  return Sealed(key, tls::ContentType{0}, inner);
}

Bytes Constructed12(tls::Aead aead, const Bytes& key, const Bytes& iv, uint64_t sequence, uint64_t nonce,
                    const Bytes& payload) {
  const bool gcm = aead != tls::Aead::kChaCha20Poly1305;
  Bytes record = {23, 3, 3};
  Put(record, payload.size() + 16 + (gcm ? 8 : 0), 2);
  Bytes full = iv;
  if (gcm) {
    Put(record, nonce, 8);
    Put(full, nonce, 8);
  } else {
    for (int at = 0; at < 8; at++) full[static_cast<size_t>(4 + at)] ^= static_cast<uint8_t>(sequence >> (8 * (7 - at)));
  }
  Bytes additional;
  Put(additional, sequence, 8);
  additional.insert(additional.end(), {23, 3, 3});
  Put(additional, payload.size(), 2);

  const tls::CipherPtr cipher(EVP_CIPHER_fetch(nullptr, NameOf(aead), nullptr));
  const tls::CipherCtxPtr context(EVP_CIPHER_CTX_new());
  Bytes sealed(payload.size());
  Bytes tag(16);
  int made = 0;
  EVP_EncryptInit_ex2(context.get(), cipher.get(), key.data(), full.data(), nullptr);
  EVP_EncryptUpdate(context.get(), nullptr, &made, additional.data(), static_cast<int>(additional.size()));
  EVP_EncryptUpdate(context.get(), sealed.data(), &made, payload.data(), static_cast<int>(payload.size()));
  EVP_EncryptFinal_ex(context.get(), tag.data(), &made);
  EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, 16, tag.data());
  record.insert(record.end(), sealed.begin(), sealed.end());
  record.insert(record.end(), tag.begin(), tag.end());
  return record;
}

}  // namespace sidesplice::test
