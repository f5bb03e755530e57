// WeightStack: G matrices [K, N] in one of two layouts, and the logical matrices inside it.
//
// `row_major` is what CBLAS reads. `panels` is what our grouped GEMM reads and writes, for good: panel p
// holds columns [16 p, 16 p + 16) of all K rows, row after row, so that a kernel streams it from one end to
// the other. N is padded to whole panels with zero columns. In a bf16 panel the rows k and k + 1 (k even) of
// a column lie side by side: a 32-bit lane is what a dot instruction multiplies, and widens to two f32 values
// with a shift and a mask where there is none. K is padded to whole pairs with a zero row.
//
// A gate-up stack holds W1 and W3 in one matrix: 8 gate columns, 8 up columns, 8 gate columns ... so that a
// panel has both factors of 8 SwiGLU results. Columns past M are zero.
#pragma once

#include <cstdint>

#include "moehill/tensor/matrix.h"

namespace moehill {

inline constexpr int64_t kPanelWidth = 16;
inline constexpr int64_t kGateUpWidth = 8;

enum class WeightLayout { panels, row_major };

inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Columns of a gate-up matrix for M results, and where gate m and up m stand.
inline int64_t gate_up_columns(int64_t mlp_dim) { return 2 * round_up(mlp_dim, kGateUpWidth); }
inline int64_t gate_column(int64_t m) { return m / kGateUpWidth * 2 * kGateUpWidth + m % kGateUpWidth; }
inline int64_t up_column(int64_t m) { return gate_column(m) + kGateUpWidth; }

// Rows of a panel of K rows as it is stored.
inline int64_t stored_panel_rows(int64_t k, DType dtype) { return dtype == DType::f32 ? k : round_up(k, 2); }

// Does not own.
struct WeightView {
  void* data = nullptr;
  DType dtype = DType::f32;
  WeightLayout layout = WeightLayout::panels;
  int64_t num_groups = 0;
  int64_t k = 0;
  int64_t n = 0;

  int64_t num_panels() const { return (n + kPanelWidth - 1) / kPanelWidth; }
  int64_t panel_rows() const { return stored_panel_rows(k, dtype); }
  int64_t group_elements() const {
    return layout == WeightLayout::panels ? num_panels() * kPanelWidth * panel_rows() : k * n;
  }
  size_t bytes() const { return static_cast<size_t>(num_groups * group_elements()) * dtype_bytes(dtype); }
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
  // Matrices [begin, end) of the stack.
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

// A stack of f32 vectors is [1, n] matrices, row by row, with n rounded up to whole panels.
inline int64_t vector_columns(int64_t n) { return round_up(n, kPanelWidth); }
inline float* vector_of(const WeightView& stack, int64_t group) {
  return static_cast<float*>(stack.data) + group * stack.n;
}

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

// A logical matrix per group inside a stack: all columns, or the gate or up columns of a gate-up stack.
struct LogicalWeights {
  enum class Part { all, gate, up };
  WeightView stack;
  Part part = Part::all;
  int64_t num_columns = 0;            // logical: M for a gate or up part
  const int32_t* place_of = nullptr;  // [groups] where a group is in the stack; null: in its order

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
