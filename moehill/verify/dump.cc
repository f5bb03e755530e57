#include "moehill/verify/dump.h"

#include <filesystem>

#include "moehill/base/npy.h"

namespace moehill {
namespace {

void dump_matrix(const std::string& path, const MatView& matrix) {
  write_npy(path, {matrix.rows, matrix.cols}, [&](int64_t row, std::span<float> values) {
    for (int64_t c = 0; c < matrix.cols; ++c) values[c] = matrix.at(row, c);
  });
}

void dump_array(const std::string& path, const float* data, int64_t rows, int64_t cols) {
  write_npy(path, {rows, cols}, [&](int64_t row, std::span<float> values) {
    std::copy_n(data + row * cols, cols, values.begin());
  });
}

// [E, K, N], or [K, N] of the one matrix of a shared expert, whose num_experts is 0.
void dump_weights(const std::string& path, const LogicalWeights& weights, int num_experts) {
  const int64_t k = weights.rows(), n = weights.num_columns;
  if (k == 0 || n == 0) return;
  std::vector<int64_t> shape = {num_experts, k, n};
  if (num_experts == 0) shape.erase(shape.begin());
  write_npy(path, shape, [&](int64_t row, std::span<float> values) {
    for (int64_t c = 0; c < n; ++c) values[c] = weights.at(row / k, row % k, c);
  });
}

// [G, N], or [1, N] of the gate of the shared expert.
void dump_vectors(const std::string& path, const LogicalWeights& weights, int64_t num_groups) {
  if (weights.rows() == 0) return;
  write_npy(path, {num_groups, weights.num_columns}, [&](int64_t row, std::span<float> values) {
    for (int64_t c = 0; c < weights.num_columns; ++c) values[c] = weights.at(row, 0, c);
  });
}

void dump_all_weights(const std::string& prefix, const BlockWeights& weights, int num_experts) {
  dump_weights(prefix + "w1.npy", weights.w1, num_experts);
  dump_weights(prefix + "w2.npy", weights.w2, num_experts);
  dump_weights(prefix + "w3.npy", weights.w3, num_experts);
  dump_weights(prefix + "s1.npy", weights.s1, 0);
  dump_weights(prefix + "s2.npy", weights.s2, 0);
  dump_weights(prefix + "s3.npy", weights.s3, 0);
  dump_vectors(prefix + "b1.npy", weights.b1, num_experts);
  dump_vectors(prefix + "b2.npy", weights.b2, num_experts);
  dump_vectors(prefix + "b3.npy", weights.b3, num_experts);
  dump_vectors(prefix + "sg.npy", weights.sg, 1);
}

void dump_router(const std::string& at, const BlockTensors& tensors) {
  const Router& router = *tensors.router;
  const int64_t num_tokens = tensors.shape.tokens, num = tensors.shape.num_logits();
  dump_array(at + "logits.npy", tensors.logits, num_tokens, num);
  if (!router.bias.empty()) dump_array(at + "router_bias.npy", router.bias.data(), 1, num);
  if (!router.expert_scale.empty()) dump_array(at + "router_scale.npy", router.expert_scale.data(), 1, num);
  if (router.experts_of_id.empty()) return;
  write_npy(at + "router_table.npy", {router.rule.hash_ids, tensors.shape.topk}, router.experts_of_id);
  write_npy(at + "router_ids.npy", {num_tokens}, router.id_of_token);
}

}  // namespace

void dump_block(const BlockTensors& tensors, Pass pass, const std::string& folder) {
  std::filesystem::create_directories(folder);
  const std::string at = folder + "/";
  const int64_t num_tokens = tensors.shape.tokens, topk = tensors.shape.topk;
  dump_matrix(at + "x.npy", tensors.x);
  dump_all_weights(at, tensors.weights, tensors.shape.experts);
  std::vector<int32_t> choices;
  for (size_t a = 0; a < tensors.routing->expert.size(); ++a) choices.push_back(tensors.routing->logit_of(a));
  write_npy(at + "topk_idx.npy", {num_tokens, topk}, choices);
  dump_array(at + "topk_weights.npy", tensors.routing->weight.data(), num_tokens, topk);
  if (tensors.router != nullptr) dump_router(at, tensors);
  dump_matrix(at + "y.npy", tensors.y);
  if (pass == Pass::forward) return;
  dump_matrix(at + "dx.npy", tensors.dx);
  dump_all_weights(at + "d", tensors.gradients, tensors.shape.experts);
  dump_array(at + "dp.npy", tensors.dp, num_tokens, topk);
  if (tensors.dlogits != nullptr)
    dump_array(at + "dlogits.npy", tensors.dlogits, num_tokens, tensors.shape.num_logits());
}

}  // namespace moehill
