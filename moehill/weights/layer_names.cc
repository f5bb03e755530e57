// Recognises the names that Hugging Face models give to the tensors of a layer. Names differ between
// families; kBlocks lists the parts that may stand between a layer's prefix and "experts.".
#include "moehill/weights/layer_names.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

constexpr std::string_view kBlocks[] = {
    "mlp.", "block_sparse_moe.", "feed_forward.", "ffn.", "mixer.", "moe.", ""};

// Returns the number with which a text begins, if a point follows it.
std::optional<int64_t> number_before_point(std::string_view text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool ends = end < text.data() + text.size() && *end == '.';
  return error == std::errc() && ends && number >= 0 ? std::optional(number) : std::nullopt;
}

bool begins_experts(std::string_view rest) {
  return rest.starts_with("experts.") || rest.starts_with("input_linear.");  // of Granite
}

std::optional<std::string> block_of(std::string_view rest) {
  for (const std::string_view block : kBlocks) {
    if (rest.starts_with(block) && begins_experts(rest.substr(block.size()))) return std::string(block);
  }
  return std::nullopt;
}

// Splits the name of an expert's tensor behind its layer, for example into "model.layers.3." and "mlp.".
// Returns nothing for other names.
std::optional<LayerNames> layer_of(const std::string& name) {
  constexpr std::string_view kLayers = "layers.";
  for (size_t at = name.find(kLayers); at != std::string::npos; at = name.find(kLayers, at + 1)) {
    if (at > 0 && name[at - 1] != '.') continue;
    const std::string_view behind = std::string_view(name).substr(at + kLayers.size());
    const std::optional<int64_t> layer = number_before_point(behind);
    if (!layer) continue;
    const size_t length = at + kLayers.size() + behind.find('.') + 1;
    if (const auto block = block_of(std::string_view(name).substr(length)))
      return LayerNames{*layer, name.substr(0, length), *block};
  }
  return std::nullopt;
}

// Returns "1 to 26", or "1, 3, 5 ..." if some layers between have no experts.
std::string layers_text(const std::map<int64_t, std::map<std::string, LayerNames>>& layers) {
  const int64_t first = layers.begin()->first, last = layers.rbegin()->first;
  if (first == last) return std::to_string(first);
  if (last - first + 1 == std::ssize(layers)) return fmt::format("{} to {}", first, last);
  std::vector<int64_t> some;
  for (const auto& [layer, names] : layers) some.push_back(layer);
  const bool all = some.size() <= 8;
  some.resize(std::min<size_t>(some.size(), 8));
  return fmt::format("{}{}", fmt::join(some, ", "), all ? "" : " ...");
}

}  // namespace

LayerNames find_layer(const Checkpoint& checkpoint, std::optional<int64_t> layer) {
  // For each layer: the prefixes that its names have.
  std::map<int64_t, std::map<std::string, LayerNames>> layers;
  checkpoint.visit_names("", [&](const std::string& name) {
    const std::optional<LayerNames> names = layer_of(name);
    // Layers that predict further tokens (mtp) are numbered from 0 again, so they are skipped.
    if (names && !names->prefix.starts_with("mtp.")) layers[names->layer].emplace(names->prefix, *names);
  });
  const std::string what = "--weights " + checkpoint.path();
  if (layers.empty())
    throw input_error(what, "no layer with experts",
                      "a Mixture-of-Experts model in the names of Hugging Face",
                      "name the folder of such a model");
  const auto found = layer ? layers.find(*layer) : layers.begin();
  if (found == layers.end())
    throw input_error("--layer", std::to_string(*layer), "a layer with experts: " + layers_text(layers),
                      fmt::format("use --layer {}", layers.begin()->first));
  if (found->second.size() > 1) {
    std::vector<std::string> prefixes;
    for (const auto& [prefix, names] : found->second) prefixes.push_back(quoted(prefix));
    throw input_error(what, fmt::format("layer {} as {}", found->first, fmt::join(prefixes, " and ")),
                      "one model", "write the one that is meant to a file of its own");
  }
  return found->second.begin()->second;
}

std::set<int64_t> expert_numbers(const Checkpoint& checkpoint, const LayerNames& names) {
  std::set<int64_t> numbers;
  const std::string prefix = names.of_block("experts.");
  checkpoint.visit_names(prefix, [&](const std::string& name) {
    if (const auto number = number_before_point(std::string_view(name).substr(prefix.size())))
      numbers.insert(*number);
  });
  return numbers;
}

std::set<std::string> unused_names(const Checkpoint& checkpoint, const LayerNames& names,
                                   const std::set<std::string>& used) {
  std::vector<std::string> prefixes = {names.of_block("")};
  if (names.block.empty()) prefixes = {names.prefix + "experts.", names.prefix + "router."};
  prefixes.push_back(names.prefix + "shared_mlp.");
  std::set<std::string> unused;
  const std::string experts = names.of_block("experts.");
  for (const std::string& prefix : prefixes) {
    checkpoint.visit_names(prefix, [&](const std::string& name) {
      if (used.count(name) > 0) return;
      const bool of_expert =
          name.starts_with(experts) && number_before_point(std::string_view(name).substr(experts.size()));
      unused.insert(
          quoted(of_expert ? experts + "*" + name.substr(name.find('.', experts.size())) : name, 120));
    });
  }
  return unused;
}

}  // namespace moehill
