// The block on one device, in one process. It knows which experts and which tokens' shared expert are its
// own, and nothing of who has the others. It is a plan (BlockPlan), weights (ExpertWeights, the caller's) and
// scratch (BlockScratch); a pass over it is a BlockPass, and block_schedules.cc has the orders in which
// experts work.
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

// This device's share of the block.
struct BlockShare {
  int expert_begin = 0, expert_end = 0;
  Range shared_tokens;  // tokens whose shared expert is computed here
  PlanScope scope = PlanScope::local;
};

// All that the sizes of a device's plan and scratch follow from.
struct BlockSpec {
  MoeShape shape;
  BlockOptions options;
  BlockShare share;
  int num_threads = 1;
  StageSet left_out{};  // of the steps from now on (block/ablation.h)

  int num_experts() const { return share.expert_end - share.expert_begin; }
  bool has_shared() const { return shape.shared_dim > 0 && share.shared_tokens.size() > 0; }
  bool has_backward() const { return options.pass == Pass::forward_backward; }
  bool recomputes() const { return options.remat == Remat::expert_mlp; }
  bool keeps_products() const { return has_backward() && !recomputes(); }
  // The backend reads rows by an index while it packs them, and applies SwiGLU to finished tiles.
  bool gathers_and_fuses() const { return options.backend == Backend::gmm; }
  bool packs_rows() const { return !gathers_and_fuses() || options.prequeue; }
  // Gate values multiply the experts' inputs, not their outputs.
  bool input_weighted() const { return shape.router.input_weighted; }
  bool has_shared_gate() const { return shape.form.shared_gate && has_shared(); }
  // dp comes from dy and the experts' outputs; else from dh and h, in which the gate value may be already, or
  // from dx and x.
  bool dp_from_outputs() const {
    return options.remat != Remat::combine && !has_preweight(options.impl) && !input_weighted();
  }
  // Rows of some tokens and experts can be told from the rest and multiplied apart. Scatter-add has no order
  // of tokens, and neither have rows sorted by gate value.
  bool can_split_rows() const {
    return !recomputes() && !options.expert_by_expert && !packs_rows() && has_fused_w13(options.impl) &&
           !has_scatter(options.impl) && options.pack != PackStrategy::expert_score_sort &&
           share.scope == PlanScope::local;
  }
};

// The products around experts of another width H' than the model's H, and their gradients: z = x down, the
// rows that experts see; of their sums r, after a norm where there is one, y += n up^T.
struct LatentWeights {
  WeightView down{}, up{};  // [1][H, H'], in panels
  WeightView norm{};        // a vector [1][1, H'] (kernels/row_vectors.h); without data: no norm

  std::array<const WeightView*, 3> parts() const { return {&down, &up, &norm}; }
  void visit(const MemoryVisitor& visitor) const {
    for (const WeightView* part : parts()) visit_stack(*part, visitor);
  }
};

// Weights of a device's experts and their gradients.
struct ExpertWeights {
  MlpWeights routed, routed_grad;         // one group an expert
  MlpWeights shared, shared_grad;         // one group; the gradient is over this device's shared tokens
  LatentWeights latent{}, latent_grad{};  // without data: experts see rows of the model's width
};

// RowTransfer brings rows that a pass reads from other devices and takes sums back to them, while the routed
// experts work. It does so in waves: a wave is some of the device's experts, with the rows that no earlier
// wave needed. The rows of the device's own tokens are there from the start, and their sums stay.
class RowTransfer {
 public:
  virtual ~RowTransfer() = default;
  // True if arrive(wave) would return at once.
  virtual bool has_arrived(int /*wave*/) { return false; }
  // Returns when all rows are there that the waves up to this one need.
  virtual void arrive(int wave) = 0;
  // Called when the rows of the result are complete to which no later wave adds, but for the own tokens'.
  virtual void leave(int wave) = 0;

  int num_waves() const { return experts.empty() ? 1 : static_cast<int>(experts.size()) - 1; }
  std::span<const Range> leaving_with(int wave) const {
    const size_t n = leaving.size() / static_cast<size_t>(num_waves());
    return leaving.subspan(static_cast<size_t>(wave) * n, n);
  }

  Range own;           // the device's own tokens: rows of what the pass reads, and of the result
  bool split = false;  // own rows may be multiplied apart, while others travel, where can_split_rows()
  std::span<const int64_t> experts;   // [waves + 1] first expert of a wave, of this device's; empty: one wave
  std::span<const Range> leaving;     // [waves][n] rows of the result that leave with a wave
  const int32_t* token_of = nullptr;  // [rows of the result] token whose sum a row is; null: token t is row t
};

// The arguments of a pass, forward (y from x) or backward (dx, dp and gradients from x and y).
struct BlockPass {
  ThreadTeam& team;
  const ExpertWeights& weights;
  StageListener* listener = nullptr;
  MatView x{};     // [T, H]
  MatView base{};  // [T, H] what the routed experts' sums are added to, may be `out`; without data: zero
  MatView out{};   // y or dx: [T, H], for the shared expert [shared tokens, H]; storage type or f32
  // Backward alone: dy = dy_scale * y; dp [T k], of which this device's assignments are written.
  MatView y{};  // [T, H]
  float dy_scale = 0;
  float* dp = nullptr;
  RowTransfer* transfer = nullptr;  // routed experts; null: all rows are there, and all sums stay
};

// The rows that a device's experts multiply. Expert e has rows [offset[e], offset[e + 1]). Masked rows, and
// rows of padding, run with an own expert's weights at gate value 0; a device without experts has no rows.
struct BlockPlan {
  explicit BlockPlan(const BlockSpec& spec);
  // Rows of token t are rows_at[t] of the x and y of a pass; null: rows t. Allocates nothing.
  void make(ThreadTeam& team, const Routing& routing, const int32_t* rows_at);
  void visit(const MemoryVisitor& visitor);

  int64_t num_rows() const { return offset.back(); }
  // The experts from `begin` on that have at most `max_rows` rows together, but at least one: where they end.
  int end_of_portion(int begin, int64_t max_rows) const;

  PlanBuilder builder;
  RoutingPlan routes;
  std::vector<int64_t> offset;      // [experts + 1]
  std::vector<int32_t> source_row;  // [rows] where a row's x and y are; -1: a zero row
  std::vector<float> row_p;         // [rows] gate value
  std::vector<int32_t> dp_index;    // [rows] assignment; -1 for padding and masked rows
  std::vector<float> assignment_p;  // [T k] gate value; 0 for assignments of others' experts
};

// The rows between the products of a step, cut out of one buffer, and the work space of the products. They
// are laid out for the most rows that a plan can have; pages that no plan touches take no memory.
struct BlockScratch {
  BlockScratch() = default;
  BlockScratch(const BlockSpec& spec, int64_t max_rows);
  // Bytes in use when a plan has `rows` rows and the largest portion of experts `portion_rows`.
  static double bytes(const BlockSpec& spec, int64_t rows, int64_t portion_rows);
  // Gate, up and h of these rows. With recomputation they exist for one portion of experts at a time.
  MlpBuffers buffers(const BlockSpec& spec, Range rows) const {
    return spec.recomputes() ? routed.slice_rows(0, rows.size()) : routed.slice_rows(rows.begin, rows.end);
  }

  MlpBuffers routed, shared;
  MatView expert_out;           // [rows, H] o
  MatView dx_rows;              // [rows, H]
  MatView packed_x, packed_dy;  // [rows, H]
  MatView sum;                  // [T, H] f32, scatter-add
  std::unique_ptr<GroupedGemm> gemm;
  std::vector<int64_t> group_offset;          // [experts + 1] of a portion
  std::vector<int64_t> part_begin, part_end;  // [experts] some rows of each
  std::vector<int64_t> shared_offset;         // [2] one group of all shared tokens
  // [shared tokens], where the shared expert has a gate: its values, their gradients, and 0, 1, 2 ...
  std::vector<float> shared_p, shared_dp;
  std::vector<int32_t> shared_index;

 private:
  void lay_out(Scratch& memory, const BlockSpec& spec, int64_t rows, int64_t portion_rows);
  Scratch memory_;
};

class Block {
 public:
  explicit Block(const BlockSpec& spec);

  // The next plans are of so many tokens, at most those of the spec; which of them the shared expert has
  // here.
  void set_tokens(int64_t tokens, Range shared_tokens);
  // Steps leave these stages out from now on. Other stages read whatever lies where these would have written.
  void leave_out(StageSet stages) { spec_.left_out = stages; }
  // Token t's rows of x and y are rows[t] of what passes are given, in all plans from now on.
  void read_rows_at(const int32_t* rows) { rows_at_ = rows; }
  void make_plan(ThreadTeam& team, const Routing& routing) { plan_.make(team, routing, rows_at_); }
  // Packs rows of x where spec().packs_rows().
  void pack_rows(ThreadTeam& team, const MatView& x);

  void forward_shared(const BlockPass& pass);
  void backward_shared(const BlockPass& pass);
  void forward_routed(const BlockPass& pass);
  void backward_routed(const BlockPass& pass);

  const BlockSpec& spec() const { return spec_; }
  const RoutingPlan& plan() const { return plan_.routes; }
  // FLOPs of a step: all rows that are multiplied (padding and masked rows included), and recomputation.
  double executed_flops() const;

  // Shows what a step leaves in its work space and the next step must make anew: the rows between the stages
  // and the plan. `spoil` fills it with bytes 0xff, which are NaN, or in the plan's integers nobody's row; so
  // a stage that is left out shows. What was made before the clock starts (prequeue) is passed over. Nothing
  // before the first step.
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
