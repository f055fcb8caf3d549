// The engine under load, with everything that may happen at the same time: more for what a sanitizer sees than for what is counted.
#include "core/engine.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "support/certificates.h"
#include "tls/openssl_ptr.h"
#include "support/world.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::Stream;

namespace {

constexpr int kClients = 6;
constexpr int kJourneysEach = 12;

void InParallel(int count, const std::function<void(int)>& task) {
  std::vector<std::thread> threads;
  for (int at = 0; at < count; at++) threads.emplace_back([&task, at] { task(at); });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

TEST_CASE("sessions by the dozen, rekeyed as they go, arrive whole while identities are exchanged and sessions looked at") {
  const size_t before = test::OpenDescriptors();
  {
    test::World world({.workers = 2, .handshake_threads = 2, .rekey_after_records = 8});
    std::atomic<int> whole{0};
    std::atomic<bool> done{false};
    bool named = true;
    std::thread looks([&] {
      while (!done) {
        world.engine().SetIdentity(test::TheMesh().identity_rsa);
        for (const core::SessionView& view : world.engine().Sessions()) named = named && !view.listener.empty();
        world.engine().SetIdentity(test::TheMesh().identity);
        std::this_thread::yield();
      }
    });
    InParallel(kClients, [&](int client) {
      test::Random random(test::Seed() + static_cast<uint32_t>(client));
      for (int at = 0; at < kJourneysEach; at++) {
        const Bytes data = random.Data(1 + random.Below(300'000));
        const test::Journey journey = world.Travel(data);
        if (journey.end == Stream::End::kFin && journey.back == data) whole++;
      }
    });
    done = true;
    looks.join();
    CHECK(named);
    CHECK(whole == kClients * kJourneysEach);
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
    CHECK(world.Reasons() == std::map<std::string, size_t>{{"closed", 2 * kClients * kJourneysEach}});
  }
  CHECK(test::DescriptorsBecome(before));
}

TEST_CASE("whoever is denied gets nothing, and nobody else is touched") {
  test::World world;
  CHECK(world.Travel(BytesOf("yes")).back == BytesOf("yes"));
  world.Refuse(true);
  const test::Journey denied = world.Travel(BytesOf("no"));
  CHECK(denied.back.empty());
  CHECK(denied.end == Stream::End::kReset);
  world.Refuse(false);
  CHECK(world.Travel(BytesOf("yes")).back == BytesOf("yes"));
  CHECK(world.AllEnded());
  CHECK(world.Reasons()["denied"] == 1);
  CHECK(world.Reasons()["denied_by_peer"] == 1);
}

TEST_CASE("sessions that are ended from outside at any point end once each, and leave nothing") {
  const size_t before = test::OpenDescriptors();
  {
    test::World world;
    std::atomic<bool> done{false};
    std::thread ends([&] {
      test::Random random(test::Seed());
      while (!done) {
        world.engine().Terminate(world.engine().SessionIds(), "no_longer_allowed");
        // Not to be waited for by anyone: so that each comes at another point of its session.
        poll(nullptr, 0, static_cast<int>(random.Below(12)));
      }
    });
    InParallel(kClients, [&](int) {
      for (int at = 0; at < kJourneysEach; at++) {
        const Bytes data(50'000, 2);
        const test::Journey journey = world.Travel(data);
        // Whole, or a reset: an end in between would read like an answer.
        if (journey.end == Stream::End::kFin) CHECK(journey.back == data);
      }
    });
    done = true;
    ends.join();
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
  }
  CHECK(test::DescriptorsBecome(before));
}

TEST_CASE("an engine that is closed under load ends every session once, and leaves nothing") {
  const size_t before = test::OpenDescriptors();
  for (int round = 0; round < 8; round++) {
    test::World world({.workers = 2, .handshake_threads = 2});
    std::atomic<int> begun{0};
    std::thread clients([&] {
      InParallel(kClients, [&](int client) {
        for (int at = 0; at < 4; at++) {
          begun++;
          if (world.Travel(Bytes(20'000 * static_cast<size_t>(client + 1), 3)).end == Stream::End::kNone) return;
        }
      });
    });
    while (begun < kClients + round) std::this_thread::yield();
    world.Close();
    clients.join();
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
  }
  CHECK(test::DescriptorsBecome(before));
}

TEST_CASE("clients that reset at any point leave nothing") {
  const size_t before = test::OpenDescriptors();
  {
    test::World world;
    InParallel(kClients, [&](int client) {
      test::Random random(test::Seed() + static_cast<uint32_t>(client));
      for (int at = 0; at < 2 * kJourneysEach; at++) {
        const sys::Fd fd = test::ConnectTo(world.port());
        const linger at_once{.l_onoff = 1, .l_linger = 0};
        setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        if (at % 3 == 0) continue;
        test::WriteAll(fd.get(), random.Data(1 + random.Below(60'000)));
        if (at % 3 == 2) test::ReadUpTo(fd.get(), 1 + random.Below(1'000));
      }
    });
    CHECK(world.Travel(BytesOf("and then")).back == BytesOf("and then"));
    CHECK(world.AllEnded());
    CHECK(world.twice() == 0);
  }
  CHECK(test::DescriptorsBecome(before));
}

namespace {

/** What a client of OpenSSL says first. */
Bytes ClientHello() {
  const tls::SslCtxPtr context(SSL_CTX_new(TLS_method()));
  const tls::SslPtr ssl(SSL_new(context.get()));
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), out);
  SSL_set_connect_state(ssl.get());
  SSL_do_handshake(ssl.get());
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(out, &data);
  return Bytes(data, data + bytes);
}

}  // namespace

TEST_CASE("with room for one handshake at a time, connections wait in the backlog and all have their turn") {
  test::World world({.workers = 2, .handshake_threads = 2, .unbegun_handshakes = 1});
  std::atomic<int> whole{0};
  InParallel(kClients, [&](int client) {
    for (int at = 0; at < kJourneysEach; at++) {
      const Bytes data(static_cast<size_t>(100 * client + at + 1), 4);
      if (world.Travel(data).back == data) whole++;
    }
  });
  CHECK(whole == kClients * kJourneysEach);
  CHECK(world.AllEnded());
  CHECK(world.Reasons() == std::map<std::string, size_t>{{"closed", 2 * kClients * kJourneysEach}});
}

TEST_CASE("a flood of peers that begin a handshake and stop keeps neither other peers nor the local app out") {
  const size_t before = test::OpenDescriptors();
  {
    constexpr int kFlood = 400;
    test::World world({.workers = 1, .handshake_threads = 1, .unbegun_handshakes = 20});
    const Bytes hello = ClientHello();
    std::vector<sys::Fd> flood;
    for (int at = 0; at < kFlood; at++) {
      flood.push_back(test::ConnectTo(world.public_port()));
      REQUIRE(test::WriteAll(flood.back().get(), hello));
    }
    std::atomic<int> whole{0};
    InParallel(kClients, [&](int) {
      for (int at = 0; at < 4; at++)
        if (world.Travel(BytesOf("through")).back == BytesOf("through")) whole++;
    });
    CHECK(whole == kClients * 4);
    flood.clear();
    CHECK(world.AllEnded());
    CHECK(world.Reasons()["closed"] == 2 * kClients * 4);
    // Not one of them had been begun and given up.
    CHECK(world.Reasons()["handshake_timeout"] == 0);
  }
  CHECK(test::DescriptorsBecome(before));
}
