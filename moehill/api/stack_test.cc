// Tests of the public interface's grouped products against plain loops in double precision: three directions,
// rows by index, empty groups, and more rows than in the call before.
#include <gtest/gtest.h>

#include "examples/plain_moe.h"
#include "moehill/moehill.hpp"

namespace moehill_test {
namespace {

using namespace moehill;

struct Problem {
  int groups;
  int64_t k, n;
  std::vector<int64_t> offsets;
  int64_t rows() const { return offsets.back(); }
  int group_of(int64_t row) const {
    int g = 0;
    while (offsets[static_cast<size_t>(g) + 1] <= row) ++g;
    return g;
  }
};

size_t at(int64_t row, int64_t columns, int64_t column) {
  return static_cast<size_t>(row * columns + column);
}

// Returns row index[i] of `source` [num_rows, columns], or zeros for -1.
double element(const plain::Tensor& source, const std::vector<int32_t>& index, int64_t i, int64_t columns,
               int64_t c) {
  const int32_t row = index[static_cast<size_t>(i)];
  return row < 0 ? 0 : source.at(at(row, columns, c));
}

void expect_products(const Context& context, const Problem& p, bool bf16) {
  const DType dtype = bf16 ? DType::bf16 : DType::f32;
  const double tolerance = bf16 ? 1e-2 : 1e-5;
  std::mt19937 random(3);
  const int64_t num_source = 9;
  plain::Tensor w(static_cast<size_t>(p.groups * p.k * p.n), bf16),
      a(static_cast<size_t>(num_source * p.k), bf16), dc(static_cast<size_t>(num_source * p.n), bf16),
      c(static_cast<size_t>(p.rows() * p.n), bf16), da(static_cast<size_t>(p.rows() * p.k), bf16),
      dw(w.size(), false);
  for (plain::Tensor* t : {&w, &a, &dc}) plain::fill(*t, random, 1);
  std::vector<int32_t> index;
  for (int64_t i = 0; i < p.rows(); ++i) index.push_back(static_cast<int32_t>(random() % 10) - 1);
  Stack stack(context, p.groups, p.k, p.n, dtype), gradient(context, p.groups, p.k, p.n, dtype);
  stack.load(0, p.groups, w.data(), dtype, Order::in_out);
  const Stack::Rows rows_a{a.data(), num_source, index.data()}, rows_dc{dc.data(), num_source, index.data()};
  stack.forward(p.offsets.data(), rows_a, c.data());
  stack.input_grad(p.offsets.data(), rows_dc, da.data());
  gradient.take_weight_grad(p.offsets.data(), rows_a, rows_dc);
  gradient.store(0, p.groups, dw.data(), DType::f32, Order::in_out);

  plain::Values expected_c(c.size()), expected_da(da.size()), expected_dw(dw.size());
  for (int64_t i = 0; i < p.rows(); ++i) {
    const int64_t g = p.group_of(i);
    for (int64_t k = 0; k < p.k; ++k) {
      for (int64_t n = 0; n < p.n; ++n) {
        const size_t weight = static_cast<size_t>((g * p.k + k) * p.n + n);
        expected_c[at(i, p.n, n)] += element(a, index, i, p.k, k) * w.at(weight);
        expected_da[at(i, p.k, k)] += element(dc, index, i, p.n, n) * w.at(weight);
        expected_dw[weight] += element(a, index, i, p.k, k) * element(dc, index, i, p.n, n);
      }
    }
  }
  EXPECT_LE(plain::difference(c.values(), expected_c), tolerance);
  EXPECT_LE(plain::difference(da.values(), expected_da), tolerance);
  EXPECT_LE(plain::difference(dw.values(), expected_dw), tolerance);
}

TEST(Stack, GivesThePlainProducts) {
  const Context context({.threads_per_device = 2});
  for (const bool bf16 : {false, true}) {
    expect_products(context, {3, 17, 21, {0, 4, 4, 15}}, bf16);
    expect_products(context, {1, 1, 1, {0, 1}}, bf16);
    expect_products(context, {2, 33, 8, {0, 0, 0}}, bf16);
    expect_products(context, {2, 16, 32, {0, 100, 163}}, bf16);
  }
}

TEST(Stack, TakesMoreRowsThanBefore) {
  const Context context({.threads_per_device = 1});
  Stack stack(context, 1, 2, 2, DType::f32);
  const float w[] = {1, 2, 3, 4};  // out-in: [N, K]
  stack.load(0, 1, w, DType::f32, Order::out_in);
  for (const int64_t rows : {1, 1000, 3}) {
    std::vector<float> a(static_cast<size_t>(2 * rows), 1.0f), c(a.size());
    const int64_t offsets[] = {0, rows};
    stack.forward(offsets, {a.data(), rows, nullptr}, c.data());
    for (size_t i = 0; i < c.size(); i += 2) {
      EXPECT_EQ(c[i], 3);
      EXPECT_EQ(c[i + 1], 7);
    }
  }
}

TEST(Stack, SaysWhatDoesNotFit) {
  const Context context({.threads_per_device = 1});
  EXPECT_THROW(Stack(context, 0, 2, 2, DType::f32), Error);
  EXPECT_THROW(Stack(context, 1, -1, 2, DType::f32), Error);
  Stack stack(context, 2, 2, 2, DType::f32);
  std::vector<float> a(8), c(8);
  const auto forward = [&](std::vector<int64_t> offsets, Stack::Rows rows) {
    return [&stack, &c, offsets, rows] { stack.forward(offsets.data(), rows, c.data()); };
  };
  EXPECT_THROW(forward({0, 3, 2}, {a.data(), 4, nullptr})(), Error);
  EXPECT_THROW(forward({1, 3, 4}, {a.data(), 4, nullptr})(), Error);
  EXPECT_THROW(forward({0, 3, 5}, {a.data(), 4, nullptr})(), Error);
  EXPECT_THROW(forward({0, 1, 2}, {nullptr, 4, nullptr})(), Error);
  const std::vector<int32_t> bad = {0, 4};
  EXPECT_THROW(forward({0, 1, 2}, {a.data(), 4, bad.data()})(), Error);
  EXPECT_THROW(forward({0, 1, 2}, {a.data(), -4, nullptr})(), Error);
  EXPECT_THROW(forward({0, 1, 2}, {c.data(), 4, nullptr})(), Error);  // read and written
  EXPECT_THROW(stack.load(1, 2, a.data(), DType::f32, Order::in_out), Error);
  EXPECT_THROW(stack.load(0, 2, a.data(), DType::f32, static_cast<Order>(7)), Error);
  forward({0, 2, 4}, {a.data(), 4, nullptr})();
}

}  // namespace
}  // namespace moehill_test
