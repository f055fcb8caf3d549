// The relay's TLS side fed records of any type and content under the right keys, or bytes that are no records. What reaches the
// app must be the application data that was sealed, in order, and nothing else.
//   byte 0: version, direction, suite, raw or sealed; then raw bytes, or records: type, two bytes of length, padding, payload
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <future>
#include <tuple>

#include "core/record_relay.h"
#include "support/bytes.h"
#include "support/record_writer.h"

using namespace sidesplice;
using test::Bytes;

namespace {

// What a unix socket surely takes without anybody reading.
constexpr size_t kMostBytes = 100'000;
// Past what a record may carry, within what its length can say.
constexpr size_t kMostPayloadBytes = 20'000;
constexpr size_t kRecordHeadBytes = 4;
constexpr uint64_t kRekeyAfterRecords = 3;

struct Home {
  core::Reactor reactor;
  core::BufferMemory memory{core::BufferMemory::kNoCap};
  core::BufferLedger ledger{memory};
  core::Lingering lingering{reactor};
  core::Parking parking{reactor, [](core::Relay& relay) { relay.Resume(); }};
  core::Slumber slumber{reactor};
  core::Scratch scratch;
  core::PipePool pipes{1};
  std::atomic<uint64_t> moved{0};

  Home() {
    if (reactor.Start("fuzz", 0) != 0) std::abort();
  }
  void OnThread(const std::function<void()>& task) {
    std::promise<void> done;
    reactor.Post([&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }
};

std::pair<sys::Fd, sys::Fd> Pair() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) std::abort();
  return {sys::Fd(ends[0]), sys::Fd(ends[1])};
}

/** What a receiver takes a record for: in TLS 1.3 the last byte that is not zero is its type. */
void NoteMeaning(tls::RecordKey& key, tls::ContentType type, Bytes payload, Bytes& data) {
  if (key.version() == tls::Version::kTls13) {
    payload.push_back(static_cast<uint8_t>(type));
    while (!payload.empty() && payload.back() == 0) payload.pop_back();
    if (payload.empty()) return;
    type = static_cast<tls::ContentType>(payload.back());
    payload.pop_back();
  }
  if (type == tls::ContentType::kApplicationData) data.insert(data.end(), payload.begin(), payload.end());
  const bool update = type == tls::ContentType::kHandshake && payload.size() == 5 && payload[0] == 24 && payload[4] < 2;
  if (update && key.version() == tls::Version::kTls13 && !key.Update()) std::abort();
}

/** Seals what the input describes. `data` is what of it is for the app. */
Bytes RecordsOf(std::span<const uint8_t> input, tls::RecordKey& key, Bytes& data) {
  Bytes sent;
  while (input.size() >= kRecordHeadBytes && sent.size() < kMostBytes) {
    const auto type = static_cast<tls::ContentType>(input[0]);
    const size_t asked = std::min(static_cast<size_t>(input[1]) << 8 | input[2], kMostPayloadBytes);
    const size_t length = std::min(asked, input.size() - kRecordHeadBytes);
    const size_t padding = key.version() == tls::Version::kTls13 ? input[3] : 0;
    const auto begin = input.begin() + kRecordHeadBytes;
    const Bytes payload(begin, begin + static_cast<std::ptrdiff_t>(length));
    input = input.subspan(kRecordHeadBytes + length);
    const Bytes record = test::Padded(key, type, payload, padding);
    sent.insert(sent.end(), record.begin(), record.end());
    NoteMeaning(key, type, payload, data);
  }
  return sent;
}

void CheckIsBeginning(int app, const Bytes& data) {
  Bytes got(data.size() + 1);
  size_t all = 0;
  for (ssize_t part = 1; part > 0 && all < got.size();) {
    part = recv(app, got.data() + all, got.size() - all, 0);
    if (part > 0) all += static_cast<size_t>(part);
  }
  if (all > data.size() || !std::equal(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(all), got.begin())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static Home& home = *new Home();
  if (size < 1) return 0;
  const uint8_t flags = bytes[0];
  const tls::Version version = (flags & 1) != 0 ? tls::Version::kTls12 : tls::Version::kTls13;
  const auto aead = static_cast<tls::Aead>((flags >> 4) % 3);
  const std::span<const uint8_t> input(bytes + 1, size - 1);

  core::Legs legs;
  sys::Fd app;
  sys::Fd peer;
  std::unique_ptr<tls::RecordKey> write;
  std::unique_ptr<tls::RecordKey> read;
  std::tie(legs.plain, app) = Pair();
  std::tie(legs.tls, peer) = Pair();
  std::tie(legs.read, write) = test::KeyPair(version, aead, 1);
  std::tie(legs.write, read) = test::KeyPair(version, aead, 2);
  Bytes data;
  const bool raw = (flags & 2) != 0;
  const Bytes sent = raw ? Bytes(input.begin(), input.end()) : RecordsOf(input, *write, data);
  [[maybe_unused]] const ssize_t taken = send(peer.get(), sent.data(), sent.size(), MSG_NOSIGNAL);
  if ((flags & 8) != 0) [[maybe_unused]] const ssize_t asked = send(app.get(), "question", 8, MSG_NOSIGNAL);
  if ((flags & 64) != 0) shutdown(app.get(), SHUT_WR);
  shutdown(peer.get(), SHUT_WR);

  auto spec = std::make_shared<core::ListenerSpec>();
  spec->inbound = (flags & 4) != 0;
  spec->half_close_timeout_ms = 1'000;
  int ends = 0;
  home.OnThread([&] {
    core::Session session;
    session.shared = std::make_shared<core::SessionShared>(1, spec, std::make_shared<core::ListenerTally>());
    // All that was sent is there, and so is its end: what it leads to happens within.
    core::Relay* relay =
        core::RecordRelay::Begin({home.reactor, home.lingering, home.scratch, home.moved, kRekeyAfterRecords, home.pipes, home.ledger, home.parking, home.slumber}, std::move(session), std::move(legs),
                           [&](core::Session, const core::RelayEnd&, sys::Fd) { ends++; });
    if (relay != nullptr) relay->Terminate("shutdown");
    home.lingering.Cut();
  });
  if (ends != 1) std::abort();
  CheckIsBeginning(app.get(), data);
  return 0;
}
