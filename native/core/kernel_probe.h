// What kernel TLS is worth here, found out by doing it: once, at the start, on connections of our own.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "tls/record_key.h"

namespace sidesplice::core {

inline constexpr size_t kAeads = 3;

struct KernelFacts {
  struct Cipher {
    /** Bytes both ways and a record that is not data arrived as they were sent, in both versions of TLS. */
    bool correct = false;
    /** Bytes a second, by those of records that are sealed and opened here. */
    double speed = 0;
  };
  /** Why there is none; empty where there is. */
  std::string why;
  /** By tls::Aead. */
  std::array<Cipher, kAeads> ciphers{};
  bool rekeys = false;
};

/** Takes some milliseconds where there is kernel TLS, one system call where there is none. */
KernelFacts ProbeKernelTls();

}  // namespace sidesplice::core
