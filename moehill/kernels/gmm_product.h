// The operands of one call of our grouped GEMM, as every unit of it sees them.
#pragma once

#include <cstdint>

#include "moehill/kernels/block_sizes.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// Sums [num_rows][16] of a register tile: rows of a group from `row` on, columns of `panel` of the result.
struct FinishedTile {
  const float* sums;
  int64_t group, row;
  int num_rows;
  int64_t panel;
};

// The end of a tile: `finish` stores it, adds it or applies an activation, and is chosen once a call. A call
// through a pointer for a tile costs nothing beside its product, and units need not be compiled once for
// each.
struct Epilogue {
  void (*finish)(const Epilogue& epilogue, const FinishedTile& tile);
  ForwardOutput out;  // of an input gradient: c
  float scale;        // of the sums

  void operator()(const FinishedTile& tile) const { finish(*this, tile); }
  // Prefetches the first line of each row of results before their product, since no cache holds most of them.
  void ask(int64_t row, int num_rows, int64_t panel) const {
    const int64_t width = out.activation && out.activation->gated ? kGateUpWidth : kPanelWidth;
    if (out.activation) ask_rows(out.h, row, num_rows, panel * width);
    if (out.c.data != nullptr) ask_rows(out.c, row, num_rows, panel * kPanelWidth);
  }

 private:
  static void ask_rows(const MatView& to, int64_t row, int num_rows, int64_t column) {
    const int64_t bytes = static_cast<int64_t>(dtype_bytes(to.dtype));
    const char* at = static_cast<const char*>(to.data) + (row * to.stride + column) * bytes;
    for (int i = 0; i < num_rows; ++i, at += to.stride * bytes) __builtin_prefetch(at, 1, 3);
  }
};

// A product over columns: forward or input gradient.
struct ColumnsProduct {
  RowSource rows;
  WeightView weights;
  int64_t depth;  // columns of `rows`
  ProductBlocks sizes;
  Epilogue epilogue;
};

// A product over rows: the weight gradient dw = a^T dc.
struct RowsProduct {
  RowSource a, dc;
  WeightView dw;
};

// The group's matrix of a stack in panels.
template <typename T>
T* group_panels(const WeightView& weights, int64_t group) {
  return static_cast<T*>(weights.data) + group * weights.group_elements();
}

}  // namespace moehill
