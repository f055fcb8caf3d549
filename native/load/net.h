// Addresses and sockets of the load generator: those of its clients block, which costs the fewest calls.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "sys/fd.h"

namespace sidesplice::load {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

/** `127.0.0.1:80` or `[::1]:80`: names are for others to look up. */
std::optional<Address> ParseAddress(const std::string& text);
std::string FormatBound(int listener);

/** Non-blocking; the negative errno where it can't be had. */
int Listen(const Address& address);
/** Blocking, with a limit on how long it stalls; the negative errno where it fails. */
int Connect(const Address& address);

/** 0, or the negative errno. */
int SendAll(int fd, const void* from, size_t bytes);
/** 0, or the negative errno; -EPIPE where the stream ended before. */
int ReceiveAll(int fd, void* into, size_t bytes);

double NowSeconds();
uint64_t NowNanoseconds();
/** As many descriptors as the process may have. */
void RaiseDescriptorLimit();

}  // namespace sidesplice::load
