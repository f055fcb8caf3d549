// One connection to the core and all that came of it: the peers at its ends, its record, and what must be true between them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/types.h"
#include "simulator/tls_peer.h"

namespace sidesplice::simulator {

struct Flow {
  Flow(uint64_t of, bool towards_us, bool is_calm, Trace& to) : number(of), inbound(towards_us), calm(is_calm), trace(to) {}

  const uint64_t number;
  const bool inbound;
  /** Nothing goes wrong: it must end well. */
  const bool calm;
  Trace& trace;
  /** 0 until it was accepted. */
  core::SessionId session = 0;
  std::vector<std::unique_ptr<App>> apps;
  std::vector<std::unique_ptr<TlsPeer>> peers;
  std::optional<core::Record> record;
  /** It lived when it was ended from outside, and by this word. */
  const char* ended_by = nullptr;
  /** What policy has planned for it. */
  std::vector<core::PlannedAttempt> plan;

  [[nodiscard]] Peer& downstream() const { return inbound ? static_cast<Peer&>(*peers.front()) : *apps.front(); }
  /** An app is told the end: only where a peer has ended cleanly, and all before it was delivered. */
  void CheckAppEnd(const App& app) const;
  void CheckTlsEnd(const TlsPeer& peer) const;
  void CheckRecord() const;
  /** With everybody gone. */
  void CheckOver() const;
  /** Nothing can move but by time: is there anything that should have? Of a session that relays. */
  void CheckQuiet(const Kernel& kernel) const;

 private:
  [[noreturn]] void Wrong(const std::string& what) const;
  void CheckWayOut(const App& app, const TlsPeer& peer) const;
  void CheckWayIn(const App& app, const TlsPeer& peer) const;
  void CheckClosed() const;
  /** One of the two broke it off: what it had said before has arrived. */
  void CheckAborted(const App& app, const TlsPeer& peer) const;
};

}  // namespace sidesplice::simulator
