// Scratch is one buffer that is cut into matrices. Matrices that are not in use at the same time may share
// memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "moehill/tensor/matrix.h"

namespace moehill {

// One function uses a Scratch twice: first without memory, to measure, then with a buffer of that size. The
// matrices are views, valid as long as the Scratch lives. Scratch does not clear them.
//
//   Scratch measure;
//   lay_out(measure);                          // calls matrix(..) for each part
//   Scratch memory(measure.peak_bytes());
//   lay_out(memory);
class Scratch {
 public:
  Scratch() = default;
  explicit Scratch(size_t bytes) : buffer_(bytes) {}

  // Returns room for [rows, cols], with rows padded to 64 bytes as in Matrix. Without a buffer the view has
  // no data. A buffer that is too small is an error.
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

  // Returns a mark. After rewind(mark), new matrices may overwrite those that were handed out since mark().
  size_t mark() const { return used_; }
  void rewind(size_t mark) { used_ = mark; }
  size_t peak_bytes() const { return peak_; }

 private:
  Buffer buffer_;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace moehill
