// Through a MemoryVisitor an object shows all memory that it owns, piece by piece, to code that fills the
// memory with NaNs ("poisons" it) or hashes it. In this way the harness and tests find memory that a step
// reads without having written it.
//
//   visit_matrix(y, [&](void* data, size_t bytes) { std::memset(data, 0xff, bytes); });
#pragma once

#include <functional>
#include <vector>

#include "moehill/tensor/matrix.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

using MemoryVisitor = std::function<void(void* data, size_t bytes)>;

// Visits the rows of a matrix together with the gaps between them. It skips a view without data or rows.
inline void visit_matrix(const MatView& m, const MemoryVisitor& visit) {
  if (m.data == nullptr || m.rows == 0) return;
  const int64_t elements = (m.rows - 1) * m.stride + m.cols;
  visit(m.data, static_cast<size_t>(elements) * dtype_bytes(m.dtype));
}

inline void visit_stack(const WeightView& w, const MemoryVisitor& visit) {
  if (w.data != nullptr && w.bytes() > 0) visit(w.data, static_cast<size_t>(w.bytes()));
}

template <typename T>
void visit_vector(std::vector<T>& values, const MemoryVisitor& visit) {
  if (!values.empty()) visit(values.data(), values.size() * sizeof(T));
}

}  // namespace moehill
