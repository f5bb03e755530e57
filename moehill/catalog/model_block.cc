// Implementation of catalog/model_block.h: it reads number of experts, choices, widths, router and expert
// form of one layer.
#include "moehill/catalog/model_block.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/catalog/families.h"
#include "moehill/catalog/layers.h"

namespace moehill {
namespace {

constexpr int64_t kMostDimension = 1 << 24;
constexpr int64_t kMostBytes = 8 << 20;  // of a config.json

const std::vector<std::string> kExperts = {"num_experts", "num_local_experts", "n_routed_experts",
                                           "moe_num_experts", "num_moe_experts"};
const std::vector<std::string> kChoices = {"num_experts_per_tok",
                                           "num_experts_per_token",
                                           "experts_per_token",
                                           "top_k_experts",
                                           "moe_topk",
                                           "moe_k",
                                           "moe_top_k"};

std::string source_of(const std::string& path) { return "--config " + quoted(path); }

// Returns the key with the width of a dense layer's MLP, for messages.
std::string dense_width_key(const ConfigKeys& keys) {
  return keys.first_of(
      {"dense_intermediate_size", "intermediate_size_mlp", "ffn_hidden_size", "intermediate_size"});
}

std::string dense_words(const ConfigKeys& keys) {
  const std::string width = dense_width_key(keys);
  if (width.empty() || keys.integers(width, 1, kMostDimension)) return "";
  return fmt::format(", whose feed-forward width is {}", keys.integer(width, 1, kMostDimension));
}

// Returns the key with the number of experts. Throws InputError if the model has none.
std::string experts_key(const ConfigKeys& keys) {
  const std::string key = keys.first_of(kExperts);
  const bool listed = !key.empty() && keys.integers(key, 0, 65536).has_value();
  const bool switched_off = !keys.flag_or("enable_moe_block", true);
  if (!key.empty() && !switched_off && (listed || keys.integer(key, 0, 65536) > 0)) return key;
  throw input_error(keys.source(),
                    fmt::format("a dense model ({}){}", keys.text_or("model_type", "without model_type"),
                                dense_words(keys)),
                    fmt::format("a model with experts, that is with one of {}", fmt::join(kExperts, ", ")),
                    "give the config.json of a Mixture-of-Experts model");
}

// Returns the layer that was asked for, or else the first layer whose experts a router chooses. Layers before
// `first_routed` choose by a table. The refusal of a dense layer names the layers that are allowed.
int64_t choose_layer(const ConfigKeys& keys, const std::vector<bool>& with, int64_t first_routed,
                     std::optional<int64_t> layer) {
  std::vector<int64_t> moe;
  for (size_t i = 0; i < with.size(); ++i) {
    if (with[i]) moe.push_back(static_cast<int64_t>(i));
  }
  if (moe.empty()) {
    throw input_error(keys.source(), "a model without a layer that has experts", "at least one",
                      "correct the keys that say which layers have experts");
  }
  const std::string allowed =
      fmt::format("a layer with experts, {} from {} to {}", moe.size(), moe.front(), moe.back());
  if (layer && (*layer < 0 || *layer >= std::ssize(with)))
    throw input_error("--layer", fmt::format("{}, of {}", *layer, count_text(std::ssize(with), "layer")),
                      allowed, "choose one of them");
  if (layer && !with[static_cast<size_t>(*layer)])
    throw input_error("--layer", fmt::format("{}, which is a dense layer{}", *layer, dense_words(keys)),
                      allowed, "choose one of them, or leave --layer out");
  if (layer) return *layer;
  const auto routed = std::find_if(moe.begin(), moe.end(), [&](int64_t i) { return i >= first_routed; });
  return routed == moe.end() ? moe.front() : *routed;
}

// Reads the sizes. A key may have one value for all layers, or a list with one for each layer.
void read_shape(const ConfigKeys& keys, const Family& family, ModelBlock& block) {
  MoeShape& shape = block.shape;
  const int64_t layer = block.layer;
  shape.hidden = keys.integer("hidden_size", 1, kMostDimension);
  const std::string experts = experts_key(keys);
  shape.experts = static_cast<int>(keys.integer_at(experts, layer, 1, 65536));
  const std::string choices = keys.first_of(kChoices);
  if (choices.empty()) keys.refuse(kChoices.front(), "the experts of a token, 1 to 1024", "add it");
  // A token may choose zero experts too, so it may have more choices than there are experts.
  const int64_t among = shape.experts + keys.integer_or("zero_expert_num", 0, 0, 65536);
  shape.topk = static_cast<int>(keys.integer_at(choices, layer, 1, std::min<int64_t>(1024, among)));
  const std::string width = family.width_key(keys);
  if (!family.known && width == "intermediate_size")
    block.assumed.push_back("no key gives the experts' width alone: intermediate_size is taken");
  shape.mlp_dim = keys.integer_at(width, layer, 1, kMostDimension);
  shape.shared_dim = family.shared_width(keys, layer, shape.mlp_dim);
}

}  // namespace

ModelBlock read_model_block(const ConfigKeys& keys, std::optional<int64_t> layer) {
  ModelBlock block;
  block.model_type = keys.text_or("model_type", "");
  // This is checked first, so that a dense model gets the message that it is dense, and not one about a key
  // that it lacks.
  experts_key(keys);
  const Family family = family_of(block.model_type);
  const std::vector<bool> with = layers_with_experts(keys);
  block.num_layers = std::ssize(with);
  block.num_moe_layers = std::count(with.begin(), with.end(), true);
  const int64_t hash_layers = keys.integer_or("num_hash_layers", 0, 0, block.num_layers);
  block.layer = choose_layer(keys, with, hash_layers, layer);
  if (!family.known) {
    block.assumed.push_back(fmt::format("model_type {} is not known: the block is read by its keys",
                                        block.model_type.empty() ? "(none)" : block.model_type));
  }
  read_shape(keys, family, block);
  read_router(keys, family, block, block.layer < hash_layers);
  read_expert_form(keys, family, block);
  refuse_impossible(block.shape.router, block.shape.experts, block.shape.topk);
  // A key about experts that nothing has read might change the block. The user is told of it.
  for (const std::string& key : keys.unused())
    block.assumed.push_back(fmt::format("{} is not known and taken to change nothing in the block", key));
  return block;
}

void refuse_left_out(const ModelBlock& block, const std::string& source) {
  if (block.left_out.empty()) return;
  const LeftOut& first = block.left_out.front();
  const MoeShape& s = block.shape;
  throw input_error(
      fmt::format("{}: {}", source, first.key),
      fmt::format("{} ({}), which is not supported yet", first.value, first.what),
      "a block of experts that see rows of the model's width, and of one shared expert",
      fmt::format(
          "for the shape alone: --hidden {} --mlp-dim {} --experts {} --topk {} --shared-expert-dim {}",
          s.hidden, s.mlp_dim, s.experts, s.topk, s.shared_dim));
}

ModelBlock describe_model_block(const std::string& path, std::optional<int64_t> layer) {
  const std::string source = source_of(path);
  const std::string text =
      read_input_file({"--config", path, "a model's config.json", "check the path"}, kMostBytes);
  return read_model_block(ConfigKeys(text, source), layer);
}

ModelBlock load_model_block(const std::string& path, std::optional<int64_t> layer) {
  const ModelBlock block = describe_model_block(path, layer);
  refuse_left_out(block, source_of(path));
  return block;
}

double weight_bytes(const ModelBlock& block, double bytes) {
  const MoeShape& s = block.shape;
  const ExpertForm& form = block.shape.form;
  const auto size = [](int64_t n) { return static_cast<double>(n); };
  const double rows = size(form.latent > 0 ? form.latent : s.hidden), matrices = form.num_matrices();
  // Counts the matrices and biases of the experts, the two products around them, the shared expert and the
  // router.
  double weights = s.experts * matrices * rows * size(s.mlp_dim);
  if (form.biases) weights += s.experts * (size(s.mlp_dim) * (matrices - 1) + rows);
  if (form.latent > 0) weights += 2 * size(s.hidden) * rows;
  weights += matrices * size(s.hidden) * size(s.shared_dim) + (form.shared_gate ? size(s.hidden) : 0);
  weights += size(s.hidden) * num_logits(s.router, s.experts);
  return weights * bytes;
}

double flops_per_token(const ModelBlock& block) {
  const MoeShape& s = block.shape;
  const ExpertForm& form = block.shape.form;
  const auto size = [](int64_t n) { return static_cast<double>(n); };
  const double rows = size(form.latent > 0 ? form.latent : s.hidden), matrices = form.num_matrices();
  // Zero experts compute nothing. If all experts are chosen equally often, this many of a token's choices are
  // real experts.
  const double real = s.topk * size(s.experts) / num_logits(s.router, s.experts);
  return 2 * matrices * (real * rows * size(s.mlp_dim) + size(s.hidden) * size(s.shared_dim)) +
         (form.latent > 0 ? 4 * size(s.hidden) * rows : 0) +
         2 * size(s.hidden) * num_logits(s.router, s.experts);
}

}  // namespace moehill
