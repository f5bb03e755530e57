// Names of a layer's tensors: what stands before them, and which experts there are.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "moehill/weights/checkpoint.h"

namespace moehill {

struct LayerNames {
  int64_t layer = 0;
  std::string prefix;  // "model.layers.3."
  std::string block;   // "mlp.", "block_sparse_moe.", "feed_forward.", "ffn.", or nothing
  std::string of_block(const std::string& rest) const { return prefix + block + rest; }
};

// layer: none is the first that has experts. Throws InputError where that layer has none, or two models have
// it.
LayerNames find_layer(const Checkpoint& checkpoint, std::optional<int64_t> layer);

// Their numbers in names such as "model.layers.3.mlp.experts.17.up_proj.weight".
std::set<int64_t> expert_numbers(const Checkpoint& checkpoint, const LayerNames& names);

// Tensors of the block that are not in `used`, the number of an expert as a *; quoted.
std::set<std::string> unused_names(const Checkpoint& checkpoint, const LayerNames& names,
                                   const std::set<std::string>& used);

}  // namespace moehill
