// Implementation of predict/published_model.h: what the original computed for each row, the defects of its
// measurement, and the order of the pairs. published_report.cc has the report.
#include "moehill/predict/published_model.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <tuple>

#include "moehill/model/predict.h"
#include "moehill/model/roofline.h"
#include "moehill/predict/prediction.h"

namespace moehill {
namespace {

constexpr int kChips = 4;              // chips of the reference's host; its `none` ran on one of them
constexpr int64_t kPaddingRows = 256;  // rows that its data-parallel paths add to each expert's group
// A chip of a 3D torus has six links, so one link carries a sixth of its bandwidth.
constexpr double kLinksOfAChip = 6;
// The reference's fused kernel takes this many tokens of a chip through the experts at a time, by default.
constexpr int64_t kFusedBlockTokens = 128;

int64_t size_of(const PublishedRow& row, const char* name) {
  const auto found = row.sizes.find(name);
  return found == row.sizes.end() ? 0 : found->second;
}

std::string extra_of(const PublishedRow& row, const std::string& name) {
  const auto found = row.extra.find(name);
  return found == row.extra.end() ? "" : found->second;
}

// Returns "bt" of a row's "blocks: ... bt=64 ...", the first size of the list.
int64_t fused_block_tokens(const PublishedRow& row) {
  for (const auto& [name, value] : row.extra) {
    if (name.rfind("blocks:", 0) != 0) continue;
    int64_t tokens = kFusedBlockTokens;
    std::from_chars(value.data(), value.data() + value.size(), tokens);
    return tokens;
  }
  return kFusedBlockTokens;
}

// PublishedStep is a row as a step: what the original computed, on how many chips.
class PublishedStep {
 public:
  PublishedStep(const PublishedRow& row, const Hardware& hardware, Defects defects)
      : row_(row), h_(hardware), with_defects_(defects == Defects::modelled) {
    shape_.tokens = row.tokens;
    shape_.hidden = size_of(row, "hidden");
    shape_.mlp_dim = size_of(row, "mlp_dim");
    shape_.experts = static_cast<int>(size_of(row, "experts"));
    shape_.topk = static_cast<int>(size_of(row, "topk"));
    shape_.shared_dim = size_of(row, "shared_expert_dim");
    shape_.dtype = DType::bf16;
    backward_ = row.pass == "forward_backward";
    chips_ = row.parallel_mode == "none" && with_defects_ ? 1 : kChips;
  }

  double flops() const {
    return model_flops(shape_, backward_ ? Pass::forward_backward : Pass::forward, shape_.assignments());
  }

  PublishedSeconds seconds(const Routing& routing) const {
    PlanCounts counts = count_plan(routing, {}, chips_);
    if (row_.parallel_mode == "fused_ep") return fused_kernel(counts);
    PublishedSeconds s = step(counts);
    if (!with_defects_) return s;
    const bool dp = is_dp();
    if (dp) {
      const double useful = s.products;
      pad(&counts);
      s.padding = step(counts).products - useful;
    }
    if (row_.parallel_mode == "ref_dp") s.copied = block_copies();
    if (row_.parallel_mode != "none")
      s.moved = moved_bytes(dp) / (h_.topology.levels.front().bytes_per_s / kLinksOfAChip);
    return s;
  }

 private:
  bool is_dp() const { return row_.parallel_mode == "staged_dp" || row_.parallel_mode == "ref_dp"; }
  bool is_masked() const {
    return extra_of(row_, "ep").rfind("dense_masked", 0) == 0 || !extra_of(row_, "implied_ici_GBps").empty();
  }
  double b(double elements) const { return 2 * elements; }
  double expert_weight_bytes() const {
    return b(3.0 * static_cast<double>(shape_.hidden) * static_cast<double>(shape_.mlp_dim));
  }

  WorkProblem problem() const {
    WorkProblem p;
    p.hidden = shape_.hidden;
    p.mlp_dim = shape_.mlp_dim;
    p.shared_dim = shape_.shared_dim;
    p.spread = chips_ == 1   ? Spread::none
               : is_dp()     ? Spread::dp
               : is_masked() ? Spread::dense_masked
                             : Spread::compact_psum;
    p.backward = backward_;
    p.packs_rows = true;
    p.shared_fused = extra_of(row_, "shared_fused") == "1";
    p.recompute = extra_of(row_, "remat") == "expert_mlp";
    p.dx_over_outputs = extra_of(row_, "remat") == "combine";
    // The original's expert parallelism packs rows on the host before the clock starts, and has the shared
    // expert on all chips.
    p.prequeue = row_.parallel_mode == "ep";
    p.shared_replicated = is_psum(p.spread);
    return p;
  }

  PublishedSeconds step(const PlanCounts& counts) const {
    PublishedSeconds s;
    const bool sums = !is_dp() && chips_ > 1;
    for (const StagePrediction& stage : predict(problem(), counts, h_, 1).stages) {
      s.products += stage.gemm_s;
      s.rows += stage.overhead_s + stage.wait_s;
      const bool is_sum = sums && (stage.stage == Stage::reduce || stage.stage == Stage::reduce_grad);
      if (!is_sum) s.rows += stage.rows_s;
    }
    if (sums) s.links = sum_seconds();
    return s;
  }

  // Returns the seconds of the original's sums. The original sums bf16 rows by one all-reduce in each pass,
  // of the size that its logbook gives; this library sums f32.
  double sum_seconds() const {
    const auto sums = logbook_communication(shape_.tokens, shape_.hidden, DType::bf16, chips_, backward_);
    return sums.step_bytes / h_.topology.levels.front().bytes_per_s;
  }

  // Adds the padding of the original's data-parallel paths: 256 rows for each expert, all of which are
  // computed.
  void pad(PlanCounts* counts) const {
    for (int64_t& rows : counts->local_kept) rows += kPaddingRows;
  }

  // Returns the seconds of the reference path's copies. That path gathers the weights of each block of 256
  // slots, so it reads them, writes them, and reads them again.
  double block_copies() const {
    const double slots = static_cast<double>(shape_.assignments()) / chips_ +
                         static_cast<double>(shape_.experts) * kPaddingRows;
    return 3 * slots / kPaddingRows * expert_weight_bytes() / h_.memory_bytes_per_s;
  }

  // Returns the bytes of operands that move. The operands lie on the first chip, which sends them to the
  // others in every call: x, and all weights if they are replicated, otherwise each chip's experts.
  double moved_bytes(bool replicated) const {
    const double weights = shape_.experts * expert_weight_bytes();
    if (replicated) return weights * (chips_ - 1);
    const double shared =
        b(3.0 * static_cast<double>(shape_.hidden) * static_cast<double>(shape_.shared_dim));
    const double x = b(static_cast<double>(shape_.tokens) * static_cast<double>(shape_.hidden));
    return weights * (chips_ - 1) / chips_ + (shared + x) * (chips_ - 1);
  }

  // Returns the seconds of the original's fused kernel. The kernel takes 128 tokens of each chip at a time
  // through all of its experts, so a product has few rows, and the kernel reads the weights again each time.
  // It stacks W1 and W3 in every call.
  PublishedSeconds fused_kernel(const PlanCounts& counts) const {
    const double tokens = static_cast<double>(shape_.tokens) / chips_;
    const double block = with_defects_ ? static_cast<double>(fused_block_tokens(row_)) : tokens;
    const double rows = block * chips_ * shape_.topk / shape_.experts;
    const double passes = tokens / block, experts = static_cast<double>(shape_.experts) / chips_;
    const auto product = [&](int64_t k, int64_t n) {
      const double flops = 2 * rows * static_cast<double>(k) * static_cast<double>(n) * experts * passes;
      return flops / (h_.peak_bf16 * gemm_fraction(h_, {DType::bf16, GemmDirection::forward, rows, k, n}));
    };
    PublishedSeconds s;
    const double local_weights = experts * expert_weight_bytes();
    s.products = std::max(product(shape_.hidden, 2 * shape_.mlp_dim) + product(shape_.mlp_dim, shape_.hidden),
                          passes * local_weights / h_.memory_bytes_per_s);
    const double assignments = tokens * shape_.topk, row_bytes = b(static_cast<double>(shape_.hidden));
    const auto rate = [&](double own) { return own > 0 ? own : h_.memory_bytes_per_s; };
    s.rows = 2 * assignments * row_bytes / rate(h_.rows.gather) +
             (assignments + tokens) * row_bytes / rate(h_.rows.combine);
    double remote = 0;
    for (int to = 1; to < chips_; ++to) remote += static_cast<double>(counts.pair_rows(0, to));
    s.links = link_seconds(h_, Collective::all_to_all, 2 * remote * row_bytes, chips_);
    if (with_defects_) s.copied = 2 * 2.0 / 3.0 * local_weights / h_.memory_bytes_per_s;
    return s;
  }

  const PublishedRow& row_;
  const Hardware& h_;
  bool with_defects_, backward_ = true;
  int chips_ = kChips;
  MoeShape shape_;
};

// Returns TF/s as published, or computed from the time of a row that gives only that; 0 without either.
double published_rate(const PublishedRow& row, double flops) {
  if (row.tflops) return *row.tflops;
  const std::string text = extra_of(row, "time_s");
  double seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return seconds > 0 ? flops / seconds / 1e12 : 0;
}

using ShapeKey = std::tuple<int64_t, int64_t, int64_t>;  // tokens, experts, top-k: all that a routing needs

void compare_pairs(PublishedOrder* order) {
  std::vector<PublishedExpectation>& rows = order->rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const double a = rows[i].published_tflops, b = rows[j].published_tflops;
      // A difference below 10 % may be noise of the original, so such a pair has no order.
      if (std::max(a, b) <= 1.1 * std::min(a, b)) continue;
      const double p = rows[i].predicted_tflops(), q = rows[j].predicted_tflops();
      const bool right = p != q && (a > b) == (p > q);
      ++order->num_pairs;
      order->num_right += right ? 1 : 0;
      for (PublishedExpectation* row : {&rows[i], &rows[j]}) {
        ++row->num_pairs;
        row->num_wrong += right ? 0 : 1;
      }
    }
  }
}

// Adds a row with its prediction, unless it has no rate. Rows with equal tokens, experts and top-k share a
// routing.
void add_row(const PublishedRow& row, const Hardware& hardware, Defects defects,
             std::map<ShapeKey, Routing>& routings, PublishedOrder& order) {
  if (row.parallel_mode.find('/') != std::string::npos) return;  // a ratio of two rows
  const PublishedStep step(row, hardware, defects);
  PublishedExpectation expectation{row, step.flops(), published_rate(row, step.flops()), {}, 0, 0};
  if (expectation.published_tflops <= 0) return;
  const ShapeKey key{row.tokens, size_of(row, "experts"), size_of(row, "topk")};
  auto found = routings.find(key);
  if (found == routings.end()) {
    MoeShape shape;
    shape.tokens = row.tokens;
    shape.experts = static_cast<int>(std::get<1>(key));
    shape.topk = static_cast<int>(std::get<2>(key));
    found = routings.emplace(key, routing_of(shape, {}, 0)).first;
  }
  expectation.seconds = step.seconds(found->second);
  order.rows.push_back(expectation);
}

}  // namespace

PublishedOrder published_order(const std::vector<PublishedRow>& rows, const Hardware& hardware,
                               Defects defects, const std::function<void()>& done) {
  PublishedOrder order;
  std::map<ShapeKey, Routing> routings;
  for (const PublishedRow& row : rows) {
    add_row(row, hardware, defects, routings, order);
    if (done) done();
  }
  compare_pairs(&order);
  return order;
}

}  // namespace moehill
