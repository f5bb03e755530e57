// Predicted memory of a set of runs: the same lay-out code that allocates, asked for its size.
#include <algorithm>
#include <cmath>

#include "moehill/parallel/operands.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

double matrix_bytes(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(dtype_bytes(dtype));
}

// Rows that a device's plan is expected to have: its experts' share of the assignments (uniform routing), all
// of them where they are masked, capacity rows where they are padded.
int64_t expected_rows(const RunConfig& config, const BlockShare& share) {
  const MoeShape& shape = config.shape;
  const int64_t experts = share.expert_end - share.expert_begin;
  if (experts == 0) return 0;
  const Capacity& capacity = config.block.capacity;
  if (share.scope == PlanScope::masked) return shape.assignments();
  if (capacity.policy == CapacityPolicy::pad) {
    return experts * capacity_rows(capacity, shape.assignments(), shape.experts);
  }
  return shape.assignments() * experts / shape.experts;
}

double run_bytes(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  double bytes = 0;
  for (int rank = 0; rank < config.num_devices; ++rank) {
    const BlockShare share = block_share(config, rank);
    const int64_t rows = expected_rows(config, share);
    const int64_t wave = std::max<int64_t>(rows / 8, shape.assignments() / shape.experts);
    bytes += Block::scratch_bytes(shape, config.block, share, config.threads_per_device, rows, wave);
    if (config.mode == ParallelMode::none) continue;
    const bool backward = config.block.pass == Pass::forward_backward;
    bytes += matrix_bytes(shape.tokens, shape.hidden, DType::f32);
    if (rank > 0) bytes += (backward ? 2 : 1) * matrix_bytes(shape.tokens, shape.hidden, shape.dtype);
    if (backward && shape.shared_dim > 0 &&
        (config.shared_placement == SharedPlacement::sliced || rank > 0)) {
      const WeightKey key = weight_key(config);
      bytes += mlp_bytes(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
    }
  }
  return bytes;
}

}  // namespace

std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& runs) {
  std::vector<WeightKey> seen;
  std::vector<MoeShape> seen_tokens;
  double weights = 0, gradients = 0, tokens = 0, scratch = 0;
  for (const RunConfig& config : runs) {
    const MoeShape& shape = config.shape;
    const bool backward = config.block.pass == Pass::forward_backward;
    const WeightKey key = weight_key(config);
    if (std::find(seen.begin(), seen.end(), key) == seen.end()) {
      seen.push_back(key);
      double bytes = mlp_bytes(key.layout, key.experts, key.hidden, key.mlp_dim, key.dtype, key.fused);
      if (key.shared_dim > 0) {
        bytes += mlp_bytes(key.layout, 1, key.hidden, key.shared_dim, key.dtype, key.shared_fused);
      }
      weights += bytes;
      if (backward) gradients += bytes;
    }
    const auto same_tokens = [&](const MoeShape& s) {
      return s.tokens == shape.tokens && s.hidden == shape.hidden && s.dtype == shape.dtype;
    };
    if (std::find_if(seen_tokens.begin(), seen_tokens.end(), same_tokens) == seen_tokens.end()) {
      seen_tokens.push_back(shape);
      tokens += (backward ? 3 : 2) * matrix_bytes(shape.tokens, shape.hidden, shape.dtype);
    }
    scratch += run_bytes(config);
  }
  return {{"weights", weights}, {"gradients", gradients}, {"x, y, dx", tokens}, {"work space", scratch}};
}

}  // namespace moehill
