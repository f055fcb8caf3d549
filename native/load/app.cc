// The app behind a chain: one thread, one epoll set. Sinks and compares, sends the pattern, echoes.
#include "load/app.h"

#include <errno.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "sys/calls.h"

namespace sidesplice::load {

namespace {

constexpr int kEventsATurn = 256;
// Others get their turn in between.
constexpr int kReadsATurn = 4;

}  // namespace

uint32_t AppConnection::wanted() const {
  // What is echoed must not pile up here: a client that does not read is not read from.
  const bool reads = !input_ended_ && pending_.empty();
  return (reads ? uint32_t{EPOLLIN} : 0u) | (writing() ? uint32_t{EPOLLOUT} : 0u);
}

bool AppConnection::OnReady(uint8_t* scratch) {
  if (!input_ended_ && pending_.empty() && !Read(scratch)) return false;
  if (!Write()) return false;
  return !input_ended_ || writing();
}

bool AppConnection::Read(uint8_t* scratch) {
  for (int read = 0; read < kReadsATurn; ++read) {
    const ssize_t count = sys::Receive(fd(), scratch, kChunkBytes);
    if (count == -EAGAIN) return true;
    if (count < 0) return false;
    if (count == 0) {
      input_ended_ = true;
      return true;
    }
    if (!Take(scratch, static_cast<size_t>(count))) return false;
    // A read that was not full has left nothing behind.
    if (static_cast<size_t>(count) < kChunkBytes || !pending_.empty()) return true;
  }
  return true;
}

bool AppConnection::Take(const uint8_t* bytes, size_t count) {
  while (count > 0) {
    size_t taken = 0;
    if (echoing_) {
      const ssize_t sent = pending_.empty() ? sys::Send(fd(), bytes, count) : 0;
      if (sent < 0 && sent != -EAGAIN) return false;
      pending_.insert(pending_.end(), bytes + std::max<ssize_t>(sent, 0), bytes + count);
      return true;
    }
    if (sink_left_ > 0) {
      taken = static_cast<size_t>(std::min<uint64_t>(sink_left_, count));
      if (!MatchesPattern(bytes, taken, seed_ + received_)) {
        Answer(Verb::kMismatch);
        input_ended_ = true;
        return true;
      }
      received_ += taken;
      sink_left_ -= taken;
    } else {
      taken = TakeMessage(bytes, count);
      if (taken == 0) return false;
    }
    bytes += taken;
    count -= taken;
  }
  return true;
}

/** Returns how many bytes it took; 0 where they are no message. */
size_t AppConnection::TakeMessage(const uint8_t* bytes, size_t count) {
  const size_t taken = std::min(partial_.size() - partial_bytes_, count);
  std::memcpy(partial_.data() + partial_bytes_, bytes, taken);
  partial_bytes_ += taken;
  if (partial_bytes_ < partial_.size()) return taken;
  partial_bytes_ = 0;
  Message message;
  std::memcpy(&message, partial_.data(), sizeof(message));
  return message.magic == Message::kMagic && Begin(message) ? taken : 0;
}

bool AppConnection::Begin(const Message& message) {
  switch (message.verb) {
    case Verb::kHello:
      seed_ = message.amount;
      return true;
    case Verb::kSink:
      sink_left_ = message.amount;
      return true;
    case Verb::kSource:
      source_left_ += message.amount;
      return true;
    case Verb::kReceipt:
      receipt_due_ = true;
      return true;
    case Verb::kEcho:
      echoing_ = true;
      return true;
    case Verb::kMismatch:
      break;
  }
  return false;
}

void AppConnection::Answer(Verb verb) {
  const Message message{.verb = verb, .amount = received_};
  const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
  pending_.insert(pending_.end(), bytes, bytes + sizeof(message));
}

bool AppConnection::Write() {
  for (;;) {
    if (!pending_.empty()) {
      const ssize_t sent = sys::Send(fd(), pending_.data(), pending_.size());
      if (sent == -EAGAIN) return true;
      if (sent < 0) return false;
      pending_.erase(pending_.begin(), pending_.begin() + sent);
      if (!pending_.empty()) return true;
    }
    if (source_left_ > 0) {
      const size_t wanted = static_cast<size_t>(std::min<uint64_t>(source_left_, kChunkBytes));
      const ssize_t sent = sys::Send(fd(), PatternAt(seed_ + sent_), wanted);
      if (sent == -EAGAIN) return true;
      if (sent < 0) return false;
      sent_ += static_cast<uint64_t>(sent);
      source_left_ -= static_cast<uint64_t>(sent);
      // A send that was not full: the kernel has no more room. One that was: others have their turn, the event comes again.
      return true;
    }
    if (!receipt_due_) return true;
    receipt_due_ = false;
    Answer(Verb::kReceipt);
  }
}

int RunApp(const Options& options) {
  const sys::Fd listener(Listen(options.Required("listen")));
  if (!listener.valid()) Fail("can't listen: " + std::string(sys::ErrorName(-listener.get())));
  const sys::Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (sys::EpollControl(epoll.get(), EPOLL_CTL_ADD, listener.get(), EPOLLIN, nullptr) != 0) Fail("no epoll");
  std::printf("{\"listening\":\"%s\"}\n", FormatBound(listener.get()).c_str());
  std::fflush(stdout);
  const auto scratch = std::make_unique<uint8_t[]>(kChunkBytes);
  epoll_event events[kEventsATurn];
  for (;;) {
    const int ready = sys::EpollWait(epoll.get(), events, kEventsATurn, -1);
    for (int at = 0; at < ready; ++at) {
      auto* connection = static_cast<AppConnection*>(events[at].data.ptr);
      if (connection == nullptr) {
        sockaddr_storage from{};
        sys::Fd fd(sys::Accept(listener.get(), &from));
        if (!fd.valid()) continue;
        sys::SetConnectionOptions(fd.get());
        connection = new AppConnection(std::move(fd));
        connection->watched = EPOLLIN;
        if (sys::EpollControl(epoll.get(), EPOLL_CTL_ADD, connection->fd(), EPOLLIN, connection) != 0) delete connection;
        continue;
      }
      if (!connection->OnReady(scratch.get())) {
        delete connection;
        continue;
      }
      if (connection->wanted() == connection->watched) continue;
      connection->watched = connection->wanted();
      if (sys::EpollControl(epoll.get(), EPOLL_CTL_MOD, connection->fd(), connection->watched, connection) != 0)
        delete connection;
    }
  }
}

}  // namespace sidesplice::load
