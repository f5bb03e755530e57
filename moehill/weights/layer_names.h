// This header finds the names of a layer's tensors: their prefix, and which experts there are. It reads no
// values.
//
//   const LayerNames names = find_layer(checkpoint, std::nullopt);   // the first layer with experts
//   names.of_block("experts.0.up_proj.weight");   // "model.layers.3.mlp.experts.0.up_proj.weight"
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "moehill/weights/checkpoint.h"

namespace moehill {

// LayerNames is a layer and the prefixes of its names.
struct LayerNames {
  int64_t layer = 0;
  std::string prefix;  // "model.layers.3."
  std::string block;   // "mlp.", "block_sparse_moe.", "feed_forward.", "ffn." or the like, or ""
  std::string of_block(const std::string& rest) const { return prefix + block + rest; }
};

// Finds the names of a layer; without a number, of the first layer that has experts. Throws InputError if the
// layer has no experts, or if the checkpoint holds two models with such a layer.
LayerNames find_layer(const Checkpoint& checkpoint, std::optional<int64_t> layer);

// Returns the numbers of experts in names such as "model.layers.3.mlp.experts.17.up_proj.weight".
std::set<int64_t> expert_numbers(const Checkpoint& checkpoint, const LayerNames& names);

// Returns the quoted names of the block's tensors that are not in `used`. The number of an expert is replaced
// by *.
std::set<std::string> unused_names(const Checkpoint& checkpoint, const LayerNames& names,
                                   const std::set<std::string>& used);

}  // namespace moehill
