// This file has the epilogues of a product over columns. An epilogue takes a finished tile of sums: it stores
// them, adds them to the result, or adds biases and applies the activation. Include the file inside
// HWY_NAMESPACE, once for each target. gmm_product.h has the interface (Epilogue).
//
//   const Epilogue epilogue = forward_epilogue(out, a.scale);   // once for a call
//   epilogue({sums, group, row, num_rows, panel});              // for each finished tile

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

// Stores a tile of a product without biases and activation. With kAdd it adds the tile to the result.
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
      // The last panel may have fewer than 16 columns that exist.
    } else {
      for (int64_t j = 0; j < columns; ++j)
        out[j] = from_f32<T>(kAdd ? scale * in[j] + to_f32(out[j]) : scale * in[j]);
    }
  }
}

// Stores `count` values of one row of a tile; `width` is the number of values that a whole tile's row has.
template <typename T>
HWY_INLINE void store_columns(const float* in, int64_t count, int64_t width, T* out) {
  if (count == width) {
    for (int64_t j = 0; j < width; j += kPart) store_part(hn::LoadU(DP(), in + j), out + j);
  } else {
    for (int64_t j = 0; j < count; ++j) out[j] = from_f32<T>(in[j]);
  }
}

// PlainSums are the sums of a tile if rows have no factors and groups have no biases: only the product's
// scale applies.
struct PlainSums {
  HWY_INLINE PlainSums(const Epilogue& epilogue, const FinishedTile&, int64_t) : epilogue_(epilogue) {}
  HWY_INLINE VP at(const float* in, int64_t, int j) const { return scaled(epilogue_, in + j); }
  const Epilogue& epilogue_;
};

// TileSums are the sums of a tile with the factors of rows (product_scale) and the biases of groups.
class TileSums {
 public:
  TileSums(const Epilogue& epilogue, const FinishedTile& tile, int64_t gate_columns) : epilogue_(epilogue) {
    const ForwardOutput& out = epilogue.out;
    if (out.bias.data == nullptr) return;
    const int64_t column = tile.panel * gate_columns;
    left_ = vector_of(out.bias, tile.group) + column;
    right_ = gate_columns == kPanelWidth ? left_ + kGateUpWidth : vector_of(out.up_bias, tile.group) + column;
  }
  // Returns values [j, j + kPart) of the row at `in`. The bias is multiplied by `bias_factor`.
  HWY_INLINE VP at(const float* in, int64_t row, int j, float bias_factor = 1) const {
    const float* by_row = epilogue_.out.product_scale;
    const VP factor = hn::Set(DP(), by_row == nullptr ? epilogue_.scale : epilogue_.scale * by_row[row]);
    const float* bias = j < kGateUpWidth ? left_ + j : right_ + (j - kGateUpWidth);
    return hn::MulAdd(factor, hn::LoadU(DP(), in + j),
                      hn::Mul(hn::Set(DP(), bias_factor), hn::LoadU(DP(), bias)));
  }

 private:
  const Epilogue& epilogue_;
  alignas(64) float none_[kPanelWidth] = {};
  const float *left_ = none_, *right_ = none_ + kGateUpWidth;
};

// Stores a tile whose rows have factors or whose groups have biases, without an activation.
template <typename T>
void store_tile_with_vectors(const Epilogue& epilogue, const FinishedTile& tile) {
  const ForwardOutput& out = epilogue.out;
  const TileSums sums(epilogue, tile, kPanelWidth);
  const int64_t column = tile.panel * kPanelWidth;
  alignas(64) float result[kPanelWidth];
  for (int i = 0; i < tile.num_rows; ++i) {
    const int64_t row = tile.row + i;
    const float bias_factor = out.row_scale == nullptr ? 1.0f : out.row_scale[row];
    for (int j = 0; j < kPanelWidth; j += kPart)
      hn::StoreU(sums.at(tile.sums + i * kPanelWidth, row, j, bias_factor), DP(), result + j);
    store_columns(result, std::min(kPanelWidth, out.c.cols - column), kPanelWidth,
                  out.c.row<T>(row) + column);
  }
}

// Applies the activation to a tile. A gated one makes 8 results of the 16 columns of a gate-up panel; one
// without a gate makes 16. It stores the products themselves too if the caller wants them (out.c), because
// the backward pass needs them.
template <typename T, class F, bool kPlain>
void activate_tile(const Epilogue& epilogue, const FinishedTile& tile) {
  constexpr int64_t kWidth = F::kGated ? kGateUpWidth : kPanelWidth;
  const ForwardOutput& out = epilogue.out;
  const F f(*out.activation);
  const std::conditional_t<kPlain, PlainSums, TileSums> sums(epilogue, tile, kWidth);
  const int64_t m = tile.panel * kWidth;
  const int64_t columns = std::min(kWidth, out.h.cols - m);
  alignas(64) float result[kPanelWidth];
  for (int i = 0; i < tile.num_rows; ++i) {
    const int64_t row = tile.row + i;
    const float* in = tile.sums + i * kPanelWidth;
    const VP factor = hn::Set(DP(), out.row_scale == nullptr ? 1.0f : out.row_scale[row]);
    for (int j = 0; j < kWidth; j += kPart) {
      const VP gate = sums.at(in, row, j);
      const VP up = F::kGated ? sums.at(in, row, j + static_cast<int>(kGateUpWidth)) : gate;
      hn::StoreU(hn::Mul(factor, f(gate, up)), DP(), result + j);
    }
    store_columns(result, columns, kWidth, out.h.row<T>(row) + m);
    if (out.c.data == nullptr) continue;
    for (int j = 0; j < kPanelWidth; j += kPart) hn::StoreU(sums.at(in, row, j), DP(), result + j);
    store_columns(result, F::kGated ? kPanelWidth : columns, kPanelWidth,
                  out.c.row<T>(row) + tile.panel * kPanelWidth);
  }
}

template <typename T, class F>
auto activating(const ForwardOutput& out) {
  return out.is_plain() ? activate_tile<T, F, true> : activate_tile<T, F, false>;
}

template <typename T>
auto storing(const ForwardOutput& out) {
  return out.is_plain() ? store_tile<T, false> : store_tile_with_vectors<T>;
}

// Chooses the function that finishes tiles, once for a call. Results may be f32 although the operands are
// bf16, for partial sums to which other products add.
Epilogue forward_epilogue(const ForwardOutput& out, float scale) {
  if (!out.activation)
    return {out.c.dtype == DType::f32 ? storing<float>(out) : storing<bf16>(out), out, scale};
  return with_activation(*out.activation, [&](const auto& f) {
    using F = std::decay_t<decltype(f)>;
    return Epilogue{out.h.dtype == DType::f32 ? activating<float, F>(out) : activating<bf16, F>(out), out,
                    scale};
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
