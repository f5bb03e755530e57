#include "moehill/parallel/memory_model.h"

#include <algorithm>
#include <cmath>

#include "moehill/parallel/operands.h"
#include "moehill/parallel/path.h"
#include "moehill/routing/placement.h"

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
  const int64_t assignments =
      config.spread == Spread::dp ? shape.assignments() / config.num_devices : shape.assignments();
  return assignments * experts / shape.num_logits();  // choices of zero experts have no row
}

// Rows that a device is expected to send on the ragged path: each token to every device that holds one of its
// experts, P (1 - (1 - 1/P)^k) of P for uniform routing.
double expected_sent_rows(const RunConfig& config, int rank) {
  const double devices = config.num_devices;
  const double tokens = static_cast<double>(result_tokens(config, rank).size());
  return tokens * devices * (1 - std::pow(1 - 1 / devices, config.shape.topk));
}

double shared_gradient_bytes(const RunConfig& config) {
  const WeightKey key = weight_key(config);
  return key.shared_dim == 0 ? 0 : mlp_bytes(key.shared_storage());
}

// Gradients of copies that a device sends to their homes, and those that come to its own homes.
double copy_bytes(const RunConfig& config, int rank) {
  const Placement placement{config.placement};
  if (num_copies(placement) == 0) return 0;
  const std::vector<int64_t> places = copies_by_device(placement, config.num_devices);
  int64_t num = 0;
  for (int other = 0; other < config.num_devices; ++other)
    num += places[static_cast<size_t>(rank * config.num_devices + other)] +
           places[static_cast<size_t>(other * config.num_devices + rank)];
  return static_cast<double>(num) * mlp_bytes(weight_key(config).expert_storage()) / config.shape.experts;
}

// Bytes that a device's path keeps beside its block.
double path_bytes(const RunConfig& config, int rank, int num_processes) {
  const MoeShape& shape = config.shape;
  const bool backward = config.block.pass == Pass::forward_backward;
  const double rows = matrix_bytes(shape.tokens, shape.hidden, shape.dtype);
  const double sums = matrix_bytes(shape.tokens, shape.hidden, DType::f32);
  if (config.spread == Spread::none) return 0;
  if (config.spread == Spread::dp) {
    const WeightKey key = weight_key(config);
    if (!backward || rank == 0 || num_processes > 1) return 0;
    return shared_gradient_bytes(config) + mlp_bytes(key.expert_storage());
  }
  if (config.spread == Spread::ring_ag_rs) {
    const double gathered = num_processes == 1 ? 0 : backward ? 2 * rows : rows;
    return sums + gathered + (backward ? shared_gradient_bytes(config) + copy_bytes(config, rank) : 0);
  }
  if (routes_rows(config)) {
    const double row_bytes =
        static_cast<double>(shape.hidden) * static_cast<double>(dtype_bytes(shape.dtype));
    // Partial sums, and unless rows are read where they are: rows sent, sums that come back, and x and dy
    // received, as many.
    const bool in_place = config.spread == Spread::fused && num_processes == 1;
    const double kinds = in_place ? 1 : backward ? 5 : 4;
    return expected_sent_rows(config, rank) * row_bytes * kinds +
           (backward ? shared_gradient_bytes(config) + copy_bytes(config, rank) : 0);
  }
  const bool sliced = config.shared_placement == SharedPlacement::sliced;
  const double own_results = rank > 0 && num_processes == 1 ? (backward ? 2 : 1) * rows : 0;
  return sums + own_results + (backward ? copy_bytes(config, rank) : 0) +
         (backward && (sliced || rank > 0) ? shared_gradient_bytes(config) : 0);
}

double run_bytes(const RunConfig& config, int num_processes) {
  const MoeShape& shape = config.shape;
  double bytes = 0;
  for (int rank = 0; rank < config.num_devices; ++rank) {
    const BlockSpec spec = block_spec(config, rank);
    const int64_t rows = expected_rows(config, spec.share);
    const int64_t portion = std::max<int64_t>(rows / 8, shape.assignments() / shape.experts);
    bytes += BlockScratch::bytes(spec, rows, portion);
    bytes += path_bytes(config, rank, num_processes);
  }
  return bytes;
}

// Copies of the experts' weights and of x and its results in the processes after the first, as a multiple of
// the whole: the most that one of the runs needs.
struct Copies {
  double experts = 0, shared = 0, tokens = 0;
};

Copies copies_of(const RunConfig& config, int num_processes) {
  Copies copies;
  if (config.spread == Spread::none) return copies;
  for (int rank = 1; rank < num_processes; ++rank) {
    const BlockShare share = block_share(config, rank);
    copies.experts += static_cast<double>(share.expert_end - share.expert_begin) / config.shape.experts;
    copies.shared += 1;
    copies.tokens +=
        static_cast<double>(result_tokens(config, rank).size()) / static_cast<double>(config.shape.tokens);
  }
  return copies;
}

double weight_bytes(const WeightKey& key, const Copies& copies) {
  double bytes = (1 + copies.experts) * mlp_bytes(key.expert_storage());
  if (key.shared_dim > 0) {
    bytes += (1 + copies.shared) * mlp_bytes(key.shared_storage());
  }
  return bytes;
}

}  // namespace

std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& given, int num_processes) {
  std::vector<RunConfig> runs;
  for (const RunConfig& config : given) runs.push_back(over_places(config));
  Copies copies;
  for (const RunConfig& config : runs) {
    const Copies c = copies_of(config, num_processes);
    copies = {std::max(copies.experts, c.experts), std::max(copies.shared, c.shared),
              std::max(copies.tokens, c.tokens)};
  }
  std::vector<WeightKey> seen;
  std::vector<MoeShape> seen_tokens;
  double weights = 0, gradients = 0, tokens = 0, scratch = 0;
  for (const RunConfig& config : runs) {
    const MoeShape& shape = config.shape;
    const bool backward = config.block.pass == Pass::forward_backward;
    const WeightKey key = weight_key(config);
    if (std::find(seen.begin(), seen.end(), key) == seen.end()) {
      seen.push_back(key);
      const double bytes = weight_bytes(key, copies);
      weights += bytes;
      if (backward) gradients += bytes;
    }
    const auto same_tokens = [&](const MoeShape& s) {
      return s.tokens == shape.tokens && s.hidden == shape.hidden && s.dtype == shape.dtype;
    };
    if (std::find_if(seen_tokens.begin(), seen_tokens.end(), same_tokens) == seen_tokens.end()) {
      seen_tokens.push_back(shape);
      tokens +=
          (1 + copies.tokens) * (backward ? 3 : 2) * matrix_bytes(shape.tokens, shape.hidden, shape.dtype);
    }
    scratch += run_bytes(config, num_processes);
  }
  return {{"weights", weights}, {"gradients", gradients}, {"x, y, dx", tokens}, {"work space", scratch}};
}

}  // namespace moehill
