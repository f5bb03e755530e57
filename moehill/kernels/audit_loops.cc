// This file has the loops of the check (audit_loops.h) on the best SIMD target. F is float for speed or
// double for a reference; the loops of double are plain where vectors would not pay.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/audit_loops.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <hwy/highway.h>

#include <algorithm>

#include "moehill/kernels/audit_loops.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Adds kRows rows of the product. It takes the rows of `b` two at a time, which halves the loads and stores
// of c.
template <typename F, int kRows>
void add_product_rows(const F* a, const F* b, F* c, int64_t n, int64_t k) {
  for (int64_t j = 0; j < k; j += 2) {
    const bool pair = j + 1 < k;
    const F *HWY_RESTRICT b0 = b + j * n, *HWY_RESTRICT b1 = pair ? b0 + n : b0;
    F f0[kRows], f1[kRows];
    for (int r = 0; r < kRows; ++r) {
      f0[r] = a[r * k + j];
      f1[r] = pair ? a[r * k + j + 1] : F{0};
    }
    F* HWY_RESTRICT row = c;
    for (int64_t i = 0; i < n; ++i) {
      for (int r = 0; r < kRows; ++r) row[r * n + i] += f0[r] * b0[i] + f1[r] * b1[i];
    }
  }
}

template <typename F>
void add_product(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k) {
  int64_t r = 0;
  for (; r + 4 <= m; r += 4) add_product_rows<F, 4>(a + r * k, b, c + r * n, n, k);
  for (; r < m; ++r) add_product_rows<F, 1>(a + r * k, b, c + r * n, n, k);
}

// Makes kRows inner products with the same row of b, which is loaded once for all of them.
template <typename F, int kRows>
void dots_with(const F* a, const F* HWY_RESTRICT b, F* c, int64_t n, int64_t k) {
  const hn::ScalableTag<F> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sum[kRows];
  for (int r = 0; r < kRows; ++r) sum[r] = hn::Zero(d);
  int64_t j = 0;
  for (; j + lanes <= k; j += lanes) {
    const auto v = hn::LoadU(d, b + j);
    for (int r = 0; r < kRows; ++r) sum[r] = hn::MulAdd(hn::LoadU(d, a + r * k + j), v, sum[r]);
  }
  for (int r = 0; r < kRows; ++r) {
    F total = hn::GetLane(hn::SumOfLanes(d, sum[r]));
    for (int64_t rest = j; rest < k; ++rest) total += a[r * k + rest] * b[rest];
    c[r * n] = total;
  }
}

template <typename F>
void product_bt(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k) {
  for (int64_t i = 0; i < n; ++i, b += k, ++c) {
    int64_t r = 0;
    for (; r + 4 <= m; r += 4) dots_with<F, 4>(a + r * k, b, c + r * n, n, k);
    for (; r < m; ++r) dots_with<F, 1>(a + r * k, b, c + r * n, n, k);
  }
}

template <typename F>
F norm_squared(const F* row, int64_t n) {
  F sum = 0;
  dots_with<F, 1>(row, row, &sum, 1, n);
  return sum;
}

// Loads values of F as doubles.
HWY_INLINE auto load_double(const float* p) {
  const hn::ScalableTag<double> d;
  return hn::PromoteTo(d, hn::LoadU(hn::Rebind<float, decltype(d)>(), p));
}
HWY_INLINE auto load_double(const double* p) { return hn::LoadU(hn::ScalableTag<double>(), p); }

template <typename F>
double dot(const double* weight, const F* row, int64_t n) {
  const hn::ScalableTag<double> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  // Two sums take turns, so that an addition need not wait for the one before it.
  auto sum = hn::Zero(d), other = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    sum = hn::MulAdd(hn::LoadU(d, weight + i), load_double(row + i), sum);
    other = hn::MulAdd(hn::LoadU(d, weight + i + lanes), load_double(row + i + lanes), other);
  }
  double total = hn::GetLane(hn::SumOfLanes(d, hn::Add(sum, other)));
  for (; i < n; ++i) total += weight[i] * static_cast<double>(row[i]);
  return total;
}

template <typename F>
void add_scaled(double factor, const F* HWY_RESTRICT row, double* HWY_RESTRICT sum, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += factor * static_cast<double>(row[i]);
}

// Sums block by block over [n]; a block is `block` columns.
template <typename F>
void project(const F* row, const float* weight, int64_t n, int64_t block, F* sum, F* squares) {
  const hn::ScalableTag<F> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; ++sum, ++squares) {
    const int64_t end = std::min(n, i + block);
    auto s = hn::Zero(d), q = hn::Zero(d);
    if constexpr (sizeof(F) == sizeof(float)) {
      for (; i + lanes <= end; i += lanes) {
        const auto term = hn::Mul(hn::LoadU(d, weight + i), hn::LoadU(d, row + i));
        s = hn::Add(s, term);
        q = hn::MulAdd(term, term, q);
      }
    }
    *sum = hn::GetLane(hn::SumOfLanes(d, s));
    *squares = hn::GetLane(hn::SumOfLanes(d, q));
    for (; i < end; ++i) {
      const F term = static_cast<F>(weight[i]) * row[i];
      *sum += term;
      *squares += term * term;
    }
  }
}

template <typename F>
void project_variance(const F* row, const float* weight, int64_t n, int64_t block, F* sum) {
  const hn::ScalableTag<F> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < n; ++sum) {
    const int64_t end = std::min(n, i + block);
    auto s = hn::Zero(d);
    if constexpr (sizeof(F) == sizeof(float)) {
      for (; i + lanes <= end; i += lanes) {
        const auto w = hn::LoadU(d, weight + i);
        s = hn::MulAdd(hn::Mul(w, w), hn::LoadU(d, row + i), s);
      }
    }
    *sum = hn::GetLane(hn::SumOfLanes(d, s));
    for (; i < end; ++i) *sum += static_cast<F>(weight[i]) * static_cast<F>(weight[i]) * row[i];
  }
}

template <typename F>
void add_projected_row(const F* HWY_RESTRICT row, F weight, int64_t n, F* HWY_RESTRICT norms,
                       F* HWY_RESTRICT sum, F* HWY_RESTRICT squares) {
  for (int64_t i = 0; i < n; ++i) {
    const F term = weight * row[i];
    norms[i] += row[i] * row[i];
    sum[i] += term;
    squares[i] += term * term;
  }
}

void widen(const bf16* HWY_RESTRICT row, float* HWY_RESTRICT out, int64_t n) {
  for (int64_t i = 0; i < n; ++i) out[i] = to_f32(row[i]);
}

// A pair word holds the values of rows 2 i and 2 i + 1 of one column: the lower half is the even row.
void unpack_pairs(const bf16* HWY_RESTRICT left, const bf16* HWY_RESTRICT right, int64_t num_pairs,
                  float* HWY_RESTRICT out, int64_t stride) {
  constexpr int64_t kColumns = 8;
  const hn::CappedTag<uint32_t, kColumns> d;
  const hn::RebindToFloat<decltype(d)> to_float;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t pair = 0; pair < num_pairs; ++pair, out += 2 * stride) {
    for (const bf16* half : {left, right}) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(half + pair * 4 * kColumns);
      float* to = half == left ? out : out + kColumns;
      for (int64_t c = 0; c < kColumns; c += lanes) {
        const auto both = hn::LoadU(d, from + c);
        hn::StoreU(hn::BitCast(to_float, hn::ShiftLeft<16>(both)), to_float, to + c);
        hn::StoreU(hn::BitCast(to_float, hn::And(both, hn::Set(d, 0xffff0000u))), to_float, to + stride + c);
      }
    }
  }
}

template <typename F>
AuditLoops<F> loops() {
  return {add_product<F>, product_bt<F>, norm_squared<F>,     dot<F>,
          add_scaled<F>,  project<F>,    project_variance<F>, add_projected_row<F>};
}

AuditReaders readers() { return {widen, unpack_pairs}; }
AuditLoops<float> loops_of_float() { return loops<float>(); }
AuditLoops<double> loops_of_double() { return loops<double>(); }

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {

HWY_EXPORT(readers);
HWY_EXPORT(loops_of_float);
HWY_EXPORT(loops_of_double);

const AuditReaders& audit_readers() {
  static const AuditReaders loops = HWY_DYNAMIC_DISPATCH(readers)();
  return loops;
}

template <>
const AuditLoops<float>& audit_loops<float>() {
  static const AuditLoops<float> loops = HWY_DYNAMIC_DISPATCH(loops_of_float)();
  return loops;
}

template <>
const AuditLoops<double>& audit_loops<double>() {
  static const AuditLoops<double> loops = HWY_DYNAMIC_DISPATCH(loops_of_double)();
  return loops;
}

}  // namespace moehill
#endif
