// Lies about whole steps, about the results that they leave and the operands that they use. RunFactory::make
// is wrapped and returns a Run around the real one. In a job of several processes, each spoils the same
// places of its own memory, and those that a device leaves are among them.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moehill/api/measuring.h"
#include "moehill/parallel/operands.h"
#include "moehill/parallel/path.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie no_op("no_op", "a step does nothing");
const Lie replayed("replayed", "a step copies the results of the step before instead of computing them");
const Lie y_scaled("y_scaled", "y times 1 + 1e-4 (f32) or 1.02 (bf16)");
const Lie dx_scaled("dx_scaled", "dx times 1 + 1e-4 (f32) or 1.02 (bf16)");
const Lie y_row_lost("y_row_lost", "one token's y is zero");
const Lie dx_row_lost("dx_row_lost", "one token's dx is zero");
const Lie y_rows_swapped("y_rows_swapped", "two neighbours' rows of y exchanged");
const Lie dp_missing("dp_missing", "dp is zero");
const Lie dlogits_missing("dlogits_missing", "dlogits is zero");
const Lie dwg_missing("dwg_missing", "dW_g is zero");
const Lie latent_down_left_out("latent_down_left_out", "experts of another width see zero rows");
const Lie latent_up_left_out("latent_up_left_out", "the experts' sums do not come back to the model's width");
const Lie old_latent_weights("old_latent_weights", "the products around the experts: weights off by 3 %");
const Lie dlatent_missing("dlatent_missing", "the gradients of the products around the experts are zero");
const Lie dp_not_scaled("dp_not_scaled", "dp without the 2 / (T H) of the loss");
const Lie dw_of_expert_zero("dw_of_expert_zero", "dW1, dW2, dW3 of one expert are zero");
const Lie dw2_of_expert_zero("dw2_of_expert_zero", "dW2 of one expert is zero");
const Lie dw_of_other_expert("dw_of_other_expert", "an expert's dW1 and dW3 are its neighbour's");
const Lie dw_of_wrong_expert("dw_of_wrong_expert", "dW2 of the first two experts exchanged");
const Lie dw_rows_swapped("dw_rows_swapped", "two rows of one expert's dW1 exchanged");
const Lie ds_zero("ds_zero", "dS1, dS2, dS3 are zero");
const Lie stale_y("stale_y", "y is what lay there before the step");
const Lie stale_dx("stale_dx", "dx is what lay there before the step");
const Lie stale_dw("stale_dw", "dW2 is what lay there before the step");
const Lie stale_dp("stale_dp", "dp is what lay there before the step");

const Lie flops_not_counted("flops_not_counted", "the path counts no FLOPs of its step");
const Lie rows_not_counted("rows_not_counted", "the path counts no bytes that its devices sent");

const Lie expert_id_shifted("expert_id_shifted", "expert e computed with the weights of e + 1");
const Lie swapped_w1_w3("swapped_w1_w3", "gate and up exchanged");
const Lie transposed_w2("transposed_w2", "W2 read with its two indices exchanged");
const Lie old_weights("old_weights",
                      "a device's experts work on weights of an update before: each off by 3 %");
const Lie old_weights_of_one_expert("old_weights_of_one_expert", "one expert's W2 is off by 3 %");
const Lie old_x_of_one_token("old_x_of_one_token", "one token's x is that of its neighbour");
const Lie x_changed("x_changed", "a step leaves one value of x changed");
const Lie weight_changed("weight_changed", "a step leaves one weight changed");

const Lie expert_not_filled("expert_not_filled", "nobody fills the weights of one expert, so they are zero");
const Lie experts_alike("experts_alike", "all experts of a process are filled with the first one's weights");

const Lie bit_in_y("bit_in_y", "one bit of y");
const Lie bit_in_dx("bit_in_dx", "one bit of dx");
const Lie bit_in_dw1("bit_in_dw1", "one bit of dW1");
const Lie bit_in_dw2("bit_in_dw2", "one bit of dW2");
const Lie bit_in_dw3("bit_in_dw3", "one bit of dW3");
const Lie bit_in_ds1("bit_in_ds1", "one bit of dS1");
const Lie bit_in_ds2("bit_in_ds2", "one bit of dS2");
const Lie bit_in_ds3("bit_in_ds3", "one bit of dS3");
const Lie bit_in_dp("bit_in_dp", "one bit of dp");
const Lie bit_in_dlogits("bit_in_dlogits", "one bit of dlogits");
const Lie bit_in_dwg("bit_in_dwg", "one bit of dW_g");
const Lie bit_in_dlatent("bit_in_dlatent", "one bit of the gradient of the product before the experts");

// Operands in the memory of this process. A lie about the rest must be told by another process.
HeldOperands own_part;

// A result seen as [groups][rows][columns], however it is stored. Parts that this process does not hold read
// as zero and are not written.
struct Result {
  const Lie* bit;
  int64_t groups = 0, rows = 0, columns = 0;
  std::function<float(int64_t, int64_t, int64_t)> at;
  std::function<void(int64_t, int64_t, int64_t, float)> set;
  DType dtype = DType::f32;
};

bool has(Range range, int64_t i) { return contains(range, {i, i + 1}); }

Result result_of(const Lie& bit, const MatView& m) {
  return {&bit,
          1,
          m.rows,
          m.cols,
          [m](int64_t, int64_t r, int64_t c) { return has(own_part.tokens, r) ? m.at(r, c) : 0; },
          [m](int64_t, int64_t r, int64_t c, float v) {
            if (has(own_part.tokens, r)) m.set(r, c, v);
          },
          m.dtype};
}
Result result_of(const Lie& bit, const LogicalWeights& w, Range groups) {
  return {&bit,
          w.stack.num_groups,
          w.rows(),
          w.num_columns,
          [w, groups](int64_t g, int64_t r, int64_t c) { return has(groups, g) ? w.at(g, r, c) : 0; },
          [w, groups](int64_t g, int64_t r, int64_t c, float v) {
            if (has(groups, g)) w.set(g, r, c, v);
          },
          w.stack.dtype};
}
Result of_experts(const Lie& bit, const LogicalWeights& w) { return result_of(bit, w, own_part.experts); }
Result of_shared(const Lie& bit, const LogicalWeights& w) { return result_of(bit, w, {0, 1}); }
// The run shows dp and dlogits as read-only, but they are its own memory and may be changed here.
Result result_of(const Lie& bit, const float* values, int64_t rows, int64_t columns) {
  return result_of(bit, MatView{const_cast<float*>(values), DType::f32, rows, columns, columns});
}

std::vector<Result> results_of(const BlockTensors& t) {
  std::vector<Result> all = {result_of(bit_in_y, t.y)};
  if (t.dp == nullptr) return all;
  all.push_back(result_of(bit_in_dx, t.dx));
  all.push_back(of_experts(bit_in_dw1, t.gradients.w1));
  all.push_back(of_experts(bit_in_dw2, t.gradients.w2));
  all.push_back(of_experts(bit_in_dw3, t.gradients.w3));
  if (t.shape.shared_dim > 0) {
    all.push_back(of_shared(bit_in_ds1, t.gradients.s1));
    all.push_back(of_shared(bit_in_ds2, t.gradients.s2));
    all.push_back(of_shared(bit_in_ds3, t.gradients.s3));
  }
  all.push_back(result_of(bit_in_dp, t.dp, t.shape.tokens, t.shape.topk));
  if (t.dlogits != nullptr)
    all.push_back(result_of(bit_in_dlogits, t.dlogits, t.shape.tokens, t.shape.num_logits()));
  if (t.gradients.wg.rows() > 0) all.push_back(of_shared(bit_in_dwg, t.gradients.wg));
  if (t.shape.form.latent > 0) all.push_back(of_shared(bit_in_dlatent, t.gradients.latent_down));
  return all;
}

void change(const Result& result, int64_t group, int64_t row, const std::function<float(float)>& f) {
  for (int64_t c = 0; c < result.columns; ++c) result.set(group, row, c, f(result.at(group, row, c)));
}

void change(const Result& result, const std::function<float(float)>& f) {
  for (int64_t g = 0; g < result.groups; ++g) {
    for (int64_t r = 0; r < result.rows; ++r) change(result, g, r, f);
  }
}

void swap_rows(const Result& result, int64_t group, int64_t a, int64_t b) {
  for (int64_t c = 0; c < result.columns; ++c) {
    const float value = result.at(group, a, c);
    result.set(group, a, c, result.at(group, b, c));
    result.set(group, b, c, value);
  }
}

float zero(float) { return 0; }

// The checked step gets the lowest bit of the exponent flipped, since smaller changes may be rounding. Later
// steps get the lowest bit of all.
float with_other_bit(float value, DType dtype) {
  const int lowest = dtype == DType::f32 ? 0 : 16;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ (1u << (step_number() == 0 ? 23 : lowest)));
}

// Flips a bit of the largest element in the first row that is not zero, from a place chosen by the seed on.
void flip_bit(const Result& result) {
  const int64_t rows = result.groups * result.rows;
  for (int64_t i = 0, first = place(rows); i < rows; ++i) {
    const int64_t group = (first + i) % rows / result.rows, row = (first + i) % rows % result.rows;
    int64_t largest = 0;
    for (int64_t c = 0; c < result.columns; ++c) {
      if (std::abs(result.at(group, row, c)) > std::abs(result.at(group, row, largest))) largest = c;
    }
    const float value = result.at(group, row, largest);
    if (value == 0 || !std::isfinite(value)) continue;
    return result.set(group, row, largest, with_other_bit(value, result.dtype));
  }
}

std::vector<float> values_of(const Result& result) {
  std::vector<float> values;
  for (int64_t g = 0; g < result.groups; ++g) {
    for (int64_t r = 0; r < result.rows; ++r) {
      for (int64_t c = 0; c < result.columns; ++c) values.push_back(result.at(g, r, c));
    }
  }
  return values;
}

void restore(const Result& result, const std::vector<float>& values) {
  size_t i = 0;
  for (int64_t g = 0; g < result.groups; ++g) {
    for (int64_t r = 0; r < result.rows; ++r) {
      for (int64_t c = 0; c < result.columns; ++c) result.set(g, r, c, values[i++]);
    }
  }
}

// Returns an expert that has rows, so that its gradients are not zero.
int64_t busy_expert(const BlockTensors& t, uint32_t what) {
  const std::vector<int32_t>& chosen = t.routing->expert;
  return chosen[static_cast<size_t>(place(static_cast<int64_t>(chosen.size()), what))];
}

// Spoils results after a step.
void spoil_tokens(const BlockTensors& t) {
  const Result y = result_of(bit_in_y, t.y);
  const float factor = t.shape.dtype == DType::f32 ? 1 + 1e-4f : 1.02f;
  const auto scaled = [&](float v) { return v * factor; };
  const int64_t token = place(t.shape.tokens);
  if (y_scaled.told()) change(y, scaled);
  if (y_row_lost.told()) change(y, 0, token, zero);
  if (t.shape.tokens > 1 && y_rows_swapped.told()) swap_rows(y, 0, token, (token + 1) % t.shape.tokens);
  if (t.dp == nullptr) return;
  const Result dx = result_of(bit_in_dx, t.dx);
  const Result dp = result_of(bit_in_dp, t.dp, t.shape.tokens, t.shape.topk);
  if (dx_scaled.told()) change(dx, scaled);
  if (dx_row_lost.told()) change(dx, 0, token, zero);
  if (dp_missing.told()) change(dp, zero);
  if (dp_not_scaled.told()) {
    const float scale = static_cast<float>(t.shape.tokens * t.shape.hidden) / 2;
    change(dp, [&](float v) { return v * scale; });
  }
  if (t.dlogits != nullptr && dlogits_missing.told())
    change(result_of(bit_in_dlogits, t.dlogits, t.shape.tokens, t.shape.num_logits()), zero);
}

void spoil_weight_gradients(const BlockTensors& t) {
  const Result dw1 = of_experts(bit_in_dw1, t.gradients.w1), dw2 = of_experts(bit_in_dw2, t.gradients.w2),
               dw3 = of_experts(bit_in_dw3, t.gradients.w3);
  const int64_t expert = busy_expert(t, 1), other = (expert + 1) % t.shape.experts;
  for (const Result* result : {&dw1, &dw2, &dw3}) {
    if (!dw_of_expert_zero.told()) break;
    for (int64_t r = 0; r < result->rows; ++r) change(*result, expert, r, zero);
  }
  if (dw2_of_expert_zero.told()) {
    for (int64_t r = 0; r < dw2.rows; ++r) change(dw2, expert, r, zero);
  }
  for (const Result* result : {&dw1, &dw3}) {
    if (t.shape.experts < 2 || !dw_of_other_expert.told()) break;
    for (int64_t r = 0; r < result->rows; ++r) {
      for (int64_t c = 0; c < result->columns; ++c) result->set(expert, r, c, result->at(other, r, c));
    }
  }
  if (t.shape.experts > 1 && dw_of_wrong_expert.told()) {
    for (int64_t r = 0; r < dw2.rows; ++r) {
      for (int64_t c = 0; c < dw2.columns; ++c) {
        const float value = dw2.at(0, r, c);
        dw2.set(0, r, c, dw2.at(1, r, c));
        dw2.set(1, r, c, value);
      }
    }
  }
  if (t.shape.hidden > 1 && dw_rows_swapped.told()) swap_rows(dw1, expert, 0, t.shape.hidden - 1);
  if (t.gradients.wg.rows() > 0 && dwg_missing.told()) change(of_shared(bit_in_dwg, t.gradients.wg), zero);
  if (t.shape.form.latent > 0 && dlatent_missing.told()) {
    change(of_shared(bit_in_dlatent, t.gradients.latent_down), zero);
    change(of_shared(bit_in_dlatent, t.gradients.latent_up), zero);
  }
  if (t.shape.shared_dim == 0 || !ds_zero.told()) return;
  change(of_shared(bit_in_ds1, t.gradients.s1), zero);
  change(of_shared(bit_in_ds2, t.gradients.s2), zero);
  change(of_shared(bit_in_ds3, t.gradients.s3), zero);
}

// Spoils operands after a step, for the steps that follow.
void change_operands(const BlockTensors& t) {
  const int64_t token = place(t.shape.tokens), expert = busy_expert(t, 3);
  if (has(own_part.tokens, token) && x_changed.told()) t.x.set(token, 0, 1.5f * t.x.at(token, 0));
  if (has(own_part.experts, expert) && weight_changed.told())
    t.weights.w1.set(expert, 0, 0, 1.5f * t.weights.w1.at(expert, 0, 0));
}

// SpoiltOperands spoils operands of a step and restores them at its end: x, and the weights of the experts
// held by devices of this process.
class SpoiltOperands {
 public:
  SpoiltOperands(const BlockTensors& tensors, const RunConfig& config, Range devices) : t_(tensors) {
    // If all devices hold the experts, they are spoilt only once: exchanging two of them twice would restore
    // them.
    const bool apart = is_ep(config.spread);
    for (int64_t rank = devices.begin;
         rank < (apart ? devices.end : std::min(devices.begin + 1, devices.end)); ++rank)
      spoil(config, static_cast<int>(rank));
    if (t_.shape.form.latent > 0 && devices.size() > 0) spoil_latent(static_cast<int>(devices.begin));
    if (own_part.tokens.size() > 1 && old_x_of_one_token.told()) {
      const int64_t token = own_part.tokens.begin + place(own_part.tokens.size()),
                    other = token + 1 < own_part.tokens.end ? token + 1 : own_part.tokens.begin;
      const MatView x = t_.x.slice_rows(own_part.tokens.begin, own_part.tokens.end);
      keep(x.data, static_cast<size_t>(x.rows * x.stride) * dtype_bytes(x.dtype));
      for (int64_t c = 0; c < t_.x.cols; ++c) t_.x.set(token, c, t_.x.at(other, c));
    }
  }
  SpoiltOperands(const SpoiltOperands&) = delete;
  // Restores in reverse order, because parts of one stack were kept one after the other.
  ~SpoiltOperands() {
    for (auto kept = kept_.rbegin(); kept != kept_.rend(); ++kept)
      std::memcpy(kept->data, kept->bytes.data(), kept->bytes.size());
  }

 private:
  struct Kept {
    void* data;
    std::vector<char> bytes;
  };
  void keep(void* data, size_t bytes) {
    const char* const begin = static_cast<const char*>(data);
    kept_.push_back({data, {begin, begin + bytes}});
  }
  // Keeps the matrices of `experts` as they are before the change.
  void keep(const WeightView& w, Range experts) {
    const WeightView part = w.slice_groups(experts.begin, experts.end);
    keep(part.data, part.bytes());
  }

  void spoil_latent(int rank) {
    const LogicalWeights &down = t_.weights.latent_down, &up = t_.weights.latent_up;
    const auto clear = [&](const LogicalWeights& w) {
      keep(w.stack, {0, 1});
      for_each(w, {0, 1}, [&](int64_t, int64_t r, int64_t c) { w.set(0, r, c, 0); });
    };
    if (latent_down_left_out.told_by(rank)) clear(down);
    if (latent_up_left_out.told_by(rank)) clear(up);
    if (!old_latent_weights.told_by(rank)) return;
    age(down, {0, 1});
    age(up, {0, 1});
  }

  void spoil(const RunConfig& config, int rank) {
    const BlockShare held = block_share(config, rank);
    const Range experts{held.expert_begin, held.expert_end};
    if (experts.size() == 0) return;
    const BlockWeights& w = t_.weights;
    if (old_weights.told_by(rank)) {
      for (const LogicalWeights* weights : {&w.w1, &w.w2, &w.w3}) age(*weights, experts);
    }
    const int64_t expert = busy_expert(t_, 2);
    if (experts.begin <= expert && expert < experts.end && old_weights_of_one_expert.told_by(rank))
      age(w.w2, {expert, expert + 1});
    if (experts.size() > 1 && expert_id_shifted.told_by(rank)) {
      for (const LogicalWeights* weights : {&w.w1, &w.w2, &w.w3}) shift(*weights, experts);
    }
    if (transposed_w2.told_by(rank)) transpose(w.w2, experts);
    if (swapped_w1_w3.told_by(rank)) exchange(w.w1, w.w3, experts);
  }

  template <typename Body>
  static void for_each(const LogicalWeights& w, Range experts, const Body& body) {
    for (int64_t e = experts.begin; e < experts.end; ++e) {
      for (int64_t r = 0; r < w.rows(); ++r) {
        for (int64_t c = 0; c < w.num_columns; ++c) body(e, r, c);
      }
    }
  }
  void age(const LogicalWeights& w, Range experts) {
    keep(w.stack, experts);
    for_each(w, experts, [&](int64_t e, int64_t r, int64_t c) {
      w.set(e, r, c, w.at(e, r, c) * ((e + r + c) % 2 == 0 ? 1.03f : 0.97f));
    });
  }
  void shift(const LogicalWeights& w, Range experts) {
    keep(w.stack, experts);
    for_each(w, {experts.begin, experts.end - 1},
             [&](int64_t e, int64_t r, int64_t c) { w.set(e, r, c, w.at(e + 1, r, c)); });
  }
  void transpose(const LogicalWeights& w, Range experts) {
    keep(w.stack, experts);
    for (int64_t e = experts.begin; e < experts.end; ++e) {
      std::vector<float> values;
      for_each(w, {e, e + 1}, [&](int64_t, int64_t r, int64_t c) { values.push_back(w.at(e, r, c)); });
      for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i)
        w.set(e, i % w.rows(), i / w.rows(), values[static_cast<size_t>(i)]);
    }
  }
  void exchange(const LogicalWeights& a, const LogicalWeights& b, Range experts) {
    keep(a.stack, experts);
    if (b.stack.data != a.stack.data) keep(b.stack, experts);
    for_each(a, experts, [&](int64_t e, int64_t r, int64_t c) {
      const float value = a.at(e, r, c);
      a.set(e, r, c, b.at(e, r, c));
      b.set(e, r, c, value);
    });
  }

  BlockTensors t_;
  std::vector<Kept> kept_;
};

class LyingRun final : public Run {
 public:
  explicit LyingRun(std::unique_ptr<Run> run) : run_(std::move(run)) {}

  void step(const std::vector<StageListener*>& listeners) override {
    // A step on other operands takes the number of the timed step before it, so that numbers count timed
    // steps only.
    if (run_->local_devices().size() == 0) return run_->step(listeners);
    own_part = run_->held();
    const StepScope scope(on_other_operands_ ? num_steps_ - 1 : num_steps_++);
    if (no_op.told()) return;
    // The weights were spoilt before the first step (lying_fill_experts), which is noted here.
    expert_not_filled.told();
    experts_alike.told();
    const BlockTensors t = run_->tensors();
    const std::vector<Result> results = results_of(t);
    if (!last_results_.empty() && replayed.told()) {
      for (size_t i = 0; i < results.size(); ++i) restore(results[i], last_results_[i]);
      return;
    }
    const std::vector<std::vector<float>> before = stale_values(results);
    {
      const SpoiltOperands spoilt(t, run_->config(), run_->local_devices());
      run_->step(listeners);
    }
    keep_results(results);
    for (size_t i = 0; i < results.size(); ++i) {
      if (!before[i].empty()) restore(results[i], before[i]);
      if (results[i].bit->told()) flip_bit(results[i]);
    }
    change_operands(t);
    spoil_tokens(t);
    if (t.dp != nullptr) spoil_weight_gradients(t);
  }

  void rouse() override { run_->rouse(); }
  void poison() override { run_->poison(); }
  void on_teams(const std::function<void(int, ThreadTeam&)>& work) override { run_->on_teams(work); }
  std::vector<ResultHash> result_hashes() override { return run_->result_hashes(); }
  std::vector<uint64_t> replica_hashes() override { return run_->replica_hashes(); }
  uint64_t operand_hash() override { return run_->operand_hash(); }
  void use_other_operands(bool others) override {
    run_->use_other_operands(others);
    on_other_operands_ = others;
  }
  void collect() override { run_->collect(); }
  Range local_devices() const override { return run_->local_devices(); }
  HeldOperands held() const override { return run_->held(); }
  BlockTensors tensors() const override { return run_->tensors(); }
  CheckShare check_share() override { return run_->check_share(); }
  const Routing& routing() const override { return run_->routing(); }
  const Routing& placed_routing() const override { return run_->placed_routing(); }
  bool copies_differ() override { return run_->copies_differ(); }
  const RunConfig& config() const override { return run_->config(); }
  uint64_t plan_hash() const override { return run_->plan_hash(); }
  uint64_t output_hash() const override { return run_->output_hash(); }
  int64_t num_dropped() const override { return run_->num_dropped(); }
  int64_t num_spilled() const override { return run_->num_spilled(); }
  int64_t capacity_rows() const override { return run_->capacity_rows(); }
  // The harness asks for counts after the checked step. The lie is of that step.
  double executed_flops() const override {
    const StepScope scope(0);
    return flops_not_counted.told() ? 0 : run_->executed_flops();
  }
  std::vector<Traffic> traffic() const override { return run_->traffic(); }
  Nodes nodes() const override { return run_->nodes(); }
  std::array<uint64_t, kNumMoves> moved_bytes() const override {
    const StepScope scope(0);
    return rows_not_counted.told() ? std::array<uint64_t, kNumMoves>{} : run_->moved_bytes();
  }

 private:
  // Returns the values of those results that the step is supposed to leave old; empty for the others.
  std::vector<std::vector<float>> stale_values(const std::vector<Result>& results) const {
    std::vector<std::vector<float>> values;
    for (const Result& result : results) {
      const bool stale =
          (result.bit == &bit_in_y && stale_y.told()) || (result.bit == &bit_in_dx && stale_dx.told()) ||
          (result.bit == &bit_in_dw2 && stale_dw.told()) || (result.bit == &bit_in_dp && stale_dp.told());
      values.push_back(stale ? values_of(result) : std::vector<float>{});
    }
    return values;
  }

  void keep_results(const std::vector<Result>& results) {
    if (!replayed.is_chosen()) return;
    last_results_.clear();
    for (const Result& result : results) last_results_.push_back(values_of(result));
  }

  std::unique_ptr<Run> run_;
  int64_t num_steps_ = 0;
  bool on_other_operands_ = false;
  std::vector<std::vector<float>> last_results_;
};

}  // namespace

SEAM("_ZN7moehill12fill_expertsERNS_14WeightOperandsENS_5RangeENS_12WeightOriginERNS_10ThreadTeamE", void,
     fill_experts, WeightOperands&, Range, WeightOrigin, ThreadTeam&);

void lying_fill_experts(WeightOperands& weights, Range experts, WeightOrigin origin, ThreadTeam& team) {
  real_fill_experts(weights, experts, origin, team);
  const int64_t num = weights.filled.size(), first = weights.filled.begin - weights.held.begin;
  for (const WeightView* stack : weights.experts.view.parts()) {
    if (stack->data == nullptr || num == 0) continue;
    const auto matrix = [&](int64_t i) { return stack->slice_groups(first + i, first + i + 1); };
    const WeightView empty = matrix(place(num, 4));
    if (expert_not_filled.is_chosen()) std::memset(empty.data, 0, empty.bytes());
    for (int64_t i = 1; i < num && experts_alike.is_chosen(); ++i)
      std::memcpy(matrix(i).data, matrix(0).data, matrix(i).bytes());
  }
}

SEAM("_ZN7moehill10RunFactory4makeERKNS_9RunConfigE", std::unique_ptr<Run>, make, RunFactory*,
     const RunConfig&);

std::unique_ptr<Run> lying_make(RunFactory* factory, const RunConfig& config) {
  return std::make_unique<LyingRun>(real_make(factory, config));
}

SEAM("_ZN7moehill10RunFactory4makeERKNS_9RunConfigERKNS_7RoutingE", std::unique_ptr<Run>, make_routed,
     RunFactory*, const RunConfig&, const Routing&);

std::unique_ptr<Run> lying_make_routed(RunFactory* factory, const RunConfig& config, const Routing& routing) {
  return std::make_unique<LyingRun>(real_make_routed(factory, config, routing));
}

}  // namespace moehill
