// Implementation of catalog/layers.h. Configurations say in six ways which layers have experts: a kind for
// each layer, a list of layers, a number of dense layers at the beginning, a range, every n-th layer, and
// exceptions. A later way removes layers from those that the earlier ways have left.
#include "moehill/catalog/layers.h"

#include <algorithm>
#include <charconv>

#include "moehill/base/parse.h"

namespace moehill {
namespace {

constexpr int64_t kMostLayers = 10000;

// Returns for each layer of a hybrid model whether it has experts, from a letter or a word for each layer;
// nothing if the model is not hybrid.
std::optional<std::vector<bool>> hybrid_layers(const ConfigKeys& keys) {
  std::vector<bool> with;
  const std::string pattern = keys.text_or("hybrid_override_pattern", "");
  for (const char kind : pattern) {
    if (std::string("M*-E").find(kind) == std::string::npos)
      keys.refuse("hybrid_override_pattern", "a letter for each layer: M, *, - or E");
    with.push_back(kind == 'E');
  }
  if (!with.empty()) return with;
  for (const char* key : {"layers_block_type", "mlp_layer_types"}) {
    const auto kinds = keys.texts(key);
    if (!kinds) continue;
    for (const std::string& kind : *kinds) with.push_back(kind == "moe" || kind == "sparse");
    // A list that names only attention and mamba says nothing about the feed-forward parts.
    if (std::find(with.begin(), with.end(), true) != with.end()) return with;
    with.clear();
  }
  return std::nullopt;
}

int64_t number_of_layers(const ConfigKeys& keys, const std::optional<std::vector<bool>>& hybrid) {
  const std::string key = keys.first_of({"num_hidden_layers", "num_layers", "n_layers"});
  if (key.empty() && hybrid) return std::ssize(*hybrid);
  return keys.integer(key.empty() ? "num_hidden_layers" : key, 1, kMostLayers);
}

// Returns a list of layers, or nothing if the key is absent.
std::optional<std::vector<int64_t>> listed_layers(const ConfigKeys& keys, const std::string& key) {
  const auto list = keys.integers(key, 0, kMostLayers);
  if (!list && keys.has(key)) keys.refuse(key, "a list of layers");
  return list;
}

// Returns the layers of a list, or of a text with commas.
std::optional<std::vector<int64_t>> named_layers(const ConfigKeys& keys) {
  const std::string key = "moe_layers_enum";
  if (!keys.has(key)) return listed_layers(keys, "moe_layers");
  std::vector<int64_t> layers;
  for (const std::string& part : split(keys.text_or(key, ""), ',')) {
    int64_t layer = -1;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), layer);
    if (error != std::errc{} || end != part.data() + part.size() || layer < 0 || layer > kMostLayers)
      keys.refuse(key, "numbers of layers with commas between them");
    layers.push_back(layer);
  }
  return layers;
}

void leave_out(std::vector<bool>& with, const std::vector<int64_t>& layers) {
  for (const int64_t layer : layers) {
    if (layer >= 0 && layer < std::ssize(with)) with[static_cast<size_t>(layer)] = false;
  }
}

// Keeps only every `period`-th layer, counted so that layer `offset` is one of them.
void keep_every(std::vector<bool>& with, int64_t period, int64_t offset) {
  for (int64_t i = 0; i < std::ssize(with); ++i)
    with[static_cast<size_t>(i)] = with[static_cast<size_t>(i)] && i % period == offset % period;
}

void keep_range(std::vector<bool>& with, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < std::ssize(with); ++i)
    with[static_cast<size_t>(i)] = with[static_cast<size_t>(i)] && i >= begin && i < end;
}

void apply_frequency(const ConfigKeys& keys, const std::string& key, std::vector<bool>& with) {
  const auto list = keys.integers(key, 0, 1);
  if (!list) return keep_every(with, keys.integer_or(key, 1, 1, kMostLayers), 0);
  if (std::ssize(*list) < std::ssize(with)) keys.refuse(key, "a list with a value for each layer");
  for (size_t i = 0; i < with.size(); ++i) with[i] = with[i] && (*list)[i] == 1;
}

}  // namespace

std::vector<bool> layers_with_experts(const ConfigKeys& keys) {
  const auto hybrid = hybrid_layers(keys);
  const int64_t num = number_of_layers(keys, hybrid);
  if (hybrid && std::ssize(*hybrid) < num)
    keys.refuse(keys.first_of({"hybrid_override_pattern", "layers_block_type", "mlp_layer_types"}),
                "a kind for each layer");
  std::vector<bool> with = hybrid ? *hybrid : std::vector<bool>(static_cast<size_t>(num), true);
  with.resize(static_cast<size_t>(num));
  keys.first_of({"first_k_dense_replace", "num_dense_layers", "moe_layer_freq", "moe_layers",
                 "moe_layers_enum"});  // they count as known even if they are not needed
  if (hybrid) return with;
  const auto listed = named_layers(keys);
  if (listed) {
    std::fill(with.begin(), with.end(), false);
    for (const int64_t layer : *listed) {
      if (layer < num) with[static_cast<size_t>(layer)] = true;
    }
    return with;
  }
  const std::string first =
      keys.first_of({"first_k_dense_replace", "num_dense_layers", "moe_layer_num_skipped"});
  const int64_t dense_first = first.empty() ? 0 : keys.integer(first, 0, num);
  // -1 means the last layer of the model.
  const int64_t last = keys.integer_or("moe_layer_end_index", -1, -1, kMostLayers);
  keep_range(with, std::max(dense_first, keys.integer_or("moe_layer_start_index", 0, 0, num)),
             last < 0 ? num : last + 1);
  apply_frequency(keys, "moe_layer_freq", with);
  const auto last_of = [&](const char* key) {
    const int64_t period = keys.integer_or(key, 1, 1, kMostLayers);
    keep_every(with, period, period - 1);
  };
  for (const char* key : {"decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval"})
    last_of(key);
  const int64_t period = keys.integer_or("expert_layer_period", 1, 1, kMostLayers);
  keep_every(with, period, keys.integer_or("expert_layer_offset", 0, 0, kMostLayers));
  leave_out(with, listed_layers(keys, "mlp_only_layers").value_or(std::vector<int64_t>{}));
  return with;
}

}  // namespace moehill
