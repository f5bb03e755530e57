// This file has activations as stages of their own, on the best SIMD target, for backends that do not fuse
// them into a product and for the backward pass. Each thread takes a share of the rows; columns go by
// vectors.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/activation.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include "moehill/kernels/activation-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Loads `count` values, at least one, as a vector; lanes past them are zero.
template <typename T>
HWY_INLINE VP load_some(const T* p, int64_t count) {
  if (count >= kPart) return load_part(p);
  T padded[kPart] = {};
  for (int64_t i = 0; i < count; ++i) padded[i] = p[i];
  return load_part(padded);
}

// Stores the first `count` lanes.
template <typename T>
HWY_INLINE void store_some(VP v, T* p, int64_t count) {
  if (count >= kPart) return store_part(v, p);
  T padded[kPart];
  store_part(v, padded);
  for (int64_t i = 0; i < count; ++i) p[i] = padded[i];
}

// Returns the offset of column m when columns stand in blocks of 8 that are block_stride apart.
HWY_INLINE int64_t block_offset(int64_t m, int64_t block_stride) {
  return m / kGateUpWidth * block_stride + m % kGateUpWidth;
}

template <typename T, class F>
void forward_rows(const F& f, const GateUpView& in, const float* row_scale, const MatView& h, Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T* gate = in.gate.row<const T>(r);
    const T* up = F::kGated ? in.up.row<const T>(r) : nullptr;
    T* out = h.row<T>(r);
    const VP factor = hn::Set(DP(), row_scale == nullptr ? 1.0f : row_scale[r]);
    for (int64_t m = 0; m < in.mlp_dim; m += kPart) {
      const int64_t at = block_offset(m, in.block_stride), count = in.mlp_dim - m;
      const VP g = load_some(gate + at, count), u = F::kGated ? load_some(up + at, count) : g;
      store_some(hn::Mul(factor, f(g, u)), out + m, count);
    }
  }
}

// Makes the backward pass of one row, whose gate value is p. It overwrites gate, up and dh as
// activation_backward() says, and returns <dh, h>, the gradient of p.
template <typename T, class F>
float backward_row(const F& f, const GateUpView& view, const MatView& grad, int64_t r, float p) {
  T* HWY_RESTRICT gate = view.gate.row<T>(r);
  T* HWY_RESTRICT up = F::kGated ? view.up.row<T>(r) : nullptr;
  T* HWY_RESTRICT dh = grad.row<T>(r);
  const VP factor = hn::Set(DP(), p);
  VP dot = hn::Zero(DP());
  for (int64_t m = 0; m < view.mlp_dim; m += kPart) {
    const int64_t at = block_offset(m, view.block_stride), count = view.mlp_dim - m;
    const VP g = load_some(gate + at, count), u = F::kGated ? load_some(up + at, count) : g;
    const VP upstream = load_some(dh + m, count);
    // All three results need g, u and dh as they were, so they are read before anything is stored.
    const Slopes slopes = f.slopes(g, u);
    dot = hn::MulAdd(upstream, slopes.h, dot);
    const VP weighted = hn::Mul(factor, upstream);
    store_some(hn::Mul(weighted, slopes.by_gate), gate + at, count);
    if (F::kGated) store_some(hn::Mul(weighted, slopes.by_up), up + at, count);
    store_some(hn::Mul(factor, slopes.h), dh + m, count);
  }
  return hn::GetLane(hn::SumOfLanes(DP(), dot));
}

template <typename T, class F>
void backward_rows(const F& f, const GateUpView& view, const MatView& dh, const GateValues& values,
                   Range rows) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const float dot = backward_row<T>(f, view, dh, r, values.p == nullptr ? 1.0f : values.p[r]);
    if (values.dp != nullptr && values.dp_index[r] >= 0) values.dp[values.dp_index[r]] = dot;
  }
}

void forward_range(const Activation& activation, const GateUpView& in, const float* row_scale,
                   const MatView& h, Range rows) {
  with_activation(activation, [&](const auto& f) {
    h.dtype == DType::f32 ? forward_rows<float>(f, in, row_scale, h, rows)
                          : forward_rows<bf16>(f, in, row_scale, h, rows);
  });
}

void backward_range(const Activation& activation, const GateUpView& view, const MatView& dh,
                    const GateValues& values, Range rows) {
  with_activation(activation, [&](const auto& f) {
    dh.dtype == DType::f32 ? backward_rows<float>(f, view, dh, values, rows)
                           : backward_rows<bf16>(f, view, dh, values, rows);
  });
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
  GateUpView part = view;
  part.gate = view.gate.slice_rows(begin, end);
  if (view.up.data != nullptr) part.up = view.up.slice_rows(begin, end);
  return part;
}

void activation_forward(ThreadTeam& team, const Activation& activation, const GateUpView& in,
                        const float* row_scale, const MatView& h) {
  team.parallel_for(h.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(forward_range)(activation, in, row_scale, h, Range{begin, end});
  });
}

void activation_backward(ThreadTeam& team, const Activation& activation, const GateUpView& in_out,
                         const MatView& dh, const GateValues& values) {
  team.parallel_for(dh.rows, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(backward_range)(activation, in_out, dh, values, Range{begin, end});
  });
}

}  // namespace moehill
#endif
