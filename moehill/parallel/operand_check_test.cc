// Tests that operands are compared with where they came from: random ones are tested with whole runs
// (api/run_test.cc), those of a model's files and of placements here.
#include "moehill/parallel/operand_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "moehill/weights/files_fixture.h"

namespace moehill {
namespace {

using namespace testing_models;

WeightKey key_of(const ModelShape& s, DType dtype, WeightLayout layout, bool fused) {
  return {s.hidden, s.mlp_dim, s.experts, s.shared_dim, dtype, layout, fused, fused};
}

void clear_group(const WeightView& stack, int64_t group) {
  const WeightView matrix = stack.slice_groups(group, group + 1);
  std::memset(matrix.data, 0, matrix.bytes());
}

bool contains_text(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(OperandCheck, WeightsOfAModelAreComparedWithItsFiles) {
  struct ModelCase {
    Family family;
    Encoding encoding;
    ModelShape shape;
  };
  const ModelCase cases[] = {{Family::qwen, Encoding::bf16, {70, 37, 3, 45}},
                             {Family::mixtral, Encoding::f16, {45, 331, 2, 0}},
                             {Family::deepseek, Encoding::f8_e4m3, {300, 141, 2, 57}},
                             {Family::gpt_oss, Encoding::mxfp4, {64, 96, 3, 0}}};
  ThreadTeam team(2);
  for (const ModelCase& c : cases) {
    const auto folder = fresh_folder();
    write_file(folder / "m.safetensors", safetensors(make_model(c.family, c.shape, c.encoding).tensors));
    LayerWeights layer(folder.string(), {},
                       {c.shape.hidden, c.shape.mlp_dim, c.shape.experts, c.shape.shared_dim});
    const WeightOrigin origin(1, &layer);
    const Range experts{0, c.shape.experts};
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const bool fused : {false, true}) {
        const auto weights =
            make_weights(key_of(c.shape, dtype, WeightLayout::panels, fused), experts, false);
        fill_shared(*weights, origin, team);
        fill_experts(*weights, experts, origin, team);
        const auto fault = [&](uint32_t draw) {
          return weights_fault(*weights, experts, origin, {draw, false}, team);
        };
        for (uint32_t draw = 0; draw < 4; ++draw) EXPECT_EQ(fault(draw), "") << name_of(c.encoding);
        clear_group(weights->experts.view.down, 1);
        EXPECT_TRUE(contains_text(fault(4), "w2 of expert 1")) << fault(4);
        if (c.shape.shared_dim == 0) continue;
        clear_group(weights->shared.view.down, 0);
        EXPECT_TRUE(contains_text(weights_fault(*weights, {0, 0}, origin, {5, false}, team), "s2"));
      }
    }
  }
}

TEST(OperandCheck, EachPlaceHasTheNumbersOfItsExpert) {
  ThreadTeam team(1);
  WeightKey key = key_of({32, 17, 3, 0}, DType::f32, WeightLayout::row_major, false);
  key.placement = {1, 0, 1};
  const auto weights = make_weights(key, {0, 3}, false);
  fill_experts(*weights, {0, 3}, 7, team);
  EXPECT_EQ(weights_fault(*weights, {0, 3}, 7, {1, false}, team), "");
  EXPECT_TRUE(contains_text(weights_fault(*weights, {0, 3}, 8, {1, false}, team), "w1 of expert 1"));
  weights->key.placement = {1, 0, 0};
  EXPECT_TRUE(contains_text(weights_fault(*weights, {0, 3}, 7, {1, false}, team), "w1 of expert 0"));
  EXPECT_EQ(weights_fault(*weights, {0, 2}, 7, {1, false}, team), "") << "a process checks its own places";
}

TEST(OperandCheck, EveryRowOfXIsCompared) {
  ThreadTeam team(2);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto tokens = make_tokens({.tokens = 9, .hidden = 5, .dtype = dtype}, {2, 9});
    fill_tokens(*tokens, {2, 9}, 3, team);
    EXPECT_EQ(tokens_fault(*tokens, {2, 9}, 3, false, team), "");
    EXPECT_NE(tokens_fault(*tokens, {2, 9}, 3, true, team), "");
    for (int64_t t = 2; t < 9; ++t) {
      const MatView x = tokens->among_all(tokens->x);
      const float value = x.at(t, 4);
      x.set(t, 4, -value);
      EXPECT_TRUE(
          contains_text(tokens_fault(*tokens, {2, 9}, 3, false, team), fmt::format("token {} column 4", t)));
      x.set(t, 4, value);
    }
  }
}

}  // namespace
}  // namespace moehill
