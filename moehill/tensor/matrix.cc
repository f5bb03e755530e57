#include "moehill/tensor/matrix.h"

namespace moehill {
namespace {

int64_t padded_stride(int64_t cols, DType dtype) {
  const int64_t per_line = static_cast<int64_t>(64 / dtype_bytes(dtype));
  return (cols + per_line - 1) / per_line * per_line;
}

}  // namespace

Matrix::Matrix(int64_t rows, int64_t cols, DType dtype) : buffer_(bytes_for(rows, cols, dtype)) {
  view_ = {buffer_.data(), dtype, rows, cols, padded_stride(cols, dtype)};
}

Matrix Matrix::tight(int64_t rows, int64_t cols, DType dtype) {
  Matrix m;
  m.buffer_ = Buffer(static_cast<size_t>(rows) * static_cast<size_t>(cols) * dtype_bytes(dtype));
  m.view_ = {m.buffer_.data(), dtype, rows, cols, cols};
  return m;
}

size_t Matrix::bytes_for(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<size_t>(rows) * static_cast<size_t>(padded_stride(cols, dtype)) * dtype_bytes(dtype);
}

}  // namespace moehill
