// The relay that leaves records to the kernel: bytes go from socket to pipe to socket by splice(2), or are copied where they are few.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/kernel_leg.h"
#include "core/record_sorter.h"
#include "core/relay.h"
#include "core/splice_pipe.h"

namespace sidesplice::core {

class SpliceRelay final : public Relay, private RecordReader {
 public:
  /** Null where it is over already. `half`: the kernel took one of two keys, there is no way on. */
  static Relay* Begin(const Home& home, Session session, Legs legs, KernelLeg leg, bool half, OnEnd on_end);

 private:
  /** How a direction reads: by copies, or by splices after reads that were full time and again, until they are small again. */
  class Gait {
   public:
    [[nodiscard]] bool splices() const { return splices_; }
    /** What a copy asks for. */
    [[nodiscard]] size_t asks() const { return large_ ? kOpenBytes : tls::kMaxPayloadBytes; }
    void NoteCopy(size_t asked, size_t got);
    void NoteSplice(size_t got);
    /** These sockets can't. */
    void NeverSplice() { never_ = true, splices_ = false; }
    /** How many copies there were. */
    [[nodiscard]] uint32_t copied() const { return copied_; }

   private:
    bool large_ = false;
    bool splices_ = false;
    bool never_ = false;
    uint8_t in_a_row_ = 0;
    uint32_t copied_ = 0;
  };
  struct Control {
    tls::ContentType type{};
    std::array<uint8_t, 5> bytes{};
    uint8_t size = 0;
    /** Our next key holds behind it. */
    bool key_update = false;
  };

  SpliceRelay(const Home& home, Session session, Legs legs, KernelLeg leg, OnEnd on_end);
  ~SpliceRelay() override;

  Progress PumpOut(size_t* budget) override;
  Progress PumpIn(size_t* budget) override;
  void FinishTls(tls::Alert alert, double limit_ms) override;
  void ResetTls(double limit_ms) override;
  Pending UnsentPlain() override;
  void MoveTo(BufferLedger* ledger) override;
  [[nodiscard]] bool movable() const override;
  bool LegFailed(Side& side, int error) override;

  /** True where nothing waits for the peer any more; false where it blocks, or the relay is over. */
  [[nodiscard]] bool FlushOut();
  [[nodiscard]] bool FlushIn();
  [[nodiscard]] bool FlushPipe(Side& side, SplicePipe& pipe);
  [[nodiscard]] bool SendControl();
  Progress CopyOut(size_t* budget);
  Progress SpliceOut(size_t* budget);
  Progress CopyIn(size_t* budget);
  Progress SpliceIn(size_t* budget);
  Progress ShutTls();
  void QueueControl(tls::ContentType type, std::span<const uint8_t> bytes, bool key_update = false);
  [[nodiscard]] bool RekeyIfDue();
  void NoteOut(size_t bytes);
  bool Failed(int error);

  bool OnData(std::span<const uint8_t> payload) override;
  bool OnCloseNotify() override;
  bool OnAlert(uint8_t alert) override;
  bool OnKeyUpdate(bool asks) override;
  bool OnRenegotiation() override;
  bool OnForbidden(tls::Alert answer) override { return Refuse(answer); }

  KernelLeg leg_;
  RecordSorter sorter_;
  /** Plaintext for the peer. */
  Pending to_tls_;
  SplicePipe out_pipe_;
  SplicePipe in_pipe_;
  /** Behind what waits for the peer. */
  std::optional<Control> control_;
  /** Armed while the kernel keeps records back that a FIN must not go before. */
  std::unique_ptr<Timer> push_;
  /** Since the records of our key were counted last. */
  uint64_t out_bytes_ = 0;
  uint32_t out_sends_ = 0;
  uint16_t push_looks_ = 0;
  Gait out_;
  Gait in_;
};

}  // namespace sidesplice::core
