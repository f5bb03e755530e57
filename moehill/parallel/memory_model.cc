// Implementation of parallel/memory_model.h. Where sizes depend on the routing, it takes their expectation
// under uniform routing.
#include "moehill/parallel/memory_model.h"

#include <algorithm>
#include <cmath>

#include "moehill/parallel/latent_path.h"
#include "moehill/parallel/operands.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/router_product.h"
#include "moehill/parallel/row_route.h"
#include "moehill/routing/placement.h"

namespace moehill {
namespace {

double matrix_bytes(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(dtype_bytes(dtype));
}

// Returns the rows that a device's plan is expected to have under uniform routing: its experts' share of the
// assignments. A masked plan has all assignments, and a padded plan has the rows of the capacity.
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

// Returns the rows that a device is expected to send on the ragged path. Each token goes once to every device
// that holds one of its experts. Under uniform routing these are P (1 - (1 - 1/P)^k) devices.
double expected_sent_rows(const RunConfig& config, int rank) {
  const double devices = config.num_devices;
  const double tokens = static_cast<double>(result_tokens(config, rank).size());
  return tokens * devices * (1 - std::pow(1 - 1 / devices, config.shape.topk));
}

// Returns the bytes of sent and received rows that have another type on the way between nodes.
double expected_wire_bytes(const RunConfig& config, int rank) {
  if (config.wire == Wire::native) return 0;
  const double devices = config.num_devices, nodes = std::ceil(devices / config.ranks_per_node);
  const double targets = config.spread == Spread::hierarchical ? nodes : devices;
  const double others = config.spread == Spread::hierarchical ? nodes - 1 : devices - config.ranks_per_node;
  const double tokens = static_cast<double>(result_tokens(config, rank).size());
  const double rows = tokens * others * (1 - std::pow(1 - 1 / targets, config.shape.topk));
  return 2 * rows * static_cast<double>(wire_row_bytes(config.wire, config.shape.hidden, config.shape.dtype));
}

// Returns the rows that a device is expected to keep on the path `hierarchical`. Four buffers have the rows
// across: sent, returned, landed and their sums. For each row that the path sends inside there are x, dy, the
// partial sum, and the two buffers of the way (spread, collected); scatter-add needs one more.
double expected_hierarchical_rows(const RunConfig& config, int rank) {
  const int of_node = config.ranks_per_node > 0 ? config.ranks_per_node : config.num_devices;
  const double nodes = std::ceil(static_cast<double>(config.num_devices) / of_node);
  const double tokens = static_cast<double>(result_tokens(config, rank).size());
  const double across = tokens * nodes * (1 - std::pow(1 - 1 / nodes, config.shape.topk));
  const int kinds = (config.block.pass == Pass::forward_backward ? 5 : 4) + has_scatter(config.block.impl);
  return 4 * across + kinds * expected_sent_rows(config, rank);
}

double shared_gradient_bytes(const RunConfig& config) {
  const WeightKey key = weight_key(config);
  return key.shared_dim == 0 ? 0 : mlp_bytes(key.shared_storage());
}

// Returns the bytes of the gradients of copies that a device sends to their homes, and of those that come to
// its own homes.
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

// Returns the bytes that a device's path keeps beside its block.
double path_bytes(const RunConfig& config, int rank, int num_processes) {
  const MoeShape& shape = config.shape;
  const bool backward = config.block.pass == Pass::forward_backward;
  const double rows = matrix_bytes(shape.tokens, shape.hidden, shape.dtype);
  const double sums = matrix_bytes(shape.tokens, shape.hidden, DType::f32);
  // With several processes, a process's part of the shared expert's gradient is in the memory of its results.
  const double shared_part = num_processes > 1 ? 0 : shared_gradient_bytes(config);
  if (config.spread == Spread::none) return 0;
  if (config.spread == Spread::dp) {
    const WeightKey key = weight_key(config);
    if (!backward || rank == 0 || num_processes > 1) return 0;
    return shared_part + mlp_bytes(key.expert_storage());
  }
  if (config.spread == Spread::ring_ag_rs) {
    const double gathered = num_processes == 1 ? 0 : backward ? 2 * rows : rows;
    return sums + gathered + (backward ? shared_part + copy_bytes(config, rank) : 0);
  }
  if (routes_rows(config)) {
    const double row_bytes =
        static_cast<double>(shape.hidden) * static_cast<double>(dtype_bytes(shape.dtype));
    // Partial sums are always there. Unless rows are read in place, there are four more kinds of rows, as
    // many of each: rows sent, sums that come back, and x and dy received.
    const bool in_place = num_processes == 1 && reads_in_place(config);
    const double kinds = in_place ? 1 : backward ? 5 : 4;
    const double kept = config.spread == Spread::hierarchical ? expected_hierarchical_rows(config, rank)
                                                              : kinds * expected_sent_rows(config, rank);
    return kept * row_bytes + expected_wire_bytes(config, rank) +
           (backward ? shared_part + copy_bytes(config, rank) : 0);
  }
  const bool sliced = config.shared_placement == SharedPlacement::sliced;
  const double own_results = rank > 0 && num_processes == 1 ? (backward ? 2 : 1) * rows : 0;
  return sums + own_results + (backward ? copy_bytes(config, rank) : 0) +
         (backward && (sliced || rank > 0) ? shared_part : 0);
}

bool has_device(const RunConfig& config, const ProcessPlace& process) {
  return config.spread != Spread::none || process.rank == 0;
}

double device_bytes(const RunConfig& config, int device, int num_processes) {
  if (config.shape.form.latent > 0) {
    const RunConfig outer = outer_part(config);
    const WeightKey key = weight_key(config);
    // With latent experts each device has a part of these gradients.
    double parts = 0;
    if (config.num_devices > 1 && config.block.pass == Pass::forward_backward)
      parts = latent_weight_bytes(key) + (key.shared_dim > 0 ? mlp_bytes(key.shared_storage()) : 0);
    return device_bytes(routed_part(config), device, num_processes) + parts +
           BlockScratch::bytes(block_spec(outer, device), 0, 0);
  }
  const BlockSpec spec = block_spec(config, device);
  const int64_t rows = expected_rows(config, spec.share);
  // A portion has an eighth of the rows, or the mean rows of an expert if these are more.
  const int64_t portion = std::max<int64_t>(rows / 8, config.shape.assignments() / config.shape.experts);
  return BlockScratch::bytes(spec, rows, portion) + path_bytes(config, device, num_processes);
}

double run_bytes(const RunConfig& config, const ProcessPlace& process) {
  if (!has_device(config, process)) return 0;
  if (process.num_processes > 1 && config.spread != Spread::none)
    return device_bytes(config, process.rank, process.num_processes);
  double bytes = 0;
  for (int device = 0; device < config.num_devices; ++device) bytes += device_bytes(config, device, 1);
  return bytes;
}

// Returns the bytes of routing: logits of all tokens if a step or the check has them, choices with gate
// values, gradients of the logits of the tokens held, and the router's own product.
double routing_bytes(const RunConfig& config, const ProcessPlace& process) {
  const MoeShape& shape = config.shape;
  const BlockOptions& block = config.block;
  const int64_t logits = shape.num_logits();
  const bool backward = block.pass == Pass::forward_backward, product = block.router_product;
  const bool kept = block.route_in_step || !(shape.router == RouterRule{}) || !block.balance_loss.empty();
  double bytes = 8 * static_cast<double>(shape.assignments()) * (block.route_in_step ? 2 : 1) +
                 ((kept ? 1 : 0) + (product ? 1 : 0)) * matrix_bytes(shape.tokens, logits, DType::f32);
  if (!has_device(config, process)) return bytes;
  const int64_t tokens = held_operands(config, process).tokens.size();
  if (backward && (block.router_grad || product)) bytes += matrix_bytes(tokens, logits, DType::f32);
  if (!product) return bytes;
  const bool alone = process.num_processes == 1 || config.spread == Spread::none;
  for (int device = 0; device < config.num_devices; ++device) {
    if (!alone && device != process.rank) continue;
    const int64_t own = result_tokens(config, device).size();
    bytes += RouterProduct::bytes({own, shape.hidden, logits, config.threads_per_device});
    if (backward && config.num_devices > 1) bytes += router_weight_bytes(shape.hidden, logits);
  }
  return bytes;
}

// SharedOperands are the operands that several runs use together. The memory has to suffice for the largest
// need of any of them.
struct SharedOperands {
  RunConfig config;
  HeldOperands held;
  bool backward;
};

bool same_tokens(const RunConfig& a, const RunConfig& b) {
  return a.shape.tokens == b.shape.tokens && a.shape.hidden == b.shape.hidden &&
         a.shape.dtype == b.shape.dtype;
}

template <typename Same>
void add_operands(const SharedOperands& run, const Same& same, std::vector<SharedOperands>& all) {
  const auto found = std::find_if(all.begin(), all.end(),
                                  [&](const SharedOperands& o) { return same(o.config, run.config); });
  if (found == all.end()) return all.push_back(run);
  found->held = {hull(found->held.tokens, run.held.tokens), hull(found->held.experts, run.held.experts)};
  found->backward = found->backward || run.backward;
}

double weight_bytes(const SharedOperands& operands) {
  const WeightKey key = weight_key(operands.config);
  MlpStorage storage = key.expert_storage();
  storage.num_groups = operands.held.experts.size();
  return mlp_bytes(storage) + (key.shared_dim > 0 ? mlp_bytes(key.shared_storage()) : 0) +
         latent_weight_bytes(key) +
         (key.router_logits > 0 ? router_weight_bytes(key.hidden, key.router_logits) : 0);
}

}  // namespace

HeldOperands held_operands(const RunConfig& config, const ProcessPlace& process) {
  if (!has_device(config, process)) return {};
  const RunConfig places = over_places(config);
  if (process.num_processes == 1 || config.spread == Spread::none)
    return {{0, config.shape.tokens}, {0, places.shape.experts}};
  const BlockShare share = block_share(places, process.rank);
  return {result_tokens(config, process.rank), {share.expert_begin, share.expert_end}};
}

// Equal operands are merged first, because they are allocated once.
std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& runs, const ProcessPlace& process) {
  std::vector<SharedOperands> of_weights, of_tokens;
  double weights = 0, gradients = 0, tokens = 0, scratch = 0, routing = 0;
  for (const RunConfig& config : runs) {
    scratch += run_bytes(over_places(config), process);
    if (has_device(config, process))
      scratch += LatentMemory::bytes(config, held_operands(config, process).tokens.size());
    routing += routing_bytes(config, process);
    if (!has_device(config, process)) continue;
    const SharedOperands run{config, held_operands(config, process),
                             config.block.pass == Pass::forward_backward};
    add_operands(
        run, [](const RunConfig& a, const RunConfig& b) { return weight_key(a) == weight_key(b); },
        of_weights);
    add_operands(run, same_tokens, of_tokens);
  }
  for (const SharedOperands& o : of_weights) {
    weights += weight_bytes(o);
    if (o.backward) gradients += weight_bytes(o);
  }
  // x and y, and dx if any of the runs has a backward pass.
  for (const SharedOperands& o : of_tokens)
    tokens += (o.backward ? 3 : 2) *
              matrix_bytes(o.held.tokens.size(), o.config.shape.hidden, o.config.shape.dtype);
  return {{"weights", weights},
          {"gradients", gradients},
          {"x, y, dx", tokens},
          {"work space", scratch},
          {"routing", routing}};
}

}  // namespace moehill
