// How much CPU a full mutual handshake takes on each side, both of them ours, on one thread over loopback. Built as a file that a Node
// loads, so that it measures the OpenSSL that the addon uses (scripts/measure-handshakes.sh).
#include <node_api.h>
#include <time.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "support/certificates.h"
#include "support/sockets.h"
#include "tls/handshake.h"

using namespace sidesplice;

namespace {

double CpuUs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

struct Sides {
  double server = 0;
  double client = 0;
};

template <typename Do>
auto Timed(double& into, Do&& what) {
  const double before = CpuUs();
  auto result = what();
  into += CpuUs() - before;
  return result;
}

/** False where it fails. */
bool One(const std::shared_ptr<const tls::Identity>& identity, Sides& sides) {
  const auto [ours, theirs] = test::TcpPair();
  auto server = Timed(sides.server, [&, fd = ours.get()] { return tls::Handshake::Begin(identity, tls::Role::kServer, fd, {}); });
  auto client = Timed(sides.client, [&, fd = theirs.get()] {
    return tls::Handshake::Begin(identity, tls::Role::kClient, fd, {.server_name = "db.test.consul", .expect = {test::kWeb}});
  });
  using Step = tls::Handshake::Step;
  Step of_server = Step::kWantRead;
  Step of_client = Step::kWantRead;
  for (int turn = 0; turn < 16 && (of_server != Step::kDone || of_client != Step::kDone); turn++) {
    if (of_client != Step::kDone) of_client = Timed(sides.client, [&] { return client->Advance(); });
    if (of_server != Step::kDone) of_server = Timed(sides.server, [&] { return server->Advance(); });
    if (of_client == Step::kFailed || of_server == Step::kFailed) return false;
  }
  const auto end = [](std::unique_ptr<tls::Handshake>& of) {
    const bool taken = of->Take() != nullptr;
    of.reset();
    return taken;
  };
  const bool both = Timed(sides.server, [&] { return end(server); });
  return Timed(sides.client, [&] { return end(client); }) && both;
}

napi_value Init(napi_env, napi_value exports) {
  const char* given = std::getenv("HANDSHAKES");
  const int count = given != nullptr ? std::atoi(given) : 2'000;
  const test::Certified root = test::MakeRoot();
  const test::Certified intermediate = test::Issue({.uris = {}, .ca = true, .usage = ""}, &root);
  const test::Certified leaf = test::Issue({}, &root);
  const test::Certified below = test::Issue({}, &intermediate);
  const std::pair<const char*, std::shared_ptr<const tls::Identity>> chains[] = {
      {"leaf", test::IdentityOf(leaf, {}, {&root})},
      {"leaf and intermediate", test::IdentityOf(below, {&intermediate}, {&root})},
  };
  for (const auto& [name, identity] : chains) {
    Sides sides;
    for (int at = 0; at < count; at++)
      if (!One(identity, sides)) std::abort();
    std::printf("%s: server %.0f us, client %.0f us\n", name, sides.server / count, sides.client / count);
  }
  return exports;
}

}  // namespace

NAPI_MODULE(measure_handshakes, Init)
