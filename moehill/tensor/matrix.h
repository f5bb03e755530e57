// Matrices: a row-major view with a type, and an owner of its memory.
#pragma once

#include <cstdint>

#include "moehill/base/error.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// [rows, cols], row r starts at element r * stride. Does not own.
struct MatView {
  void* data = nullptr;
  DType dtype = DType::f32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;  // elements, >= cols

  template <typename T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
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
  MatView slice_rows(int64_t begin, int64_t end) const {
    MOEHILL_CHECK(0 <= begin && begin <= end && end <= rows, "rows {} to {} of {}", begin, end, rows);
    MatView part = *this;
    part.data = static_cast<char*>(data) + begin * stride * static_cast<int64_t>(dtype_bytes(dtype));
    part.rows = end - begin;
    return part;
  }
};

// Owns a matrix. Rows are padded to 64 bytes; `tight` leaves no gaps, for what moves between devices as one
// block.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols, DType dtype);
  static Matrix tight(int64_t rows, int64_t cols, DType dtype);
  const MatView& view() const { return view_; }
  operator const MatView&() const { return view_; }
  static size_t bytes_for(int64_t rows, int64_t cols, DType dtype);

 private:
  Buffer buffer_;
  MatView view_;
};

}  // namespace moehill
