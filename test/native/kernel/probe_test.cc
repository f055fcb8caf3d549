// The probe in a kernel that has TLS.
#include "core/kernel_probe.h"

#include <doctest/doctest.h>
#include <sys/utsname.h>

#include <cstdio>

using namespace sidesplice;

TEST_CASE("the probe finds that each cipher carries bytes both ways, and how fast") {
  const core::KernelFacts facts = core::ProbeKernelTls();
  CHECK(facts.why.empty());
  for (const core::KernelFacts::Cipher& cipher : facts.ciphers) {
    CHECK(cipher.correct);
    CHECK(cipher.speed > 0);
  }
}

TEST_CASE("the probe finds whether keys can be exchanged") {
  utsname name{};
  REQUIRE(uname(&name) == 0);
  int major = 0;
  int minor = 0;
  REQUIRE(std::sscanf(name.release, "%d.%d", &major, &minor) == 2);
  // Linux 6.14 does it first.
  CHECK(core::ProbeKernelTls().rekeys == (major > 6 || (major == 6 && minor >= 14)));
}
