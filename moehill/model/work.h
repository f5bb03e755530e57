// Work is the exact work of a step: FLOPs, memory bytes and link bytes of every stage on every device, from
// the actual routing. It knows no times (model/predict.h does). Formulas are in docs/metrics.md. Tests
// require that link bytes and FLOPs equal what runs count.
//
//   const DeviceWork work = device_work(problem, counts, 0);
//   work.flops();
#pragma once

#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/block/spread.h"
#include "moehill/block/stages.h"
#include "moehill/mesh/collective.h"
#include "moehill/model/hardware.h"
#include "moehill/model/plan_counts.h"
#include "moehill/tensor/wire.h"

namespace moehill {

inline double to_double(int64_t n) { return static_cast<double>(n); }

// WorkProblem holds the facts about a run on which its work depends, besides the counts of its plan.
struct WorkProblem {
  int64_t hidden = 0, mlp_dim = 0, shared_dim = 0;
  int64_t latent = 0;        // H', width of the routed experts' rows; 0: hidden
  bool latent_norm = false;  // a norm of the sums of these rows
  DType dtype = DType::bf16;
  Spread spread = Spread::none;
  bool backward = true;          // forward and backward; false: only forward
  bool gated = true;             // experts have a W3
  bool biases = false;           // experts have biases
  bool shared_gate = false;      // the shared expert has a gate
  bool input_weighted = false;   // gate values multiply inputs
  bool fused_w13 = true;         // one product with W1|W3 (or W1 alone), with the activation in its epilogue
  bool shared_fused = false;     // the same for the shared expert
  bool preweight = false;        // gate values multiply before W2
  bool scatter = false;          // combine by scatter-add
  bool recompute = false;        // backward computes the up-projections again
  bool dx_over_outputs = false;  // remat `combine`
  bool prequeue = false;         // the plan is made before the clock starts
  bool packs_rows = false;       // rows of x and dy are copied into the order of experts before the products
  int num_waves = 1;             // `fused` between nodes: waves of each device's experts
  bool splits_rows = true;       // `fused`: rows of some tokens and experts can be multiplied apart
  bool in_place = false;         // `fused` and `ring_ag_rs` in one address space: rows are not copied
  Wire wire = Wire::native;      // for rows of x and dy between nodes; the counts must then know the nodes
  bool router_grad = false;
  int64_t loss_counts = 0;         // numbers of a balance loss that devices with sharded tokens add up
  std::vector<int64_t> copies{};   // [P, P] gradients of experts that a device sends to their home; or empty
  bool shared_replicated = false;  // psum paths: every device computes the shared expert on all tokens
};

// GemmWork is one grouped product. Its groups are the device's experts or, with `of_tokens`, one group of
// tokens, as for the shared expert and the products around experts of another width.
struct GemmWork {
  GemmDirection direction = GemmDirection::forward;
  int64_t k = 0, n = 0;  // of the matrices
  bool of_tokens = false;
};

// RowWay tells how rows travel by the routing: directly from device to device, or on one of two levels
// (parallel/hierarchical_route.h).
enum class RowWay { direct, across, inside };

// LinkWork is one collective, as mesh/traffic.h counts it.
struct LinkWork {
  Collective op = Collective::all_reduce;
  int64_t sent_bytes = 0, received_bytes = 0;
  DType dtype = DType::f32;  // of values that are summed
  bool in_place = false;     // rows are read in place: devices meet, and nothing is copied
  bool is_even = false;      // for an all_to_all: the same amount for each device, not rows of tokens
  bool in_flight = false;    // rows of tokens that are started, and awaited after other work (model/flight.h)
  RowWay way = RowWay::direct;
  // The bytes of a row by the routing, within a node and between nodes. If these two differ, network_* are
  // the bytes between nodes.
  int64_t row_bytes = 0, network_row_bytes = 0;
  int64_t network_sent_bytes = 0, network_received_bytes = 0;
  // For gradients of copies of experts (WorkProblem::copies): the bytes of one expert, and whether these are
  // the sums on their way back to the copies. 0 for everything else.
  int64_t copy_bytes = 0;
  bool to_copies = false;
  bool is_mixed() const { return row_bytes != network_row_bytes; }
};

// RowBytes are the bytes that row operations read and write in addition to the products, by kind of
// operation.
struct RowBytes {
  double gather = 0, combine = 0, swiglu = 0, zero = 0;
  double total() const { return gather + combine + swiglu + zero; }
  void operator+=(const RowBytes& other) {
    gather += other.gather, combine += other.combine, swiglu += other.swiglu, zero += other.zero;
  }
};

// StageWork is the work of one stage on one device.
struct StageWork {
  Stage stage = Stage::plan;
  double flops = 0;       // includes padding, masked rows and recomputation
  double gemm_bytes = 0;  // operands read once and results written once, without any cache
  RowBytes rows;
  int64_t assignments = 0;  // assignments for which a plan is built
  std::vector<GemmWork> gemms;
  std::vector<LinkWork> links;

  double memory_bytes() const { return gemm_bytes + rows.total(); }
  int64_t sent_bytes() const;
  int64_t received_bytes() const;
};

// DeviceWork is the work of one device in a step.
struct DeviceWork {
  std::vector<int64_t> group_rows;  // rows of each of its experts
  int64_t token_rows = 0;           // rows of products over tokens; 0: there are none
  double own_part = 1;              // the share of its experts' rows that belongs to its own tokens
  double weight_bytes = 0;          // of its experts and the shared expert, as stored
  double activation_bytes = 0;      // rows that it keeps; x, y and dx of its tokens; and what its path holds
  std::vector<StageWork> stages;    // in the order of the step

  double flops() const;
  double memory_bytes() const;
  int64_t sent_bytes() const;
  int64_t received_bytes() const;
};

// Returns the work of one device in [0, counts.num_devices).
DeviceWork device_work(const WorkProblem& problem, const PlanCounts& counts, int device);
// Returns the work of all devices; it takes memory O(P * stages).
std::vector<DeviceWork> all_work(const WorkProblem& problem, const PlanCounts& counts);

// MlpElements are the elements of an MLP's weights as stored: columns are padded to panels of 16, gate and up
// to blocks of 8, rows of bf16 to pairs.
struct MlpElements {
  int64_t up[2] = {0, 0}, down = 0;  // up[1] is 0 if gate and up are one matrix, or if there is no W3
  std::vector<int64_t> vectors;      // in f32
  int64_t total() const { return up[0] + up[1] + down; }
  int64_t all_vectors() const { return std::accumulate(vectors.begin(), vectors.end(), int64_t{0}); }
};
MlpElements expert_elements(const WorkProblem& problem);
MlpElements shared_elements(const WorkProblem& problem);
// LatentElements are the elements of each of the two matrices around experts of another width, and the f32
// values of the norm.
struct LatentElements {
  int64_t matrix = 0, norm = 0;
};
LatentElements latent_elements(const WorkProblem& problem);

// These return the tokens whose results, and the experts whose weights, a device has.
Range own_tokens(Spread spread, const PlanCounts& counts, int device);
Range own_experts(Spread spread, const PlanCounts& counts, int device);

}  // namespace moehill
