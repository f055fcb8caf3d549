// Bytes that wait to be sent, owned by their session until they are gone; no memory while there are none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

#include "core/buffer_memory.h"

namespace sidesplice::core {

class Pending {
 public:
  Pending() = default;
  /** What it takes is noted in `ledger`, which outlives it. */
  explicit Pending(BufferLedger* ledger) : ledger_(ledger) {}
  ~Pending() { Clear(); }
  Pending(Pending&& other) noexcept : ledger_(other.ledger_) { Swap(other); }
  Pending& operator=(Pending&& other) noexcept {
    Pending(std::move(other)).Swap(*this);
    return *this;
  }

  [[nodiscard]] bool empty() const { return from_ == to_; }
  [[nodiscard]] size_t size() const { return to_ - from_; }
  [[nodiscard]] std::span<uint8_t> bytes() const { return {data_.get() + from_, to_ - from_}; }

  /** Room for `bytes` at the end; what is written there counts at once. */
  uint8_t* Grow(size_t bytes) {
    if (to_ + bytes > capacity_) {
      const size_t kept = size();
      const size_t capacity = kept + bytes;
      std::unique_ptr<uint8_t[]> data(new uint8_t[capacity]);
      if (kept > 0) std::memcpy(data.get(), data_.get() + from_, kept);
      data_ = std::move(data);
      Note(static_cast<int64_t>(capacity) - static_cast<int64_t>(capacity_));
      capacity_ = capacity;
      from_ = 0;
      to_ = kept;
    }
    to_ += bytes;
    return data_.get() + to_ - bytes;
  }

  void Append(std::span<const uint8_t> bytes) {
    if (!bytes.empty()) std::memcpy(Grow(bytes.size()), bytes.data(), bytes.size());
  }

  /** Takes back what `Grow` gave and was not written. */
  void Shrink(size_t bytes) {
    to_ -= bytes;
    if (from_ == to_) Clear();
  }

  void Drop(size_t bytes) {
    from_ += bytes;
    if (from_ == to_) Clear();
  }

  void Clear() {
    if (capacity_ == 0) return;
    Note(-static_cast<int64_t>(capacity_));
    data_.reset();
    capacity_ = from_ = to_ = 0;
  }

  /** From here on another worker's: neither ledger is in use by another thread meanwhile. */
  void MoveTo(BufferLedger* ledger) {
    Note(-static_cast<int64_t>(capacity_));
    ledger_ = ledger;
    Note(static_cast<int64_t>(capacity_));
  }

 private:
  void Note(int64_t bytes) {
    if (ledger_ != nullptr && bytes != 0) ledger_->Note(bytes);
  }
  void Swap(Pending& other) noexcept {
    std::swap(ledger_, other.ledger_);
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    std::swap(from_, other.from_);
    std::swap(to_, other.to_);
  }

  BufferLedger* ledger_ = nullptr;
  std::unique_ptr<uint8_t[]> data_;
  size_t capacity_ = 0;
  size_t from_ = 0;
  size_t to_ = 0;
};

}  // namespace sidesplice::core
