// Tests that compare every preset with its model's published values, and with the configurations of a folder
// if there is one.
#include "moehill/catalog/presets.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

struct Published {
  const char* name;
  std::vector<int64_t>
      sizes;  // hidden, expert width, experts, top-k, shared width, layers, layers with experts
  const char* router;
  const char* form;
};

constexpr const char* kSigmoid = "sigmoid,bias,normalized";

// The presets' files name the sources. The values here were copied from the models' cards and code
// separately.
const Published kPublished[] = {
    {"deepseek-moe-16b", {2048, 1408, 64, 6, 2816, 28, 27}, "softmax", "silu"},
    {"deepseek-v2", {5120, 1536, 160, 6, 3072, 60, 59}, "softmax,groups-max:8/3,factor:16", "silu"},
    {"deepseek-v2-lite", {2048, 1408, 64, 6, 2816, 27, 26}, "softmax", "silu"},
    {"deepseek-v3",
     {7168, 2048, 256, 8, 2048, 61, 58},
     "sigmoid,bias,groups:8/4,normalized,factor:2.5",
     "silu"},
    {"deepseek-v3.2",
     {7168, 2048, 256, 8, 2048, 61, 58},
     "sigmoid,bias,groups:8/4,normalized,factor:2.5",
     "silu"},
    {"deepseek-v4-flash",
     {4096, 2048, 256, 6, 2048, 43, 43},
     "sqrt-softplus,bias,normalized,factor:1.5",
     "silu,limit:10"},
    {"deepseek-v4-pro",
     {7168, 3072, 384, 6, 3072, 61, 61},
     "sqrt-softplus,bias,normalized,factor:2.5",
     "silu,limit:10"},
    {"dots.llm1", {4096, 1408, 128, 6, 2816, 62, 61}, "sigmoid,bias,normalized,factor:2.5", "silu"},
    {"ernie-4.5-21b-a3b", {2560, 1536, 64, 6, 3072, 28, 27}, "softmax,bias,normalized:1e-12", "silu"},
    {"gemma-4-26b-a4b", {2816, 704, 128, 8, 2112, 30, 30}, "softmax,normalized,expert-scale", "gelu-tanh"},
    {"glm-4.5", {5120, 1536, 160, 8, 1536, 92, 89}, "sigmoid,bias,normalized,factor:2.5", "silu"},
    {"glm-4.5-air", {4096, 1408, 128, 8, 1408, 46, 45}, kSigmoid, "silu"},
    {"glm-4.7-flash", {2048, 1536, 64, 4, 1536, 47, 46}, "sigmoid,bias,normalized,factor:1.8", "silu"},
    {"glm-5", {6144, 2048, 256, 8, 2048, 78, 75}, "sigmoid,bias,normalized,factor:2.5", "silu"},
    {"glm-5.2", {6144, 2048, 256, 8, 2048, 78, 75}, "sigmoid,bias,normalized,factor:2.5", "silu"},
    {"gpt-oss-120b",
     {2880, 2880, 128, 4, 0, 36, 36},
     "chosen-softmax",
     "swiglu-oai,limit:7,alpha:1.702,biases"},
    {"gpt-oss-20b",
     {2880, 2880, 32, 4, 0, 24, 24},
     "chosen-softmax",
     "swiglu-oai,limit:7,alpha:1.702,biases"},
    {"granite-3.1-1b-a400m", {1024, 512, 32, 8, 0, 24, 24}, "chosen-softmax", "silu"},
    {"granite-3.1-3b-a800m", {1536, 512, 40, 8, 0, 32, 32}, "chosen-softmax", "silu"},
    {"hunyuan-a13b", {4096, 3072, 64, 8, 3072, 32, 32}, "softmax,normalized", "silu"},
    {"jamba-1.5-mini", {4096, 14336, 16, 2, 0, 32, 16}, "softmax", "silu"},
    {"kimi-k2", {7168, 2048, 384, 8, 2048, 61, 60}, "sigmoid,bias,normalized,factor:2.827", "silu"},
    {"kimi-k2.5", {7168, 2048, 384, 8, 2048, 61, 60}, "sigmoid,bias,normalized,factor:2.827", "silu"},
    {"kimi-k3",
     {7168, 3072, 896, 16, 6144, 93, 92},
     kSigmoid,
     "situ,beta:4,linear-beta:25,latent:3584,latent-norm:1e-05"},
    {"llama-4-maverick", {5120, 8192, 128, 1, 8192, 48, 24}, "sigmoid,input-weighted", "silu"},
    {"llama-4-scout", {5120, 8192, 16, 1, 8192, 48, 48}, "sigmoid,input-weighted", "silu"},
    {"longcat-flash", {6144, 2048, 512, 12, 0, 28, 28}, "softmax,bias,factor:6,zero:256", "silu"},
    {"mimo-v2-flash", {4096, 2048, 256, 8, 0, 48, 47}, kSigmoid, "silu"},
    {"minimax-m2.5", {3072, 1536, 256, 8, 0, 62, 62}, kSigmoid, "silu"},
    {"minimax-m3",
     {6144, 3072, 128, 4, 3072, 60, 57},
     "sigmoid,bias,normalized,factor:2",
     "swiglu-oai,limit:7,alpha:1.702"},
    {"mixtral-8x22b", {6144, 16384, 8, 2, 0, 56, 56}, "chosen-softmax", "silu"},
    {"mixtral-8x7b", {4096, 14336, 8, 2, 0, 32, 32}, "chosen-softmax", "silu"},
    {"nemotron-3-nano",
     {2688, 1856, 128, 6, 3712, 52, 23},
     "sigmoid,bias,normalized,factor:2.5",
     "relu2,ungated"},
    {"nemotron-3-super",
     {4096, 2688, 512, 22, 5376, 88, 40},
     "sigmoid,bias,normalized,factor:5",
     "relu2,ungated,latent:1024"},
    {"nemotron-3-ultra",
     {8192, 5120, 512, 22, 10240, 108, 48},
     "sigmoid,bias,normalized,factor:5",
     "relu2,ungated,latent:2048"},
    {"olmoe-1b-7b", {2048, 1024, 64, 8, 0, 16, 16}, "softmax", "silu"},
    {"phi-3.5-moe", {4096, 6400, 16, 2, 0, 32, 32}, "sparsemixer", "silu"},
    {"qwen1.5-moe-a2.7b", {2048, 1408, 60, 4, 5632, 24, 24}, "softmax", "silu,shared-gate"},
    {"qwen2-57b-a14b", {3584, 2560, 64, 8, 20480, 28, 28}, "softmax", "silu,shared-gate"},
    {"qwen3-235b-a22b", {4096, 1536, 128, 8, 0, 94, 94}, "softmax,normalized", "silu"},
    {"qwen3-30b-a3b", {2048, 768, 128, 8, 0, 48, 48}, "softmax,normalized", "silu"},
    {"qwen3-coder-480b-a35b", {6144, 2560, 160, 8, 0, 62, 62}, "softmax,normalized", "silu"},
    {"qwen3-next-80b-a3b", {2048, 512, 512, 10, 512, 48, 48}, "softmax,normalized", "silu,shared-gate"},
    {"qwen3.5-35b-a3b", {2048, 512, 256, 8, 512, 40, 40}, "softmax,normalized", "silu,shared-gate"},
    {"qwen3.5-397b-a17b", {4096, 1024, 512, 10, 1024, 60, 60}, "softmax,normalized", "silu,shared-gate"},
    {"step-3.7-flash", {4096, 1280, 288, 8, 1280, 45, 42}, "sigmoid,bias,normalized,factor:3", "silu"},
};

std::vector<int64_t> published_sizes_of(const ModelBlock& b) {
  const MoeShape& s = b.shape;
  return {s.hidden, s.mlp_dim, s.experts, s.topk, s.shared_dim, b.num_layers, b.num_moe_layers};
}

TEST(Presets, AreTheModels) {
  std::vector<std::string> names;
  for (const Published& published : kPublished) {
    names.push_back(published.name);
    const Preset preset = load_preset(published.name);
    EXPECT_EQ(published_sizes_of(preset.block), published.sizes) << published.name;
    EXPECT_EQ(to_string(preset.block.shape.router), published.router) << published.name;
    EXPECT_EQ(to_string(preset.block.shape.form), published.form) << published.name;
    const bool draws = preset.block.shape.router.score == RouterScore::sparsemixer;  // in training
    EXPECT_EQ(preset.block.assumed.size(), draws ? 1u : 0u) << published.name;
    EXPECT_FALSE(preset.source.empty()) << published.name;
    EXPECT_EQ(preset.block.left_out.empty(), published.name != std::string("gemma-4-26b-a4b"))
        << published.name << ": " << left_out_words(preset.block);
  }
  EXPECT_EQ(preset_names(), names);
}

// A gated block has 6 H (k M + S) FLOPs for a token; other forms differ. The numbers of weights follow from
// the models' shapes.
TEST(Presets, HaveTheWorkAndTheWeightsOfTheirForm) {
  const auto block = [](const std::string& name) { return load_preset(name).block; };
  EXPECT_EQ(flops_per_token(block("qwen3-30b-a3b")), 6.0 * 2048 * 8 * 768 + 2.0 * 2048 * 128);
  EXPECT_EQ(weight_bytes(block("qwen3-30b-a3b"), 2), 2 * (128.0 * 3 * 2048 * 768 + 2048 * 128));
  EXPECT_EQ(flops_per_token(block("deepseek-v3")), 6.0 * 7168 * (8 * 2048 + 2048) + 2.0 * 7168 * 256);
  EXPECT_EQ(flops_per_token(block("nemotron-3-nano")), 4.0 * 2688 * (6 * 1856 + 3712) + 2.0 * 2688 * 128);
  const double k3 = 6.0 * 16 * 3584 * 3072 + 6.0 * 7168 * 6144 + 4.0 * 7168 * 3584 + 2.0 * 7168 * 896;
  EXPECT_EQ(flops_per_token(block("kimi-k3")), k3);
  const double zero = 6.0 * 6144 * 12 * 512 / 768 * 2048 + 2.0 * 6144 * 768;
  EXPECT_EQ(flops_per_token(block("longcat-flash")), zero);
  const double oss = 32.0 * (3.0 * 2880 * 2880 + 2 * 2880 + 2880) + 2880 * 32;
  EXPECT_EQ(weight_bytes(block("gpt-oss-20b"), 2), 2 * oss);
}

TEST(Presets, OnlyThoseThatSaySoRunWithoutAPart) {
  for (const std::string& name : preset_names()) {
    const Preset preset = load_preset(name);
    if (preset.block.left_out.empty() || preset.runs_without_left_out) {
      EXPECT_NO_THROW(refuse_left_out(preset)) << name;
    } else {
      EXPECT_THROW(refuse_left_out(preset), InputError) << name;
    }
  }
  EXPECT_TRUE(load_preset("gemma-4-26b-a4b").runs_without_left_out);
  EXPECT_FALSE(load_preset("kimi-k3").runs_without_left_out);
}

TEST(Presets, RefuseFilesThatMakeNoSense) {
  const std::string config = R"("config": {"hidden_size": 4, "num_hidden_layers": 1, "num_experts": 2,
      "num_experts_per_tok": 1, "moe_intermediate_size": 3, "model_type": "qwen3_moe"})";
  EXPECT_NO_THROW(read_preset(R"({"source": "s", )" + config + "}", "own"));
  const std::vector<std::string> bad = {"{}",
                                        R"({"source": 1, )" + config + "}",
                                        R"({"source": "s"})",
                                        R"({"source": "s", "left_out": ["a"], )" + config + "}",
                                        R"({"source": "s", "left_out": "a", )" + config + "}",
                                        R"({"source": "s", "more": 1, )" + config + "}",
                                        R"({"source": "s", "config": []})"};
  for (const std::string& text : bad) EXPECT_THROW(read_preset(text, "own"), InputError) << text;
  EXPECT_THROW(load_preset("qwen3-30b"), InputError);
}

TEST(Presets, TheUsersOwnFolderHasToBeThere) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("mine.json")) << R"({"source": "me", "config": {"model_type": "qwen3_moe",
    "hidden_size": 32, "moe_intermediate_size": 32, "intermediate_size": 64, "num_experts": 4,
    "num_experts_per_tok": 2, "norm_topk_prob": true, "num_hidden_layers": 2, "decoder_sparse_step": 1,
    "mlp_only_layers": [], "hidden_act": "silu"}})";
  setenv("MOEHILL_MODELS", folder.path().c_str(), 1);
  EXPECT_EQ(load_preset("mine").block.shape.hidden, 32);
  for (const std::string& other : {folder.file("none"), folder.file("mine.json")}) {
    setenv("MOEHILL_MODELS", other.c_str(), 1);
    EXPECT_THROW(preset_names(), InputError) << other;
    EXPECT_THROW(load_preset("deepseek-v3"), InputError) << other;
  }
  unsetenv("MOEHILL_MODELS");
}

// The released configurations in a folder are read as --config reads them. Each is a block with the values of
// that model's preset, or is called dense.
TEST(Configs, OfAFolderAreRead) {
  const char* folder = std::getenv("MOEHILL_HF_CONFIGS");
  if (folder == nullptr) GTEST_SKIP() << "MOEHILL_HF_CONFIGS names no folder of config.json files";
  int num_files = 0, num_dense = 0, num_known = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    ++num_files;
    const std::string path = entry.path().string();
    try {
      const ModelBlock block = describe_model_block(path, std::nullopt);
      std::string model = entry.path().stem().string();
      const size_t dashes = model.find("--");
      if (dashes != std::string::npos) model.replace(dashes, 2, "/");
      for (const std::string& name : preset_names()) {
        const Preset preset = load_preset(name);
        if (preset.source != "config.json of " + model) continue;
        ++num_known;
        EXPECT_EQ(published_sizes_of(block), published_sizes_of(preset.block)) << path;
        EXPECT_EQ(block.shape.router, preset.block.shape.router) << path;
        EXPECT_EQ(block.shape.form, preset.block.shape.form) << path;
        EXPECT_TRUE(block.assumed.empty()) << path << ": " << block.assumed.front();
      }
      if (!block.left_out.empty()) {
        EXPECT_THROW(load_model_block(path, std::nullopt), InputError) << path;
      }
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("dense model"), std::string::npos)
          << path << ": " << error.what();
      ++num_dense;
    }
  }
  EXPECT_GT(num_files, 0) << folder;
  EXPECT_LT(num_dense, num_files);
  RecordProperty("files", num_files);
  RecordProperty("known", num_known);
}

}  // namespace
}  // namespace moehill
