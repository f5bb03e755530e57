// This header has the operands of one call of this library's grouped GEMM, in the form in which its units see
// them. Callers outside of kernels use grouped_gemm.h.
#pragma once

#include <cstdint>

#include "moehill/kernels/block_sizes.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// FinishedTile has the finished sums [num_rows][16] of a register tile: rows of a group from `row` on,
// columns of `panel` of the result.
struct FinishedTile {
  const float* sums;
  int64_t group, row;
  int num_rows;
  int64_t panel;
};

// Epilogue says what happens to a finished tile. `finish` stores the sums, adds them or applies an
// activation; a call chooses it once. A call through a pointer for each tile costs nothing beside the tile's
// product, and the loops over units need not be compiled for each kind of epilogue.
struct Epilogue {
  void (*finish)(const Epilogue& epilogue, const FinishedTile& tile);
  ForwardOutput out;  // an input gradient uses its member c
  float scale;        // the factor of all sums

  void operator()(const FinishedTile& tile) const { finish(*this, tile); }
  // Prefetches the first line of each row of the result before its product, because most of these rows are in
  // no cache.
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

// ColumnsProduct is a product over columns: forward, or input gradient.
struct ColumnsProduct {
  RowSource rows;
  WeightView weights;
  int64_t depth;  // columns of `rows`
  ProductBlocks sizes;
  Epilogue epilogue;
};

// RowsProduct is a product over rows: the weight gradient dw = a^T dc.
struct RowsProduct {
  RowSource a, dc;
  WeightView dw;
};

// Returns the matrix of a group in a stack in panels.
template <typename T>
T* group_panels(const WeightView& weights, int64_t group) {
  return static_cast<T*>(weights.data) + group * weights.group_elements();
}

}  // namespace moehill
