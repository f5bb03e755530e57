// The block on one device: plan, routed experts, shared expert and combine, forward and backward. A function
// in one process: it knows which experts and which tokens' shared expert are its own, and nothing of who has
// the others.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "moehill/block/options.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/moe/mlp.h"
#include "moehill/moe/scratch.h"
#include "moehill/routing/plan.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// What this device does of the block.
struct BlockShare {
  int expert_begin = 0, expert_end = 0;
  Range shared_tokens;  // tokens whose shared expert is computed here
  PlanScope scope = PlanScope::local;
};

struct BlockOperands {
  MatView x;                         // [T, H]
  MlpWeights experts, experts_grad;  // of this device's experts
  MlpWeights shared, shared_grad;    // one group; the gradient is over this device's shared tokens
};

// What travels while the routed experts work. Where `split` is set and the block can, its experts go in
// waves: products that need no more than the rows of `own` fill the time until a wave's rows are there, and
// such that are of them alone come after the last leave(); the results are the same. Else all arrives, then
// all leaves.
class Underway {
 public:
  virtual ~Underway() = default;
  // Whether arrive(wave) would return at once.
  virtual bool has_arrived(int) const { return false; }
  // Returns when all other rows are there that the waves up to this one need.
  virtual void arrive(int) const {}
  // The rows of the result are complete to which no later wave adds, but for the own tokens'.
  virtual void leave(int) const {}

  int num_waves() const { return experts.empty() ? 1 : static_cast<int>(experts.size()) - 1; }

  std::span<const Range> leaving_with(int wave) const {
    const size_t n = leaving.size() / static_cast<size_t>(num_waves());
    return leaving.subspan(static_cast<size_t>(wave) * n, n);
  }

  Range own;  // tokens whose rows of x (backward: y) are there from the start; also their rows of the result
  bool split = false;
  std::span<const int64_t> experts;   // [waves + 1] of this device's; empty: one wave of all
  std::span<const Range> leaving;     // [waves][n] rows of the result that leave with a wave
  const int32_t* token_of = nullptr;  // [rows of the result] whose sum a row is; null: its number's
};

class Block {
 public:
  Block(const MoeShape& shape, const BlockOptions& options, const BlockShare& share, int num_threads);

  // Token t's rows of x and y are rows[t] of what the routed experts are given, in all plans from now on.
  void read_rows_at(const int32_t* rows);
  // Makes the plan of this device's experts from the routing, and the gate values by row.
  void make_plan(ThreadTeam& team, const Routing& routing);
  // Packs rows of x where the backend or the queue mode wants that.
  void pack_rows(ThreadTeam& team, const MatView& x);

  // Shared expert: out [n, H] (storage type or f32) for this device's n shared tokens.
  void forward_shared(ThreadTeam& team, const BlockOperands& operands, const MatView& out,
                      StageListener* listener);
  // Routed experts: out [T, H] = base + this device's experts; base without data: zero, and it may be `out`
  // itself.
  void forward_routed(ThreadTeam& team, const BlockOperands& operands, const MatView& base,
                      const MatView& out, StageListener* listener, const Underway& underway = Underway());

  // Backward of each, from y (dy = y * dy_scale): gradients of the weights, and dx. dp [T k]: only this
  // device's assignments are written.
  void backward_shared(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                       const MatView& dx, StageListener* listener);
  void backward_routed(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                       const MatView& base, const MatView& dx, float* dp, StageListener* listener,
                       const Underway& underway = Underway());

  bool has_shared() const { return shape_.shared_dim > 0 && share_.shared_tokens.size() > 0; }
  // Whether pack_rows() does anything.
  bool packs_rows() const { return !gemm_->gathers_and_fuses() || options_.prequeue; }
  const RoutingPlan& plan() const { return plan_; }
  GemmCounts gemm_counts() const { return gemm_->counts(); }
  const BlockShare& share() const { return share_; }
  // Rows that are multiplied (padding and masked rows included), and FLOPs of a step with recomputation.
  double executed_flops() const;

  // Shows what a step leaves in its work space and the next step must make anew: the rows between the stages
  // and the plan. `spoil` fills it with bytes 0xff, which are NaN, or in the plan's integers nobody's row; so
  // a stage that is left out shows. What was made before the clock starts (prequeue) is passed over. Nothing
  // before the first step.
  void spoil_work_space(const MemoryVisitor& spoil);

  // Whether rows of some tokens and experts can be told from the rest and multiplied apart. The same on all
  // devices, but for those without experts, where there is nothing to split.
  bool has_split_form() const;

  // Bytes of work space in use when the plan has `rows` rows of which the largest wave has `wave_rows`.
  static double scratch_bytes(const MoeShape& shape, const BlockOptions& options, const BlockShare& share,
                              int num_threads, int64_t rows, int64_t wave_rows);

 private:
  struct Buffers {
    MlpBuffers routed, shared;
    MatView expert_out;           // [rows, H] o
    MatView dx_rows;              // [rows, H]
    MatView packed_x, packed_dy;  // [rows, H]
    MatView sum;                  // [T, H] f32, scatter-add
  };
  static Buffers lay_out(Scratch& scratch, const MoeShape& shape, const BlockOptions& options,
                         const BlockShare& share, int64_t rows, int64_t wave_rows);
  static GemmLimits gemm_limits(const MoeShape& shape, const BlockOptions& options, const BlockShare& share,
                                int64_t rows, int num_threads);

  bool recomputes() const { return options_.remat == Remat::expert_mlp; }
  int64_t num_rows() const { return num_experts() > 0 ? plan_.num_rows() : 0; }  // that are multiplied
  int num_experts() const { return share_.expert_end - share_.expert_begin; }
  // Experts [begin, end) whose rows go through the MLP together: all of them, or a wave when the products are
  // not kept.
  template <typename Body>
  void for_each_wave(const Body& body);
  MlpBuffers wave_buffers(Range rows) const;
  // [rows] where a row's x and y are.
  const int32_t* source_row() const;
  RowSource wave_x(const MatView& x, Range rows) const;
  const float* wave_scale(Range rows) const;

  void combine(ThreadTeam& team, const MatView& rows, const float* weight, const MatView& base,
               const MatView& out);
  bool can_split() const { return num_experts() > 0 && has_split_form(); }
  // The same for some rows of the result.
  void combine(ThreadTeam& team, const Underway& underway, std::span<const Range> out_rows,
               const MatView& rows, const float* weight, const MatView& base, const MatView& out);
  // These experts' rows of these tokens; holds until the next call.
  GroupRows rows_of(Range tokens, Range experts);
  // Body(rows) for the rows of a wave: of all tokens, or of all but the own.
  template <typename Body>
  void for_rows(const Underway& underway, int wave, bool own_too, const Body& body);
  // The experts of a wave and the plan's rows of them, whose offsets are left in wave_offset_.
  std::pair<Range, Range> take_wave(const Underway& underway, int wave);
  bool is_one_wave() const;
  bool dp_from_outputs() const { return options_.remat != Remat::combine && !has_preweight(options_.impl); }
  MlpBackward backward_step(const BlockOperands& operands, const MatView& y, float dy_scale, float* dp,
                            Range rows) const;
  void take_up_dy(ThreadTeam& team, const MatView& y, float dy_scale, float* dp, StageListener* listener);
  void combine_dx(ThreadTeam& team, const MatView& base, const MatView& dx, StageListener* listener);
  void backward_split(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                      const MatView& base, const MatView& dx, float* dp, StageListener* listener,
                      const Underway& underway);
  void backward_at_once(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                        const MatView& base, const MatView& dx, float* dp, StageListener* listener,
                        const Underway& underway);
  void forward_split(ThreadTeam& team, const BlockOperands& operands, const MatView& base, const MatView& out,
                     StageListener* listener, const Underway& underway);

  MoeShape shape_;
  BlockOptions options_;
  BlockShare share_;
  PlanBuilder builder_;
  RoutingPlan plan_;
  std::vector<int64_t> offset_;          // group offsets with the masked rows in the last expert's group
  const int32_t* token_rows_ = nullptr;  // [T]; null: token t is row t
  std::vector<int32_t> source_row_;
  std::vector<float> row_p_;         // [rows] gate value; 0 for padding and masked rows
  std::vector<int32_t> dp_index_;    // [rows] assignment; -1 for padding and masked rows
  std::vector<float> assignment_p_;  // [T k] gate value; 0 for masked rows
  int64_t shared_offset_[2] = {0, 0};
  std::vector<int64_t> wave_offset_;
  std::vector<int64_t> part_begin_, part_end_;  // [experts] of rows_of()
  std::unique_ptr<GroupedGemm> gemm_;
  Scratch scratch_;
  Buffers buffers_;
};

}  // namespace moehill
