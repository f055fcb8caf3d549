// Records as tests want them: padded, too large, or wrong in one thing.
#pragma once

#include <memory>
#include <utility>

#include "support/bytes.h"
#include "tls/record_key.h"

namespace sidesplice::test {

/** On SHA-256, or SHA-384 for AES-256. */
std::unique_ptr<tls::RecordKey> Key13(tls::Aead aead, const Bytes& secret);

using Keys = std::pair<std::unique_ptr<tls::RecordKey>, std::unique_ptr<tls::RecordKey>>;
/** The same key for whoever seals and whoever opens; `number` tells directions apart. */
Keys KeyPair(tls::Version version, tls::Aead aead, uint8_t number = 1);

/** A whole record. */
Bytes Sealed(tls::RecordKey& key, tls::ContentType type, const Bytes& payload);
/** TLS 1.3: with so many zeros behind the type. */
Bytes Padded(tls::RecordKey& key, tls::ContentType type, const Bytes& payload, size_t padding);

/** An application record of TLS 1.2 put together field by field, without the code that is tested. */
Bytes Constructed12(tls::Aead aead, const Bytes& key, const Bytes& iv, uint64_t sequence, uint64_t nonce,
                    const Bytes& payload);

}  // namespace sidesplice::test
