#include "moehill/api/expert_weights.h"

#include "moehill/api/description.h"
#include "moehill/api/sized_struct.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// Gate and up in one: [2 M, H] with gate rows first, or [H, 2 M] with gate columns first.
HostMatrices part_of_both(const moehill_gradients& w, int64_t hidden, int64_t width, bool is_up) {
  const bool is_transposed = is_out_in(w.order);
  HostMatrices part = host_matrices(w.gate_up, dtype_named(w.dtype, "dtype of the weights"), hidden,
                                    2 * width, is_transposed);
  if (!is_up || part.data == nullptr) return part;
  const int64_t elements = is_transposed ? width * hidden : width;
  part.data = static_cast<char*>(part.data) + elements * static_cast<int64_t>(dtype_bytes(part.dtype));
  return part;
}

void require_legal(const moehill_gradients& w, const HostExperts::Shape& shape, bool is_written) {
  if (w.gate_up != nullptr && (w.gate != nullptr || w.up != nullptr)) {
    throw invalid("weights", "gate_up and one of gate and up", "gate_up alone, or gate and up",
                  "set the others to null");
  }
  if (w.accumulate != 0 && w.accumulate != 1)
    throw invalid("accumulate", fmt::format("{}", w.accumulate), "0 or 1", "0 overwrites, 1 adds");
  if (w.gate == nullptr && w.up == nullptr && w.gate_up == nullptr && w.down == nullptr && shape.count > 0)
    throw null_argument("each of gate, up, gate_up and down");
  const size_t bytes = dtype_bytes(dtype_named(w.dtype, "dtype of the weights"));
  const auto tensor = [&](const char* name, const void* data, int64_t widths) {
    const int64_t elements = widths * shape.count * shape.hidden * shape.width;
    return NamedTensor{name, data, data == nullptr ? 0 : elements, bytes};
  };
  const NamedTensor gate = tensor("gate", w.gate, 1), up = tensor("up", w.up, 1),
                    gate_up = tensor("gate_up", w.gate_up, 2), down = tensor("down", w.down, 1);
  is_written ? require_memory({}, {gate, up, gate_up, down}) : require_memory({gate, up, gate_up, down}, {});
}

moehill_gradients complete(const moehill_gradients* w) {
  return over_defaults(w, {}, "gradients", offsetof(moehill_gradients, dtype));
}

moehill_gradients complete(const moehill_weights* given) {
  const moehill_weights w = over_defaults(given, {}, "weights", offsetof(moehill_weights, dtype));
  return {sizeof(moehill_gradients),
          const_cast<void*>(w.gate),
          const_cast<void*>(w.up),
          const_cast<void*>(w.gate_up),
          const_cast<void*>(w.down),
          w.dtype,
          w.order,
          0};
}

double matrix_bytes(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(dtype_bytes(dtype));
}

}  // namespace

HostExperts::HostExperts(const moehill_weights* weights, const Shape& shape)
    : HostExperts(complete(weights), shape, false) {}

HostExperts::HostExperts(const moehill_gradients* gradients, const Shape& shape)
    : HostExperts(complete(gradients), shape, true) {}

HostExperts::HostExperts(const moehill_gradients& w, const Shape& shape, bool is_written)
    : width_(shape.width), accumulates_(w.accumulate != 0) {
  require_legal(w, shape, is_written);
  const int64_t hidden = shape.hidden, width = shape.width;
  const DType dtype = dtype_named(w.dtype, "dtype of the weights");
  const bool is_transposed = is_out_in(w.order);
  if (w.gate_up != nullptr) {
    gate_ = part_of_both(w, hidden, width, false);
    up_ = part_of_both(w, hidden, width, true);
  } else {
    gate_ = host_matrices(w.gate, dtype, hidden, width, is_transposed);
    up_ = host_matrices(w.up, dtype, hidden, width, is_transposed);
  }
  down_ = host_matrices(w.down, dtype, width, hidden, is_transposed);
}

template <typename Move>
void HostExperts::for_each(int64_t first, const MlpWeights& stacks, const Move& move) const {
  LogicalWeights w1, w3, w2;
  set_logical(stacks, width_, w1, w3, w2);
  const auto one = [&](HostMatrices host, const LogicalWeights& stack) {
    if (host.data == nullptr) return;
    host.data = static_cast<char*>(host.data) +
                first * host.group_step * static_cast<int64_t>(dtype_bytes(host.dtype));
    move(host, stack);
  };
  one(gate_, w1);
  one(up_, w3);
  one(down_, w2);
}

void HostExperts::load(ThreadTeam& team, int64_t first, const MlpWeights& stacks) const {
  for_each(first, stacks,
           [&](const HostMatrices& host, const LogicalWeights& stack) { load_stack(team, host, stack); });
}

void HostExperts::store(ThreadTeam& team, int64_t first, const MlpWeights& stacks) const {
  for_each(first, stacks, [&](const HostMatrices& host, const LogicalWeights& stack) {
    store_stack(team, stack, host, accumulates_);
  });
}

size_t stored_bytes(const MlpWeights& weights) {
  size_t bytes = 0;
  for (const WeightView* stack : weights.parts())
    if (stack->data != nullptr) bytes += stack->bytes();
  return bytes;
}

// At most all assignments go to the experts of one device, and all tokens.
int64_t work_bytes(const RunConfig& config, int device, int num_processes) {
  const BlockSpec spec = block_spec(config, device);
  const MoeShape& shape = spec.shape;
  const int64_t rows = spec.num_experts() > 0 ? shape.assignments() : 0;
  double bytes = BlockScratch::bytes(spec, rows, rows);
  const int64_t tokens = config.shape.tokens;
  const double sums = matrix_bytes(tokens, shape.hidden, DType::f32);
  const double all = matrix_bytes(tokens, shape.hidden, shape.dtype);
  const bool trains = config.block.pass == Pass::forward_backward;
  if (is_psum(config.spread)) bytes += sums + (num_processes == 1 && device > 0 ? 2 * all : 0);
  if (config.spread == Spread::ring_ag_rs) bytes += sums + (num_processes == 1 ? 0 : trains ? 2 * all : all);
  if (routes_rows(config)) {
    const double sent = matrix_bytes(tokens, shape.hidden, shape.dtype) *
                        std::min({config.num_devices, config.shape.topk, config.shape.experts}) /
                        config.num_devices;
    bytes += 2 * sent + (trains ? 3 : 2) * all;
  }
  if (config.spread == Spread::dp && trains && num_processes == 1 && device > 0) {
    const WeightKey key = weight_key(config);
    bytes += mlp_bytes(key.expert_storage());
  }
  const double integers =
      4.0 * static_cast<double>(tokens * shape.topk) * 8;  // routing, gates, orders of rows
  return static_cast<int64_t>(bytes + integers);
}

}  // namespace moehill
