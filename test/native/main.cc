// The one main of the C++ tests.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <csignal>

int main(int count, char** arguments) {
  // OpenSSL's sockets at the other ends write without MSG_NOSIGNAL.
  std::signal(SIGPIPE, SIG_IGN);
  return doctest::Context(count, arguments).run();
}
