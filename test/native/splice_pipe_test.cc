// The pipes of a worker: few, kept while they are empty, and never with somebody's bytes in the hands of another.
#include <doctest/doctest.h>
#include <errno.h>
#include <poll.h>

#include <utility>

#include "core/splice_pipe.h"
#include "support/faults.h"
#include "support/sockets.h"

using namespace sidesplice;
using test::Bytes;
using test::BytesOf;

TEST_CASE("a pool gives as many pipes as it may, and one that was given back again") {
  core::PipePool pool(2);
  core::SplicePipe one = pool.Take();
  core::SplicePipe other = pool.Take();
  CHECK(one.valid());
  CHECK(other.valid());
  CHECK(one.room() >= 64 * 1024);
  CHECK_FALSE(pool.Take().valid());
  const size_t open = test::OpenDescriptors();
  pool.Give(std::move(one));
  CHECK(pool.idle() == 1);
  const core::SplicePipe again = pool.Take();
  CHECK(again.valid());
  CHECK(test::OpenDescriptors() == open);
}

TEST_CASE("a pipe with bytes in it is not given to anybody else") {
  core::PipePool pool(1);
  auto [from, app] = test::TcpPair();
  REQUIRE(test::WriteAll(app.get(), BytesOf("secret")));
  REQUIRE(test::WaitFor(from.get(), POLLIN));
  core::SplicePipe pipe = pool.Take();
  REQUIRE(pipe.Fill(from.get()) == 6);
  CHECK_FALSE(pipe.empty());
  const size_t open = test::OpenDescriptors();
  pool.Give(std::move(pipe));
  CHECK(pool.idle() == 0);
  CHECK(test::OpenDescriptors() == open - 2);
  CHECK(pool.Take().empty());
}

TEST_CASE("bytes go through a pipe in order, and what is left in it can be taken out") {
  core::PipePool pool(1);
  auto [from, app] = test::TcpPair();
  auto [to, reader] = test::TcpPair();
  REQUIRE(test::WriteAll(app.get(), BytesOf("through")));
  REQUIRE(test::WaitFor(from.get(), POLLIN));
  core::SplicePipe pipe = pool.Take();
  CHECK(pipe.Fill(from.get()) == 7);
  CHECK(pipe.Fill(from.get()) == -EAGAIN);
  CHECK(pipe.Drain(to.get()) == 7);
  CHECK(test::ReadUpTo(reader.get(), 7).bytes == BytesOf("through"));
  REQUIRE(test::WriteAll(app.get(), BytesOf("left")));
  REQUIRE(test::WaitFor(from.get(), POLLIN));
  CHECK(pipe.Fill(from.get()) == 4);
  core::Pending left;
  left.Append(BytesOf("before "));
  pipe.Empty(&left);
  CHECK(pipe.empty());
  CHECK(Bytes(left.bytes().begin(), left.bytes().end()) == BytesOf("before left"));
}

TEST_CASE("without descriptors there is no pipe, and one later") {
  core::PipePool pool(1);
  test::Faults faults;
  faults.Arm(test::Call::kPipe, 1, EMFILE);
  CHECK_FALSE(pool.Take().valid());
  CHECK(faults.Disarm());
  CHECK(pool.taken() == 0);
  CHECK(pool.Take().valid());
}

TEST_CASE("all workers together take no more pipes than a user may have half of") {
  for (const size_t workers : {1, 2, 3, 8, 32}) CHECK(workers * core::PipesOf(workers) <= 32);
  CHECK(core::PipesOf(100) == 1);
}
