// What the load generator can be: each runs to its end and returns the exit code.
#pragma once

#include "load/options.h"

namespace sidesplice::load {

/** The app behind a chain: --listen. Until it is killed. */
int RunApp(const Options& options);
/** The least that a proxy can cost: --listen, --to. Until it is killed. */
int RunRelay(const Options& options);
/** --to, --direction up|down|both, --streams, --seconds; --nice here and below lowers its own priority. */
int RunBulk(const Options& options);
/** --to, --bytes, --connections, --seconds, --hdr FILE. */
int RunRtt(const Options& options);
/** New connections, each with --bytes of answer: --to, --in-flight, --seconds, --nice, --hdr FILE. */
int RunConnect(const Options& options);
/** --to, --steps 1000,8000: holds so many, says so, and goes on with a line of standard input. */
int RunIdle(const Options& options);

}  // namespace sidesplice::load
