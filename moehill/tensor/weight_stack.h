// WeightStack is G matrices [K, N] in one of two layouts. This header also has the logical matrices inside
// such a stack (LogicalWeights). It multiplies nothing; kernels/grouped_gemm.h does.
//
// `row_major` is the layout that CBLAS reads. `panels` is the layout that the grouped GEMM of this library
// reads and writes. Weights stay in it, and no step repacks them. Panel p holds columns [16 p, 16 p + 16) of
// all K rows, row after row, so that a kernel reads a panel from one end to the other. N is padded to whole
// panels with zero columns. In a panel of bf16, rows k and k + 1 (k even) of a column lie side by side: a dot
// instruction multiplies such a pair of 32 bits at once, and on other CPUs a shift and a mask make two f32
// values of the pair. K is padded to whole pairs with a zero row.
//
// A gate-up stack holds W1 and W3 in one matrix: 8 gate columns, 8 up columns, 8 gate columns and so on. So
// one panel has both factors of 8 results of SwiGLU. Columns past M are zero.
//
//   WeightStack w2(WeightLayout::panels, num_experts, mlp_dim, hidden, DType::bf16);   // zeros
//   w2.view().set(expert, m, h, 0.01f);
#pragma once

#include <cstdint>

#include "moehill/tensor/matrix.h"

namespace moehill {

inline constexpr int64_t kPanelWidth = 16;
inline constexpr int64_t kGateUpWidth = 8;

enum class WeightLayout { panels, row_major };

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// gate_up_columns(M) is the number of columns of a gate-up matrix for M results. Result m has its gate in
// column gate_column(m) and its up value in column up_column(m).
inline int64_t gate_up_columns(int64_t mlp_dim) { return 2 * round_up(mlp_dim, kGateUpWidth); }
inline int64_t gate_column(int64_t m) { return m / kGateUpWidth * 2 * kGateUpWidth + m % kGateUpWidth; }
inline int64_t up_column(int64_t m) { return gate_column(m) + kGateUpWidth; }

// Returns the number of rows with which a panel of K rows is stored.
inline int64_t stored_panel_rows(int64_t k, DType dtype) { return dtype == DType::f32 ? k : round_up(k, 2); }

// WeightView is a view of a stack. It does not own the memory, and copies share it.
struct WeightView {
  void* data = nullptr;
  DType dtype = DType::f32;
  WeightLayout layout = WeightLayout::panels;
  int64_t num_groups = 0;
  int64_t k = 0;
  int64_t n = 0;

  // Panels of one matrix, and rows of a panel as stored.
  int64_t num_panels() const { return (n + kPanelWidth - 1) / kPanelWidth; }
  int64_t panel_rows() const { return stored_panel_rows(k, dtype); }
  // Elements of one matrix as stored, padding included.
  int64_t group_elements() const {
    return layout == WeightLayout::panels ? num_panels() * kPanelWidth * panel_rows() : k * n;
  }
  size_t bytes() const { return static_cast<size_t>(num_groups * group_elements()) * dtype_bytes(dtype); }
  // Returns the position of an element in units of elements from `data` on.
  int64_t index(int64_t group, int64_t row, int64_t column) const {
    if (layout == WeightLayout::row_major) return group * group_elements() + row * n + column;
    const int64_t in_row = column % kPanelWidth, first = column / kPanelWidth * panel_rows();
    const int64_t in_panels = dtype == DType::f32
                                  ? (first + row) * kPanelWidth + in_row
                                  : (first + row - row % 2) * kPanelWidth + 2 * in_row + row % 2;
    return group * group_elements() + in_panels;
  }
  float at(int64_t group, int64_t row, int64_t column) const {
    const int64_t i = index(group, row, column);
    return dtype == DType::f32 ? static_cast<const float*>(data)[i]
                               : to_f32(static_cast<const bf16*>(data)[i]);
  }
  void set(int64_t group, int64_t row, int64_t column, float value) const {
    const int64_t i = index(group, row, column);
    if (dtype == DType::f32) {
      static_cast<float*>(data)[i] = value;
    } else {
      static_cast<bf16*>(data)[i] = to_bf16(value);
    }
  }
  // Returns a view of the matrices [begin, end) of the stack.
  WeightView slice_groups(int64_t begin, int64_t end) const {
    MOEHILL_CHECK(0 <= begin && begin <= end && end <= num_groups, "groups {} to {} of {}", begin, end,
                  num_groups);
    WeightView part = *this;
    part.data =
        static_cast<char*>(data) + begin * group_elements() * static_cast<int64_t>(dtype_bytes(dtype));
    part.num_groups = end - begin;
    return part;
  }
};

// A stack of vectors in f32, such as biases, is stored as matrices [1, n] in row-major order, with n rounded
// up to whole panels.
inline int64_t vector_columns(int64_t n) { return round_up(n, kPanelWidth); }
inline float* vector_of(const WeightView& stack, int64_t group) {
  return static_cast<float*>(stack.data) + group * stack.n;
}

// WeightStack owns the memory of a stack, which starts as zeros.
class WeightStack {
 public:
  WeightStack() = default;
  WeightStack(WeightLayout layout, int64_t num_groups, int64_t k, int64_t n, DType dtype)
      : view_{nullptr, dtype, layout, num_groups, k, n}, buffer_(view_.bytes()) {
    view_.data = buffer_.data();
  }
  const WeightView& view() const { return view_; }
  operator const WeightView&() const { return view_; }

 private:
  WeightView view_;
  Buffer buffer_;
};

// LogicalWeights are one logical matrix for each group of a stack: all its columns, or only the gate or the
// up columns of a gate-up stack. Tests, checks and files use logical matrices, so that they need not know the
// layout.
struct LogicalWeights {
  enum class Part { all, gate, up };
  WeightView stack;
  Part part = Part::all;
  int64_t num_columns = 0;  // of the logical matrix: M for a gate or up part
  // [groups] the position of each group in the stack; null: groups are in order.
  const int32_t* place_of = nullptr;

  int64_t place(int64_t group) const { return place_of == nullptr ? group : place_of[group]; }
  int64_t index(int64_t group, int64_t row, int64_t n) const {
    return stack.index(place(group), row, column(n));
  }
  int64_t rows() const { return stack.k; }
  int64_t column(int64_t n) const {
    return part == Part::all ? n : part == Part::gate ? gate_column(n) : up_column(n);
  }
  float at(int64_t group, int64_t row, int64_t n) const { return stack.at(place(group), row, column(n)); }
  void set(int64_t group, int64_t row, int64_t n, float value) const {
    stack.set(place(group), row, column(n), value);
  }
};

}  // namespace moehill
