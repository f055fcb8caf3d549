// A loopback connection a try: the kernel's records on one end, ours on the other.
#include "core/kernel_probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <openssl/rand.h>
#include <poll.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "core/kernel_leg.h"
#include "core/reactor.h"
#include "sys/calls.h"
#include "sys/kernel_tls.h"

namespace sidesplice::core {

namespace {

using Bytes = std::vector<uint8_t>;
using tls::ContentType;

// Longer than loopback takes for anything, shorter than a start may wait.
constexpr int kPatienceMs = 200;
// More than a record, and no whole number of them.
constexpr size_t kTriedBytes = 20'000;
// What is timed at once fits every send queue; the best of some rounds counts, as others use the machine too.
constexpr size_t kTimedBytes = 2 * tls::kMaxPayloadBytes;
constexpr int kMostRounds = 12;
constexpr double kMostTimedMs = 3;

struct Pair {
  sys::Fd ours;
  sys::Fd kernels;
};

std::optional<Pair> Connect() {
  const sys::Fd listener(sys::Socket(AF_INET));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* name = reinterpret_cast<sockaddr*>(&address);
  if (!listener.valid() || bind(listener.get(), name, length) != 0 || listen(listener.get(), 1) != 0 ||
      getsockname(listener.get(), name, &length) != 0)
    return std::nullopt;
  Pair pair;
  pair.ours = sys::Fd(sys::Socket(AF_INET));
  if (!pair.ours.valid()) return std::nullopt;
  const int connected = sys::Connect(pair.ours.get(), name, length);
  if (connected < 0 && connected != -EINPROGRESS) return std::nullopt;
  pollfd waited{.fd = listener.get(), .events = POLLIN, .revents = 0};
  if (poll(&waited, 1, kPatienceMs) != 1) return std::nullopt;
  sockaddr_storage from{};
  pair.kernels = sys::Fd(sys::Accept(listener.get(), &from));
  if (!pair.kernels.valid()) return std::nullopt;
  // Who connected may have been somebody else.
  sockaddr_in ours{};
  length = sizeof(ours);
  const auto* peer = reinterpret_cast<const sockaddr_in*>(&from);
  if (getsockname(pair.ours.get(), reinterpret_cast<sockaddr*>(&ours), &length) != 0 || ours.sin_port != peer->sin_port)
    return std::nullopt;
  for (const sys::Fd* fd : {&pair.ours, &pair.kernels}) sys::SetConnectionOptions(fd->get());
  return pair;
}

struct Material {
  tls::Secret secret;
  std::array<uint8_t, 32> key{};
  std::array<uint8_t, tls::kIvBytes> iv{};
};

bool Random(Material* material) {
  material->secret.size = 32;
  return RAND_bytes(material->secret.bytes.data(), 32) == 1 && RAND_bytes(material->key.data(), 32) == 1 &&
         RAND_bytes(material->iv.data(), tls::kIvBytes) == 1;
}

std::unique_ptr<tls::RecordKey> MakeKey(tls::Version version, tls::Aead aead, const Material& material) {
  if (version == tls::Version::kTls13) return tls::RecordKey::ForTls13(aead, EVP_sha256(), material.secret);
  return tls::RecordKey::ForTls12(aead, std::span(material.key).first(tls::KeyBytes(aead)), material.iv, 7);
}

bool Wait(int fd, short events) {
  pollfd waited{.fd = fd, .events = events, .revents = 0};
  return poll(&waited, 1, kPatienceMs) == 1;
}

bool ReceiveAll(int fd, uint8_t* into, size_t bytes) {
  while (bytes > 0) {
    const ssize_t got = sys::Receive(fd, into, bytes);
    if (got == -EAGAIN && Wait(fd, POLLIN)) continue;
    if (got <= 0) return false;
    into += got;
    bytes -= static_cast<size_t>(got);
  }
  return true;
}

/** A connection with kernel TLS on one end, and keys of the same secrets on the other. */
class Trial {
 public:
  bool Begin(tls::Version version, tls::Aead aead, bool rekeys) {
    std::optional<Pair> pair = Connect();
    Material to;
    Material from;
    if (!pair || !Random(&to) || !Random(&from)) return false;
    pair_ = std::move(*pair);
    write_ = MakeKey(version, aead, to);
    read_ = MakeKey(version, aead, from);
    std::unique_ptr<tls::RecordKey> kernel_reads = MakeKey(version, aead, to);
    std::unique_ptr<tls::RecordKey> kernel_writes = MakeKey(version, aead, from);
    if (write_ == nullptr || read_ == nullptr || kernel_reads == nullptr || kernel_writes == nullptr) return false;
    return leg_.Take(kernel(), &kernel_reads, &kernel_writes, rekeys) == KernelLeg::Result::kTaken;
  }

  bool Moves() {
    const Bytes data = Sample(kTriedBytes);
    const Bytes word = {1, 0};
    return FromKernel(ContentType::kApplicationData, data) && ToKernel(ContentType::kApplicationData, data) &&
           ToKernel(ContentType::kAlert, word) && FromKernel(ContentType::kAlert, word) && leg_.AllPushed(kernel());
  }

  bool Rekeys() {
    const Bytes update = {24, 0, 0, 1, 0};
    const Bytes data = Sample(kTriedBytes);
    return ToKernel(ContentType::kHandshake, update) && write_->Update() && leg_.RekeyRead(kernel()) &&
           ToKernel(ContentType::kApplicationData, data) && FromKernel(ContentType::kHandshake, update) && read_->Update() &&
           leg_.RekeyWrite(kernel()) && FromKernel(ContentType::kApplicationData, data);
  }

  /** Milliseconds for `kTimedBytes` from the kernel to us and back, and for the same between two of our own; false where one fails. */
  bool Time(double* kernels, double* ours) {
    const Bytes data = Sample(kTimedBytes);
    Bytes wire(kTimedBytes + 2 * tls::kMaxOverheadBytes);
    const size_t wired = 2 * (tls::kMaxPayloadBytes + write_->overhead());
    double start = NowMs();
    // Each direction once: sealed by the kernel, and opened by it.
    if (leg_.Send(kernel(), data) != static_cast<ssize_t>(data.size()) || !ReceiveAll(mine(), wire.data(), wired)) return false;
    *kernels = NowMs() - start;
    if (!OpenAll(wire, wired)) return false;
    if (!SealAll(wire)) return false;
    start = NowMs();
    if (sys::Send(mine(), wire.data(), wired) != static_cast<ssize_t>(wired)) return false;
    if (!ReceiveRecords(ContentType::kApplicationData, data)) return false;
    *kernels += NowMs() - start;
    return TimeOurs(wired, ours);
  }

 private:
  [[nodiscard]] int mine() const { return pair_.ours.get(); }
  [[nodiscard]] int kernel() const { return pair_.kernels.get(); }

  static Bytes Sample(size_t bytes) {
    Bytes data(bytes);
    for (size_t at = 0; at < bytes; at++) data[at] = static_cast<uint8_t>(at * 7 + at / 251);
    return data;
  }

  bool FromKernel(ContentType type, const Bytes& data) {
    if (type == ContentType::kApplicationData) {
      if (leg_.Send(kernel(), data) != static_cast<ssize_t>(data.size())) return false;
    } else if (leg_.SendControl(kernel(), type, data) != 0) {
      return false;
    }
    Bytes all;
    while (all.size() < data.size()) {
      Bytes record(tls::kHeaderBytes);
      if (!ReceiveAll(mine(), record.data(), record.size())) return false;
      const size_t body = static_cast<size_t>(record[3]) << 8 | record[4];
      record.resize(tls::kHeaderBytes + body);
      if (!ReceiveAll(mine(), record.data() + tls::kHeaderBytes, body)) return false;
      const tls::Opened opened = read_->Open(record);
      if (opened.refused || opened.type != type) return false;
      all.insert(all.end(), opened.payload.begin(), opened.payload.end());
    }
    return all == data;
  }

  bool ToKernel(ContentType type, const Bytes& data) {
    Bytes record(tls::kMaxPayloadBytes + write_->overhead());
    for (size_t at = 0; at < data.size();) {
      const size_t payload = std::min(data.size() - at, tls::kMaxPayloadBytes);
      std::copy_n(data.begin() + static_cast<ptrdiff_t>(at), payload, record.begin() + static_cast<ptrdiff_t>(write_->payload_offset()));
      if (!write_->Seal(record.data(), payload, type)) return false;
      const size_t bytes = payload + write_->overhead();
      if (sys::Send(mine(), record.data(), bytes) != static_cast<ssize_t>(bytes)) return false;
      at += payload;
    }
    return ReceiveRecords(type, data);
  }

  bool ReceiveRecords(ContentType type, const Bytes& data) {
    Bytes all(data.size());
    for (size_t at = 0; at < all.size();) {
      uint8_t came = 0;
      const ssize_t got = sys::ReceiveRecord(kernel(), all.data() + at, all.size() - at, &came);
      if (got == -EAGAIN && Wait(kernel(), POLLIN)) continue;
      if (got <= 0 || came != static_cast<uint8_t>(type)) return false;
      at += static_cast<size_t>(got);
    }
    return all == data;
  }

  bool SealAll(Bytes& wire) {
    const size_t stride = tls::kMaxPayloadBytes + write_->overhead();
    const Bytes data = Sample(kTimedBytes);
    for (size_t at = 0; at < 2; at++) {
      uint8_t* record = wire.data() + at * stride;
      std::copy_n(data.data() + at * tls::kMaxPayloadBytes, tls::kMaxPayloadBytes, record + write_->payload_offset());
      if (!write_->Seal(record, tls::kMaxPayloadBytes, ContentType::kApplicationData)) return false;
    }
    return true;
  }

  bool OpenAll(Bytes& wire, size_t wired) {
    const size_t stride = wired / 2;
    for (size_t at = 0; at < 2; at++)
      if (read_->Open(std::span(wire).subspan(at * stride, stride)).refused) return false;
    return true;
  }

  /** The same bytes over a plain connection: sealed and sent, received and opened, each direction once as above. */
  bool TimeOurs(size_t wired, double* ours) {
    if (!plain_) plain_ = Connect();
    if (!plain_) return false;
    Material material;
    if (!Random(&material)) return false;
    const auto seal = MakeKey(write_->version(), write_->aead(), material);
    const auto open = MakeKey(write_->version(), write_->aead(), material);
    if (seal == nullptr || open == nullptr) return false;
    Bytes wire(wired);
    const size_t stride = wired / 2;
    const double start = NowMs();
    for (size_t at = 0; at < 2; at++)
      if (!seal->Seal(wire.data() + at * stride, tls::kMaxPayloadBytes, ContentType::kApplicationData)) return false;
    for (int way = 0; way < 2; way++) {
      const int from = way == 0 ? plain_->ours.get() : plain_->kernels.get();
      const int to = way == 0 ? plain_->kernels.get() : plain_->ours.get();
      if (sys::Send(from, wire.data(), wired) != static_cast<ssize_t>(wired) || !ReceiveAll(to, wire.data(), wired)) return false;
    }
    for (size_t at = 0; at < 2; at++)
      if (open->Open(std::span(wire).subspan(at * stride, stride)).refused) return false;
    *ours = NowMs() - start;
    return true;
  }

  Pair pair_;
  std::optional<Pair> plain_;
  std::unique_ptr<tls::RecordKey> read_;
  std::unique_ptr<tls::RecordKey> write_;
  KernelLeg leg_;
};

bool IsCorrect(tls::Aead aead) {
  for (const tls::Version version : {tls::Version::kTls13, tls::Version::kTls12}) {
    Trial trial;
    if (!trial.Begin(version, aead, false) || !trial.Moves()) return false;
  }
  return true;
}

double SpeedOf(tls::Aead aead) {
  Trial trial;
  if (!trial.Begin(tls::Version::kTls13, aead, false)) return 0;
  double kernels = 0;
  double ours = 0;
  const double start = NowMs();
  for (int round = 0; round < kMostRounds && (round == 0 || NowMs() - start < kMostTimedMs); round++) {
    double kernel = 0;
    double our = 0;
    if (!trial.Time(&kernel, &our)) return 0;
    kernels = round == 0 ? kernel : std::min(kernels, kernel);
    ours = round == 0 ? our : std::min(ours, our);
  }
  return kernels > 0 ? ours / kernels : 0;
}

}  // namespace

KernelFacts ProbeKernelTls() {
  KernelFacts facts;
  const sys::Fd unconnected(sys::Socket(AF_INET));
  // Where the kernel has it, it says that this socket is not connected.
  const int attached = unconnected.valid() ? sys::AttachTls(unconnected.get()) : unconnected.get();
  if (attached != -ENOTCONN) {
    facts.why = attached == -ENOENT ? "this kernel has no TLS" : "TCP_ULP: ";
    if (attached != -ENOENT) facts.why += attached < 0 ? sys::ErrorName(-attached) : "no error without a connection";
    return facts;
  }
  for (size_t at = 0; at < kAeads; at++) {
    const auto aead = static_cast<tls::Aead>(at);
    facts.ciphers[at].correct = IsCorrect(aead);
    if (facts.ciphers[at].correct) facts.ciphers[at].speed = SpeedOf(aead);
  }
  if (std::none_of(facts.ciphers.begin(), facts.ciphers.end(), [](const auto& cipher) { return cipher.correct; }))
    facts.why = "it did not carry bytes as they were sent";
  Trial trial;
  facts.rekeys = facts.why.empty() && trial.Begin(tls::Version::kTls13, tls::Aead::kAes128Gcm, true) && trial.Rekeys();
  return facts;
}

}  // namespace sidesplice::core
