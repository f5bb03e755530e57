// Block is an MoE block on one device. It knows which experts are its own, and for which tokens it computes
// the shared expert. It does not know which devices have the other experts, and it sends nothing;
// moehill/parallel does that. Its parts are the plan (BlockPlan), the work space (BlockScratch) and the
// caller's weights (ExpertWeights). A BlockPass has the arguments of one pass. block_schedules.cc has the
// orders in which the experts work: all at once, in portions that are recomputed, or in waves.
//
//   Block block(spec);                                  // all memory is allocated here
//   block.make_plan(team, routing);                     // which rows each expert multiplies
//   block.pack_rows(team, x);
//   block.forward_routed({.team = team, .weights = weights, .x = x, .out = y});
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "moehill/block/options.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/moe/mlp.h"
#include "moehill/moe/scratch.h"
#include "moehill/routing/plan.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// BlockShare is this device's share of the block: its experts [expert_begin, expert_end), and the tokens for
// which it computes the shared expert.
struct BlockShare {
  int expert_begin = 0, expert_end = 0;
  Range shared_tokens;  // tokens for which this device computes the shared expert
  PlanScope scope = PlanScope::local;
};

// BlockSpec has everything that decides how large the plan and the work space of a device are.
struct BlockSpec {
  MoeShape shape;
  BlockOptions options;
  BlockShare share;
  int num_threads = 1;
  StageSet left_out{};  // stages that steps leave out (block/ablation.h)

  int num_experts() const { return share.expert_end - share.expert_begin; }
  bool has_shared() const { return shape.shared_dim > 0 && share.shared_tokens.size() > 0; }
  bool has_backward() const { return options.pass == Pass::forward_backward; }
  bool recomputes() const { return options.remat == Remat::expert_mlp; }
  bool keeps_products() const { return has_backward() && !recomputes(); }
  // True if the backend reads rows through an index while it packs them, and applies the activation to
  // finished tiles.
  bool gathers_and_fuses() const { return options.backend == Backend::gmm; }
  bool packs_rows() const { return !gathers_and_fuses() || options.prequeue; }
  // True if gate values multiply the inputs of the experts instead of their outputs.
  bool input_weighted() const { return shape.router.input_weighted; }
  bool has_shared_gate() const { return shape.form.shared_gate && has_shared(); }
  // True if dp = <dy, o>, from the outputs o of the experts. Otherwise dp comes from dh and h (h may include
  // the gate value already), or from dx and x.
  bool dp_from_outputs() const {
    return options.remat != Remat::combine && !has_preweight(options.impl) && !input_weighted();
  }
  // True if the block can find the rows of some tokens and experts among all rows and multiply them apart. It
  // needs an expert's rows in the order of tokens, which scatter-add and rows sorted by gate value do not
  // have.
  bool can_split_rows() const {
    return !recomputes() && !options.expert_by_expert && !packs_rows() && has_fused_w13(options.impl) &&
           !has_scatter(options.impl) && options.pack != PackStrategy::expert_score_sort &&
           share.scope == PlanScope::local;
  }
};

// LatentWeights are the matrices of the products around experts whose width H' is not the model's H. Experts
// see z = x down. The norm, if there is one, makes n from the experts' sums r, and y += n up^T. Without a
// norm n = r.
struct LatentWeights {
  WeightView down{}, up{};  // [1][H, H'], in panels
  WeightView norm{};        // a vector [1][1, H'] (kernels/row_vectors.h); without data: no norm

  std::array<const WeightView*, 3> parts() const { return {&down, &up, &norm}; }
  void visit(const MemoryVisitor& visitor) const {
    for (const WeightView* part : parts()) visit_stack(*part, visitor);
  }
};

// ExpertWeights are views of the weights of a device's experts and of their gradients. They own no memory.
struct ExpertWeights {
  MlpWeights routed, routed_grad;  // one group for each expert
  MlpWeights shared, shared_grad;  // one group; the gradient is the sum over this device's shared tokens
  LatentWeights latent{}, latent_grad{};  // no data: experts see rows of the model's width
};

// RowTransfer brings rows from other devices to the routed experts, and sends their sums back, while the
// experts work. It works in waves. A wave is some of the device's experts, with the rows that no earlier wave
// needed. The rows of the device's own tokens are there from the start, and their sums stay here. Block calls
// arrive(wave) before it multiplies the rows of a wave, and leave(wave) after that. The paths that exchange
// rows implement it.
class RowTransfer {
 public:
  virtual ~RowTransfer() = default;
  // Returns true if arrive(wave) would return at once.
  virtual bool has_arrived(int /*wave*/) { return false; }
  // Waits until all rows are there that the waves up to this one need.
  virtual void arrive(int wave) = 0;
  // Sends the rows of the result to which no later wave adds. Block calls it when these rows are complete.
  // The rows of the device's own tokens are not among them.
  virtual void leave(int wave) = 0;

  int num_waves() const { return experts.empty() ? 1 : static_cast<int>(experts.size()) - 1; }
  std::span<const Range> leaving_with(int wave) const {
    const size_t n = leaving.size() / static_cast<size_t>(num_waves());
    return leaving.subspan(static_cast<size_t>(wave) * n, n);
  }

  Range own;           // the rows of the device's own tokens, in the input and in the result of the pass
  bool split = false;  // true: Block may multiply own rows while others travel, if can_split_rows()
  // [waves + 1] the first expert of each wave, counted on this device; empty: one wave.
  std::span<const int64_t> experts;
  std::span<const Range> leaving;  // [waves][n] rows of the result that leave with a wave
  // [rows of the result] the token whose sum a row is; null: row t is the sum of token t.
  const int32_t* token_of = nullptr;
};

// BlockPass has the arguments of a pass. Forward makes y from x. Backward makes dx, dp and the gradients of
// the weights from x and dy = dy_scale * y.
struct BlockPass {
  ThreadTeam& team;
  const ExpertWeights& weights;
  StageListener* listener = nullptr;
  MatView x{};     // [T, H]
  MatView base{};  // [T, H] is added to the sums of the routed experts; may be `out`; no data: zero
  MatView out{};   // y or dx: [T, H]; for the shared expert [shared tokens, H]; storage type or f32
  // These are for backward only. In dp [T k] a device writes only its own assignments.
  MatView y{};  // [T, H]
  float dy_scale = 0;
  float* dp = nullptr;
  RowTransfer* transfer = nullptr;  // for routed experts; null: all rows are there, and all sums stay
};

// BlockPlan lists the rows that a device's experts multiply. Expert e has rows [offset[e], offset[e + 1]).
// The experts multiply masked rows and rows of padding too, with the gate value 0. A device without experts
// has no rows.
struct BlockPlan {
  explicit BlockPlan(const BlockSpec& spec);
  // Makes the plan of a routing and allocates nothing. Token t has row rows_at[t] in the x and y of a pass,
  // or row t if rows_at is null.
  void make(ThreadTeam& team, const Routing& routing, const int32_t* rows_at);
  void visit(const MemoryVisitor& visitor);

  int64_t num_rows() const { return offset.back(); }
  // Returns the end of a portion: the longest run of experts from `begin` on that has at most `max_rows`
  // rows, but at least one expert.
  int end_of_portion(int begin, int64_t max_rows) const;

  PlanBuilder builder;
  RoutingPlan routes;
  std::vector<int64_t> offset;      // [experts + 1]
  std::vector<int32_t> source_row;  // [rows] the row of x and y that a row copies; -1: a row of zeros
  std::vector<float> row_p;         // [rows] gate value
  std::vector<int32_t> dp_index;    // [rows] assignment; -1 for padding and masked rows
  std::vector<float> assignment_p;  // [T k] gate value; 0 for assignments to experts of other devices
};

// BlockScratch has the rows between the products of a step, cut out of one buffer, and the work space of the
// products. It has address space for the most rows that a plan can have. Pages that no plan touches take no
// memory.
struct BlockScratch {
  BlockScratch() = default;
  BlockScratch(const BlockSpec& spec, int64_t max_rows);
  // Returns the bytes that a plan of `rows` rows uses if its largest portion of experts has `portion_rows`.
  static double bytes(const BlockSpec& spec, int64_t rows, int64_t portion_rows);
  // Returns gate, up and h of these rows. With recomputation they exist for one portion of experts at a time.
  MlpBuffers buffers(const BlockSpec& spec, Range rows) const {
    return spec.recomputes() ? routed.slice_rows(0, rows.size()) : routed.slice_rows(rows.begin, rows.end);
  }

  MlpBuffers routed, shared;
  MatView expert_out;           // [rows, H], the outputs o of the experts
  MatView dx_rows;              // [rows, H]
  MatView packed_x, packed_dy;  // [rows, H]
  MatView sum;                  // [T, H] f32, scatter-add
  std::unique_ptr<GroupedGemm> gemm;
  std::vector<int64_t> group_offset;          // [experts + 1], for the experts of a portion
  std::vector<int64_t> part_begin, part_end;  // [experts] the part of each expert's rows that a wave takes
  std::vector<int64_t> shared_offset;         // [2] one group with all shared tokens
  // These [shared tokens] exist if the shared expert has a gate: the values of the gate, their gradients, and
  // the indices 0, 1, 2 ...
  std::vector<float> shared_p, shared_dp;
  std::vector<int32_t> shared_index;

 private:
  void lay_out(Scratch& memory, const BlockSpec& spec, int64_t rows, int64_t portion_rows);
  Scratch memory_;
};

// Block runs the passes over one device's experts. It allocates memory in its constructor only. The order of
// the calls is: make_plan, pack_rows, the forward passes, the backward passes.
class Block {
 public:
  explicit Block(const BlockSpec& spec);

  // Sets how many tokens the next plans have, and for which of them this device computes the shared expert.
  // Both are at most as many as in the spec.
  void set_tokens(int64_t tokens, Range shared_tokens);
  // Leaves these stages out of all later steps. The other stages read whatever is in the memory that these
  // would have written.
  void leave_out(StageSet stages) { spec_.left_out = stages; }
  // From the next plan on, token t has row rows[t] in the x and y of a pass. `rows` [T] must outlive its use.
  void read_rows_at(const int32_t* rows) { rows_at_ = rows; }
  void make_plan(ThreadTeam& team, const Routing& routing) { plan_.make(team, routing, rows_at_); }
  // Copies rows of x into the order of the plan, if spec().packs_rows().
  void pack_rows(ThreadTeam& team, const MatView& x);

  void forward_shared(const BlockPass& pass);
  void backward_shared(const BlockPass& pass);
  void forward_routed(const BlockPass& pass);
  void backward_routed(const BlockPass& pass);

  const BlockSpec& spec() const { return spec_; }
  const RoutingPlan& plan() const { return plan_.routes; }
  // Returns the FLOPs of a step. Padding, masked rows and recomputation count.
  double executed_flops() const;

  // Calls `spoil` with all memory that every step must write again: the rows between the stages, what the
  // products pack, and the plan. `spoil` fills it with bytes 0xff, which are NaN as numbers and no valid row
  // as integers. So a stage that does not run shows in the result. A plan and rows that were made before the
  // clock started (prequeue) stay. Before the first step the function does nothing.
  void spoil_work_space(const MemoryVisitor& spoil);

 private:
  void make_shared_gate(const BlockPass& pass);
  void backward_shared_gate(const BlockPass& pass, const RowSource& x);

  BlockSpec spec_;
  int64_t max_tokens_, max_shared_tokens_;
  BlockPlan plan_;
  BlockScratch scratch_;
  const int32_t* rows_at_ = nullptr;  // [T]
};

}  // namespace moehill
