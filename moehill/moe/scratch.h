// Scratch: one buffer, cut into matrices. Parts may lie over each other when their uses do not overlap in
// time.
#pragma once

#include <algorithm>
#include <cstdint>

#include "moehill/tensor/matrix.h"

namespace moehill {

// Measures first, then hands out: run the same code with a Scratch() to learn `peak_bytes`, then with
// Scratch(bytes).
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(size_t bytes) : buffer_(bytes) {}

  // Room for [rows, cols], rows padded to 64 bytes like Matrix. Without a buffer the view has no data.
  MatView matrix(int64_t rows, int64_t cols, DType dtype) {
    const size_t line = 64 / dtype_bytes(dtype);
    MatView view{nullptr, dtype, rows, cols,
                 static_cast<int64_t>((static_cast<size_t>(cols) + line - 1) / line * line)};
    if (buffer_.data() != nullptr) view.data = static_cast<char*>(buffer_.data()) + used_;
    used_ += (Matrix::bytes_for(rows, cols, dtype) + 63) / 64 * 64;
    peak_ = std::max(peak_, used_);
    MOEHILL_CHECK(buffer_.data() == nullptr || used_ <= buffer_.bytes(), "scratch of {} bytes is too small",
                  buffer_.bytes());
    return view;
  }

  // Everything handed out after mark() may be overlaid after rewind(mark).
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }
  size_t peak_bytes() const { return peak_; }

 private:
  Buffer buffer_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace moehill
