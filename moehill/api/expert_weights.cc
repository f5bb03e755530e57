// Implementation of api/expert_weights.h: which tensors a caller may pass, and what each means for the stacks
// of the block.
#include "moehill/api/expert_weights.h"

#include "moehill/api/description.h"
#include "moehill/api/sized_struct.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/latent_path.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// Given is one tensor of the caller, with one expert after the other. A matrix is `rows` x `columns` as the
// products use it, whatever its order in memory is.
struct Given {
  const char* name;
  void* data;
  int64_t rows, columns;
  bool is_used;  // the block has such a tensor
};
// All tensors that a caller may pass.
using AllGiven = std::array<Given, 12>;

AllGiven all_given(const moehill_gradients& w, const HostExperts::Shape& s) {
  return {{{"gate", w.gate, s.hidden, s.width, true},
           {"up", w.up, s.hidden, s.width, s.gated},
           {"gate_up", w.gate_up, s.hidden, 2 * s.width, s.gated},
           {"down", w.down, s.width, s.hidden, true},
           {"gate_bias", w.gate_bias, 1, s.width, s.biases},
           {"up_bias", w.up_bias, 1, s.width, s.biases && s.gated},
           {"gate_up_bias", w.gate_up_bias, 1, 2 * s.width, s.biases && s.gated},
           {"down_bias", w.down_bias, 1, s.hidden, s.biases},
           {"shared_gate", w.shared_gate, 1, s.hidden, s.gate},
           {"latent_down", w.latent_down, s.hidden, s.latent, s.latent > 0},
           {"latent_up", w.latent_up, s.latent, s.hidden, s.latent > 0},
           {"latent_norm", w.latent_norm, 1, s.latent, s.norm}}};
}

// Refuses a tensor with gate and up together if gate or up is given apart as well.
void require_one_way(const char* what, const void* both, const void* one, const void* other) {
  if (both == nullptr || (one == nullptr && other == nullptr)) return;
  throw invalid(what, "both in one tensor and one of them apart", "one of these two ways",
                "set the others to null");
}

// Throws for tensors that the block does not have, for a call in which all tensors are null, and for written
// memory that overlaps.
void require_legal(const moehill_gradients& w, const HostExperts::Shape& shape, bool is_written) {
  require_one_way("gate and up", w.gate_up, w.gate, w.up);
  require_one_way("gate_bias and up_bias", w.gate_up_bias, w.gate_bias, w.up_bias);
  if (w.accumulate != 0 && w.accumulate != 1)
    throw invalid("accumulate", fmt::format("{}", w.accumulate), "0 or 1", "0 overwrites, 1 adds");
  const size_t bytes = dtype_bytes(dtype_named(w.dtype, "dtype of the weights"));
  std::vector<NamedTensor> tensors;
  bool is_nothing = shape.count > 0;
  for (const Given& g : all_given(w, shape)) {
    is_nothing = is_nothing && g.data == nullptr;
    if (g.data != nullptr && !g.is_used) {
      throw invalid(g.name, "memory", "null, since these experts of the block have none",
                    "leave it out, or describe the block with it");
    }
    tensors.push_back({g.name, g.data, g.data == nullptr ? 0 : shape.count * g.rows * g.columns, bytes});
  }
  if (is_nothing) throw null_argument("each of the weights");
  is_written ? require_memory({}, tensors) : require_memory(tensors, {});
}

// These functions complete an older caller's struct. They turn weights into gradients that are only read, so
// that the code below handles one type.
moehill_gradients complete(const moehill_gradients* w) {
  return over_defaults(w, {}, "gradients", offsetof(moehill_gradients, dtype));
}

moehill_gradients complete(const moehill_weights* given) {
  const moehill_weights w = over_defaults(given, {}, "weights", offsetof(moehill_weights, dtype));
  const auto place = [](const void* data) { return const_cast<void*>(data); };
  return {sizeof(moehill_gradients),
          place(w.gate),
          place(w.up),
          place(w.gate_up),
          place(w.down),
          w.dtype,
          w.order,
          0,
          place(w.gate_bias),
          place(w.up_bias),
          place(w.gate_up_bias),
          place(w.down_bias),
          place(w.shared_gate),
          place(w.latent_down),
          place(w.latent_up),
          place(w.latent_norm)};
}

double matrix_bytes(int64_t rows, int64_t cols, DType dtype) {
  return static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(dtype_bytes(dtype));
}

}  // namespace

HostExperts::HostExperts(const moehill_weights* weights, const Shape& shape)
    : HostExperts(complete(weights), shape, false) {}

HostExperts::HostExperts(const moehill_gradients* gradients, const Shape& shape)
    : HostExperts(complete(gradients), shape, true) {}

// Gate and up in one tensor are [2 M, H] with the gate's rows first, or [H, 2 M] with the gate's columns
// first.
HostExperts::HostExperts(const moehill_gradients& w, const Shape& shape, bool is_written)
    : width_(shape.width), latent_(shape.latent), accumulates_(w.accumulate != 0) {
  require_legal(w, shape, is_written);
  const DType dtype = dtype_named(w.dtype, "dtype of the weights");
  const bool is_transposed = is_out_in(w.order);
  const auto matrices = [&](void* data, int64_t rows, int64_t columns) {
    return host_matrices(data, dtype, rows, columns, is_transposed);
  };
  // If gate and up are given in one tensor, there are two views of it: its first half and its second.
  const auto up_of_both = [&](void* data, int64_t rows) {
    HostMatrices part = matrices(data, rows, 2 * shape.width);
    const int64_t elements = shape.width * part.column_step;
    part.data = static_cast<char*>(data) + elements * static_cast<int64_t>(dtype_bytes(dtype));
    return part;
  };
  const auto pair = [&](size_t i, void* both, void* gate, void* up, int64_t rows) {
    parts_[i] = both != nullptr ? matrices(both, rows, 2 * shape.width) : matrices(gate, rows, shape.width);
    parts_[i + 1] = both != nullptr ? up_of_both(both, rows) : matrices(up, rows, shape.width);
  };
  pair(0, w.gate_up, w.gate, w.up, shape.hidden);
  parts_[2] = matrices(w.down, shape.width, shape.hidden);
  pair(3, w.gate_up_bias, w.gate_bias, w.up_bias, 1);
  parts_[5] = matrices(w.down_bias, 1, shape.hidden);
  parts_[6] = matrices(w.shared_gate, 1, shape.hidden);
  parts_[7] = matrices(w.latent_down, shape.hidden, shape.latent);
  // The stack keeps latent_up transposed, so it is read in the other order.
  parts_[8] = host_matrices(w.latent_up, dtype, shape.hidden, shape.latent, !is_transposed);
  parts_[9] = matrices(w.latent_norm, 1, shape.latent);
}

// Calls move(caller's tensor, stack of the block) for each tensor that the caller gave, from its expert
// `first` on.
template <typename Move>
void HostExperts::for_each(int64_t first, const MlpWeights& stacks, const LatentWeights& latent,
                           const Move& move) const {
  LogicalWeights w1, w3, w2;
  set_logical(stacks, width_, w1, w3, w2);
  const auto vectors = [](const WeightView& stack, int64_t n) {
    return LogicalWeights{stack, LogicalWeights::Part::all, n};
  };
  const int64_t hidden = stacks.down.n;
  const LogicalWeights of[] = {w1,
                               w3,
                               w2,
                               vectors(stacks.up_bias[0], width_),
                               vectors(stacks.up_bias[1], width_),
                               vectors(stacks.down_bias, hidden),
                               vectors(stacks.row_gate, hidden),
                               vectors(latent.down, latent_),
                               vectors(latent.up, latent_),
                               vectors(latent.norm, latent_)};
  for (size_t i = 0; i < parts_.size(); ++i) {
    HostMatrices host = parts_[i];
    if (host.data == nullptr) continue;
    // The experts of a tensor follow one another, so the first expert to move is `first` steps on.
    host.data = static_cast<char*>(host.data) +
                first * host.group_step * static_cast<int64_t>(dtype_bytes(host.dtype));
    move(host, of[i]);
  }
}

void HostExperts::load(ThreadTeam& team, int64_t first, const MlpWeights& stacks,
                       const LatentWeights& latent) const {
  for_each(first, stacks, latent,
           [&](const HostMatrices& host, const LogicalWeights& stack) { load_stack(team, host, stack); });
}

void HostExperts::store(ThreadTeam& team, int64_t first, const MlpWeights& stacks,
                        const LatentWeights& latent) const {
  for_each(first, stacks, latent, [&](const HostMatrices& host, const LogicalWeights& stack) {
    store_stack(team, stack, host, accumulates_);
  });
}

size_t stored_bytes(const MlpWeights& weights) {
  size_t bytes = 0;
  for (const WeightView* stack : weights.parts())
    if (stack->data != nullptr) bytes += stack->bytes();
  return bytes;
}

size_t stored_bytes(const LatentWeights& weights) {
  size_t bytes = 0;
  for (const WeightView* stack : weights.parts())
    if (stack->data != nullptr) bytes += stack->bytes();
  return bytes;
}

// The bound takes the worst routing, where all assignments and all tokens go to the experts of one device.
int64_t work_bytes(const RunConfig& config, int device, int num_processes) {
  if (config.shape.form.latent > 0) {
    const int64_t own = result_tokens(config, device).size();
    return work_bytes(routed_part(config), device, num_processes) +
           static_cast<int64_t>(BlockScratch::bytes(block_spec(outer_part(config), device), 0, 0) +
                                LatentMemory::bytes(config, own));
  }
  const BlockSpec spec = block_spec(config, device);
  const MoeShape& shape = spec.shape;
  const int64_t rows = spec.num_experts() > 0 ? shape.assignments() : 0;
  double bytes = BlockScratch::bytes(spec, rows, rows);
  const int64_t tokens = config.shape.tokens;
  const double sums = matrix_bytes(tokens, shape.hidden, DType::f32);
  const double all = matrix_bytes(tokens, shape.hidden, shape.dtype);
  const bool trains = config.block.pass == Pass::forward_backward;
  // Sums over devices are made in f32. In one process the first device writes the results for the caller, and
  // the other devices need memory for theirs.
  if (is_psum(config.spread)) bytes += sums + (num_processes == 1 && device > 0 ? 2 * all : 0);
  if (config.spread == Spread::ring_ag_rs) bytes += sums + (num_processes == 1 ? 0 : trains ? 2 * all : all);
  if (routes_rows(config)) {
    // A token goes to at most topk devices, so at most this many copies of all rows leave a device.
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
