// This file sums rows, multiplies rows with a vector, and scales rows, on the best SIMD target.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/row_vectors.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <algorithm>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/row_vectors.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

HWY_INLINE int64_t source_row(const RowSource& rows, int64_t r) {
  return rows.index == nullptr ? r : rows.index[r];
}

// Sums columns [begin, begin + n) of a group, where n is at most 8 and the columns are one block.
template <typename T>
void sum_block(const RowSums& sums, Range rows, int64_t block, int64_t n, float* out) {
  alignas(64) float sum[kGateUpWidth] = {};
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t from = source_row(sums.rows, r);
    if (from < 0) continue;
    const T* in = sums.rows.matrix.row<const T>(from) + block * sums.block_stride;
    const float factor = sums.rows.scale * (sums.weight == nullptr ? 1.0f : sums.weight[r]);
    if (n == kGateUpWidth) {
      const VP f = hn::Set(DP(), factor);
      for (int j = 0; j < kGateUpWidth; j += kPart)
        hn::Store(hn::MulAdd(f, load_part(in + j), hn::Load(DP(), sum + j)), DP(), sum + j);
    } else {
      for (int64_t j = 0; j < n; ++j) sum[j] += factor * to_f32(in[j]);
    }
  }
  std::copy_n(sum, n, out);
}

void sum_blocks(const RowSums& sums, Range rows, Range blocks, float* out) {
  for (int64_t b = blocks.begin; b < blocks.end; ++b) {
    const int64_t n = std::min(kGateUpWidth, sums.columns - b * kGateUpWidth);
    float* const to = out + b * kGateUpWidth;
    sums.rows.matrix.dtype == DType::f32 ? sum_block<float>(sums, rows, b, n, to)
                                         : sum_block<bf16>(sums, rows, b, n, to);
  }
}

template <typename T>
HWY_INLINE float dot_of(const T* a, const float* b, int64_t n) {
  VP sum = hn::Zero(DP());
  int64_t i = 0;
  for (; i + kPart <= n; i += kPart) sum = hn::MulAdd(load_part(a + i), load_part(b + i), sum);
  float total = hn::GetLane(hn::SumOfLanes(DP(), sum));
  for (; i < n; ++i) total += to_f32(a[i]) * b[i];
  return total;
}

// Adds to each row's place in `out` its inner product with the vector. Rows without a source or a place are
// skipped.
void dot_rows(const VectorDots& dots, const float* vector, Range rows, float* out) {
  const MatView& m = dots.rows.matrix;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t from = source_row(dots.rows, r), to = dots.out_index == nullptr ? r : dots.out_index[r];
    if (from < 0 || to < 0) continue;
    out[to] += dots.rows.scale * (m.dtype == DType::f32 ? dot_of(m.row<const float>(from), vector, m.cols)
                                                        : dot_of(m.row<const bf16>(from), vector, m.cols));
  }
}

// Adds factor[r] * vector to each row of `out`.
template <typename T>
void add_outer_typed(const float* factor, const float* vector, const MatView& out, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    T* to = out.row<T>(r);
    const VP f = hn::Set(DP(), factor[r]);
    int64_t i = 0;
    for (; i + kPart <= out.cols; i += kPart)
      store_part(hn::MulAdd(f, load_part(vector + i), load_part(to + i)), to + i);
    for (; i < out.cols; ++i) to[i] = from_f32<T>(factor[r] * vector[i] + to_f32(to[i]));
  }
}

void add_outer_range(const float* factor, const float* vector, const MatView& out, Range rows) {
  out.dtype == DType::f32 ? add_outer_typed<float>(factor, vector, out, rows)
                          : add_outer_typed<bf16>(factor, vector, out, rows);
}

template <typename T>
void scale_typed(const float* factor, const MatView& m, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    T* row = m.row<T>(r);
    const VP f = hn::Set(DP(), factor[r]);
    int64_t i = 0;
    for (; i + kPart <= m.cols; i += kPart) store_part(hn::Mul(f, load_part(row + i)), row + i);
    for (; i < m.cols; ++i) row[i] = from_f32<T>(factor[r] * to_f32(row[i]));
  }
}

void scale_range(const float* factor, const MatView& m, Range rows) {
  m.dtype == DType::f32 ? scale_typed<float>(factor, m, rows) : scale_typed<bf16>(factor, m, rows);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {

HWY_EXPORT(sum_blocks);
HWY_EXPORT(dot_rows);
HWY_EXPORT(add_outer_range);
HWY_EXPORT(scale_range);

void sum_rows(ThreadTeam& team, const GroupRows& groups, const RowSums& sums, const WeightView& out) {
  const int64_t blocks = (sums.columns + kGateUpWidth - 1) / kGateUpWidth;
  // A task covers 32 columns, which are a cache line of a bf16 row.
  constexpr int64_t kBlocks = 4;
  const int64_t parts = (blocks + kBlocks - 1) / kBlocks;
  team.parallel_for(groups.size() * parts, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t g = task / parts, first = task % parts * kBlocks;
      float* const to = vector_of(out, g);
      HWY_DYNAMIC_DISPATCH(sum_blocks)(sums, groups[g], Range{first, std::min(blocks, first + kBlocks)}, to);
      // The last task of a group writes the padding of its vector.
      if (task % parts == parts - 1) std::fill(to + sums.columns, to + out.n, 0.0f);
    }
  });
}

void add_vector_dots(ThreadTeam& team, const GroupRows& groups, const VectorDots& dots, float* out) {
  for (int64_t g = 0; g < groups.size(); ++g) {
    const Range rows = groups[g];
    team.parallel_for(rows.size(), [&](int64_t begin, int64_t end) {
      HWY_DYNAMIC_DISPATCH(dot_rows)
      (dots, vector_of(dots.vectors, g), Range{rows.begin + begin, rows.begin + end}, out);
    });
  }
}

void add_outer(ThreadTeam& team, const float* factor, const WeightView& vector, const MatView& out) {
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_outer_range)(factor, vector_of(vector, 0), out, Range{begin, end});
  });
}

void scale_rows(ThreadTeam& team, const float* factor, const MatView& rows) {
  team.parallel_for(rows.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(scale_range)(factor, rows, Range{begin, end});
  });
}

}  // namespace moehill
#endif
