// Reads the experts of one layer from checkpoints of every encoding and naming into every layout, compares
// each value, and refuses bad files in one line that names what is wrong.
#include "moehill/weights/layer_weights.h"

#include <gtest/gtest.h>

#include "moehill/weights/files_fixture.h"

namespace moehill {
namespace {

using namespace testing_models;

LayerShape layer_shape(const ModelShape& shape) {
  return {shape.hidden, shape.mlp_dim, shape.experts, shape.shared_dim};
}

// Stacks of the given layout, and the logical matrices in them.
struct Stacks {
  Stacks(WeightLayout layout, DType dtype, bool fused, int64_t groups, int64_t hidden, int64_t width) {
    using Part = LogicalWeights::Part;
    up[0] = WeightStack(layout, groups, hidden, fused ? gate_up_columns(width) : width, dtype);
    if (!fused) up[1] = WeightStack(layout, groups, hidden, width, dtype);
    down = WeightStack(layout, groups, width, hidden, dtype);
    targets.w1 = {up[0], fused ? Part::gate : Part::all, width};
    targets.w3 = {fused ? up[0] : up[1], fused ? Part::up : Part::all, width};
    targets.w2 = {down, Part::all, hidden};
  }
  WeightStack up[2], down;
  LayerTargets targets;
};

// Compares the logical matrix [inputs, outputs] of a group with the model's [outputs][inputs].
void expect_matrix(const LogicalWeights& w, int64_t group, const std::vector<double>& values,
                   const std::string& what) {
  const int64_t inputs = w.rows();
  ASSERT_EQ(std::ssize(values), inputs * w.num_columns);
  int num_wrong = 0;
  for (int64_t n = 0; n < w.num_columns; ++n) {
    for (int64_t k = 0; k < inputs; ++k) {
      const float value = static_cast<float>(values[static_cast<size_t>(n * inputs + k)]);
      num_wrong += w.at(group, k, n) != rounded_to(w.stack.dtype, value);
    }
  }
  EXPECT_EQ(num_wrong, 0) << what << " of group " << group;
}

void expect_mlp(const LayerTargets& targets, int64_t group, const std::vector<std::vector<double>>& values,
                size_t first) {
  expect_matrix(targets.w1, group, values[first], "gate");
  expect_matrix(targets.w3, group, values[first + 1], "up");
  expect_matrix(targets.w2, group, values[first + 2], "down");
}

struct Case {
  Family family;
  Encoding encoding;
  ModelShape shape;
  std::string form;
};

// The shapes are odd if the encoding allows it: widths that fill no panel, no tile and no block.
std::vector<Case> cases() {
  return {
      {Family::qwen, Encoding::bf16, {70, 37, 3, 45}, "model.layers.0.mlp.experts.*.gate_proj.weight"},
      {Family::qwen, Encoding::f32, {33, 129, 2, 0}, "model.layers.0.mlp.experts.*.gate_proj.weight"},
      {Family::mixtral,
       Encoding::f16,
       {45, 531, 2, 0},
       "model.layers.0.block_sparse_moe.experts.*.w1.weight"},
      {Family::mixtral, Encoding::bf16, {1, 1, 1, 0}, "model.layers.0.block_sparse_moe.experts.0.w1.weight"},
      {Family::deepseek,
       Encoding::f8_e4m3,
       {300, 141, 2, 257},
       "model.layers.1.mlp.experts.*.gate_proj.weight"},
      {Family::deepseek_v4, Encoding::mxfp4, {96, 64, 3, 40}, "layers.0.ffn.experts.*.w1.weight"},
      {Family::gpt_oss, Encoding::mxfp4, {64, 96, 3, 0}, "model.layers.0.mlp.experts.gate_up_proj_blocks"},
      {Family::gpt_oss, Encoding::mxfp4, {64, 64, 2, 0}, "model.layers.0.mlp.experts.gate_up_proj_blocks"},
      {Family::llama4,
       Encoding::bf16,
       {71, 133, 2, 25},
       "language_model.model.layers.0.feed_forward.experts.gate_up_proj"},
      {Family::llama4,
       Encoding::f16,
       {66, 33, 2, 0},
       "language_model.model.layers.0.feed_forward.experts.gate_up_proj"},
      {Family::fused, Encoding::bf16, {66, 33, 2, 0}, "model.layers.0.mlp.experts.gate_up_proj"},
      {Family::fused, Encoding::f8_e4m3, {256, 128, 2, 0}, "model.layers.0.mlp.experts.gate_up_proj"},
      {Family::granite,
       Encoding::bf16,
       {30, 20, 4, 50},
       "model.layers.0.block_sparse_moe.input_linear.weight"},
      {Family::kimi_int4,
       Encoding::int4,
       {96, 64, 2, 24},
       "model.layers.0.mlp.experts.*.gate_proj.weight_packed"},
      {Family::kimi_mxfp4,
       Encoding::mxfp4,
       {64, 32, 2, 0},
       "model.layers.0.mlp.experts.*.gate_proj.weight_packed"},
  };
}

class LayerWeightsCase : public ::testing::TestWithParam<size_t> {
 protected:
  const Case case_ = cases()[GetParam()];
  const Model model_ = make_model(case_.family, case_.shape, case_.encoding);
  LayerWeights open(const fs::path& path) { return {path.string(), {}, layer_shape(case_.shape)}; }
};

TEST_P(LayerWeightsCase, EveryStackHasEveryValue) {
  const fs::path folder = fresh_folder();
  write_shards(folder, model_.tensors, 2);
  LayerWeights weights = open(folder);
  EXPECT_EQ(weights.layer(), model_.layer);
  EXPECT_EQ(weights.encoding(), case_.encoding);
  EXPECT_EQ(weights.form(), case_.form);
  const ModelShape& s = case_.shape;
  ThreadTeam team(3);
  for (const WeightLayout layout : {WeightLayout::panels, WeightLayout::row_major}) {
    for (const DType dtype : {DType::bf16, DType::f32}) {
      for (const bool fused : {false, true}) {
        Stacks experts(layout, dtype, fused, s.experts, s.hidden, s.mlp_dim);
        weights.fill_experts(team, {0, s.experts}, experts.targets);
        for (int e = 0; e < s.experts; ++e)
          expect_mlp(experts.targets, e, model_.values, 3 * static_cast<size_t>(e));
        if (s.shared_dim == 0) continue;
        Stacks shared(layout, dtype, fused, 1, s.hidden, s.shared_dim);
        weights.fill_shared(team, shared.targets);
        expect_mlp(shared.targets, 0, model_.values, model_.values.size() - 3);
      }
    }
  }
}

TEST_P(LayerWeightsCase, RoundingIsBoundedAndStated) {
  const fs::path folder = fresh_folder();
  write_file(folder / "m.safetensors", safetensors(model_.tensors));
  LayerWeights weights = open(folder);
  const ModelShape& s = case_.shape;
  ThreadTeam team(1);
  Stacks exact(WeightLayout::panels, DType::f32, true, s.experts, s.hidden, s.mlp_dim);
  weights.fill_experts(team, {0, s.experts}, exact.targets);
  EXPECT_EQ(weights.figures().rounding, 0);
  Stacks rounded(WeightLayout::panels, DType::bf16, true, s.experts, s.hidden, s.mlp_dim);
  weights.fill_experts(team, {0, s.experts}, rounded.targets);
  double worst = 0;
  for (size_t i = 0; i < 3 * static_cast<size_t>(s.experts); ++i) {
    for (const double value : model_.values[i]) {
      const double f = static_cast<float>(value);
      if (f != 0)
        worst = std::max(worst, std::fabs(to_f32(to_bf16(static_cast<float>(f))) - f) / std::fabs(f));
    }
  }
  EXPECT_NEAR(weights.figures().rounding, worst, 1e-9);
  EXPECT_LE(weights.figures().rounding, 0x1p-8);
  if (case_.encoding == Encoding::bf16 || case_.encoding == Encoding::mxfp4) {
    EXPECT_EQ(worst, 0);
  }
  if (case_.encoding == Encoding::f32) {
    EXPECT_GT(worst, 0x1p-10);
  }
  double bytes = 0;
  for (const auto& [name, tensor] : model_.tensors) {
    const bool of_experts =
        name.find("experts.") != std::string::npos || name.find("_linear") != std::string::npos;
    const bool other = name.find("shared") != std::string::npos ||
                       name.find("weight_shape") != std::string::npos ||
                       name.find("bias") != std::string::npos;
    if (of_experts && !other) bytes += static_cast<double>(tensor.bytes.size());
  }
  EXPECT_EQ(weights.figures().bytes, 2 * bytes);
}

TEST_P(LayerWeightsCase, OneExpertCanBeFilledAlone) {
  const fs::path folder = fresh_folder();
  write_file(folder / "m.safetensors", safetensors(model_.tensors));
  LayerWeights weights = open(folder);
  const ModelShape& s = case_.shape;
  ThreadTeam team(2);
  Stacks last(WeightLayout::panels, DType::bf16, true, 1, s.hidden, s.mlp_dim);
  weights.fill_experts(team, {s.experts - 1, s.experts}, last.targets);
  expect_mlp(last.targets, 0, model_.values, 3 * static_cast<size_t>(s.experts - 1));
}

INSTANTIATE_TEST_SUITE_P(Families, LayerWeightsCase, ::testing::Range(size_t{0}, cases().size()));

uint64_t hash_of(const fs::path& path, const ModelShape& s) {
  LayerWeights weights(path.string(), {}, layer_shape(s));
  ThreadTeam team(1);
  Stacks stacks(WeightLayout::row_major, DType::f32, false, s.experts, s.hidden, s.mlp_dim);
  weights.fill_experts(team, {0, s.experts}, stacks.targets);
  return weights.hash();
}

TEST(LayerWeights, TheHashIsOfTheWeightsAndNotOfTheirFiles) {
  const ModelShape s{32, 32, 2, 0};
  Model model = bad_base();
  const fs::path one = fresh_folder(), shards = fresh_folder(), other = fresh_folder();
  write_file(one / "a.safetensors", safetensors(model.tensors));
  write_shards(shards, model.tensors, 3);
  EXPECT_EQ(hash_of(one, s), hash_of(shards, s));
  model.tensors["model.layers.0.mlp.experts.1.down_proj.weight"].bytes[7] ^= 1;
  write_file(other / "a.safetensors", safetensors(model.tensors));
  EXPECT_NE(hash_of(one, s), hash_of(other, s));
}

TEST(LayerWeights, TheLayerThatIsAskedForIsRead) {
  const ModelShape s{32, 32, 2, 0};
  Tensors tensors;
  std::vector<Model> models;
  for (const uint32_t seed : {1u, 2u}) {
    models.push_back(make_model(Family::mixtral, s, Encoding::bf16, seed));
    for (const auto& [name, tensor] : models.back().tensors) {
      std::string to = name;
      const size_t at = to.find("layers.0.");
      if (at != std::string::npos) to.replace(at, 9, seed == 1 ? "layers.3." : "layers.12.");
      tensors[to] = tensor;
    }
  }
  tensors["mtp.layers.3.block_sparse_moe.experts.0.w1.weight"] = {"U8", {1}, "x"};
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors", safetensors(tensors));
  ThreadTeam team(1);
  for (const size_t i : {0, 1}) {
    LayerWeights weights(folder.string(), i == 0 ? 3 : 12, layer_shape(s));
    Stacks stacks(WeightLayout::row_major, DType::f32, false, 2, 32, 32);
    weights.fill_experts(team, {0, 2}, stacks.targets);
    expect_mlp(stacks.targets, 1, models[i].values, 3);
  }
  EXPECT_EQ(LayerWeights(folder.string(), {}, layer_shape(s)).layer(), 3);
  try {
    LayerWeights(folder.string(), 4, layer_shape(s));
    ADD_FAILURE() << "layer 4 was found";
  } catch (const InputError& error) {
    EXPECT_STREQ(error.what(), "--layer: got 4, allowed: a layer with experts: 3, 12; use --layer 3");
  }
}

TEST(LayerWeights, FindsTheRouterAndNamesWhatNoStepUses) {
  const auto open = [](Family family, Encoding encoding, const ModelShape& s) {
    const fs::path folder = fresh_folder();
    write_file(folder / "a.safetensors", safetensors(make_model(family, s, encoding).tensors));
    return LayerWeights(folder.string(), {}, layer_shape(s));
  };
  const ModelShape s{64, 32, 3, 16};
  const LayerWeights qwen = open(Family::qwen, Encoding::bf16, s);
  EXPECT_EQ(qwen.unused(), std::vector<std::string>{"'model.layers.0.mlp.shared_expert_gate.weight'"});
  ASSERT_TRUE(qwen.router());
  EXPECT_EQ(qwen.router()->size(), 3u * 64);
  const LayerWeights oss = open(Family::gpt_oss, Encoding::mxfp4, {64, 32, 3, 0});
  EXPECT_EQ(oss.unused(), (std::vector<std::string>{"'model.layers.0.mlp.experts.down_proj_bias'",
                                                    "'model.layers.0.mlp.experts.gate_up_proj_bias'"}));
  EXPECT_TRUE(oss.router());
  EXPECT_TRUE(open(Family::granite, Encoding::bf16, s).router());
  EXPECT_TRUE(open(Family::granite, Encoding::bf16, s).unused().empty());
}

LogicalWeights vectors(WeightStack& owner, int64_t groups, int64_t n) {
  owner = WeightStack(WeightLayout::row_major, groups, 1, vector_columns(n), DType::f32);
  return {owner, LogicalWeights::Part::all, n};
}

// gpt-oss stores the biases of gate and up alternately.
TEST(LayerWeights, ReadsBiasesBesideTheirMatrices) {
  const ModelShape s{64, 96, 3, 0};
  const Model model = make_model(Family::gpt_oss, s, Encoding::mxfp4);
  const fs::path folder = fresh_folder();
  write_shards(folder, model.tensors, 2);
  LayerShape shape = layer_shape(s);
  shape.form.biases = true;
  LayerWeights weights(folder.string(), {}, shape);
  EXPECT_TRUE(weights.unused().empty());
  ThreadTeam team(2);
  Stacks stacks(WeightLayout::panels, DType::bf16, true, 2, s.hidden, s.mlp_dim);
  WeightStack b1, b3, b2;
  stacks.targets.b1 = vectors(b1, 2, s.mlp_dim);
  stacks.targets.b3 = vectors(b3, 2, s.mlp_dim);
  stacks.targets.b2 = vectors(b2, 2, s.hidden);
  weights.fill_experts(team, {1, 3}, stacks.targets);
  const std::vector<double>&both = model.vectors.at("mlp.experts.gate_up_proj_bias"),
        &down = model.vectors.at("mlp.experts.down_proj_bias");
  for (int64_t e = 1; e < 3; ++e) {
    for (int64_t m = 0; m < s.mlp_dim; ++m) {
      const size_t at = static_cast<size_t>(e * 2 * s.mlp_dim + 2 * m);
      EXPECT_EQ(stacks.targets.b1.at(e - 1, 0, m), static_cast<float>(both[at]));
      EXPECT_EQ(stacks.targets.b3.at(e - 1, 0, m), static_cast<float>(both[at + 1]));
    }
    for (int64_t h = 0; h < s.hidden; ++h)
      EXPECT_EQ(stacks.targets.b2.at(e - 1, 0, h),
                static_cast<float>(down[static_cast<size_t>(e * s.hidden + h)]));
  }
}

TEST(LayerWeights, ReadsTheGateOfASharedExpertAndTheBiasOfARouter) {
  const ModelShape s{64, 32, 3, 16};
  const fs::path folder = fresh_folder();
  const Model qwen = make_model(Family::qwen, s, Encoding::bf16);
  write_file(folder / "a.safetensors", safetensors(qwen.tensors));
  LayerShape shape = layer_shape(s);
  shape.shared_gate = shape.selection_bias = true;
  LayerWeights weights(folder.string(), {}, shape);
  EXPECT_TRUE(weights.unused().empty());
  EXPECT_TRUE(weights.router_vectors().selection_bias.empty());
  ThreadTeam team(2);
  Stacks stacks(WeightLayout::panels, DType::f32, true, 1, s.hidden, s.shared_dim);
  WeightStack gate;
  stacks.targets.row_gate = vectors(gate, 1, s.hidden);
  weights.fill_shared(team, stacks.targets);
  for (int64_t h = 0; h < s.hidden; ++h)
    EXPECT_EQ(stacks.targets.row_gate.at(0, 0, h),
              static_cast<float>(qwen.vectors.at("mlp.shared_expert_gate.weight")[static_cast<size_t>(h)]));

  const Model deepseek = make_model(Family::deepseek, {160, 136, 4, 40}, Encoding::f8_e4m3);
  write_file(folder / "a.safetensors", safetensors(deepseek.tensors));
  shape = layer_shape({160, 136, 4, 40});
  shape.selection_bias = true;
  const LayerWeights with_bias(folder.string(), {}, shape);
  const std::vector<double>& bias = deepseek.vectors.at("mlp.gate.e_score_correction_bias");
  EXPECT_EQ(with_bias.router_vectors().selection_bias, std::vector<float>(bias.begin(), bias.end()));
  shape.shared_gate = true;
  EXPECT_THROW(LayerWeights(folder.string(), {}, shape), InputError);  // the checkpoint has none
}

// Nemotron has its own names and no gates.
TEST(LayerWeights, ReadsExpertsWithoutGates) {
  const ModelShape s{70, 37, 3, 45};
  Model model = make_model(Family::qwen, s, Encoding::bf16);
  Tensors tensors;
  for (auto& [name, tensor] : model.tensors) {
    if (name.find("gate_proj") != std::string::npos) continue;
    std::string to = name;
    const size_t at = to.find("model.layers.0.mlp.");
    if (at != std::string::npos) to.replace(at, 19, "backbone.layers.0.mixer.");
    tensors[to] = tensor;
  }
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors", safetensors(tensors));
  LayerShape shape = layer_shape(s);
  EXPECT_THROW(LayerWeights(folder.string(), {}, shape), InputError);
  shape.form.gated = false;
  LayerWeights weights(folder.string(), {}, shape);
  EXPECT_EQ(weights.form(), "backbone.layers.0.mixer.experts.*.up_proj.weight");
  ThreadTeam team(2);
  Stacks stacks(WeightLayout::panels, DType::f32, false, s.experts, s.hidden, s.mlp_dim);
  stacks.targets.w3 = {};
  weights.fill_experts(team, {0, s.experts}, stacks.targets);
  for (int e = 0; e < s.experts; ++e) {
    expect_matrix(stacks.targets.w1, e, model.values[3 * static_cast<size_t>(e) + 1], "up");
    expect_matrix(stacks.targets.w2, e, model.values[3 * static_cast<size_t>(e) + 2], "down");
  }
  write_file(folder / "a.safetensors", safetensors(model.tensors));
  EXPECT_THROW(LayerWeights(folder.string(), {}, shape), InputError);  // there are gates beside the ups
}

// Each case has a wrong vector, and is refused in one line that names it.
TEST(LayerWeights, RefusesBadVectors) {
  const ModelShape s{64, 32, 3, 0}, shared{64, 32, 3, 16};
  LayerShape biased = layer_shape(s), gated = layer_shape(shared), chosen = layer_shape(shared);
  biased.form.biases = true;
  gated.shared_gate = true;
  chosen.selection_bias = true;
  const std::string prefix = "model.layers.0.mlp.", gates = prefix + "experts.gate_up_proj_bias",
                    downs = prefix + "experts.down_proj_bias", gate = prefix + "shared_expert_gate.weight",
                    bias = prefix + "gate.e_score_correction_bias";
  const std::string infinity("\x80\x7f", 2), number("\x80\x3f", 2);
  const auto bf16 = [&](std::vector<int64_t> shape, const std::string& value) {
    TensorBytes tensor{"BF16", shape, ""};
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    for (int64_t i = 0; i < n; ++i) tensor.bytes += value;
    return tensor;
  };
  struct BadVector {
    Family family;
    LayerShape shape;
    std::string name;
    std::optional<TensorBytes> tensor;  // none: left out
    std::string said;
  };
  const std::vector<BadVector> all = {
      {Family::gpt_oss, biased, gates, std::nullopt, "gate_up_proj_bias"},
      {Family::gpt_oss, biased, downs, std::nullopt, "down_proj_bias"},
      {Family::gpt_oss, biased, gates, bf16({3, 63}, number), "shape"},
      {Family::gpt_oss, biased, gates, bf16({192}, number), "shape"},
      {Family::gpt_oss, biased, downs, bf16({2, 64}, number), "shape"},
      {Family::gpt_oss, biased, gates, TensorBytes{"U8", {3, 64}, std::string(192, 'x')}, "U8"},
      {Family::gpt_oss, biased, downs, TensorBytes{"F8_E4M3", {3, 64}, std::string(192, 'x')}, "F8_E4M3"},
      {Family::gpt_oss, biased, gates, TensorBytes{"BF16", {0, 64}, ""}, "empty"},
      {Family::gpt_oss, biased, gates, bf16({3, 64}, infinity), "not finite"},
      {Family::gpt_oss, biased, downs, bf16({3, 64}, infinity), "not finite"},
      {Family::qwen, gated, gate, std::nullopt, "shared_expert_gate"},
      {Family::qwen, gated, gate, bf16({1, 63}, number), "shape"},
      {Family::qwen, gated, gate, bf16({64}, number), "shape"},
      {Family::qwen, gated, gate, bf16({1, 64}, infinity), "not finite"},
      {Family::qwen, chosen, bias, bf16({4}, number), "shape"},
      {Family::qwen, chosen, bias, bf16({1, 1, 3}, number), "shape"},
      {Family::qwen, chosen, bias, TensorBytes{"I32", {3}, std::string(12, 'x')}, "I32"},
      {Family::qwen, chosen, bias, bf16({3}, infinity), "not finite"}};
  ThreadTeam team(1);
  for (const BadVector& bad : all) {
    const ModelShape& size = bad.family == Family::gpt_oss ? s : shared;
    Model model =
        make_model(bad.family, size, bad.family == Family::gpt_oss ? Encoding::mxfp4 : Encoding::bf16);
    model.tensors.erase(bad.name);
    if (bad.tensor) model.tensors[bad.name] = *bad.tensor;
    const fs::path folder = fresh_folder();
    write_file(folder / "a.safetensors", safetensors(model.tensors));
    try {
      LayerWeights weights(folder.string(), {}, bad.shape);
      Stacks experts(WeightLayout::panels, DType::f32, true, 3, 64, 32),
          one(WeightLayout::panels, DType::f32, true, 1, 64, 16);
      WeightStack b1, b3, b2, row_gate;
      experts.targets.b1 = vectors(b1, 3, 32);
      experts.targets.b3 = vectors(b3, 3, 32);
      experts.targets.b2 = vectors(b2, 3, 64);
      one.targets.row_gate = vectors(row_gate, 1, 64);
      weights.fill_experts(team, {0, 3}, experts.targets);
      if (size.shared_dim > 0) weights.fill_shared(team, one.targets);
      ADD_FAILURE() << bad.name << " was accepted, which should say " << bad.said;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(bad.said), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
    }
  }
}

TEST(LayerWeights, ANameWithALineBreakIsShownInOneLine) {
  Model model = bad_base();
  model.tensors["model.layers.0.mlp.experts.1.a\nb"] = {"U8", {1}, "x"};
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors", safetensors(model.tensors));
  const LayerWeights weights(folder.string(), {}, {32, 32, 2, 0});
  EXPECT_EQ(weights.unused(), std::vector<std::string>{"'model.layers.0.mlp.experts.*.a?b'"});
}

TEST(LayerWeights, SaysTheOptionsThatFit) {
  const fs::path folder = fresh_folder();
  write_file(folder / "a.safetensors",
             safetensors(make_model(Family::qwen, {64, 32, 3, 16}, Encoding::bf16).tensors));
  const auto said = [&](const LayerShape& shape) -> std::string {
    try {
      LayerWeights(folder.string(), {}, shape);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(said({64, 32, 3, 16}), "accepted");
  EXPECT_NE(said({60, 32, 3, 16}).find("use --mlp-dim 32 --hidden 64"), std::string::npos);
  EXPECT_NE(said({64, 31, 3, 16}).find("use --mlp-dim 32 --hidden 64"), std::string::npos);
  EXPECT_NE(said({64, 32, 2, 16}).find("got 3 experts, allowed: 2, by --experts; use --experts 3"),
            std::string::npos);
  EXPECT_NE(said({64, 32, 3, 0}).find("use --shared-expert-dim 16"), std::string::npos);
  EXPECT_NE(said({64, 32, 3, 17}).find("use --shared-expert-dim 16"), std::string::npos);
  write_file(folder / "a.safetensors",
             safetensors(make_model(Family::qwen, {64, 32, 3, 0}, Encoding::bf16).tensors));
  EXPECT_NE(said({64, 32, 3, 16}).find("use --shared-expert-dim 0"), std::string::npos);
}

TEST(LayerWeights, SaysWhatIsMissingAroundExpertsOfAnotherWidth) {
  const fs::path folder = fresh_folder();
  Model model = make_model(Family::qwen, {64, 32, 3, 0}, Encoding::bf16);
  LayerShape shape{64, 32, 3, 0};
  shape.latent = 64;
  const auto said = [&]() -> std::string {
    write_file(folder / "a.safetensors", safetensors(model.tensors));
    try {
      LayerWeights(folder.string(), {}, shape);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  const auto add = [&](const std::string& name, int64_t rows, int64_t cols) {
    model.tensors["model.layers.0.mlp." + name + ".weight"] = {
        "F32", {rows, cols}, std::string(static_cast<size_t>(4 * rows * cols), '\0')};
  };
  EXPECT_NE(said().find("no tensor 'model.layers.0.mlp.routed_expert_down_proj.weight'"), std::string::npos);
  add("fc2_latent_proj", 64, 64);  // its partner is missing
  EXPECT_NE(said().find("no tensor 'model.layers.0.mlp.fc1_latent_proj.weight'"), std::string::npos)
      << said();
  add("fc1_latent_proj", 20, 64);
  EXPECT_NE(said().find("use --expert-form latent:20 --hidden 64"), std::string::npos) << said();
  add("fc1_latent_proj", 64, 64);
  EXPECT_EQ(said(), "accepted");
}

TEST(LayerWeights, RefusesEveryBadFile) {
  ThreadTeam team(2);
  for (const BadFile& bad : all_bad_files()) {
    const std::string path = bad.write(fresh_folder()).string();
    expect_refusal(bad, [&] {
      LayerWeights weights(path, {}, layer_shape(kBadShape));
      Stacks stacks(WeightLayout::panels, DType::bf16, true, 2, 32, 32);
      weights.fill_experts(team, {0, 2}, stacks.targets);
    });
  }
  EXPECT_GE(all_bad_files().size(), 120u);
}

}  // namespace
}  // namespace moehill
