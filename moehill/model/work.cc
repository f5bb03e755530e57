// Implementation of model/work.h: the rows of a device and their products, stage by stage, in the order of
// the step.
#include "moehill/model/work.h"

#include <algorithm>

#include "moehill/model/link_work.h"
#include "moehill/model/stage_list.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

// MlpStages are the stages of an MLP. A routed expert has several stages; the shared expert has only one.
struct MlpStages {
  Stage up, act, down, down_grad, act_grad, w2_grad, up_grad, w13_grad;
};
constexpr MlpStages kRouted{Stage::up,       Stage::act,     Stage::down,    Stage::down_grad,
                            Stage::act_grad, Stage::w2_grad, Stage::up_grad, Stage::w13_grad};
constexpr MlpStages kShared{Stage::shared,      Stage::shared,      Stage::shared,      Stage::shared_grad,
                            Stage::shared_grad, Stage::shared_grad, Stage::shared_grad, Stage::shared_grad};
constexpr MlpStages kRecompute{Stage::recompute, Stage::recompute, Stage::recompute, Stage::recompute,
                               Stage::recompute, Stage::recompute, Stage::recompute, Stage::recompute};

// Mlp is an MLP with `rows` rows over `groups` weight matrices, of which `busy` have rows.
struct Mlp {
  int64_t rows, groups, busy, width;
  bool fused, shared;
};

// Returns the elements as stored: columns are padded to panels, rows of bf16 to pairs.
MlpElements mlp_elements(const WorkProblem& p, int64_t width, bool fused) {
  if (width == 0) return {};
  const int64_t up_columns = round_up(fused && p.gated ? gate_up_columns(width) : width, kPanelWidth);
  const int64_t up = stored_panel_rows(p.hidden, p.dtype) * up_columns;
  return {{up, fused || !p.gated ? 0 : up},
          stored_panel_rows(width, p.dtype) * round_up(p.hidden, kPanelWidth),
          {}};
}

// BlockWork makes the DeviceWork of one device. Its functions add to the stages; find_rows() finds out whose
// rows the device has.
class BlockWork {
 public:
  BlockWork(const WorkProblem& p, const PlanCounts& counts, int device)
      : p_(p), counts_(counts), device_(device), b_(to_double(static_cast<int64_t>(dtype_bytes(p.dtype)))) {
    find_rows();
  }

  DeviceWork make() {
    forward();
    if (p_.backward) backward();
    work_.stages = list_.take();
    work_.activation_bytes = activations();
    work_.weight_bytes = bytes_of(routed_.groups, expert_elements(p_)) + bytes_of(1, shared_elements(p_));
    return std::move(work_);
  }

  // Makes the part around experts of another width: the shared expert, and the products to and from their
  // width.
  DeviceWork make_around() {
    forward_around();
    if (p_.backward) backward_around();
    work_.stages = list_.take();
    work_.activation_bytes = activations_around();
    const LatentElements latent = latent_elements(p_);
    work_.weight_bytes =
        bytes_of(1, shared_elements(p_)) + 2 * b_ * to_double(latent.matrix) + 4 * to_double(latent.norm);
    return std::move(work_);
  }

 private:
  // ---- whose rows the device works on
  void find_rows() {
    const Range experts = own_experts(p_.spread, counts_, device_);
    for (int64_t e = experts.begin; e < experts.end; ++e) {
      const int expert = static_cast<int>(e);
      work_.group_rows.push_back(p_.spread == Spread::dp ? counts_.local_rows(device_, expert)
                                                         : counts_.rows_of_expert(expert));
    }
    if (p_.spread == Spread::dense_masked && !work_.group_rows.empty()) add_masked_rows(experts);
    const Range own = share(counts_.tokens, device_, counts_.num_devices);
    work_.token_rows = p_.shared_dim == 0 && p_.latent == 0                ? 0
                       : p_.spread == Spread::none || p_.shared_replicated ? counts_.tokens
                                                                           : own.size();
    const int64_t busy = std::count_if(work_.group_rows.begin(), work_.group_rows.end(),
                                       [](int64_t rows) { return rows > 0; });
    int64_t rows = 0, own_rows = 0;
    for (const int64_t r : work_.group_rows) rows += r;
    for (int64_t e = experts.begin; e < experts.end; ++e)
      own_rows += counts_.local_rows(device_, static_cast<int>(e));
    if (rows > 0) work_.own_part = std::min(1.0, to_double(own_rows) / to_double(rows));
    routed_ = {rows, static_cast<int64_t>(work_.group_rows.size()), busy, p_.mlp_dim, p_.fused_w13, false};
    shared_ = {work_.token_rows, 1, work_.token_rows > 0 ? 1 : 0, p_.shared_dim, p_.shared_fused, true};
  }

  // With dense_masked, the rows of other devices' experts are computed with the last expert's weights.
  void add_masked_rows(Range experts) {
    int64_t mine = 0;
    for (int64_t e = experts.begin; e < experts.end; ++e) mine += counts_.kept[static_cast<size_t>(e)];
    work_.group_rows.back() += counts_.num_kept - mine;
  }

  // Returns the number of tokens over whose rows this device's routed experts sum.
  int64_t combined_tokens() const {
    if (p_.spread == Spread::dp) return own_tokens(p_.spread, counts_, device_).size();
    return exchanges_rows() ? received_rows() : counts_.tokens;
  }
  int64_t received_rows() const {
    int64_t rows = 0;
    for (int from = 0; from < counts_.num_devices; ++from) rows += counts_.pair_rows(from, device_);
    return rows;
  }
  // Returns the rows that the device sends, summed over both levels if the path has two.
  int64_t sent_rows() const {
    int64_t rows = 0;
    for (int to = 0; to < counts_.num_devices; ++to) {
      for (const RowWay way : ways()) rows += rows_between(counts_, way, device_, to);
    }
    return rows;
  }
  // Returns the rows to or from other nodes that are written one more time, because they travel in another
  // form.
  int64_t far_rows(bool received) const {
    int64_t rows = 0;
    for (int other = 0; p_.wire != Wire::native && other < counts_.num_devices; ++other) {
      if (counts_.nodes.of(other) == counts_.nodes.of(device_)) continue;
      rows += received ? rows_between(counts_, ways().front(), other, device_)
                       : rows_between(counts_, ways().front(), device_, other);
    }
    return rows;
  }
  int64_t wire_bytes() const { return wire_row_bytes(p_.wire, p_.hidden, p_.dtype); }
  double bytes_of(int64_t groups, const MlpElements& elements) const {
    return to_double(groups) * (b_ * to_double(elements.total()) + 4 * to_double(elements.all_vectors()));
  }
  int64_t landed_rows() const {
    int64_t rows = 0;
    for (int from = 0; is_hierarchical() && from < counts_.num_devices; ++from)
      rows += counts_.across_rows(from, device_);
    return rows;
  }
  bool is_hierarchical() const { return p_.spread == Spread::hierarchical; }
  std::vector<RowWay> ways() const {
    if (is_hierarchical()) return {RowWay::across, RowWay::inside};
    return {RowWay::direct};
  }
  double bytes(int64_t rows, int64_t columns) const { return b_ * to_double(rows) * to_double(columns); }
  bool sums_are_f32() const { return is_psum(p_.spread) || p_.spread == Spread::ring_ag_rs; }
  bool exchanges_rows() const { return routes_rows(p_.spread); }

  // ---- products
  void gemm(Stage stage, GemmDirection direction, const Mlp& mlp, int64_t k, int64_t n,
            double extra_bytes = 0) {
    StageWork& work = list_.at(stage);
    // A matrix with gate and up together has padding columns. FLOPs do not count them; the bytes below do.
    const int64_t columns = n == p_.hidden || !is_gate_up(mlp, n) ? n : 2 * mlp.width;
    work.flops += 2 * to_double(mlp.rows) * to_double(k == p_.hidden ? k : mlp.width) * to_double(columns);
    const int64_t groups = direction == GemmDirection::weight_grad ? mlp.groups : mlp.busy;
    work.gemm_bytes += bytes(mlp.rows, k + n) +
                       bytes(groups * stored_panel_rows(k, p_.dtype), round_up(n, kPanelWidth)) + extra_bytes;
    work.gemms.push_back({direction, k, n, mlp.shared});
  }
  bool is_gate_up(const Mlp& mlp, int64_t n) const {
    return mlp.fused && p_.gated && n == gate_up_columns(mlp.width);
  }
  int up_products(const Mlp& mlp) const { return mlp.fused || !p_.gated ? 1 : 2; }
  int64_t up_width(const Mlp& mlp) const {
    return mlp.fused && p_.gated ? gate_up_columns(mlp.width) : mlp.width;
  }
  // Returns the number of products that make one value of h: gate and up, or only the gate.
  int gates() const { return p_.gated ? 2 : 1; }

  void up(const MlpStages& names, const Mlp& mlp, bool keep_products) {
    // With the activation fused, the product writes h, and writes gate and up only if backward needs them.
    for (int i = 0; i < up_products(mlp); ++i) {
      const double h = mlp.fused ? bytes(mlp.rows, mlp.width) : 0;
      const double unwritten = mlp.fused && !keep_products ? bytes(mlp.rows, up_width(mlp)) : 0;
      gemm(names.up, GemmDirection::forward, mlp, p_.hidden, up_width(mlp), h - unwritten);
    }
    if (!mlp.fused) list_.at(names.act).rows.swiglu += (gates() + 1) * bytes(mlp.rows, mlp.width);
  }

  void mlp_forward(const MlpStages& names, const Mlp& mlp) {
    if (mlp.shared && p_.shared_gate) list_.at(names.up).rows.gather += bytes(mlp.rows, p_.hidden);
    up(names, mlp, p_.backward && !p_.recompute);
    gemm(names.down, GemmDirection::forward, mlp, mlp.width, p_.hidden);
  }

  void mlp_backward(const MlpStages& names, const Mlp& mlp) {
    gemm(names.down_grad, GemmDirection::input_grad, mlp, mlp.width, p_.hidden);
    // Gate, up and dh are read and written.
    list_.at(names.act_grad).rows.swiglu += 2 * (gates() + 1) * bytes(mlp.rows, mlp.width);
    gemm(names.w2_grad, GemmDirection::weight_grad, mlp, mlp.width, p_.hidden);
    for (int i = 0; i < up_products(mlp); ++i)
      gemm(names.up_grad, GemmDirection::input_grad, mlp, p_.hidden, up_width(mlp));
    for (int i = 0; i < up_products(mlp); ++i)
      gemm(names.w13_grad, GemmDirection::weight_grad, mlp, p_.hidden, up_width(mlp));
    if (!mlp.shared) vector_gradients(names, mlp);
    // x w is computed again, and dx is read and written.
    if (mlp.shared && p_.shared_gate) list_.at(names.w13_grad).rows.gather += 3 * bytes(mlp.rows, p_.hidden);
  }

  // Counts the bytes that biases, and gate values of inputs, read and write in addition to the products.
  void vector_gradients(const MlpStages& names, const Mlp& mlp) {
    if (p_.biases) {
      list_.at(names.w2_grad).rows.gather += bytes(mlp.rows, p_.hidden);
      list_.at(names.w13_grad).rows.gather += gates() * bytes(mlp.rows, mlp.width);
      if (p_.dx_over_outputs || p_.preweight)
        list_.at(names.act_grad).rows.gather += bytes(mlp.rows, p_.hidden);  // dp
    }
    if (p_.input_weighted)
      list_.at(names.up_grad).rows.gather +=
          2 * bytes(mlp.rows, p_.hidden) + 2 * gates() * bytes(mlp.rows, mlp.width);
  }

  // Adds the sum of rows of H over each token's choices. With `base` the sum begins with what is already
  // there, as in the block's combine.
  void combine(Stage stage, bool base) {
    const double out = to_double(combined_tokens()) * to_double(p_.hidden) * (sums_are_f32() ? 4 : b_);
    double& moved = list_.at(stage).rows.combine;
    moved += bytes(routed_.rows, p_.hidden) + out * (base ? 2 : 1);
    if (p_.scatter) moved += 4 * to_double(p_.hidden) * to_double(2 * routed_.rows + combined_tokens());
  }

  // Adds the bytes of zeros. A sliced shared expert writes only some rows of the sums, so the other rows are
  // set to zero first.
  void zero_rest(Stage stage) {
    const bool sliced = sums_are_f32() && !p_.shared_replicated && p_.shared_dim > 0;
    if (sliced)
      list_.at(stage).rows.zero += 4 * to_double(counts_.tokens - work_.token_rows) * to_double(p_.hidden);
  }
  bool combines_onto_shared() const {
    return p_.shared_dim > 0 && !exchanges_rows() && !(sums_are_f32() && p_.shared_replicated);
  }

  // ---- passes
  void forward() {
    if (!p_.prequeue || exchanges_rows() || p_.spread == Spread::ring_ag_rs) plan();
    exchange(Stage::dispatch);
    pack(Stage::pack);
    if (p_.shared_dim > 0) mlp_forward(kShared, shared_);
    zero_rest(Stage::up);
    mlp_forward(kRouted, routed_);
    combine(Stage::combine, combines_onto_shared());
    if (exchanges_rows()) return_rows(Stage::reduce);
    list_.add_links(Stage::reduce, forward_links(p_, counts_, device_));
    if (sums_are_f32() && p_.shared_replicated && p_.shared_dim > 0) add_replicated(Stage::reduce);
  }

  void backward() {
    exchange(Stage::dispatch_grad);
    pack(Stage::pack_grad);
    if (p_.recompute && p_.shared_dim > 0) up(kRecompute, shared_, true);
    if (p_.shared_dim > 0) mlp_backward(kShared, shared_);
    if (p_.recompute) up(kRecompute, routed_, true);
    if (!p_.dx_over_outputs && !p_.preweight && !p_.input_weighted)
      list_.at(Stage::combine_grad).rows.gather += 2 * bytes(routed_.rows, p_.hidden);
    mlp_backward(kRouted, routed_);
    combine(Stage::combine_grad, combines_onto_shared());
    zero_rest(Stage::down_grad);
    if (p_.router_grad) {  // done by one device
      const int64_t tokens = device_ == 0 ? counts_.tokens : 0;
      list_.at(Stage::router_grad).rows.zero += 4 * to_double(tokens) * counts_.experts;
    }
    if (exchanges_rows()) return_rows(Stage::reduce_grad);
    list_.add_links(Stage::reduce_grad, backward_links(p_, counts_, device_));
    if (sums_are_f32() && p_.shared_replicated && p_.shared_dim > 0) add_replicated(Stage::reduce_grad);
  }

  void plan() {
    StageWork& plan = list_.at(Stage::plan);
    plan.assignments = p_.spread == Spread::dp ? own_tokens(p_.spread, counts_, device_).size() * counts_.topk
                                               : counts_.tokens * counts_.topk;
    list_.add_links(Stage::plan, plan_links(p_, counts_, device_));
  }

  // Brings rows to the devices of their experts. If they go by the routing, they are packed by destination
  // first.
  void exchange(Stage stage) {
    if (p_.spread == Spread::ring_ag_rs || exchanges_rows()) list_.at(stage);
    if (exchanges_rows() && !p_.in_place) {
      const int64_t sent = far_rows(false), both = sent + far_rows(true);
      list_.at(stage).rows.gather +=
          bytes(2 * (sent_rows() - sent) + both, p_.hidden) + to_double(both * wire_bytes());
    }
    list_.add_links(stage, dispatch_links(p_, counts_, device_));
  }

  void pack(Stage stage) {
    if (p_.packs_rows) list_.at(stage).rows.gather += 2 * bytes(routed_.rows, p_.hidden);
  }

  // Adds the bytes of summing the rows that come back. The tokens' device sums them; with two levels, the
  // rows of a node are summed first where they land.
  void return_rows(Stage stage) {
    const int64_t own = own_tokens(p_.spread, counts_, device_).size();
    list_.at(stage).rows.combine +=
        bytes(sent_rows() + landed_rows() + own * (p_.shared_dim > 0 ? 2 : 1), p_.hidden);
  }

  // Adds the bytes of adding the shared expert's rows, which every device computed by itself, to the sum over
  // devices.
  void add_replicated(Stage stage) {
    list_.at(stage).rows.combine += to_double(counts_.tokens) * to_double(p_.hidden) * (4 + 2 * b_);
  }

  // ---- around experts of another width
  // Adds one product of all own tokens' rows with a matrix [H, H'].
  void latent_gemm(Stage stage, GemmDirection direction, double extra_bytes = 0) {
    StageWork& work = list_.at(stage);
    const int64_t rows = work_.token_rows;
    work.flops += 2 * to_double(rows) * to_double(p_.hidden) * to_double(p_.latent);
    work.gemm_bytes +=
        bytes(rows, p_.hidden + p_.latent) + b_ * to_double(latent_elements(p_).matrix) + extra_bytes;
    work.gemms.push_back({direction, p_.hidden, p_.latent, true});
  }
  // Returns the bytes of the sum that the shared expert has left, to which the product adds; 0 without one.
  double sum_so_far() const { return p_.shared_dim > 0 ? bytes(work_.token_rows, p_.hidden) : 0; }

  void forward_around() {
    if (p_.shared_dim > 0) mlp_forward(kShared, shared_);
    latent_gemm(Stage::latent, GemmDirection::forward);
    latent_gemm(Stage::latent, GemmDirection::input_grad, sum_so_far());
    if (p_.latent_norm) list_.at(Stage::latent).rows.swiglu += 2 * bytes(work_.token_rows, p_.latent);
  }

  void backward_around() {
    if (p_.recompute && p_.shared_dim > 0) up(kRecompute, shared_, true);
    if (p_.shared_dim > 0) mlp_backward(kShared, shared_);
    latent_gemm(Stage::latent_grad, GemmDirection::forward);
    latent_gemm(Stage::latent_grad, GemmDirection::input_grad, sum_so_far());
    for (int i = 0; i < 2; ++i) latent_gemm(Stage::latent_grad, GemmDirection::weight_grad);
    if (p_.latent_norm) list_.at(Stage::latent_grad).rows.swiglu += 3 * bytes(work_.token_rows, p_.latent);
    list_.add_links(Stage::reduce_grad, around_links(p_, counts_, device_));
  }

  // Returns the bytes of the tokens' tensors: x, y and dx, the shared expert's products, and the rows of H'
  // that the routed part does not have (dr, n and dn).
  double activations_around() const {
    const int64_t latent_rows = (p_.backward ? 1 : 0) + (p_.latent_norm ? (p_.backward ? 2 : 1) : 0);
    return bytes(work_.token_rows, (p_.backward ? 3 : 2) * p_.hidden + latent_rows * p_.latent) +
           shared_products();
  }

  double shared_products() const {
    return bytes(shared_.rows, (p_.backward || !p_.shared_fused ? gates() + 1 : 1) * p_.shared_dim);
  }

  // Returns the bytes of rows that are kept from forward to backward, and of the tokens' tensors.
  double activations() const {
    const int64_t tokens = own_tokens(p_.spread, counts_, device_).size();
    const int64_t outputs = p_.backward && !p_.dx_over_outputs ? 2 : 1;
    const int64_t products = p_.recompute ? 0 : (p_.backward || !p_.fused_w13 ? gates() + 1 : 1);
    double total = bytes(tokens, p_.hidden) * (p_.backward ? 3 : 2);
    total += bytes(routed_.rows, outputs * p_.hidden + products * p_.mlp_dim);
    total += shared_products();
    if (sums_are_f32()) total += 4 * to_double(counts_.tokens) * to_double(p_.hidden);
    if (p_.spread == Spread::ring_ag_rs && !p_.in_place)
      total += bytes(counts_.tokens, p_.hidden) * (p_.backward ? 2 : 1);
    // In place, only the partial sums that others read are kept.
    if (exchanges_rows() && p_.in_place) total += bytes(received_rows(), p_.hidden);
    if (exchanges_rows() && !p_.in_place)
      total += bytes(sent_rows() + landed_rows() + received_rows() * (p_.backward ? 3 : 2), p_.hidden) +
               to_double((far_rows(false) + far_rows(true)) * wire_bytes());
    return total;
  }

  const WorkProblem& p_;
  const PlanCounts& counts_;
  int device_;
  double b_;
  Mlp routed_{}, shared_{};
  DeviceWork work_;
  StageList list_;
};

// Returns the block that experts of another width see: a block of that width, without a shared expert.
WorkProblem routed_part(WorkProblem p) {
  p.hidden = p.latent;
  p.latent = p.shared_dim = 0;
  p.latent_norm = p.shared_gate = false;
  return p;
}

// Joins both parts of a block; stages of the same name are added.
DeviceWork joined(DeviceWork routed, const DeviceWork& around) {
  StageList list;
  for (const StageWork& stage : routed.stages) list.add(stage);
  for (const StageWork& stage : around.stages) list.add(stage);
  routed.stages = list.take();
  routed.token_rows = around.token_rows;
  routed.weight_bytes += around.weight_bytes;
  routed.activation_bytes += around.activation_bytes;
  return routed;
}

}  // namespace

MlpElements expert_elements(const WorkProblem& p) {
  MlpElements elements = mlp_elements(p, p.mlp_dim, p.fused_w13);
  if (!p.biases) return elements;
  elements.vectors.assign(p.gated ? 2 : 1, vector_columns(p.mlp_dim));
  elements.vectors.push_back(vector_columns(p.hidden));
  return elements;
}

MlpElements shared_elements(const WorkProblem& p) {
  MlpElements elements = mlp_elements(p, p.shared_dim, p.shared_fused);
  if (p.shared_gate && p.shared_dim > 0) elements.vectors.push_back(vector_columns(p.hidden));
  return elements;
}

LatentElements latent_elements(const WorkProblem& p) {
  if (p.latent == 0) return {};
  return {stored_panel_rows(p.hidden, p.dtype) * round_up(p.latent, kPanelWidth),
          p.latent_norm ? vector_columns(p.latent) : 0};
}

Range own_tokens(Spread spread, const PlanCounts& counts, int device) {
  return shards_tokens(spread) ? share(counts.tokens, device, counts.num_devices) : Range{0, counts.tokens};
}

Range own_experts(Spread spread, const PlanCounts& counts, int device) {
  const bool all = spread == Spread::none || spread == Spread::dp;
  return all ? Range{0, counts.experts} : share(counts.experts, device, counts.num_devices);
}

int64_t StageWork::sent_bytes() const {
  int64_t sum = 0;
  for (const LinkWork& link : links) sum += link.sent_bytes;
  return sum;
}

int64_t StageWork::received_bytes() const {
  int64_t sum = 0;
  for (const LinkWork& link : links) sum += link.received_bytes;
  return sum;
}

double DeviceWork::flops() const {
  double sum = 0;
  for (const StageWork& stage : stages) sum += stage.flops;
  return sum;
}

double DeviceWork::memory_bytes() const {
  double sum = 0;
  for (const StageWork& stage : stages) sum += stage.memory_bytes();
  return sum;
}

int64_t DeviceWork::sent_bytes() const {
  int64_t sum = 0;
  for (const StageWork& stage : stages) sum += stage.sent_bytes();
  return sum;
}

int64_t DeviceWork::received_bytes() const {
  int64_t sum = 0;
  for (const StageWork& stage : stages) sum += stage.received_bytes();
  return sum;
}

DeviceWork device_work(const WorkProblem& problem, const PlanCounts& counts, int device) {
  if (problem.latent == 0) return BlockWork(problem, counts, device).make();
  return joined(device_work(routed_part(problem), counts, device),
                BlockWork(problem, counts, device).make_around());
}

std::vector<DeviceWork> all_work(const WorkProblem& problem, const PlanCounts& counts) {
  std::vector<DeviceWork> work;
  for (int d = 0; d < counts.num_devices; ++d) work.push_back(device_work(problem, counts, d));
  return work;
}

}  // namespace moehill
