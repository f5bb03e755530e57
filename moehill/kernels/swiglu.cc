// SwiGLU stages on the best SIMD target.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/swiglu.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// After foreach_target:
#include "moehill/kernels/swiglu-inl.h"
#include "moehill/kernels/swiglu.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE VP load_some(const T* p, int64_t count) {
  if (count >= kPart) return load_part(p);
  T padded[kPart] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load_part(padded);
}

template <typename T>
HWY_INLINE void store_some(VP v, T* p, int64_t count) {
  if (count >= kPart) return store_part(v, p);
  T padded[kPart];
  store_part(v, padded);
  for (int64_t i = 0; i < count; ++i) p[i] = padded[i];
}

HWY_INLINE int64_t block_offset(int64_t m, int64_t block_stride) {
  return m / kGateUpWidth * block_stride + m % kGateUpWidth;
}

template <typename T>
void forward_rows(const GateUpView& in, const float* row_scale, const MatView& h, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T* gate = in.gate.row<const T>(r);
    const T* up = in.up.row<const T>(r);
    T* out = h.row<T>(r);
    const VP factor = hn::Set(DP(), row_scale == nullptr ? 1.0f : row_scale[r]);
    for (int64_t m = 0; m < in.mlp_dim; m += kPart) {
      const int64_t at = block_offset(m, in.block_stride), count = in.mlp_dim - m;
      const VP g = load_some(gate + at, count), u = load_some(up + at, count);
      store_some(hn::Mul(factor, swiglu(g, u)), out + m, count);
    }
  }
}

template <typename T>
float backward_row(T* HWY_RESTRICT gate, T* HWY_RESTRICT up, T* HWY_RESTRICT dh, int64_t mlp_dim,
                   int64_t block_stride, float p) {
  const DP d;
  const VP factor = hn::Set(d, p), one = hn::Set(d, 1.0f);
  VP dot = hn::Zero(d);
  for (int64_t m = 0; m < mlp_dim; m += kPart) {
    const int64_t at = block_offset(m, block_stride), count = mlp_dim - m;
    const VP g = load_some(gate + at, count), u = load_some(up + at, count),
             upstream = load_some(dh + m, count);
    const VP s = sigmoid(g);
    const VP silu = hn::Mul(g, s);
    const VP h = hn::Mul(silu, u);
    dot = hn::MulAdd(upstream, h, dot);
    const VP weighted = hn::Mul(factor, upstream);
    const VP slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    store_some(hn::Mul(weighted, hn::Mul(u, slope)), gate + at, count);
    store_some(hn::Mul(weighted, silu), up + at, count);
    store_some(hn::Mul(factor, h), dh + m, count);
  }
  return hn::GetLane(hn::SumOfLanes(d, dot));
}

template <typename T>
void backward_rows(const GateUpView& view, const MatView& dh, const float* p, float* dp,
                   const int32_t* dp_index, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float dot = backward_row(view.gate.row<T>(r), view.up.row<T>(r), dh.row<T>(r), view.mlp_dim,
                                   view.block_stride, p == nullptr ? 1.0f : p[r]);
    if (dp != nullptr && dp_index[r] >= 0) dp[dp_index[r]] = dot;
  }
}

void forward_range(const GateUpView& in, const float* row_scale, const MatView& h, Range rows) {
  if (h.dtype == DType::f32) return forward_rows<float>(in, row_scale, h, rows);
  forward_rows<bf16>(in, row_scale, h, rows);
}

void backward_range(const GateUpView& view, const MatView& dh, const float* p, float* dp,
                    const int32_t* dp_index, Range rows) {
  if (dh.dtype == DType::f32) return backward_rows<float>(view, dh, p, dp, dp_index, rows);
  backward_rows<bf16>(view, dh, p, dp, dp_index, rows);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {

HWY_EXPORT(forward_range);
HWY_EXPORT(backward_range);

GateUpView separate_gate_up(const MatView& gate, const MatView& up) {
  return {gate, up, gate.cols, kGateUpWidth};
}

GateUpView interleaved_gate_up(const MatView& gate_up, int64_t mlp_dim) {
  MatView up = gate_up;
  up.data = static_cast<char*>(up.data) + kGateUpWidth * static_cast<int64_t>(dtype_bytes(up.dtype));
  return {gate_up, up, mlp_dim, 2 * kGateUpWidth};
}

GateUpView slice_rows(const GateUpView& view, int64_t begin, int64_t end) {
  return {view.gate.slice_rows(begin, end), view.up.slice_rows(begin, end), view.mlp_dim, view.block_stride};
}

void swiglu_forward(ThreadTeam& team, const GateUpView& in, const float* row_scale, const MatView& h) {
  team.parallel_for(h.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_range)(in, row_scale, h, Range{begin, end});
  });
}

void swiglu_backward(ThreadTeam& team, const GateUpView& in_out, const MatView& dh, const float* p, float* dp,
                     const int32_t* dp_index) {
  team.parallel_for(dh.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_range)(in_out, dh, p, dp, dp_index, Range{begin, end});
  });
}

}  // namespace moehill
#endif
