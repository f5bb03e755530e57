// ModelBlock is the Mixture-of-Experts block of a model as its config.json describes it: shape, router and
// expert form. It reads no weights (weights/layer_weights.h does).
//
//   const ModelBlock block = load_model_block("config.json", std::nullopt);   // first layer with a router
//   block.shape.experts;
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "moehill/block/shape.h"
#include "moehill/catalog/config_keys.h"

namespace moehill {

// LeftOut is a part of the model that a block of this library does not have, with the key that says so.
struct LeftOut {
  std::string key, value;
  std::string what;  // "clamped SwiGLU"
};

// ModelBlock is one layer's block, with what it lacks and what was assumed.
struct ModelBlock {
  std::string model_type;
  int64_t num_layers = 0, layer = 0;  // the layer is one with experts
  int64_t num_moe_layers = 0;
  MoeShape shape{};  // with router and expert form; tokens and dtype are not properties of a model
  std::vector<LeftOut> left_out;
  std::vector<std::string> assumed;  // sentences about what the keys do not say
};

// Returns the block of `layer`, or of the first layer whose experts are chosen by a router. Throws InputError
// for a key whose value makes no sense, for a dense model or layer (the message says so), and for a layer
// that does not exist. `left_out` names the parts that a block of this library does not have.
ModelBlock read_model_block(const ConfigKeys& keys, std::optional<int64_t> layer);

// Reads the block from a file, for `--config`.
ModelBlock describe_model_block(const std::string& path, std::optional<int64_t> layer);
// Reads the block from a file, and throws InputError if something is left out.
ModelBlock load_model_block(const std::string& path, std::optional<int64_t> layer);

// Throws InputError that names the first part of the model that a block of this library does not have.
void refuse_left_out(const ModelBlock& block, const std::string& source);

// Returns the bytes of the weights of this layer's experts, shared expert and router, with `bytes` for each
// weight.
double weight_bytes(const ModelBlock& block, double bytes);
// Returns the FLOPs of a token's forward pass through the layer. It counts only products, as the model
// computes them.
double flops_per_token(const ModelBlock& block);

}  // namespace moehill
