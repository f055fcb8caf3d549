// What the end of a relay means for its session: a reason for the record, or another attempt.
#pragma once

#include <optional>
#include <string>

#include "core/relay.h"
#include "core/session.h"

namespace sidesplice::core {

struct Conclusion {
  /** The upstream was given up before a byte moved: the plan's next endpoint is to be tried. */
  bool retry = false;
  std::string reason;
  std::optional<std::string> detail;
};

/** Ends the attempt that carried an outbound session. */
Conclusion Conclude(Session& session, const RelayEnd& end);

/** The outcome of an attempt whose peer's first word was this end of its stream. */
const char* FirstWord(const std::string& detail);

}  // namespace sidesplice::core
