// The ends of relays, in the words of records.
#include "core/conclude.h"

#include <string_view>

namespace sidesplice::core {

namespace {

const char* Abandoned(const Session& session, bool truncated, bool refused) {
  // A health check opens a connection and resets it without a byte; it sends no record that we refuse.
  if (session.shared->unused() && !refused) return "closed_before_first_byte";
  return truncated ? "downstream_truncated" : "downstream_reset";
}

std::optional<std::string> DetailOf(const RelayEnd& end) {
  return end.detail.empty() ? std::nullopt : std::optional(end.detail);
}

Conclusion Over(std::string reason, std::optional<std::string> detail = {}) {
  return {.retry = false, .reason = std::move(reason), .detail = std::move(detail)};
}

Conclusion ConcludeInbound(const Session& session, const RelayEnd& end) {
  if (end.kind == RelayEnd::Kind::kAborted && end.by_downstream)
    return Over(Abandoned(session, end.truncated, end.refused), DetailOf(end));
  return Over("upstream_reset", DetailOf(end));
}

Conclusion ConcludeOutbound(Session& session, const RelayEnd& end) {
  if (end.kind == RelayEnd::Kind::kUnused) {
    session.EndAttempt(FirstWord(end.detail), end.detail);
    return {.retry = true, .reason = "", .detail = {}};
  }
  if (end.by_downstream || session.shared->bytes_to_downstream > 0) {
    session.EndAttempt("connected");
    if (end.by_downstream) return Over(Abandoned(session, false, false), DetailOf(end));
    return Over(end.truncated ? "upstream_truncated" : "upstream_reset", DetailOf(end));
  }
  // The peer's first word was an end: it speaks of the peer, although a byte of ours had gone out and nothing can be retried.
  const char* outcome = FirstWord(end.detail);
  session.EndAttempt(outcome, end.detail);
  const bool word = std::string_view(outcome) != "closed_before_first_byte";
  return Over(word ? outcome : end.truncated ? "upstream_truncated" : "upstream_reset", DetailOf(end));
}

}  // namespace

Conclusion Conclude(Session& session, const RelayEnd& end) {
  if (end.kind == RelayEnd::Kind::kClosed) {
    session.AttemptCarried();
    session.EndAttempt("connected");
    return Over(session.shared->unused() ? "closed_before_first_byte" : "closed");
  }
  if (end.kind == RelayEnd::Kind::kTimeout || end.kind == RelayEnd::Kind::kTerminated) {
    session.EndAttempt("connected");
    return Over(end.reason, DetailOf(end));
  }
  return session.spec().inbound ? ConcludeInbound(session, end) : ConcludeOutbound(session, end);
}

const char* FirstWord(const std::string& detail) {
  if (!detail.starts_with("alert ")) return "closed_before_first_byte";
  return detail == "alert internal_error" ? "peer_app_unreachable" : "denied_by_peer";
}

}  // namespace sidesplice::core
