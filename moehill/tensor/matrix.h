// This header has a view of a row-major matrix in memory (MatView), and an owner of such memory (Matrix).
// There is no arithmetic here: products are in kernels/grouped_gemm.h, row operations in kernels/rows.h.
//
//   Matrix x(num_tokens, hidden, DType::bf16);   // zeros
//   x.view().set(t, h, 0.5f);
//   const MatView half = x.view().slice_rows(0, num_tokens / 2);
#pragma once

#include <cstdint>

#include "moehill/base/error.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// MatView is a view [rows, cols] that does not own its memory. Row r starts at element r * stride. Copies
// share the memory, and a const view still allows writing.
struct MatView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements, >= cols

  // Returns row r. T must be the type that dtype names; this is not checked.
  template <typename T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
  // These two return and set one element, converted from and to f32. They are for tests and small loops,
  // because they look at dtype each time.
  float at(int64_t r, int64_t c) const {
    return dtype == DType::f32 ? row<float>(r)[c] : to_f32(row<bf16>(r)[c]);
  }
  void set(int64_t r, int64_t c, float value) const {
    if (dtype == DType::f32) {
      row<float>(r)[c] = value;
    } else {
      row<bf16>(r)[c] = to_bf16(value);
    }
  }
  // Returns a view of rows [begin, end).
  MatView slice_rows(int64_t begin, int64_t end) const {
    MOEHILL_CHECK(0 <= begin && begin <= end && end <= rows, "rows {} to {} of {}", begin, end, rows);
    MatView part = *this;
    part.data = static_cast<char*>(data) + begin * stride * static_cast<int64_t>(dtype_bytes(dtype));
    part.rows = end - begin;
    return part;
  }
};

// Matrix owns a matrix, of zeros at first. Each row begins at a multiple of 64 bytes, so rows may be padded.
// tight() makes a matrix without gaps, for matrices that move between devices as one block of bytes.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols, DType dtype);
  static Matrix tight(int64_t rows, int64_t cols, DType dtype);
  const MatView& view() const { return view_; }
  operator const MatView&() const { return view_; }
  // Returns the bytes that a padded matrix takes.
  static size_t bytes_for(int64_t rows, int64_t cols, DType dtype);

 private:
  Buffer buffer_;
  MatView view_;
};

}  // namespace moehill
