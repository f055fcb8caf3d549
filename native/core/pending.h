// Bytes that wait to be sent, owned by their session until they are gone; no memory while there are none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

namespace sidesplice::core {

class Pending {
 public:
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
    data_.reset();
    capacity_ = from_ = to_ = 0;
  }

 private:
  std::unique_ptr<uint8_t[]> data_;
  size_t capacity_ = 0;
  size_t from_ = 0;
  size_t to_ = 0;
};

}  // namespace sidesplice::core
