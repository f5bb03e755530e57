// Errors name the limits of block sizes, and every size changes the work of the kernels but not the results.
#include "moehill/kernels/block_sizes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {
namespace {

constexpr int64_t kTunedHidden = 420, kTunedWidth = 300;
const std::vector<int64_t> kOffset = {0, 330, 331, 400};

void fill(const MatView& m, uint32_t seed) {
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c)
      m.set(r, c, static_cast<float>(random_normal(seed, Stream::kX, static_cast<uint64_t>(r * m.cols + c))));
  }
}

WeightStack random_stack(int64_t k, int64_t n, DType dtype) {
  WeightStack w(WeightLayout::panels, 3, k, n, dtype);
  for (int64_t g = 0; g < 3; ++g) {
    Matrix values(k, n, DType::f32);
    fill(values, static_cast<uint32_t>(g));
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < n; ++j) w.view().set(g, i, j, values.view().at(i, j));
    }
  }
  return w;
}

struct Outcome {
  std::vector<float> values;
  GemmCounts counts;
};

void append(const MatView& m, std::vector<float>& values) {
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) values.push_back(m.at(r, c));
  }
}

// Computes x W, then that times the other W, and the gradients of both inputs.
Outcome compute(const BlockSizes& blocks, DType dtype, int num_threads) {
  GemmLimits limits{3, 400, kTunedHidden, kTunedHidden * kTunedWidth, num_threads, blocks};
  const std::unique_ptr<GroupedGemm> gemm = make_gmm(limits);
  ThreadTeam team(num_threads);
  const WeightStack up = random_stack(kTunedHidden, kTunedWidth, dtype),
                    down = random_stack(kTunedWidth, kTunedHidden, dtype);
  Matrix x(400, kTunedHidden, dtype), h(400, kTunedWidth, dtype), y(400, kTunedHidden, dtype),
      dh(400, kTunedWidth, dtype), dx(400, kTunedHidden, dtype);
  fill(x, 9);
  gemm->forward(team, kOffset, {x}, up.view(), {h}, Product::to_width);
  gemm->forward(team, kOffset, {h}, down.view(), {y}, Product::to_hidden);
  gemm->input_grad(team, kOffset, {y}, down.view(), {dh}, Product::to_width);
  gemm->input_grad(team, kOffset, {dh}, up.view(), {dx}, Product::to_hidden);
  Outcome outcome{{}, gemm->counts()};
  for (const Matrix* m : {&h, &y, &dh, &dx}) append(*m, outcome.values);
  return outcome;
}

// One size changed from sizes that are small for this problem.
BlockSizes changed(const char* name, int64_t value) {
  BlockSizes sizes{160, 256, 256, 256, 160, 128, 128, 64};
  for (const BlockSizeField& field : block_size_fields()) {
    if (std::string(field.name) == name) sizes.*field.value = value;
  }
  return sizes;
}

TEST(BlockSizes, EveryOneChangesTheWorkAndNotTheResult) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Outcome plain = compute(BlockSizes{}, dtype, 1), small = compute(changed("", 0), dtype, 1);
    EXPECT_EQ(plain.values, small.values);
    const std::vector<std::pair<const char*, int64_t>> changes = {
        {"bt", 200}, {"bf", 128}, {"bd1", 128}, {"bd2", 128}, {"btc", 80}, {"bfc", 64}, {"bd1c", 64}};
    for (const auto& [name, value] : changes) {
      const Outcome other = compute(changed(name, value), dtype, 1);
      EXPECT_EQ(other.values, plain.values) << name;
      EXPECT_NE(other.counts, small.counts) << name;
      EXPECT_EQ(compute(changed(name, value), dtype, 2).values, plain.values) << name;
    }
    // This changes only the order of blocks, so the counts stay the same.
    EXPECT_EQ(compute(changed("bd2c", 32), dtype, 1).values, plain.values);
  }
}

TEST(BlockSizes, RowsOfAUnitCountAsExpected) {
  // Three groups of 330, 1 and 69 rows, four products, one thread: one unit for each block of rows.
  EXPECT_EQ(compute(changed("bt", 160), DType::f32, 1).counts.units, (3 + 1 + 1) * (1 + 2 + 1 + 2));
  EXPECT_EQ(compute(BlockSizes{}, DType::f32, 1).counts.units, (2 + 1 + 1) * 4);
}

// One group of five rows, forward and back, by one thread with blocks that pack `depth` values together.
GemmCounts counts_of_five_rows(int64_t hidden, int64_t width, int64_t depth) {
  BlockSizes blocks;
  blocks.bf = blocks.bd1 = depth;
  ThreadTeam team(1);
  const WeightStack w = random_stack(hidden, width, DType::f32);
  const std::unique_ptr<GroupedGemm> gemm =
      make_gmm({3, 5, std::max(hidden, width), hidden * width, 1, blocks});
  Matrix x(5, hidden, DType::f32), y(5, width, DType::f32);
  fill(x, 9);
  const std::vector<int64_t> offset = {0, 5};
  gemm->forward(team, offset, {x}, w.view(), {y}, Product::to_width);
  gemm->input_grad(team, offset, {y}, w.view(), {x}, Product::to_width);
  return gemm->counts();
}

TEST(BlockSizes, AUnitPacksEachValueOfItsRowsOnce) {
  EXPECT_EQ(counts_of_five_rows(48, 32, 256).packed_values, 5 * (48 + 32));
}

// One unit, by one thread.
GemmCounts counts_of_160_rows(const BlockSizes& blocks) {
  ThreadTeam team(1);
  const WeightStack w = random_stack(96, 96, DType::f32);
  const std::unique_ptr<GroupedGemm> gemm = make_gmm({3, 160, 96, 96 * 96, 1, blocks});
  Matrix x(160, 96, DType::f32), y(160, 96, DType::f32);
  fill(x, 9);
  const std::vector<int64_t> offset = {0, 160};
  gemm->forward(team, offset, {x}, w.view(), {y}, Product::to_width);
  return gemm->counts();
}

TEST(BlockSizes, CallsOfHalfTheRowsReadEachBlockTwice) {
  EXPECT_EQ(counts_of_160_rows(changed("btc", 80)).blocks, 2 * counts_of_160_rows(changed("", 0)).blocks);
}

// A unit that keeps partial sums has at most 64 panels of 16 columns; otherwise these blocks allow 128.
TEST(BlockSizes, OnlyProductsThatAreDeeperThanABlockKeepPartialSums) {
  EXPECT_EQ(counts_of_five_rows(1024, 1040, 1024).units, 1 + 1) << "65 panels of 1024, 64 panels of 1040";
  EXPECT_EQ(counts_of_five_rows(1040, 1040, 1024).units, 2 + 2) << "65 panels of 1040 each";
}

TEST(BlockSizes, PassOfFewerColumnsReadsRowsInAnotherOrder) {
  const ProductBlocks wide = blocks_of(changed("bd2c", 64), Product::to_width);
  const ProductBlocks narrow = blocks_of(changed("bd2c", 32), Product::to_hidden);
  EXPECT_EQ(wide.pass_panels, 4);
  EXPECT_EQ(narrow.pass_panels, 2);
}

TEST(BlockSizes, RefusalNamesTheLimit) {
  const std::vector<std::pair<BlockSizes, std::string>> illegal = {
      {changed("bt", 0), "bt=0"},
      {changed("btc", 161), "btc=161"},
      {changed("bd1c", 40), "steps of 32"},
      {changed("bfc", 512), "at most bf=256"},
      {changed("bd2", 64), "128 to"},
      {changed("bd2c", 512), "at most bd2=256"},
      {{4096, 8192, 8192, 4096, 64, 256, 256, 128}, "64 MiB"}};
  for (const auto& [sizes, words] : illegal) {
    try {
      refuse_illegal_blocks(sizes);
      FAIL() << to_string(sizes) << " accepted";
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  }
  EXPECT_NO_THROW(refuse_illegal_blocks(BlockSizes{}));
}

}  // namespace
}  // namespace moehill
