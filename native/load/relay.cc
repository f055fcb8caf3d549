// The floor: a relay of a few lines that knows no TLS and decides nothing. Two threads a connection, each of which blocks in one read
// and one write; no proxy of this kind that copies can cost less.
#include <fcntl.h>
#include <sys/socket.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "load/modes.h"
#include "load/net.h"
#include "load/pattern.h"
#include "sys/calls.h"

namespace sidesplice::load {

namespace {

void Move(int from, int to) {
  const auto buffer = std::make_unique_for_overwrite<uint8_t[]>(kChunkBytes);
  for (;;) {
    const ssize_t count = sys::Receive(from, buffer.get(), kChunkBytes);
    if (count <= 0 || SendAll(to, buffer.get(), static_cast<size_t>(count)) != 0) break;
  }
  sys::Shutdown(to, SHUT_WR);
}

void Serve(int accepted, const Address& to) {
  const sys::Fd one(accepted);
  const sys::Fd other(Connect(to));
  if (!other.valid()) return;
  const timeval never{};
  setsockopt(other.get(), SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never));
  std::thread back([&] { Move(other.get(), one.get()); });
  Move(one.get(), other.get());
  back.join();
}

}  // namespace

int RunRelay(const Options& options) {
  const sys::Fd listener(Listen(options.Required("listen")));
  if (!listener.valid()) Fail("can't listen: " + std::string(sys::ErrorName(-listener.get())));
  const Address to = options.Required("to");
  // The one socket that blocks: nobody is watched here.
  if (fcntl(listener.get(), F_SETFL, 0) != 0) Fail("can't block");
  std::printf("{\"listening\":\"%s\"}\n", FormatBound(listener.get()).c_str());
  std::fflush(stdout);
  for (;;) {
    const int accepted = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
    if (accepted < 0) continue;
    sys::SetConnectionOptions(accepted);
    std::thread(Serve, accepted, to).detach();
  }
}

}  // namespace sidesplice::load
