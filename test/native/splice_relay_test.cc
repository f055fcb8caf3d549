// The splice relay over connections without records: a stand-in takes the kernel's keys and says of everything that it is data. What
// records are is the kernel's; what becomes of bytes and pipes is the relay's, and that is here.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "support/relay_rig.h"
#include "sys/calls.h"
#include "tls/kernel_key.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;
using test::RelayRig;
using test::Stream;

namespace {

constexpr int kSolTls = 282;
constexpr int kTcpUlp = 31;
constexpr int kGetRecordType = 2;
constexpr uint8_t kData = 23;

/** In the kernel's place while it lives; `step` is what a splice moves at most. */
class Standin {
 public:
  explicit Standin(size_t step = SIZE_MAX) {
    step_ = step;
    table_ = sys::kKernel;
    table_.setsockopt = SetOption;
    table_.recvmsg = ReceiveMessage;
    table_.splice = Splice;
    sys::calls = &table_;
  }
  ~Standin() {
    sys::calls = &sys::kKernel;
    const std::lock_guard lock(mutex_);
    keys_.clear();
    said_.reset();
  }

  /** The next record that is read is this one, before anything that the connection has. */
  static void Say(tls::ContentType type, Bytes payload) {
    const std::lock_guard lock(mutex_);
    said_ = {type, std::move(payload)};
  }
  /** Keys that it was given, in order. */
  static std::vector<Bytes> keys() {
    const std::lock_guard lock(mutex_);
    return keys_;
  }

 private:
  static int SetOption(int fd, int level, int name, const void* value, socklen_t length) {
    if (level == kSolTls) {
      const std::lock_guard lock(mutex_);
      const auto* bytes = static_cast<const uint8_t*>(value);
      keys_.emplace_back(bytes, bytes + length);
      return 0;
    }
    return level == IPPROTO_TCP && name == kTcpUlp ? 0 : ::setsockopt(fd, level, name, value, length);
  }

  static ssize_t ReceiveMessage(int fd, msghdr* message, int flags) {
    void* const control = message->msg_control;
    const size_t room = message->msg_controllen;
    uint8_t type = kData;
    ssize_t got = 0;
    {
      const std::lock_guard lock(mutex_);
      if (said_) {
        type = static_cast<uint8_t>(said_->first);
        got = static_cast<ssize_t>(said_->second.size());
        std::copy(said_->second.begin(), said_->second.end(), static_cast<uint8_t*>(message->msg_iov[0].iov_base));
        said_.reset();
      }
    }
    if (got == 0) got = ::recvmsg(fd, message, flags);
    if (got <= 0) return got;
    message->msg_control = control;
    message->msg_controllen = room;
    cmsghdr* header = CMSG_FIRSTHDR(message);
    header->cmsg_level = kSolTls;
    header->cmsg_type = kGetRecordType;
    header->cmsg_len = CMSG_LEN(1);
    *CMSG_DATA(header) = type;
    return got;
  }

  static ssize_t Splice(int from, off64_t* from_at, int to, off64_t* to_at, size_t bytes, unsigned flags) {
    return ::splice(from, from_at, to, to_at, std::min(bytes, step_), flags);
  }

  static inline std::mutex mutex_;
  static inline std::optional<std::pair<tls::ContentType, Bytes>> said_;
  static inline std::vector<Bytes> keys_;
  static inline size_t step_ = SIZE_MAX;
  static inline sys::Calls table_;
};

const Bytes kKeyUpdate = {24, 0, 0, 1, 0};

Bytes InKernelsShape(const tls::RecordKey& key) {
  tls::KernelKey shape;
  REQUIRE(key.CopyForKernel(&shape));
  return {shape.bytes().begin(), shape.bytes().end()};
}

/** Until a source that writes stands before full queues: from then on whatever is read is read in full. */
void AwaitStandstill(RelayRig& rig) {
  uint64_t moved = 0;
  const auto taken = [&] { return rig.session().bytes_to_upstream + rig.session().bytes_to_downstream; };
  for (int quiet = 0; quiet < 20; quiet = taken() == moved ? quiet + 1 : 0, moved = taken()) poll(nullptr, 0, 10);
}

}  // namespace

TEST_CASE("where the kernel exchanges keys a KeyUpdate is followed, and answered where that is asked for, each with the next key") {
  Standin standin;
  RelayRig rig({.kernel = true, .kernel_rekeys = true});
  Standin::Say(tls::ContentType::kHandshake, {24, 0, 0, 1, 1});
  REQUIRE(test::WriteAll(rig.peer.fd.get(), BytesOf("behind")));
  CHECK(test::ReadUpTo(rig.app.get(), 6).bytes == BytesOf("behind"));
  CHECK(test::ReadUpTo(rig.peer.fd.get(), 5).bytes == kKeyUpdate);
  rig.OnThread([] {});
  const std::vector<Bytes> keys = Standin::keys();
  REQUIRE(keys.size() == 4);
  REQUIRE(rig.peer.write->Update());
  REQUIRE(rig.peer.read->Update());
  CHECK(keys[2] == InKernelsShape(*rig.peer.write));
  CHECK(keys[3] == InKernelsShape(*rig.peer.read));
  // One that asks for nothing gets no answer.
  Standin::Say(tls::ContentType::kHandshake, kKeyUpdate);
  REQUIRE(test::WriteAll(rig.peer.fd.get(), BytesOf("more")));
  CHECK(test::ReadUpTo(rig.app.get(), 4).bytes == BytesOf("more"));
  CHECK(Standin::keys().size() == 5);
  CHECK(test::IsQuiet(rig.peer.fd.get(), 50));
}

TEST_CASE("where the kernel exchanges keys ours is exchanged when it is due, between the records") {
  Standin standin;
  // Due whenever it is looked at: behind 256 sends.
  RelayRig rig({.rekey_after_records = 0, .kernel = true, .kernel_rekeys = true});
  for (int at = 0; at < 256; at++) {
    REQUIRE(test::WriteAll(rig.app.get(), Bytes(1, 7)));
    REQUIRE(test::ReadUpTo(rig.peer.fd.get(), 1).bytes == Bytes(1, 7));
  }
  REQUIRE(test::WriteAll(rig.app.get(), BytesOf("under the next key")));
  CHECK(test::ReadUpTo(rig.peer.fd.get(), 5).bytes == kKeyUpdate);
  CHECK(test::ReadUpTo(rig.peer.fd.get(), 18).bytes == BytesOf("under the next key"));
  CHECK(Standin::keys().size() == 3);
}

TEST_CASE("where the kernel exchanges no keys, either ends the session with a word of its own") {
  Standin standin;
  RelayRig came({.kernel = true});
  Standin::Say(tls::ContentType::kHandshake, kKeyUpdate);
  REQUIRE(test::WriteAll(came.peer.fd.get(), BytesOf("behind")));
  auto end = came.Ended();
  REQUIRE(end);
  CHECK(std::string(end->reason) == "key_update_unsupported");
  CHECK(test::ReadToEnd(came.app.get()).bytes.empty());
  RelayRig due({.rekey_after_records = 0, .kernel = true});
  for (int at = 0; at < 256; at++) {
    REQUIRE(test::WriteAll(due.app.get(), Bytes(1, 7)));
    REQUIRE(test::ReadUpTo(due.peer.fd.get(), 1).bytes == Bytes(1, 7));
  }
  REQUIRE(test::WriteAll(due.app.get(), Bytes(1, 7)));
  end = due.Ended();
  REQUIRE(end);
  CHECK(std::string(end->reason) == "key_update_unsupported");
}

TEST_CASE("a bulk stream is spliced either way, whatever a splice moves at a time, and no pipe is held behind it") {
  for (const size_t step : {SIZE_MAX, size_t{100'000}, size_t{4'097}}) {
    CAPTURE(step);
    Standin standin(step);
    test::Random random(test::Seed());
    const Bytes data = random.Data(6'000'000);
    // How many reads are full depends on who is slower, the test or the relay: a machine that is busy with others may have to try again.
    const uint64_t wanted = step > tls::kMaxPayloadBytes ? data.size() / 2 : 0;
    constexpr int kTries = 10;
    uint64_t spliced = 0;
    for (int tried = 0; tried < kTries && spliced <= wanted; tried++) {
      RelayRig rig({.kernel = true});
      std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
      CHECK(test::ReadUpTo(rig.peer.fd.get(), data.size()).bytes == data);
      writes.join();
      std::thread answers([&] { test::WriteAll(rig.peer.fd.get(), data); });
      CHECK(test::ReadUpTo(rig.app.get(), data.size()).bytes == data);
      answers.join();
      rig.OnThread([&] { CHECK(rig.pipes_taken() == 0); });
      rig.Terminate("shutdown");
      REQUIRE(rig.Ended());
      spliced = rig.spliced_bytes();
      CHECK(spliced <= 2 * data.size());
      CHECK(rig.session().bytes_to_upstream == data.size());
      CHECK(rig.session().bytes_to_downstream == data.size());
    }
    CHECK(spliced > wanted);
  }
}

TEST_CASE("where no pipe is to be had bytes are copied") {
  Standin standin;
  test::Random random(test::Seed());
  const Bytes data = random.Data(6'000'000);
  RelayRig rig({.kernel = true, .most_pipes = 0});
  std::thread writes([&] { test::WriteAll(rig.app.get(), data); });
  CHECK(test::ReadUpTo(rig.peer.fd.get(), data.size()).bytes == data);
  writes.join();
  std::thread answers([&] { test::WriteAll(rig.peer.fd.get(), data); });
  CHECK(test::ReadUpTo(rig.app.get(), data.size()).bytes == data);
  answers.join();
  rig.Terminate("shutdown");
  REQUIRE(rig.Ended());
  CHECK(rig.spliced_bytes() == 0);
}

TEST_CASE("without any buffer memory a bulk stream is whole either way, and a reader that stops has next to nothing kept for it") {
  constexpr uint64_t kCap = 8 * 1024 * 1024;
  for (const bool from_app : {true, false}) {
    CAPTURE(from_app);
    Standin standin;
    test::Random random(test::Seed());
    const Bytes data = random.Data(6'000'000);
    RelayRig rig({.kernel = true, .buffer_memory = kCap});
    // Others own all of it.
    rig.memory().Note(kCap);
    sys::Fd& source = from_app ? rig.app : rig.peer.fd;
    sys::Fd& sink = from_app ? rig.peer.fd : rig.app;
    std::thread writes([&] { test::WriteAll(source.get(), data); });
    // Nobody reads until nothing moves any more.
    AwaitStandstill(rig);
    rig.OnThread([&] { CHECK(rig.memory().owned() <= static_cast<int64_t>(kCap + core::kLargestRecordBytes)); });
    CHECK(test::ReadUpTo(sink.get(), data.size()).bytes == data);
    writes.join();
    rig.OnThread([&] { CHECK(rig.memory().owned() == static_cast<int64_t>(kCap)); });
  }
}

TEST_CASE("small messages are never spliced") {
  Standin standin;
  RelayRig rig({.kernel = true});
  for (int at = 0; at < 50; at++) {
    REQUIRE(test::WriteAll(rig.app.get(), BytesOf("question")));
    REQUIRE(test::ReadUpTo(rig.peer.fd.get(), 8).bytes == BytesOf("question"));
    REQUIRE(test::WriteAll(rig.peer.fd.get(), BytesOf("answer")));
    REQUIRE(test::ReadUpTo(rig.app.get(), 6).bytes == BytesOf("answer"));
  }
  rig.Terminate("shutdown");
  REQUIRE(rig.Ended());
  CHECK(rig.spliced_bytes() == 0);
}

TEST_CASE("an end behind a bulk stream lets all of it arrive: what is in a pipe is not lost") {
  for (const bool from_app : {true, false}) {
    CAPTURE(from_app);
    Standin standin;
    test::Random random(test::Seed());
    const Bytes data = random.Data(30'000'000);
    RelayRig rig({.half_close_timeout_ms = test::kPatienceMs, .kernel = true});
    sys::Fd& source = from_app ? rig.app : rig.peer.fd;
    sys::Fd& sink = from_app ? rig.peer.fd : rig.app;
    // As much as goes without a reader: the sink's queue is full then, and a pipe as well.
    size_t sent = 0;
    while (sent < data.size() && test::WaitFor(source.get(), POLLOUT, 300)) {
      const ssize_t took = send(source.get(), data.data() + sent, std::min<size_t>(data.size() - sent, 65'536), MSG_NOSIGNAL);
      if (took <= 0) break;
      sent += static_cast<size_t>(took);
    }
    rig.Terminate("shutdown");
    REQUIRE(rig.Ended());
    const uint64_t taken = from_app ? rig.session().bytes_to_downstream : rig.session().bytes_to_upstream;
    CHECK(taken > 0);
    const Stream got = test::ReadToEnd(sink.get());
    // What the relay had counted arrives, on the TLS leg with the alert behind it.
    REQUIRE(got.bytes.size() >= taken);
    CHECK(std::equal(got.bytes.begin(), got.bytes.begin() + static_cast<ptrdiff_t>(taken), data.begin()));
    CHECK(got.bytes.size() == taken + (from_app ? 2 : 0));
    CHECK(got.end == (from_app ? Stream::End::kFin : Stream::End::kReset));
  }
}

TEST_CASE("a reset in the middle of a splice is no end") {
  for (const bool of_app : {true, false}) {
    CAPTURE(of_app);
    Standin standin;
    RelayRig rig({.half_close_timeout_ms = test::kPatienceMs, .kernel = true});
    sys::Fd& source = of_app ? rig.app : rig.peer.fd;
    sys::Fd& sink = of_app ? rig.peer.fd : rig.app;
    const Bytes data(30'000'000, 8);
    std::thread writes([&] { test::WriteAll(source.get(), data); });
    // Without it no read may be full, where the reader is the faster.
    AwaitStandstill(rig);
    REQUIRE(test::ReadUpTo(sink.get(), data.size()).bytes.size() == data.size());
    writes.join();
    sys::CloseByReset(source.Release());
    const auto end = rig.Ended();
    REQUIRE(end);
    CHECK(end->kind == core::RelayEnd::Kind::kAborted);
    CHECK_FALSE(end->truncated);
    CHECK(end->by_downstream != of_app);
    CHECK(rig.spliced_bytes() > 0);
  }
}

TEST_CASE("urgent data does not stop a stream that is spliced") {
  Standin standin;
  RelayRig rig({.kernel = true});
  const Bytes data(3'000'000, 5);
  std::thread writes([&] {
    test::WriteAll(rig.app.get(), data);
    send(rig.app.get(), "!", 1, MSG_OOB | MSG_NOSIGNAL);
    test::WriteAll(rig.app.get(), data);
  });
  CHECK(test::ReadUpTo(rig.peer.fd.get(), 2 * data.size()).bytes.size() == 2 * data.size());
  writes.join();
}

TEST_CASE("a stream without close_notify was cut, also for the kernel's records") {
  Standin standin;
  RelayRig rig({.kernel = true});
  REQUIRE(test::WriteAll(rig.peer.fd.get(), BytesOf("cut")));
  rig.peer.fd.Reset();
  const auto end = rig.Ended();
  REQUIRE(end);
  CHECK(end->truncated);
  const Stream got = test::ReadToEnd(rig.app.get());
  CHECK(got.bytes == BytesOf("cut"));
  CHECK(got.end == Stream::End::kReset);
}
