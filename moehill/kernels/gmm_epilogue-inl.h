// What becomes of the finished tiles of a product over columns. Include inside HWY_NAMESPACE, once a target.

#if defined(MOEHILL_GMM_EPILOGUE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_EPILOGUE_INL_H
#undef MOEHILL_GMM_EPILOGUE_INL_H
#else
#define MOEHILL_GMM_EPILOGUE_INL_H
#endif

#include <algorithm>

#include "moehill/kernels/activation-inl.h"
#include "moehill/kernels/gmm_product.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

HWY_INLINE VP scaled(const Epilogue& epilogue, const float* sums) {
  return hn::Mul(hn::Set(DP(), epilogue.scale), hn::LoadU(DP(), sums));
}

template <typename T, bool kAdd>
void store_tile(const Epilogue& epilogue, const FinishedTile& tile) {
  const MatView& c = epilogue.out.c;
  const float scale = epilogue.scale;
  const int64_t column = tile.panel * kPanelWidth;
  const int64_t columns = std::min(kPanelWidth, c.cols - column);
  for (int i = 0; i < tile.num_rows; ++i) {
    T* out = c.row<T>(tile.row + i) + column;
    const float* in = tile.sums + i * kPanelWidth;
    if (columns == kPanelWidth) {
      for (int j = 0; j < kPanelWidth; j += kPart) {
        VP v = scaled(epilogue, in + j);
        if (kAdd) v = hn::Add(v, load_part(out + j));
        store_part(v, out + j);
      }
    } else {
      for (int64_t j = 0; j < columns; ++j)
        out[j] = from_f32<T>(kAdd ? scale * in[j] + to_f32(out[j]) : scale * in[j]);
    }
  }
}

// Tiles of a gate-up product: 8 results of the activation a row, and the products themselves where someone
// keeps them.
template <typename T, class F>
void activate_tile(const Epilogue& epilogue, const FinishedTile& tile) {
  const ForwardOutput& out = epilogue.out;
  const F f;
  const int64_t m = tile.panel * kGateUpWidth;
  const int64_t columns = std::min(kGateUpWidth, out.h.cols - m);
  alignas(64) float result[kGateUpWidth];
  for (int i = 0; i < tile.num_rows; ++i) {
    const int64_t row = tile.row + i;
    const float* in = tile.sums + i * kPanelWidth;
    const VP factor = hn::Set(DP(), out.row_scale == nullptr ? 1.0f : out.row_scale[row]);
    for (int j = 0; j < kGateUpWidth; j += kPart) {
      const VP gate = scaled(epilogue, in + j), up = scaled(epilogue, in + j + kGateUpWidth);
      hn::StoreU(hn::Mul(factor, f(gate, up)), DP(), result + j);
    }
    T* h = out.h.row<T>(row) + m;
    if (columns == kGateUpWidth) {
      for (int j = 0; j < kGateUpWidth; j += kPart) store_part(hn::LoadU(DP(), result + j), h + j);
    } else {
      for (int64_t j = 0; j < columns; ++j) h[j] = from_f32<T>(result[j]);
    }
    if (out.c.data != nullptr) {
      T* c = out.c.row<T>(row) + tile.panel * kPanelWidth;
      for (int j = 0; j < kPanelWidth; j += kPart) store_part(scaled(epilogue, in + j), c + j);
    }
  }
}

// Results may be f32 where the operands are bf16: partial sums that others add to.
Epilogue forward_epilogue(const ForwardOutput& out, float scale) {
  if (!out.activation)
    return {out.c.dtype == DType::f32 ? store_tile<float, false> : store_tile<bf16, false>, out, scale};
  return with_activation(*out.activation, [&](const auto& f) {
    using F = std::decay_t<decltype(f)>;
    return Epilogue{out.h.dtype == DType::f32 ? activate_tile<float, F> : activate_tile<bf16, F>, out, scale};
  });
}

Epilogue input_grad_epilogue(const InputGradOutput& out, float scale) {
  const auto finish = out.da.dtype == DType::f32
                          ? out.accumulate ? store_tile<float, true> : store_tile<float, false>
                      : out.accumulate ? store_tile<bf16, true>
                                       : store_tile<bf16, false>;
  return {finish, {out.da}, scale};
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
