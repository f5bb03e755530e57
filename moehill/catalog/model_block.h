// ModelBlock: the Mixture-of-Experts block of a model as its config.json says it: shape, router, expert form.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moehill/block/shape.h"
#include "moehill/catalog/config_keys.h"

namespace moehill {

// A part of a model that a block here does not have, with the key that says so.
struct LeftOut {
  std::string key, value;
  std::string what;  // "clamped SwiGLU"
};

struct ModelBlock {
  std::string model_type;
  int64_t num_layers = 0, layer = 0;  // of a layer with experts
  int64_t num_moe_layers = 0;
  MoeShape shape{};  // with router and expert form; tokens and dtype are not a model's
  std::vector<LeftOut> left_out;
  std::vector<std::string> assumed;  // sentences: what the keys do not say
};

// The block of `layer`, or of the first layer whose experts are chosen by a router. Throws InputError for a
// key whose value makes no sense, for a dense model or layer (it says so), and for a layer that there is not.
// `left_out` names the parts of the model that a block of this library does not have.
ModelBlock read_model_block(const ConfigKeys& keys, std::optional<int64_t> layer);

// Reads the block from a file, for `--config`.
ModelBlock describe_model_block(const std::string& path, std::optional<int64_t> layer);
// Throws InputError for what is left out, too.
ModelBlock load_model_block(const std::string& path, std::optional<int64_t> layer);

// Throws InputError that names the first part of the model that a block here does not have.
void refuse_left_out(const ModelBlock& block, const std::string& source);

// Bytes of the experts', the shared expert's and the router's weights of the one layer, `bytes` each.
double weight_bytes(const ModelBlock& block, double bytes);
// Counts the products alone of a token's forward pass through the layer, as the model computes it.
double flops_per_token(const ModelBlock& block);

}  // namespace moehill
