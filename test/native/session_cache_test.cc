// The sessions that a client keeps: how many, which go first, and for how long.
#include "tls/session_cache.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tls/resumption.h"

using namespace sidesplice;
using tls::SessionCache;
using tls::SslSessionPtr;

namespace {

constexpr int64_t kNow = 1'000'000;
constexpr tls::Proof kGood = {.chain = {}, .until = kNow + 100, .bytes = 1};

// What SSL_SESSION has of a lifetime is the server's word in a ticket: without one it is none. A session of OpenSSL's form that says an hour is
// read instead (i2d_SSL_SESSION(3)): version, TLS 1.3, suite, session id, master key, time, timeout, lifetime hint, ticket.
SslSessionPtr Of(int64_t time, uint8_t number) {
  const std::vector<uint8_t> head = {0x02, 0x01, 0x01, 0x02, 0x02, 0x03, 0x04, 0x04, 0x02, 0x13, 0x01, 0x04, 0x01, number, 0x04, 0x01, number};
  std::vector<uint8_t> body = head;
  const auto tagged = [&](uint8_t tag, std::vector<uint8_t> inner) {
    body.push_back(tag);
    body.push_back(static_cast<uint8_t>(inner.size()));
    body.insert(body.end(), inner.begin(), inner.end());
  };
  // As short as it can be, as DER has it.
  const auto integer = [](int64_t value) {
    std::vector<uint8_t> bytes;
    for (; value > 0; value >>= 8) bytes.insert(bytes.begin(), static_cast<uint8_t>(value));
    bytes.insert(bytes.begin(), {0x02, static_cast<uint8_t>(bytes.size())});
    return bytes;
  };
  tagged(0xa1, integer(time));
  tagged(0xa2, integer(3'600));
  tagged(0xa9, integer(3'600));
  tagged(0xaa, {0x04, 1, number});
  std::vector<uint8_t> encoded = {0x30, static_cast<uint8_t>(body.size())};
  encoded.insert(encoded.end(), body.begin(), body.end());
  const unsigned char* from = encoded.data();
  SslSessionPtr session(d2i_SSL_SESSION(nullptr, &from, static_cast<long>(encoded.size())));
  REQUIRE(session != nullptr);
  return session;
}

/** Which one came, or -1. */
int Taken(SessionCache& cache, const std::string& place, int64_t now = kNow) {
  const SessionCache::Kept kept = cache.Take(place, now);
  if (kept.session == nullptr) return -1;
  unsigned int bytes = 0;
  return SSL_SESSION_get_id(kept.session.get(), &bytes)[0];
}

}  // namespace

TEST_CASE("the newest session of a place comes first, each once, and none of another place") {
  SessionCache cache;
  for (uint8_t number = 1; number <= 3; number++) cache.Keep("db", Of(kNow, number), kGood);
  CHECK(Taken(cache, "other") == -1);
  for (int number = 3; number >= 1; number--) CHECK(Taken(cache, "db") == number);
  CHECK(Taken(cache, "db") == -1);
  CHECK(cache.size() == 0);
}

TEST_CASE("a place has so many sessions and no more: its oldest goes, and nobody else's") {
  SessionCache cache(100, 2);
  cache.Keep("other", Of(kNow, 9), kGood);
  for (uint8_t number = 1; number <= 5; number++) cache.Keep("db", Of(kNow, number), kGood);
  CHECK(cache.size() == 3);
  CHECK(Taken(cache, "db") == 5);
  CHECK(Taken(cache, "db") == 4);
  CHECK(Taken(cache, "db") == -1);
  CHECK(Taken(cache, "other") == 9);
}

TEST_CASE("all places together have so many sessions and no more: the oldest of all goes") {
  SessionCache cache(3, 2);
  for (uint8_t number = 1; number <= 5; number++) cache.Keep("place " + std::to_string(number), Of(kNow, number), kGood);
  CHECK(cache.size() == 3);
  CHECK(Taken(cache, "place 2") == -1);
  CHECK(Taken(cache, "place 3") == 3);
  SessionCache usual;
  for (int at = 0; at < 2'000; at++) usual.Keep("place " + std::to_string(at / 20), Of(kNow, 1), kGood);
  CHECK(usual.size() == SessionCache::kMost);
}

TEST_CASE("a session is not taken past its proof, past its server's word, or before its time, and goes when it was looked at") {
  SessionCache cache;
  const auto at = [&](int64_t now, const tls::Proof& proof = {.chain = {}, .until = kNow + 10'000, .bytes = 1}) {
    cache.Keep("db", Of(kNow, 1), proof);
    const int taken = Taken(cache, "db", now);
    CHECK(cache.size() == 0);
    return taken;
  };
  CHECK(at(kNow) == 1);
  CHECK(at(kNow + 3'599) == 1);
  CHECK(at(kNow + 3'600) == -1);
  CHECK(at(kNow - 1) == -1);
  CHECK(at(kNow + 99, kGood) == 1);
  CHECK(at(kNow + 100, kGood) == -1);
  CHECK(at(kNow, {}) == -1);
}

TEST_CASE("what is dropped of a place is all of it, and nothing else") {
  SessionCache cache;
  for (uint8_t number = 1; number <= 3; number++) cache.Keep("db", Of(kNow, number), kGood);
  cache.Keep("other", Of(kNow, 9), kGood);
  cache.Drop("db");
  CHECK(Taken(cache, "db") == -1);
  CHECK(Taken(cache, "other") == 9);
}

TEST_CASE("places that are shunned are so many and no more, the oldest is forgotten") {
  SessionCache cache(2, 2);
  cache.Keep("db", Of(kNow, 1), kGood);
  cache.Shun("db");
  CHECK(Taken(cache, "db") == -1);
  CHECK(cache.IsShunned("db"));
  CHECK_FALSE(cache.IsShunned("other"));
  cache.Shun("one");
  cache.Shun("two");
  CHECK_FALSE(cache.IsShunned("db"));
  CHECK(cache.IsShunned("two"));
}

TEST_CASE("so many tickets are waited for at the same time and no more") {
  SessionCache cache;
  for (size_t at = 0; at < SessionCache::kMostAwaited; at++) REQUIRE(cache.Await());
  CHECK_FALSE(cache.Await());
  cache.Awaited();
  CHECK(cache.Await());
  CHECK_FALSE(cache.Await());
}
