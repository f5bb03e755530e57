// This file has row operations on the best SIMD target. A thread takes whole rows, or whole columns where
// several rows add to one place, so the order of additions never depends on the number of threads.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/rows.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <algorithm>
#include <cstring>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/rows.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Copies a row from one type to another, times a factor. The last columns that fill no vector are done one by
// one.
template <typename In, typename Out>
HWY_INLINE void copy_row(const In* in, Out* out, int64_t n, float scale) {
  const VP factor = hn::Set(DP(), scale);
  int64_t i = 0;
  for (; i + kPart <= n; i += kPart) store_part(hn::Mul(factor, load_part(in + i)), out + i);
  for (; i < n; ++i) out[i] = from_f32<Out>(scale * to_f32(in[i]));
}

// sum += factor * row.
template <typename T>
HWY_INLINE void add_row(float factor, const T* row, float* sum, int64_t n) {
  const VP f = hn::Set(DP(), factor);
  int64_t i = 0;
  for (; i + kPart <= n; i += kPart)
    store_part(hn::MulAdd(f, load_part(row + i), load_part(sum + i)), sum + i);
  for (; i < n; ++i) sum[i] += factor * to_f32(row[i]);
}

void widen_range(const MatView& m, Range columns, float scale, float* out) {
  for (int64_t r = 0; r < m.rows; ++r, out += columns.size()) {
    if (m.dtype == DType::f32) {
      copy_row(m.row<const float>(r) + columns.begin, out, columns.size(), scale);
    } else {
      copy_row(m.row<const bf16>(r) + columns.begin, out, columns.size(), scale);
    }
  }
}

// Writes f32 rows as rows of another type, or adds them.
template <typename T>
void narrow_typed(const float* in, const MatView& out, Range columns, bool add) {
  const int64_t n = columns.size();
  for (int64_t r = 0; r < out.rows; ++r, in += n) {
    T* row = out.row<T>(r) + columns.begin;
    if (!add) {
      copy_row(in, row, n, 1);
      continue;
    }
    int64_t i = 0;
    for (; i + kPart <= n; i += kPart) store_part(hn::Add(load_part(in + i), load_part(row + i)), row + i);
    for (; i < n; ++i) row[i] = from_f32<T>(in[i] + to_f32(row[i]));
  }
}

void narrow_range(const float* in, const MatView& out, Range columns, bool add) {
  if (out.dtype == DType::f32) return narrow_typed<float>(in, out, columns, add);
  narrow_typed<bf16>(in, out, columns, add);
}

template <typename T>
void gather_typed(const RowSource& source, const MatView& out, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t from = source.index == nullptr ? r : source.index[r];
    T* to = out.row<T>(r);
    if (from < 0) {
      std::fill(to, to + out.cols, T{});
    } else {
      copy_row(source.matrix.row<const T>(from), to, out.cols, source.scale);
    }
  }
}

void gather_range(const RowSource& source, const MatView& out, Range rows) {
  if (out.dtype == DType::f32) return gather_typed<float>(source, out, rows);
  gather_typed<bf16>(source, out, rows);
}

// Columns are worked off in blocks, so that the f32 sums of a block stay in L1.
inline constexpr int64_t kColumnBlock = 512;

// Begins a sum: with the base's values, or with zeros if there is no base.
HWY_INLINE void start_sum(const MatView& base, int64_t r, int64_t c, int64_t n, float* sum) {
  if (base.data == nullptr) {
    std::fill(sum, sum + n, 0.0f);
  } else if (base.dtype == DType::f32) {
    copy_row(base.row<const float>(r) + c, sum, n, 1);
  } else {
    copy_row(base.row<const bf16>(r) + c, sum, n, 1);
  }
}

template <typename T>
void combine_typed(const CombineRows& c, const MatView& out, Range tokens) {
  alignas(64) float sum[kColumnBlock];
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const int64_t token = c.token_of == nullptr ? t : c.token_of[t];
    for (int64_t column = 0; column < out.cols; column += kColumnBlock) {
      const int64_t n = std::min(kColumnBlock, out.cols - column);
      start_sum(c.base, t, column, n, sum);
      // The choices of a token are added in their order, so the sum does not depend on where their rows are.
      for (int64_t a = token * c.topk; a < (token + 1) * c.topk; ++a) {
        if (c.row_of[a] < 0) continue;
        add_row(c.weight == nullptr ? 1.0f : c.weight[a], c.rows.row<const T>(c.row_of[a]) + column, sum, n);
      }
      if (out.dtype == DType::f32) {
        copy_row(sum, out.row<float>(t) + column, n, 1);
      } else {
        copy_row(sum, out.row<bf16>(t) + column, n, 1);
      }
    }
  }
}

void combine_range(const CombineRows& c, const MatView& out, Range tokens) {
  if (c.rows.dtype == DType::f32) return combine_typed<float>(c, out, tokens);
  combine_typed<bf16>(c, out, tokens);
}

void add_range(const MatView& in, const MatView& out, Range rows) {
  alignas(64) float sum[kColumnBlock];
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    for (int64_t c = 0; c < out.cols; c += kColumnBlock) {
      const int64_t n = std::min(kColumnBlock, out.cols - c);
      start_sum(out, r, c, n, sum);
      if (in.dtype == DType::f32) {
        add_row(1, in.row<const float>(r) + c, sum, n);
      } else {
        add_row(1, in.row<const bf16>(r) + c, sum, n);
      }
      if (out.dtype == DType::f32) {
        copy_row(sum, out.row<float>(r) + c, n, 1);
      } else {
        copy_row(sum, out.row<bf16>(r) + c, n, 1);
      }
    }
  }
}

// Each thread has a range of columns and goes over all rows, so two threads never add to the same place.
template <typename T>
void scatter_typed(const ScatterRows& s, const MatView& sum, const MatView& out, Range columns) {
  const int64_t n = columns.size();
  for (int64_t t = 0; t < sum.rows; ++t)
    start_sum(s.base, t, columns.begin, n, sum.row<float>(t) + columns.begin);
  for (int64_t r = 0; r < s.rows.rows; ++r) {
    if (s.token_of[r] < 0) continue;
    const float factor = s.weight == nullptr ? 1.0f : s.weight[s.weight_of[r]];
    add_row(factor, s.rows.row<const T>(r) + columns.begin, sum.row<float>(s.token_of[r]) + columns.begin, n);
  }
  for (int64_t t = 0; t < sum.rows; ++t) {
    const float* from = sum.row<const float>(t) + columns.begin;
    if (out.dtype == DType::f32) {
      // If `sum` is the memory of `out`, it has the result already.
      if (out.row<float>(t) + columns.begin != from) copy_row(from, out.row<float>(t) + columns.begin, n, 1);
    } else {
      copy_row(from, out.row<bf16>(t) + columns.begin, n, 1);
    }
  }
}

void scatter_range(const ScatterRows& s, const MatView& sum, const MatView& out, Range columns) {
  if (s.rows.dtype == DType::f32) return scatter_typed<float>(s, sum, out, columns);
  scatter_typed<bf16>(s, sum, out, columns);
}

template <typename T>
void dots_typed(const RowDots& dots, Range rows, float* out) {
  const DP d;
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t of_b = dots.index_b == nullptr ? r : dots.index_b[r];
    if (dots.out_index[r] < 0 || of_b < 0) continue;
    const T* a = dots.a.row<const T>(r);
    const T* b = dots.b.row<const T>(of_b);
    VP sum = hn::Zero(d);
    int64_t i = 0;
    for (; i + kPart <= dots.a.cols; i += kPart) sum = hn::MulAdd(load_part(a + i), load_part(b + i), sum);
    float total = hn::GetLane(hn::SumOfLanes(d, sum));
    for (; i < dots.a.cols; ++i) total += to_f32(a[i]) * to_f32(b[i]);
    out[dots.out_index[r]] = dots.scale * total;
  }
}

void dots_range(const RowDots& dots, Range rows, float* out) {
  if (dots.a.dtype == DType::f32) return dots_typed<float>(dots, rows, out);
  dots_typed<bf16>(dots, rows, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {

HWY_EXPORT(widen_range);
HWY_EXPORT(narrow_range);
HWY_EXPORT(gather_range);
HWY_EXPORT(combine_range);
HWY_EXPORT(scatter_range);
HWY_EXPORT(dots_range);
HWY_EXPORT(add_range);

const float* widen_rows(const MatView& m, Range columns, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(widen_range)(m, columns, scale, out);
  return out;
}

void narrow_rows(const float* in, const MatView& out, Range columns, bool add) {
  HWY_DYNAMIC_DISPATCH(narrow_range)(in, out, columns, add);
}

void gather_rows(ThreadTeam& team, const RowSource& source, const MatView& out) {
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(gather_range)(source, out, Range{begin, end});
  });
}

void combine_rows(ThreadTeam& team, const CombineRows& c, const MatView& out) {
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(combine_range)(c, out, Range{begin, end});
  });
}

void scatter_rows(ThreadTeam& team, const ScatterRows& s, const MatView& sum, const MatView& out) {
  constexpr int64_t kLine = 32;  // columns of a cache line of bf16: two threads never write the same line
  team.parallel_for((out.cols + kLine - 1) / kLine, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(scatter_range)(s, sum, out, Range{begin * kLine, std::min(end * kLine, out.cols)});
  });
}

void add_rows(ThreadTeam& team, const MatView& in, const MatView& out) {
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(add_range)(in, out, Range{begin, end});
  });
}

void zero_rows(ThreadTeam& team, const MatView& out) {
  const size_t element = dtype_bytes(out.dtype);
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::memset(static_cast<char*>(out.data) + static_cast<size_t>(r * out.stride) * element, 0,
                  static_cast<size_t>(out.cols) * element);
    }
  });
}

void row_dots(ThreadTeam& team, const RowDots& dots, int64_t num_rows, float* out) {
  team.parallel_for(num_rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(dots_range)(dots, Range{begin, end}, out);
  });
}

void combine_and_dots(ThreadTeam& team, const CombineRows& c, const MatView& out, const RowDots& dots,
                      int64_t num_rows, float* dots_out) {
  // One call of the team does both, because each call costs a hand-over. The two parts do not depend on each
  // other.
  team.run([&](int i) {
    HWY_DYNAMIC_DISPATCH(combine_range)(c, out, share(out.rows, i, team.size()));
    HWY_DYNAMIC_DISPATCH(dots_range)(dots, share(num_rows, i, team.size()), dots_out);
  });
}

}  // namespace moehill
#endif
