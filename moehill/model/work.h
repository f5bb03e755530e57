// The exact work of a step: FLOPs, memory bytes and link bytes of every stage on every device, from the
// actual routing. Formulas are in docs/metrics.md; tests hold link bytes and FLOPs equal to what runs count.
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

// The facts of a run that its work depends on, beside its plan's counts.
struct WorkProblem {
  int64_t hidden = 0, mlp_dim = 0, shared_dim = 0;
  int64_t latent = 0;        // H' of the routed experts' rows; 0: hidden
  bool latent_norm = false;  // of the sums of these rows
  DType dtype = DType::bf16;
  Spread spread = Spread::none;
  bool backward = true;          // forward and backward, else forward alone
  bool gated = true;             // experts have a W3
  bool biases = false;           // of the experts
  bool shared_gate = false;      // of the shared expert
  bool input_weighted = false;   // gate values multiply inputs
  bool fused_w13 = true;         // one product with W1|W3, or W1 alone, the activation in its epilogue
  bool shared_fused = false;     // the same for the shared expert
  bool preweight = false;        // gate value before W2
  bool scatter = false;          // combine by scatter-add
  bool recompute = false;        // up-projections again in backward
  bool dx_over_outputs = false;  // remat `combine`
  bool prequeue = false;         // plan before the clock
  bool packs_rows = false;       // rows of x and dy are copied in the order of experts before the products
  int num_waves = 1;             // `fused` between nodes: of each device's experts
  bool in_place = false;  // `fused` and `ring_ag_rs` where devices share an address space: no row is copied
  Wire wire = Wire::native;  // of rows of x and dy between nodes; the counts then know the nodes
  bool router_grad = false;
  int64_t loss_counts = 0;         // numbers that a balance loss adds up over devices that shard the tokens
  std::vector<int64_t> copies{};   // [P, P] gradients of experts that a device sends to their home; or empty
  bool shared_replicated = false;  // psum paths: the shared expert on all tokens everywhere
};

// One grouped product. Rows by group are those of the device's experts or, with `of_tokens`, one group of
// tokens, as the shared expert and the products around experts of another width have.
struct GemmWork {
  GemmDirection direction = GemmDirection::forward;
  int64_t k = 0, n = 0;  // of the matrices
  bool of_tokens = false;
};

// The way of rows by the routing: from device to device, or one level of two (parallel/hierarchical_route.h).
enum class RowWay { direct, across, inside };

// One collective as mesh/traffic.h counts it.
struct LinkWork {
  Collective op = Collective::all_reduce;
  int64_t sent_bytes = 0, received_bytes = 0;
  DType dtype = DType::f32;  // of values that are summed
  bool in_place = false;     // read where it lies: devices meet, and nothing is copied
  bool is_even = false;      // of an all_to_all: as much for each device, not by rows of tokens
  bool in_flight = false;    // rows of tokens: begun, and waited for after other work (model/flight.h)
  RowWay way = RowWay::direct;
  // These are the bytes of a row by the routing, inside of a node and between nodes. Where the two differ,
  // network_* are the bytes that go between nodes.
  int64_t row_bytes = 0, network_row_bytes = 0;
  int64_t network_sent_bytes = 0, network_received_bytes = 0;
  bool is_mixed() const { return row_bytes != network_row_bytes; }
};

// Bytes that row operations beside the products read and write, by kind of operation.
struct RowBytes {
  double gather = 0, combine = 0, swiglu = 0, zero = 0;
  double total() const { return gather + combine + swiglu + zero; }
  void operator+=(const RowBytes& other) {
    gather += other.gather, combine += other.combine, swiglu += other.swiglu, zero += other.zero;
  }
};

struct StageWork {
  Stage stage = Stage::plan;
  double flops = 0;       // multiplied; padding, masked rows and recomputation included
  double gemm_bytes = 0;  // operands read once and results written once, if no cache held any
  RowBytes rows;
  int64_t assignments = 0;  // passed through the plan builder
  std::vector<GemmWork> gemms;
  std::vector<LinkWork> links;

  double memory_bytes() const { return gemm_bytes + rows.total(); }
  int64_t sent_bytes() const;
  int64_t received_bytes() const;
};

struct DeviceWork {
  std::vector<int64_t> group_rows;  // of its experts
  int64_t token_rows = 0;           // of products over tokens; 0: there are none
  double own_part = 1;              // of its experts' rows, that which its own tokens have
  double weight_bytes = 0;          // of its experts and the shared expert, as stored
  double activation_bytes = 0;      // rows it keeps, x, y and dx of its tokens and what its path holds
  std::vector<StageWork> stages;    // in the order of the step

  double flops() const;
  double memory_bytes() const;
  int64_t sent_bytes() const;
  int64_t received_bytes() const;
};

// Work of one device, [0, counts.num_devices).
DeviceWork device_work(const WorkProblem& problem, const PlanCounts& counts, int device);
// Work of all devices. It takes memory O(P * stages).
std::vector<DeviceWork> all_work(const WorkProblem& problem, const PlanCounts& counts);

// Elements of an MLP's stored weights: columns padded to whole panels of 16, gate and up to pairs of 8, rows
// in bf16 to pairs.
struct MlpElements {
  int64_t up[2] = {0, 0}, down = 0;  // up[1] is 0 where gate and up are one matrix, or there is no W3
  std::vector<int64_t> vectors;      // of f32
  int64_t total() const { return up[0] + up[1] + down; }
  int64_t all_vectors() const { return std::accumulate(vectors.begin(), vectors.end(), int64_t{0}); }
};
MlpElements expert_elements(const WorkProblem& problem);
MlpElements shared_elements(const WorkProblem& problem);
// Likewise of each of the two matrices around experts of another width, and f32 values of the norm.
struct LatentElements {
  int64_t matrix = 0, norm = 0;
};
LatentElements latent_elements(const WorkProblem& problem);

// Tokens whose results, and experts whose weights, device `d` has.
Range own_tokens(Spread spread, const PlanCounts& counts, int device);
Range own_experts(Spread spread, const PlanCounts& counts, int device);

}  // namespace moehill
