// Tests that small configurations, written as each model family writes them, become blocks, and that
// configurations without sense are refused.
#include "moehill/catalog/model_block.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

using Json = nlohmann::json;

// Small configurations with the keys that each family uses.
Json qwen3() {
  return {{"model_type", "qwen3_moe"},
          {"hidden_size", 64},
          {"intermediate_size", 192},
          {"moe_intermediate_size", 24},
          {"num_experts", 16},
          {"num_experts_per_tok", 4},
          {"num_hidden_layers", 6},
          {"norm_topk_prob", true},
          {"decoder_sparse_step", 1},
          {"mlp_only_layers", Json::array()},
          {"hidden_act", "silu"},
          {"vocab_size", 100},
          {"router_aux_loss_coef", 0.001},
          {"output_router_logits", false},
          {"torch_dtype", "bfloat16"}};
}
Json deepseek3() {
  return {{"model_type", "deepseek_v3"},
          {"hidden_size", 64},
          {"intermediate_size", 160},
          {"moe_intermediate_size", 24},
          {"n_routed_experts", 16},
          {"n_shared_experts", 2},
          {"num_experts_per_tok", 4},
          {"num_hidden_layers", 6},
          {"first_k_dense_replace", 2},
          {"moe_layer_freq", 1},
          {"n_group", 4},
          {"topk_group", 2},
          {"norm_topk_prob", true},
          {"routed_scaling_factor", 2.5},
          {"scoring_func", "sigmoid"},
          {"topk_method", "noaux_tc"},
          {"hidden_act", "silu"},
          {"ep_size", 1},
          {"aux_loss_alpha", 0.001},
          {"seq_aux", true},
          {"num_nextn_predict_layers", 1}};
}
Json deepseek4() {
  Json json = deepseek3();
  json.update(Json{{"model_type", "deepseek_v4"},
                   {"scoring_func", "sqrtsoftplus"},
                   {"num_hash_layers", 2},
                   {"vocab_size", 500}});
  for (const char* key : {"first_k_dense_replace", "n_group", "topk_group"}) json.erase(key);
  return json;
}
Json mixtral() {
  return {{"model_type", "mixtral"}, {"hidden_size", 64},         {"intermediate_size", 224},
          {"num_local_experts", 8},  {"num_experts_per_tok", 2},  {"num_hidden_layers", 4},
          {"hidden_act", "silu"},    {"router_jitter_noise", 0.0}};
}
Json with(Json json, const Json& more) {
  json.update(more);
  return json;
}

ModelBlock read(const Json& json, std::optional<int64_t> layer = {}) {
  return read_model_block(ConfigKeys(json.dump(), "config.json"), layer);
}
std::string refusal(const std::string& text, std::optional<int64_t> layer = {}) {
  try {
    const ModelBlock block = read_model_block(ConfigKeys(text, "--config 'c.json'"), layer);
    refuse_left_out(block, "--config 'c.json'");
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

std::vector<int64_t> sizes_of(const ModelBlock& b) {
  const MoeShape& s = b.shape;
  return {s.hidden, s.mlp_dim, s.experts, s.topk, s.shared_dim};
}
using Sizes = std::vector<int64_t>;

TEST(ModelBlock, HasTheWidthOfTheExpertsWhateverItsKey) {
  EXPECT_EQ(sizes_of(read(qwen3())), (Sizes{64, 24, 16, 4, 0}));
  EXPECT_EQ(sizes_of(read(mixtral())), (Sizes{64, 224, 8, 2, 0}));
  EXPECT_EQ(sizes_of(read(deepseek3())), (Sizes{64, 24, 16, 4, 48}));
  EXPECT_EQ(sizes_of(read(with(qwen3(), {{"shared_expert_intermediate_size", 0}}))),
            (Sizes{64, 24, 16, 4, 0}));
  // Llama 4's shared expert has the width of the other experts, and its dense layers have another width.
  const Json llama = {{"model_type", "llama4"},
                      {"text_config",
                       {{"model_type", "llama4_text"},
                        {"hidden_size", 64},
                        {"intermediate_size", 96},
                        {"intermediate_size_mlp", 200},
                        {"num_local_experts", 4},
                        {"num_experts_per_tok", 1},
                        {"num_hidden_layers", 4},
                        {"interleave_moe_layer_step", 2},
                        {"hidden_act", "silu"}}}};
  EXPECT_EQ(sizes_of(read(llama)), (Sizes{64, 96, 4, 1, 96}));
  EXPECT_EQ(read(llama).layer, 1);
  EXPECT_EQ(to_string(read(llama).shape.router), "sigmoid,input-weighted");
}

TEST(ModelBlock, HasTheRouterOfItsFamily) {
  const auto router = [](const Json& json, std::optional<int64_t> layer = {}) {
    return to_string(read(json, layer).shape.router);
  };
  EXPECT_EQ(router(qwen3()), "softmax,normalized");
  EXPECT_EQ(router(with(qwen3(), {{"norm_topk_prob", false}})), "softmax");
  EXPECT_EQ(router(mixtral()), "chosen-softmax");
  EXPECT_EQ(router(deepseek3()), "sigmoid,bias,groups:4/2,normalized,factor:2.5");
  EXPECT_EQ(router(with(deepseek3(), {{"n_group", 1}, {"topk_group", 1}})),
            "sigmoid,bias,normalized,factor:2.5");
  EXPECT_EQ(router(with(deepseek3(), {{"routed_scaling_factor", nullptr}})),
            "sigmoid,bias,groups:4/2,normalized");
  EXPECT_EQ(router(with(deepseek3(), {{"model_type", "deepseek_v2"},
                                      {"scoring_func", "softmax"},
                                      {"topk_method", "group_limited_greedy"},
                                      {"norm_topk_prob", false}})),
            "softmax,groups-max:4/2,factor:2.5");
  EXPECT_EQ(router(deepseek4()), "sqrt-softplus,bias,normalized,factor:2.5");
  EXPECT_EQ(router(deepseek4(), 1), "sqrt-softplus,normalized,factor:2.5,hash:500");
  EXPECT_EQ(read(deepseek4()).layer, 2);
  EXPECT_EQ(
      router(with(mixtral(),
                  {{"model_type", "minimax_m2"}, {"scoring_func", "sigmoid"}, {"use_routing_bias", false}})),
      "sigmoid,normalized");
  const Json lfm2 =
      with(qwen3(), {{"model_type", "lfm2_moe"}, {"use_expert_bias", true}, {"num_dense_layers", 2}});
  EXPECT_EQ(router(lfm2), "sigmoid,bias,normalized:1e-06");
  EXPECT_EQ(read(lfm2).layer, 2);
  const Json ling = with(qwen3(), {{"model_type", "bailing_moe"},
                                   {"score_function", "sigmoid"},
                                   {"moe_router_enable_expert_bias", true},
                                   {"n_group", 4},
                                   {"topk_group", 2},
                                   {"routed_scaling_factor", 2.5}});
  EXPECT_EQ(router(ling), "sigmoid,bias,groups:4/2,normalized,factor:2.5");
  EXPECT_TRUE(read(ling).assumed.empty());
  const Json phi = with(mixtral(), {{"model_type", "phimoe"}});
  EXPECT_EQ(router(with(phi, {{"router_jitter_noise", 0.01}, {"input_jitter_noise", 0.01}})), "sparsemixer");
  EXPECT_EQ(router(phi), "sparsemixer,jitter:0");
  ASSERT_EQ(read(phi).assumed.size(), 1u);
  EXPECT_NE(read(phi).assumed[0].find("in training"), std::string::npos);
}

TEST(ModelBlock, SaysWhichLayersHaveExperts) {
  const auto layers = [](const Json& json) {
    const ModelBlock b = read(json);
    return Sizes{b.num_layers, b.num_moe_layers, b.layer};
  };
  EXPECT_EQ(layers(qwen3()), (Sizes{6, 6, 0}));
  EXPECT_EQ(layers(with(qwen3(), {{"decoder_sparse_step", 2}})), (Sizes{6, 3, 1}));
  EXPECT_EQ(layers(with(qwen3(), {{"mlp_only_layers", {0, 5}}})), (Sizes{6, 4, 1}));
  EXPECT_EQ(layers(with(qwen3(), {{"moe_layers_enum", "2,3,5"}})), (Sizes{6, 3, 2}));
  EXPECT_EQ(layers(deepseek3()), (Sizes{6, 4, 2}));
  EXPECT_EQ(layers(with(deepseek3(), {{"moe_layer_freq", {0, 1, 1, 0, 1, 1}}})), (Sizes{6, 3, 2}));
  EXPECT_EQ(layers(with(mixtral(), {{"model_type", "jamba"},
                                    {"num_experts", 8},
                                    {"expert_layer_period", 2},
                                    {"expert_layer_offset", 1}})),
            (Sizes{4, 2, 1}));
  EXPECT_EQ(layers(with(mixtral(), {{"layers_block_type", {"mamba", "attention", "mamba", "mamba"}}})),
            (Sizes{4, 4, 0}));
  EXPECT_EQ(layers(with(mixtral(), {{"layers_block_type", {"mamba", "moe", "mamba", "moe"}}})),
            (Sizes{4, 2, 1}));
  EXPECT_EQ(layers(with(mixtral(), {{"hybrid_override_pattern", "M-*E"}})), (Sizes{4, 1, 3}));
  EXPECT_EQ(layers(with(mixtral(), {{"mlp_layer_types", {"dense", "sparse", "sparse", "dense"}}})),
            (Sizes{4, 2, 1}));
}

TEST(ModelBlock, TakesALayersOwnValues) {
  const Json hunyuan = {{"model_type", "hunyuan_v1_moe"},
                        {"hidden_size", 64},
                        {"num_hidden_layers", 3},
                        {"intermediate_size", 32},
                        {"moe_intermediate_size", {32, 48, 64}},
                        {"num_experts", 8},
                        {"moe_topk", {1, 2, 3}},
                        {"num_shared_expert", {1, 1, 2}},
                        {"hidden_act", "silu"}};
  EXPECT_EQ(sizes_of(read(hunyuan, 0)), (Sizes{64, 32, 8, 1, 32}));
  EXPECT_EQ(sizes_of(read(hunyuan, 2)), (Sizes{64, 64, 8, 3, 128}));
}

TEST(ModelBlock, SaysWhatItAssumed) {
  EXPECT_TRUE(read(qwen3()).assumed.empty());
  EXPECT_TRUE(read(deepseek3()).assumed.empty());
  const ModelBlock unknown = read(with(qwen3(), {{"model_type", "acme_moe"}}));
  EXPECT_EQ(sizes_of(unknown), (Sizes{64, 24, 16, 4, 0}));
  ASSERT_EQ(unknown.assumed.size(), 2u);
  EXPECT_NE(unknown.assumed[0].find("acme_moe"), std::string::npos);
  EXPECT_NE(unknown.assumed[1].find("softmax"), std::string::npos);
  const ModelBlock more = read(with(qwen3(), {{"moe_secret_sauce", 3}}));
  ASSERT_EQ(more.assumed.size(), 1u);
  EXPECT_NE(more.assumed[0].find("moe_secret_sauce"), std::string::npos);
  const ModelBlock bare = read(Json{{"hidden_size", 64},
                                    {"intermediate_size", 32},
                                    {"num_experts", 4},
                                    {"num_experts_per_token", 2},
                                    {"num_hidden_layers", 1}});
  EXPECT_EQ(sizes_of(bare), (Sizes{64, 32, 4, 2, 0}));
  EXPECT_EQ(bare.assumed.size(), 4u);
}

TEST(ModelBlock, PythonsInfinityIsANumber) {
  std::string text = qwen3().dump();
  text.insert(
      1, R"("time_step_limit": [0.0, Infinity], "low": -Infinity, "odd": NaN, "name": "Infinity \" NaN", )");
  EXPECT_EQ(sizes_of(read_model_block(ConfigKeys(text, "c"), {})), (Sizes{64, 24, 16, 4, 0}));
}

TEST(ModelBlock, ADenseModelAndADenseLayerAreCalledSo) {
  Json dense = qwen3();
  for (const char* key : {"num_experts", "num_experts_per_tok", "moe_intermediate_size"}) dense.erase(key);
  dense["model_type"] = "qwen3";
  EXPECT_NE(refusal(dense.dump()).find("a dense model (qwen3), whose feed-forward width is 192"),
            std::string::npos)
      << refusal(dense.dump());
  EXPECT_NE(refusal(with(qwen3(), {{"num_experts", 0}}).dump()).find("a dense model"), std::string::npos);
  EXPECT_NE(refusal(with(qwen3(), {{"enable_moe_block", false}}).dump()).find("a dense model"),
            std::string::npos);
  const std::string layer = refusal(deepseek3().dump(), 1);
  EXPECT_NE(layer.find("--layer: got 1, which is a dense layer, whose feed-forward width is 160"),
            std::string::npos)
      << layer;
  EXPECT_NE(layer.find("from 2 to 5"), std::string::npos) << layer;
  EXPECT_NE(refusal(deepseek3().dump(), 6).find("of 6 layers"), std::string::npos);
}

TEST(ModelBlock, HasTheActivationOfTheKeys) {
  const auto form = [](const Json& json) { return to_string(read(json).shape.form); };
  EXPECT_EQ(form(qwen3()), "silu");
  EXPECT_EQ(form(with(qwen3(), {{"swiglu_limit", 10.0}})), "silu,limit:10");
  EXPECT_EQ(form(with(qwen3(), {{"hidden_act", "gelu_pytorch_tanh"}})), "gelu-tanh");
  EXPECT_EQ(form(with(qwen3(), {{"hidden_act", "relu2"}})), "relu2");
  EXPECT_EQ(form(with(qwen3(), {{"hidden_act", "swigluoai"}})), "swiglu-oai,alpha:1.702");
  EXPECT_EQ(form(with(mixtral(), {{"model_type", "gpt_oss"}, {"swiglu_limit", 7.0}})),
            "swiglu-oai,limit:7,alpha:1.702,biases");
  EXPECT_EQ(form(with(deepseek3(), {{"model_type", "nemotron_h"}, {"mlp_hidden_act", "relu2"}})),
            "relu2,ungated");
  EXPECT_EQ(form(with(qwen3(), {{"mlp_bias", true}})), "silu,biases");
  EXPECT_EQ(form(with(qwen3(), {{"model_type", "qwen2_moe"}, {"shared_expert_intermediate_size", 96}})),
            "silu,shared-gate");
  EXPECT_TRUE(read(with(mixtral(), {{"model_type", "llama4_text"}})).shape.router.input_weighted);
  EXPECT_EQ(form(with(qwen3(), {{"moe_latent_size", 32}})), "silu,latent:32");
  const Json latent = with(qwen3(), {{"routed_expert_hidden_size", 32}, {"latent_moe_use_norm", true}});
  EXPECT_EQ(form(with(latent, {{"rms_norm_eps", 1e-5}})), "silu,latent:32,latent-norm:1e-05");
  const Json situ = with(qwen3(), {{"hidden_act", "situ"}, {"activation_situ_beta", 4}});
  EXPECT_EQ(form(with(situ, {{"activation_situ_linear_beta", 25}})), "situ,beta:4,linear-beta:25");
  EXPECT_NE(refusal(situ.dump()).find("activation_situ_linear_beta"), std::string::npos);
}

struct Unbuilt {
  Json json;
  std::string key;
};

TEST(ModelBlock, WhatIsNotSupportedIsNamedByItsKey) {
  const Json gemma = with(qwen3(), {{"model_type", "gemma4_text"}, {"hidden_act", "gelu_pytorch_tanh"}});
  const std::vector<Unbuilt> cases = {
      {with(qwen3(), {{"swiglu_limit", 10.0}, {"hidden_act", "relu2"}}), "swiglu_limit"},
      {with(qwen3(), {{"hidden_act", "gelu"}}), "hidden_act"},
      {with(qwen3(), {{"latent_moe_use_norm", true}}), "latent_moe_use_norm"},
      {with(qwen3(), {{"hidden_act", "relu"}}), "hidden_act"},
      {with(deepseek3(), {{"mlp_bias", true}}), "mlp_bias"},
      {with(deepseek3(), {{"model_type", "nemotron_h"}, {"mlp_hidden_act", "silu"}}), "mlp_hidden_act"},
      {gemma, "enable_moe_block"},
      {with(qwen3(), {{"hidden_act", "gelu"}}), "hidden_act"},
  };
  for (const Unbuilt& unbuilt : cases) {
    const std::string message = refusal(unbuilt.json.dump());
    EXPECT_NE(message.find("--config 'c.json': " + unbuilt.key + ": got "), std::string::npos)
        << unbuilt.key << ": " << message;
    EXPECT_NE(message.find("not supported yet"), std::string::npos) << message;
    EXPECT_NE(message.find("for the shape alone: --hidden 64"), std::string::npos) << message;
  }
}

// Each is refused in one sentence that says what is wrong, what was got, what is allowed, and a remedy.
TEST(ModelBlock, BadConfigurationsAreRefused) {
  const auto qwen = [](const Json& more) { return with(qwen3(), more).dump(); };
  const auto deepseek = [](const Json& more) { return with(deepseek3(), more).dump(); };
  const auto without = [](Json json, const char* key) {
    json.erase(key);
    return json.dump();
  };
  std::string deep(40, '[');
  std::vector<std::string> bad = {
      "",
      " ",
      "null",
      "[]",
      "{",
      "\"text\"",
      "12",
      "{}",
      "{}x",
      "{\"hidden_size\": 1, \"hidden_size\": 2}",
      std::string("{\"a\": \"") + '\0' + "\"}",
      "{\"a\": " + deep + "}",
      "{'hidden_size': 1}",
      "\xff\xfe{}",
      "{\"a\": 01}",
      qwen({{"hidden_size", 0}}),
      qwen({{"hidden_size", -64}}),
      qwen({{"hidden_size", "64"}}),
      qwen({{"hidden_size", 64.5}}),
      qwen({{"hidden_size", true}}),
      qwen({{"hidden_size", Json::array({64})}}),
      qwen({{"hidden_size", 1e300}}),
      qwen({{"hidden_size", 18446744073709551615ull}}),
      qwen({{"hidden_size", nullptr}}),
      qwen({{"hidden_size", 1 << 25}}),
      without(qwen3(), "hidden_size"),
      without(qwen3(), "moe_intermediate_size"),
      without(qwen3(), "num_experts_per_tok"),
      without(qwen3(), "num_hidden_layers"),
      qwen({{"moe_intermediate_size", 0}}),
      qwen({{"moe_intermediate_size", "24"}}),
      qwen({{"num_experts", -1}}),
      qwen({{"num_experts", 65537}}),
      qwen({{"num_experts", "16"}}),
      qwen({{"num_experts", 1.5}}),
      qwen({{"num_experts_per_tok", 0}}),
      qwen({{"num_experts_per_tok", 17}}),
      qwen({{"num_experts_per_tok", 2000}}),
      qwen({{"num_experts_per_tok", Json::object()}}),
      qwen({{"num_experts_per_tok", Json::array({1, 2})}, {"mlp_only_layers", {0, 1, 2}}}),
      qwen({{"num_hidden_layers", 0}}),
      qwen({{"num_hidden_layers", 100000}}),
      qwen({{"num_hidden_layers", "6"}}),
      qwen({{"norm_topk_prob", "true"}}),
      qwen({{"norm_topk_prob", 1}}),
      qwen({{"decoder_sparse_step", 0}}),
      qwen({{"decoder_sparse_step", -2}}),
      qwen({{"decoder_sparse_step", 7}}),
      qwen({{"mlp_only_layers", {0, 1, 2, 3, 4, 5}}}),
      qwen({{"mlp_only_layers", {-1}}}),
      qwen({{"mlp_only_layers", Json::array({"0"})}}),
      qwen({{"mlp_only_layers", "0"}}),
      qwen({{"moe_layers", 3}}),
      qwen({{"moe_layers_enum", 3}}),
      qwen({{"moe_layers_enum", "1,2,x"}}),
      qwen({{"moe_layers_enum", "1,,2"}}),
      qwen({{"moe_layers_enum", "1;2"}}),
      qwen({{"moe_layers_enum", ""}}),
      qwen({{"moe_layers_enum", "-1"}}),
      qwen({{"hidden_act", 3}}),
      qwen({{"model_type", 3}}),
      qwen({{"shared_expert_intermediate_size", -1}}),
      qwen({{"swiglu_limit", "7"}}),
      qwen({{"swiglu_limit", -7}}),
      qwen({{"zero_expert_num", -1}}),
      qwen({{"zero_expert_num", 2}, {"zero_expert_type", "copy"}}),
      qwen({{"text_config", 3}}),
      qwen({{"text_config", Json::object()}}),
      qwen({{"text_config", Json::array()}}),
      qwen({{"mlp_layer_types", {"sparse", "sparse"}}}),
      qwen({{"mlp_layer_types", {"sparse", 3}}}),
      qwen({{"hybrid_override_pattern", "E"}}),
      qwen({{"hybrid_override_pattern", 7}}),
      qwen({{"hybrid_override_pattern", "MEXEME"}}),
      qwen({{"hybrid_override_pattern", "MMMMMM"}}),
      deepseek({{"n_group", 0}}),
      deepseek({{"n_group", 3}}),
      deepseek({{"n_group", 16}}),
      deepseek({{"n_group", 512}}),
      deepseek({{"topk_group", 5}}),
      deepseek({{"topk_group", 0}}),
      deepseek({{"topk_group", "2"}}),
      deepseek({{"num_experts_per_tok", 9}}),
      deepseek({{"scoring_func", "softmin"}}),
      deepseek({{"scoring_func", 1}}),
      deepseek({{"routed_scaling_factor", 0}}),
      deepseek({{"routed_scaling_factor", -2.5}}),
      deepseek({{"routed_scaling_factor", "2.5"}}),
      deepseek({{"routed_scaling_factor", 1e300}}),
      deepseek({{"first_k_dense_replace", 7}}),
      deepseek({{"first_k_dense_replace", 6}}),
      deepseek({{"first_k_dense_replace", -1}}),
      deepseek({{"moe_layer_freq", 0}}),
      deepseek({{"moe_layer_freq", {1, 1}}}),
      deepseek({{"moe_layer_freq", {0, 2, 0, 0, 0, 1}}}),
      deepseek({{"moe_layer_freq", {0, 0, 0, 0, 0, 0}}}),
      deepseek({{"n_shared_experts", -1}}),
      deepseek({{"n_shared_experts", "2"}}),
      deepseek({{"topk_method", 4}}),
      deepseek({{"topk_method", "random"}}),
      with(mixtral(), {{"model_type", "phimoe"}, {"num_experts_per_tok", 1}}).dump(),
      with(mixtral(), {{"model_type", "phimoe"}, {"num_experts_per_tok", 3}}).dump(),
      with(mixtral(), {{"model_type", "phimoe"}, {"router_jitter_noise", "0.01"}}).dump(),
      with(mixtral(), {{"model_type", "phimoe"}, {"router_jitter_noise", -1}}).dump(),
      deepseek({{"use_routing_bias", "yes"}}),
      with(deepseek4(), {{"num_hash_layers", 7}}).dump(),
      with(deepseek4(), {{"num_hash_layers", 6}, {"vocab_size", 0}}).dump(),
      with(mixtral(), {{"intermediate_size", nullptr}}).dump(),
      with(mixtral(), {{"num_local_experts", Json::array()}}).dump(),
  };
  for (const std::string& text : bad) {
    const std::string message = refusal(text);
    EXPECT_NE(message, "accepted") << text;
    for (const char* part : {": got ", ", allowed: ", "; "})
      EXPECT_NE(message.find(part), std::string::npos) << text << ": " << message;
  }
  EXPECT_GE(bad.size(), 80u);
}

TEST(ModelBlock, FilesThatCannotBeReadAreRefused) {
  EXPECT_THROW(load_model_block("/nonexistent/config.json", {}), InputError);
  EXPECT_THROW(load_model_block("/", {}), InputError);
  EXPECT_THROW(load_model_block("", {}), InputError);
  const TemporaryFolder folder;
  const std::string path = folder.file("config.json");
  std::ofstream(path) << qwen3().dump();
  EXPECT_EQ(sizes_of(load_model_block(path, {})), (Sizes{64, 24, 16, 4, 0}));
  std::ofstream(path) << std::string(9 << 20, ' ') << qwen3().dump();
  EXPECT_THROW(load_model_block(path, {}), InputError);
}

}  // namespace
}  // namespace moehill
