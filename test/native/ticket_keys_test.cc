// The keys of tickets: one seals for an hour, opens for an hour more, and is gone then; no other opens what it has sealed.
#include "tls/ticket_keys.h"

#include <doctest/doctest.h>

#include <array>
#include <memory>
#include <set>

#include "support/bytes.h"
#include "support/later_clock.h"
#include "tls/openssl_ptr.h"

using namespace sidesplice;
using test::LaterClock;
using tls::TicketKeys;

namespace {

using MacPtr = std::unique_ptr<EVP_MAC, tls::Freed<EVP_MAC_free>>;
using MacCtxPtr = std::unique_ptr<EVP_MAC_CTX, tls::Freed<EVP_MAC_CTX_free>>;

constexpr int64_t kHour = TicketKeys::kPeriodSeconds;

/** As OpenSSL has it around the callback. */
struct Sealing {
  std::array<uint8_t, 16> name{};
  std::array<uint8_t, 16> iv{};
  tls::CipherCtxPtr cipher{EVP_CIPHER_CTX_new()};
  MacPtr hmac{EVP_MAC_fetch(nullptr, "HMAC", nullptr)};
  MacCtxPtr mac{EVP_MAC_CTX_new(hmac.get())};

  [[nodiscard]] int Open(const TicketKeys& keys) const { return keys.Open(name.data(), iv.data(), cipher.get(), mac.get()); }
  /** What the cipher makes of one block, without padding. */
  [[nodiscard]] test::Bytes Block(const test::Bytes& from) const {
    test::Bytes into(from.size() + 16);
    int bytes = 0;
    EVP_CIPHER_CTX_set_padding(cipher.get(), 0);
    CHECK(EVP_CipherUpdate(cipher.get(), into.data(), &bytes, from.data(), static_cast<int>(from.size())) == 1);
    into.resize(static_cast<size_t>(bytes));
    return into;
  }
  /** Of nothing: it tells keys apart. */
  [[nodiscard]] test::Bytes Tag() const {
    test::Bytes tag(32);
    size_t bytes = 0;
    CHECK(EVP_MAC_final(mac.get(), tag.data(), &bytes, tag.size()) == 1);
    return tag;
  }
};

Sealing SealedBy(const TicketKeys& keys) {
  Sealing made;
  REQUIRE(keys.Seal(made.name.data(), made.iv.data(), made.cipher.get(), made.mac.get()) == 1);
  return made;
}

}  // namespace

TEST_CASE("what a key has sealed opens by the same keys, cipher and MAC alike, and each time under another IV") {
  const TicketKeys keys;
  const Sealing sealed = SealedBy(keys);
  const test::Bytes block = test::BytesOf("0123456789abcdef");
  const test::Bytes hidden = sealed.Block(block);
  const test::Bytes tag = sealed.Tag();
  CHECK(hidden != block);
  REQUIRE(sealed.Open(keys) == 1);
  CHECK(sealed.Block(hidden) == block);
  CHECK(sealed.Tag() == tag);
  const Sealing again = SealedBy(keys);
  CHECK(again.name == sealed.name);
  CHECK(again.iv != sealed.iv);
}

TEST_CASE("a key seals for an hour, opens for another, and opens nothing after that") {
  const TicketKeys keys;
  const Sealing first = SealedBy(keys);
  {
    const LaterClock clock(kHour - 10);
    CHECK(SealedBy(keys).name == first.name);
  }
  {
    const LaterClock clock(kHour + 10);
    const Sealing second = SealedBy(keys);
    CHECK(second.name != first.name);
    CHECK(first.Open(keys) == 1);
    CHECK(second.Open(keys) == 1);
  }
  const LaterClock clock(2 * kHour + 10);
  CHECK(first.Open(keys) == 0);
}

TEST_CASE("a key that is exchanged late opens no longer for it") {
  const TicketKeys keys;
  const Sealing first = SealedBy(keys);
  {
    // Nobody needed one in between.
    const LaterClock clock(2 * kHour - 100);
    CHECK(SealedBy(keys).name != first.name);
    CHECK(first.Open(keys) == 1);
  }
  // The next exchange is almost an hour away.
  const LaterClock clock(2 * kHour + 10);
  CHECK(first.Open(keys) == 0);
}

TEST_CASE("keys that nobody needed for two hours open nothing that was sealed before") {
  const TicketKeys keys;
  const Sealing first = SealedBy(keys);
  const LaterClock clock(2 * kHour);
  CHECK(first.Open(keys) == 0);
}

TEST_CASE("a clock that was set back ends the keys of the time that it took back") {
  const TicketKeys keys;
  Sealing first;
  {
    const LaterClock clock(kHour / 2);
    first = SealedBy(keys);
  }
  CHECK(first.Open(keys) == 0);
  CHECK(SealedBy(keys).name != first.name);
}

TEST_CASE("a name that is not known, that of no key among them, opens nothing, and no two have keys in common") {
  const TicketKeys keys;
  Sealing unknown = SealedBy(keys);
  CHECK(unknown.Open(TicketKeys()) == 0);
  unknown.name[15] ^= 1;
  CHECK(unknown.Open(keys) == 0);
  unknown.name = {};
  CHECK(unknown.Open(keys) == 0);
  std::set<std::array<uint8_t, 16>> names;
  for (int at = 0; at < 8; at++) names.insert(SealedBy(TicketKeys()).name);
  CHECK(names.size() == 8);
}
