// The relay that seals and opens the records itself, in place, in the scratch of its worker.
#pragma once

#include <memory>
#include <span>

#include "core/record_sorter.h"
#include "core/relay.h"
#include "core/ticket_watch.h"

namespace sidesplice::core {

class RecordRelay final : public Relay, private RecordReader {
 public:
  /** Null where it is over already. */
  static Relay* Begin(const Home& home, Session session, Legs legs, OnEnd on_end);

 private:
  RecordRelay(const Home& home, Session session, Legs legs, OnEnd on_end);

  Progress PumpOut(size_t* budget) override;
  Progress PumpIn(size_t* budget) override;
  void FinishTls(tls::Alert alert, double limit_ms) override;
  void ResetTls(double limit_ms) override;
  void MoveTo(BufferLedger* ledger) override;
  void Rest() override;

  /** False where the relay is over. */
  [[nodiscard]] bool SealAndSend(size_t bytes);
  [[nodiscard]] bool QueueRecord(tls::ContentType type, std::span<const uint8_t> payload);
  [[nodiscard]] bool QueueKeyUpdate();
  [[nodiscard]] bool RekeyIfDue();
  /** How much may be read from the peer now; 0 where nothing may, and then what to do instead. */
  [[nodiscard]] size_t AskedOfPeer(Supply supply, Progress* instead);
  /** Of a supply of none: the next record, which stays in the kernel until it is there whole and can be passed on. */
  [[nodiscard]] size_t NextWholeRecord(Progress* instead);
  [[nodiscard]] bool TakeRecords(std::span<uint8_t> received);
  [[nodiscard]] bool DeliverPlain();

  bool OnData(std::span<const uint8_t> payload) override;
  bool OnCloseNotify() override;
  bool OnAlert(uint8_t alert) override;
  bool OnKeyUpdate(bool asks) override;
  bool OnRenegotiation() override;
  bool OnForbidden(tls::Alert answer) override { return DeliverPlain() && Refuse(answer); }

  std::unique_ptr<tls::RecordKey> read_;
  std::unique_ptr<tls::RecordKey> write_;
  RecordSorter sorter_;
  /** Sealed records for the peer, and a record of which a part has come. */
  Pending to_tls_;
  Pending partial_;
  /** While tickets of the peer may come. */
  std::unique_ptr<TicketWatch> tickets_;
  bool large_reads_out_ = false;
  /** A record that is not whole has been waited for. */
  bool waited_ = false;
  bool large_reads_in_ = false;
  bool key_update_queued_ = false;
};

}  // namespace sidesplice::core
