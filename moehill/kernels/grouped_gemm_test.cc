// Compares both grouped GEMMs with plain sums in double, for odd shapes, empty groups, gathered rows and both
// types.
#include "moehill/kernels/grouped_gemm.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/kernels/dot_emulation.h"

namespace moehill {
namespace {

// best: the kernels that this CPU runs; emulated: bf16 by an emulated tile, which any CPU runs.
enum class Kernels { best, widened, emulated_dot, emulated_amx, ragged_dot };
constexpr const char* kKernelNames[] = {"gmm", "gmm_widened", "gmm_emulated_dot", "gmm_emulated_amx",
                                        "ragged_dot"};

std::unique_ptr<GroupedGemm> make_kernels(Kernels kernels, const GemmLimits& limits) {
  switch (kernels) {
    case Kernels::best:
      return make_gmm(limits);
    case Kernels::widened:
      return make_gmm(limits, PairTiles{});
    case Kernels::emulated_dot:
      return make_gmm(limits, {nullptr, kEmulatedDotTile});
    case Kernels::emulated_amx:
      return make_gmm(limits, {kEmulatedAmxTile, nullptr});
    case Kernels::ragged_dot:
      break;
  }
  return make_ragged_dot(limits);
}

struct Case {
  Kernels kernels;
  DType dtype;
  int threads;
  int64_t k, n;
  std::vector<int64_t> group_rows;
};

Matrix random_matrix(int64_t rows, int64_t cols, DType dtype, uint32_t seed) {
  Matrix m(rows, cols, dtype);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      m.view().set(r, c,
                   static_cast<float>(random_normal(seed, Stream::kX, static_cast<uint64_t>(r * cols + c))));
    }
  }
  return m;
}

class GroupedGemmTest : public testing::TestWithParam<Case> {
 protected:
  GroupedGemmTest() : p_(GetParam()), team_(p_.threads) {
    offset_.push_back(0);
    for (int64_t rows : p_.group_rows) offset_.push_back(offset_.back() + rows);
    const int64_t groups = static_cast<int64_t>(p_.group_rows.size());
    const GemmLimits limits{groups, std::max<int64_t>(1, offset_.back()), std::max(p_.k, p_.n), p_.k * p_.n,
                            p_.threads};
    gemm_ = make_kernels(p_.kernels, limits);
    w_ = WeightStack(gemm_->layout(), groups, p_.k, p_.n, p_.dtype);
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t k = 0; k < p_.k; ++k) {
        for (int64_t n = 0; n < p_.n; ++n) {
          w_.view().set(g, k, n,
                        static_cast<float>(
                            random_normal(7, Stream::kW1, static_cast<uint64_t>((g * p_.k + k) * p_.n + n))));
        }
      }
    }
  }
  int64_t rows() const { return offset_.back(); }
  int64_t group_of(int64_t row) const {
    int64_t g = 0;
    while (row >= offset_[static_cast<size_t>(g) + 1]) ++g;
    return g;
  }
  // One rounding of the result, plus f32 sums of `depth` products.
  double limit(int64_t depth, double magnitude) const {
    const double storage = p_.dtype == DType::bf16 ? 0x1p-8 : 0x1p-23;
    return (storage + 0x1p-22 * std::sqrt(static_cast<double>(depth))) * magnitude + 1e-30;
  }

  Case p_;
  ThreadTeam team_;
  std::vector<int64_t> offset_;
  std::unique_ptr<GroupedGemm> gemm_;
  WeightStack w_;
};

TEST_P(GroupedGemmTest, ForwardGathersRows) {
  const int64_t sources = 5 + rows() / 2;
  const Matrix x = random_matrix(sources, p_.k, p_.dtype, 1);
  std::vector<int32_t> index(static_cast<size_t>(rows()));
  for (size_t i = 0; i < index.size(); ++i)
    index[i] = i % 11 == 10 ? -1 : static_cast<int32_t>((i * 7 + 3) % static_cast<size_t>(sources));
  Matrix packed(rows(), p_.k, p_.dtype);
  for (int64_t r = 0; r < rows(); ++r) {
    for (int64_t k = 0; k < p_.k; ++k)
      packed.view().set(
          r, k, index[static_cast<size_t>(r)] < 0 ? 0 : x.view().at(index[static_cast<size_t>(r)], k));
  }
  const RowSource a = gemm_->gathers_and_fuses() ? RowSource{x, index.data()} : RowSource{packed};
  for (DType out : {p_.dtype, DType::f32}) {
    Matrix c(rows(), p_.n, out);
    gemm_->forward(team_, offset_, a, w_, {c});
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t n = 0; n < p_.n; ++n) {
        double sum = 0, magnitude = 0;
        for (int64_t k = 0; k < p_.k; ++k) {
          const double product = double{packed.view().at(r, k)} * w_.view().at(group_of(r), k, n);
          sum += product;
          magnitude += std::abs(product);
        }
        ASSERT_NEAR(c.view().at(r, n), sum, limit(p_.k, magnitude)) << "row " << r << " column " << n;
      }
    }
  }
}

TEST_P(GroupedGemmTest, InputGradAccumulates) {
  const Matrix dc = random_matrix(rows(), p_.n, p_.dtype, 2);
  Matrix da(rows(), p_.k, p_.dtype);
  for (int pass = 1; pass <= 2; ++pass) {
    gemm_->input_grad(team_, offset_, {dc, nullptr, 0.5f}, w_, {da, pass == 2});
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t k = 0; k < p_.k; ++k) {
        double sum = 0, magnitude = 0;
        for (int64_t n = 0; n < p_.n; ++n) {
          const double product = 0.5 * dc.view().at(r, n) * w_.view().at(group_of(r), k, n);
          sum += product;
          magnitude += std::abs(product);
        }
        ASSERT_NEAR(da.view().at(r, k), pass * sum, 2 * limit(p_.n, magnitude))
            << "row " << r << " column " << k;
      }
    }
  }
}

TEST_P(GroupedGemmTest, WeightGradOfEveryGroup) {
  const Matrix a = random_matrix(rows(), p_.k, p_.dtype, 3);
  const Matrix dc = random_matrix(rows(), p_.n, p_.dtype, 4);
  WeightStack dw(gemm_->layout(), w_.view().num_groups, p_.k, p_.n, p_.dtype);
  for (int64_t i = 0; i < dw.view().num_groups * dw.view().group_elements();
       ++i) {  // stale values must not survive
    if (p_.dtype == DType::f32)
      static_cast<float*>(dw.view().data)[i] = 9;
    else
      static_cast<bf16*>(dw.view().data)[i] = to_bf16(9);
  }
  gemm_->weight_grad(team_, offset_, {a, nullptr, 2.0f}, {dc}, dw);
  for (int64_t g = 0; g < dw.view().num_groups; ++g) {
    for (int64_t k = 0; k < p_.k; ++k) {
      for (int64_t n = 0; n < p_.n; ++n) {
        double sum = 0, magnitude = 0;
        for (int64_t r = offset_[static_cast<size_t>(g)]; r < offset_[static_cast<size_t>(g) + 1]; ++r) {
          const double product = 2.0 * a.view().at(r, k) * dc.view().at(r, n);
          sum += product;
          magnitude += std::abs(product);
        }
        ASSERT_NEAR(dw.view().at(g, k, n), sum, limit(rows(), magnitude))
            << "group " << g << " (" << k << ", " << n << ")";
        dw.view().set(g, k, n, 0);
      }
    }
  }
  // Without the logical elements only padding is left, which must be zero.
  for (int64_t i = 0; i < dw.view().num_groups * dw.view().group_elements(); ++i) {
    ASSERT_EQ(p_.dtype == DType::f32 ? static_cast<const float*>(dw.view().data)[i]
                                     : to_f32(static_cast<const bf16*>(dw.view().data)[i]),
              0.0f)
        << "element " << i;
  }
}

// Rows may be parts of wider rows.
TEST_P(GroupedGemmTest, WhatLiesBesideTheRowsHasNoPartInTheResults) {
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 1), dc = random_matrix(rows(), p_.n, p_.dtype, 2);
  const Matrix wide_x(rows(), p_.k + 40, p_.dtype), wide_dc(rows(), p_.n + 40, p_.dtype);
  const auto beside_nan = [](const MatView& values, MatView wide) {
    for (int64_t r = 0; r < wide.rows; ++r) {
      for (int64_t c = 0; c < wide.cols; ++c)
        wide.set(r, c, c < values.cols ? values.at(r, c) : std::nanf(""));
    }
    wide.cols = values.cols;
    return wide;
  };
  const auto results = [&](const MatView& a, const MatView& b) {
    const Matrix c(rows(), p_.n, DType::f32), da(rows(), p_.k, DType::f32);
    const WeightStack dw(gemm_->layout(), w_.view().num_groups, p_.k, p_.n, p_.dtype);
    gemm_->forward(team_, offset_, {a}, w_, {c});
    gemm_->input_grad(team_, offset_, {b}, w_, {da});
    gemm_->weight_grad(team_, offset_, {a}, {b}, dw);
    std::vector<float> all;
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t n = 0; n < p_.n; ++n) all.push_back(c.view().at(r, n));
      for (int64_t k = 0; k < p_.k; ++k) all.push_back(da.view().at(r, k));
    }
    for (int64_t g = 0; g < dw.view().num_groups; ++g) {
      for (int64_t k = 0; k < p_.k; ++k) {
        for (int64_t n = 0; n < p_.n; ++n) all.push_back(dw.view().at(g, k, n));
      }
    }
    return all;
  };
  EXPECT_EQ(results(x, dc), results(beside_nan(x, wide_x), beside_nan(dc, wide_dc)));
}

// A product that kept packed weights of the product before would find NaN there.
TEST_P(GroupedGemmTest, ProductsMakeTheirWorkSpaceAnew) {
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 3), dc = random_matrix(rows(), p_.n, p_.dtype, 4);
  WeightStack dw(gemm_->layout(), w_.view().num_groups, p_.k, p_.n, p_.dtype);
  const auto all_bits = [&] {
    Matrix c(rows(), p_.n, p_.dtype), da(rows(), p_.k, p_.dtype);
    gemm_->forward(team_, offset_, {x}, w_, {c});
    gemm_->input_grad(team_, offset_, {dc}, w_, {da});
    gemm_->weight_grad(team_, offset_, {x}, {dc}, dw);
    std::vector<uint32_t> bits;
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t n = 0; n < p_.n; ++n) bits.push_back(std::bit_cast<uint32_t>(c.view().at(r, n)));
      for (int64_t k = 0; k < p_.k; ++k) bits.push_back(std::bit_cast<uint32_t>(da.view().at(r, k)));
    }
    for (int64_t g = 0; g < dw.view().num_groups; ++g) {
      for (int64_t k = 0; k < p_.k; ++k) {
        for (int64_t n = 0; n < p_.n; ++n) bits.push_back(std::bit_cast<uint32_t>(dw.view().at(g, k, n)));
      }
    }
    return bits;
  };
  size_t spoilt = 0;
  const MemoryVisitor spoil = [&](void* data, size_t bytes) {
    std::memset(data, 0xff, bytes);
    spoilt += bytes;
  };
  gemm_->visit_work_space(spoil);
  EXPECT_EQ(spoilt, 0u) << "nobody has placed the pages yet";
  const std::vector<uint32_t> bits = all_bits();
  gemm_->visit_work_space(spoil);
  EXPECT_GT(spoilt, 0u);
  EXPECT_EQ(all_bits(), bits);
}

// Makes vectors of groups [1, N] and factors of rows, as experts have them.
struct Extras {
  Extras(int64_t groups, int64_t n, int64_t rows, uint32_t seed)
      : stack(WeightLayout::row_major, groups, 1, vector_columns(n), DType::f32) {
    for (int64_t g = 0; g < groups; ++g) {
      for (int64_t i = 0; i < n; ++i) {
        const uint64_t at = static_cast<uint64_t>(g * n + i);
        stack.view().set(g, 0, i, static_cast<float>(random_normal(seed, Stream::kB1, at)));
      }
    }
    for (int64_t r = 0; r < rows; ++r) factor.push_back(0.5f + 0.25f * static_cast<float>(r % 5));
  }
  double bias(int64_t g, int64_t i) const { return static_cast<double>(stack.view().at(g, 0, i)); }
  double of_row(int64_t r) const { return static_cast<double>(factor[static_cast<size_t>(r)]); }

  WeightStack stack;
  std::vector<float> factor;
};

TEST_P(GroupedGemmTest, ForwardScalesRowsAndAddsVectors) {
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 4);
  const Extras products(w_.view().num_groups, p_.n, rows(), 1), vectors(1, 1, rows() + 3, 2);
  Matrix c(rows(), p_.n, p_.dtype);
  // The vectors and the products have different factors.
  const float* bias_factor = vectors.factor.data() + 3;
  gemm_->forward(
      team_, offset_, {x}, w_,
      {.c = c, .row_scale = bias_factor, .product_scale = products.factor.data(), .bias = products.stack});
  for (int64_t r = 0; r < rows(); ++r) {
    for (int64_t n = 0; n < p_.n; ++n) {
      const int64_t g = group_of(r);
      double sum = vectors.of_row(r + 3) * products.bias(g, n), magnitude = std::abs(sum);
      for (int64_t k = 0; k < p_.k; ++k) {
        const double product = products.of_row(r) * double{x.view().at(r, k)} * w_.view().at(g, k, n);
        sum += product;
        magnitude += std::abs(product);
      }
      ASSERT_NEAR(c.view().at(r, n), sum, limit(p_.k, magnitude)) << "row " << r << " column " << n;
    }
  }
}

class FusedSwigluTest : public GroupedGemmTest {};

TEST_P(FusedSwigluTest, ScalesProductsAndAddsVectorsFirst) {
  const int64_t m = p_.n / 2 - 3, groups = w_.view().num_groups;
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 5);
  Matrix h(rows(), m, p_.dtype), kept(rows(), p_.n, p_.dtype);
  const Extras gates(groups, m, rows(), 1), ups(groups, m, 0, 2);
  gemm_->forward(team_, offset_, {x}, w_,
                 {.c = kept,
                  .activation = Activation{},
                  .h = h,
                  .product_scale = gates.factor.data(),
                  .bias = gates.stack,
                  .up_bias = ups.stack});
  for (int64_t r = 0; r < rows(); ++r) {
    for (int64_t j = 0; j < m; ++j) {
      const int64_t group = group_of(r);
      double g = 0, u = 0, magnitude = 2;
      for (int64_t k = 0; k < p_.k; ++k) {
        const double scaled = gates.of_row(r) * double{x.view().at(r, k)};
        g += scaled * w_.view().at(group, k, gate_column(j));
        u += scaled * w_.view().at(group, k, up_column(j));
        magnitude += std::abs(scaled);
      }
      g += gates.bias(group, j);
      u += ups.bias(group, j);
      const double expected = g / (1 + std::exp(-g)) * u;
      ASSERT_NEAR(h.view().at(r, j), expected, limit(p_.k, 8 * magnitude + 4 * std::abs(expected)))
          << r << " " << j;
      ASSERT_NEAR(kept.view().at(r, gate_column(j)), g, limit(p_.k, 4 * magnitude)) << r << " " << j;
      ASSERT_NEAR(kept.view().at(r, up_column(j)), u, limit(p_.k, 4 * magnitude)) << r << " " << j;
    }
  }
}

// Without a W3 all columns are gates, so a tile has 16 results. This tests it with and without a bias vector.
TEST_P(FusedSwigluTest, AnActivationWithoutUpsHasAResultForEachColumn) {
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 5);
  const Activation relu2{.function = ActivationFunction::relu2, .gated = false};
  const Extras gates(w_.view().num_groups, p_.n, rows(), 1);
  for (const bool biased : {false, true}) {
    Matrix h(rows(), p_.n, p_.dtype), kept(rows(), p_.n, p_.dtype);
    gemm_->forward(team_, offset_, {x}, w_,
                   {.c = kept,
                    .activation = relu2,
                    .h = h,
                    .row_scale = gates.factor.data(),
                    .bias = biased ? gates.stack.view() : WeightView{}});
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t j = 0; j < p_.n; ++j) {
        double g = biased ? gates.bias(group_of(r), j) : 0, magnitude = 2;
        for (int64_t k = 0; k < p_.k; ++k) {
          g += double{x.view().at(r, k)} * w_.view().at(group_of(r), k, j);
          magnitude += std::abs(double{x.view().at(r, k)});
        }
        const double expected = gates.of_row(r) * (g > 0 ? g * g : 0);
        const double slope = 2 * std::abs(g) + 1;
        ASSERT_NEAR(h.view().at(r, j), expected, limit(p_.k, 4 * slope * magnitude + 4 * expected))
            << r << " " << j;
        ASSERT_NEAR(kept.view().at(r, j), g, limit(p_.k, 4 * magnitude)) << r << " " << j;
      }
    }
  }
}

TEST_P(FusedSwigluTest, MatchesItsProducts) {
  const int64_t m = p_.n / 2 - 3;  // columns past M in the last panel
  const Matrix x = random_matrix(rows(), p_.k, p_.dtype, 5);
  Matrix gu(rows(), p_.n, DType::f32), h(rows(), m, p_.dtype), kept(rows(), p_.n, p_.dtype);
  std::vector<float> scale(static_cast<size_t>(rows()));
  for (size_t i = 0; i < scale.size(); ++i) scale[i] = 0.25f * static_cast<float>(i % 5);
  gemm_->forward(team_, offset_, {x}, w_, {kept, Activation{}, h, scale.data()});
  for (int64_t r = 0; r < rows(); ++r) {
    for (int64_t j = 0; j < m; ++j) {
      double g = 0, u = 0, magnitude = 0;
      for (int64_t k = 0; k < p_.k; ++k) {
        g += double{x.view().at(r, k)} * w_.view().at(group_of(r), k, gate_column(j));
        u += double{x.view().at(r, k)} * w_.view().at(group_of(r), k, up_column(j));
        magnitude += std::abs(double{x.view().at(r, k)});
      }
      const double expected = g / (1 + std::exp(-g)) * u * scale[static_cast<size_t>(r)];
      ASSERT_NEAR(h.view().at(r, j), expected, limit(p_.k, 8 * magnitude + 4 * std::abs(expected)))
          << r << " " << j;
      ASSERT_NEAR(kept.view().at(r, gate_column(j)), g, limit(p_.k, 4 * magnitude)) << r << " " << j;
    }
  }
}

// Prints a case for ctest.
void PrintTo(const Case& c, std::ostream* out) {
  *out << kKernelNames[static_cast<int>(c.kernels)] << " " << dtype_name(c.dtype) << " " << c.threads
       << " threads " << c.k << "x" << c.n;
}

std::string case_name(const testing::TestParamInfo<Case>& tested) {
  const Case& c = tested.param;
  return fmt::format("{}_{}_{}threads_{}x{}_{}", kKernelNames[static_cast<int>(c.kernels)],
                     dtype_name(c.dtype), c.threads, c.k, c.n, tested.index);
}

// Kernels and types to test: only bf16 is multiplied in more than one way.
std::vector<std::pair<Kernels, DType>> ways() {
  return {{Kernels::best, DType::f32},          {Kernels::best, DType::bf16},
          {Kernels::widened, DType::bf16},      {Kernels::emulated_dot, DType::bf16},
          {Kernels::emulated_amx, DType::bf16}, {Kernels::ragged_dot, DType::f32},
          {Kernels::ragged_dot, DType::bf16}};
}

std::vector<Case> fused_cases() {
  std::vector<Case> all;
  for (const auto& [kernels, dtype] : ways()) {
    if (kernels == Kernels::ragged_dot) continue;
    for (int threads : {1, 3}) {
      all.push_back({kernels, dtype, threads, 45, 32, {3, 0, 1, 17, 0, 60}});
      all.push_back({kernels, dtype, threads, 300, 160, {0, 33}});
      all.push_back({kernels, dtype, threads, 2300, 16, {9}});
    }
  }
  return all;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const auto& [kernels, dtype] : ways()) {
    for (int threads : {1, 3}) {
      all.push_back({kernels, dtype, threads, 45, 27, {3, 0, 1, 17, 0, 6}});
      all.push_back({kernels, dtype, threads, 1, 1, {1}});
      all.push_back({kernels, dtype, threads, 64, 48, {5, 12, 7}});
      all.push_back({kernels, dtype, threads, 33, 160, {0, 0, 23}});
      all.push_back({kernels, dtype, threads, 600, 37, {13, 40}});
    }
    all.push_back({kernels, dtype, 2, 19, 35, {1100, 3, 530}});  // several row blocks
    all.push_back({kernels, dtype, 2, 2500, 21, {9, 2}});        // several depth blocks
    all.push_back({kernels, dtype, 2, 2065, 33, {29, 170}});     // gradients of two ranges of columns of A
    all.push_back({kernels, dtype, 2, 1024, 40, {5, 0, 20}});
    all.push_back({kernels, dtype, 2, 23, 4200, {7}});
    all.push_back({kernels, dtype, 8, 9, 200, {5, 0, 3, 0}});  // several units of empty groups
    all.push_back({kernels, dtype, 2, 70, 100, {4, 5, 12, 13, 25, 37, 145, 150}});  // around whole strips
  }
  return all;
}

// A few rows are multiplied by other code than many rows, but each row gets the same bits.
TEST(FewRows, InputGradOfARowDoesNotDependOnHowManyThereAre) {
  constexpr int64_t kRows = 40, kHidden = 301, kWidth = 75;
  ThreadTeam team(2);
  for (const auto& [kernels, dtype] : ways()) {
    if (kernels == Kernels::ragged_dot) continue;
    const Matrix dc = random_matrix(kRows, kWidth, dtype, 2),
                 values = random_matrix(kHidden, kWidth, dtype, 3);
    WeightStack w(WeightLayout::panels, 1, kHidden, kWidth, dtype);
    for (int64_t k = 0; k < kHidden; ++k) {
      for (int64_t n = 0; n < kWidth; ++n) w.view().set(0, k, n, values.view().at(k, n));
    }
    const std::unique_ptr<GroupedGemm> gemm =
        make_kernels(kernels, {1, kRows, kHidden, kHidden * kWidth, team.size()});
    Matrix all(kRows, kHidden, DType::f32);
    gemm->input_grad(team, std::vector<int64_t>{0, kRows}, {dc}, w, {all});
    for (const int64_t rows : {1, 3, 8, 9, 16, 17}) {
      Matrix few(rows, kHidden, DType::f32);
      gemm->input_grad(team, std::vector<int64_t>{0, rows}, {dc}, w, {few});
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t k = 0; k < kHidden; ++k) {
          ASSERT_EQ(few.view().at(r, k), all.view().at(r, k))
              << kKernelNames[static_cast<int>(kernels)] << " " << dtype_name(dtype) << ", row " << r
              << " of " << rows << ", column " << k;
        }
      }
    }
  }
}

// Returns the results of all three directions, for odd shapes and an empty group. The weights' gradient
// begins `skip` elements after the start of a cache line.
std::vector<float> results_by(const PairTiles& tiles, int64_t skip = 0) {
  constexpr int64_t kDepth = 619, kColumns = 75, kRows = 200;
  const std::vector<int64_t> offset = {0, 31, 31, kRows};
  ThreadTeam team(2);
  const Matrix x = random_matrix(kRows, kDepth, DType::bf16, 1),
               dc = random_matrix(kRows, kColumns, DType::bf16, 2);
  WeightStack w(WeightLayout::panels, 3, kDepth, kColumns, DType::bf16);
  for (int64_t g = 0; g < 3; ++g) {
    const Matrix values = random_matrix(kDepth, kColumns, DType::bf16, static_cast<uint32_t>(3 + g));
    for (int64_t k = 0; k < kDepth; ++k) {
      for (int64_t n = 0; n < kColumns; ++n) w.view().set(g, k, n, values.view().at(k, n));
    }
  }
  const std::unique_ptr<GroupedGemm> gemm = make_gmm({3, kRows, kDepth, kDepth * kColumns, 2}, tiles);
  Matrix c(kRows, kColumns, DType::f32), dx(kRows, kDepth, DType::f32);
  WeightView dw = w.view();
  const int64_t elements = 3 * dw.group_elements();
  const Buffer memory(dw.bytes() + 128);
  bf16* gradient = static_cast<bf16*>(memory.data()) + skip;
  gradient[elements] = to_bf16(9);
  dw.data = gradient;
  gemm->forward(team, offset, {x}, w, {c});
  gemm->input_grad(team, offset, {dc}, w, {dx});
  gemm->weight_grad(team, offset, {x}, {dc}, dw);
  EXPECT_EQ(to_f32(gradient[elements]), 9);
  std::vector<float> all;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t n = 0; n < kColumns; ++n) all.push_back(c.view().at(r, n));
    for (int64_t k = 0; k < kDepth; ++k) all.push_back(dx.view().at(r, k));
  }
  for (int64_t i = 0; i < elements; ++i) all.push_back(to_f32(gradient[i]));
  return all;
}

// The CPU's instructions for bf16 and their emulation give equal bits.
TEST(DotKernels, TheCpusInstructionAndItsEmulationAgree) {
  if (avx512_dot_tile() == nullptr) GTEST_SKIP() << "this CPU or system has no AVX512_BF16";
  EXPECT_EQ(results_by({nullptr, avx512_dot_tile()}), results_by({nullptr, kEmulatedDotTile}));
}

TEST(AmxKernels, TheCpusInstructionAndItsEmulationAgree) {
  if (amx_tile() == nullptr) GTEST_SKIP() << "this CPU or system has no AMX";
  EXPECT_EQ(results_by({amx_tile(), nullptr}), results_by({kEmulatedAmxTile, nullptr}));
}

// The instructions that store whole lines past the caches refuse addresses that do not begin a line.
TEST(AmxKernels, AGradientMayBeginAnywhere) {
  const PairTiles tiles{kEmulatedAmxTile, nullptr};
  const std::vector<float> expected = results_by(tiles);
  for (const int64_t skip : {1, 8, 16}) EXPECT_EQ(results_by(tiles, skip), expected) << skip;
}

// The dot instruction takes denormal operands and sums for zero. Sums close to the smallest normal number
// still pass the check, since each row's error is small beside its norm.
TEST(DotKernels, FlushedDenormalsStayBelowTheThreshold) {
  constexpr int64_t kRows = 20, kDepth = 400, kColumns = 48;
  constexpr double kThreshold = 1e-2;
  const Matrix values = random_matrix(kRows, kDepth, DType::f32, 1),
               weights = random_matrix(kDepth, kColumns, DType::f32, 2);
  Matrix x(kRows, kDepth, DType::bf16);
  WeightStack w(WeightLayout::panels, 1, kDepth, kColumns, DType::bf16);
  for (int64_t k = 0; k < kDepth; ++k) {
    const float scale =
        k % 7 == 3 ? 0x1p-128f : 0x1p-60f;  // denormal operands among others that are as large as usual
    for (int64_t r = 0; r < kRows; ++r) x.view().set(r, k, scale * values.view().at(r, k));
    for (int64_t n = 0; n < kColumns; ++n) w.view().set(0, k, n, 0x1p-62f * weights.view().at(k, n));
  }
  ThreadTeam team(1);
  const std::vector<int64_t> offset = {0, kRows};
  Matrix c(kRows, kColumns, DType::f32);
  make_gmm({1, kRows, kDepth, kDepth * kColumns, 1}, {nullptr, kEmulatedDotTile})
      ->forward(team, offset, {x}, w, {c});
  for (int64_t r = 0; r < kRows; ++r) {
    double error = 0, norm = 0;
    for (int64_t n = 0; n < kColumns; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < kDepth; ++k) sum += double{x.view().at(r, k)} * w.view().at(0, k, n);
      error += (c.view().at(r, n) - sum) * (c.view().at(r, n) - sum);
      norm += sum * sum;
    }
    EXPECT_LT(std::sqrt(error), kThreshold * std::sqrt(norm)) << "row " << r;
  }
}

INSTANTIATE_TEST_SUITE_P(All, GroupedGemmTest, testing::ValuesIn(cases()), case_name);
INSTANTIATE_TEST_SUITE_P(All, FusedSwigluTest, testing::ValuesIn(fused_cases()), case_name);

}  // namespace
}  // namespace moehill
