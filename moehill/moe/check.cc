#include "moehill/moe/check.h"

#include <chrono>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/moe/audit.h"
#include "moehill/moe/check_selection.h"
#include "moehill/moe/oracle.h"
#include "moehill/moe/router_check.h"

namespace moehill {
namespace {

// Collects what was found of all tensors and says what it amounts to.
class Verdict {
 public:
  // The contract's names: y is the forward result, all others are gradients.
  void add(const TensorAudit& audit, bool may_be_zero) {
    if (audit.zero_reference && !may_be_zero) {
      result_.zero_reference = true;
      doubt(fmt::format("the reference of {} is zero: nothing to compare with", audit.tensor));
    }
    if (!audit.failure.empty()) fail(audit.failure);
    result_.what += (result_.what.empty() ? "" : ", ") + audit.tensor;
    if (audit.numbers.worst() > result_.worst_bounds) {
      result_.worst_bounds = audit.numbers.worst();
      result_.worst_number = audit.tensor + " " + audit.worst;
    }
  }

  // `label(index)` names a row.
  template <typename Label>
  void add_accuracy(const std::string& tensor, const RowComparison& rows, const Label& label) {
    const RowComparison::Result compared = rows.result();
    result_.num_sampled_rows += rows.num_rows();
    take_accuracy(tensor, compared.rel_err, compared.worst_index < 0 ? "" : label(compared.worst_index));
  }
  void take_accuracy(const std::string& tensor, double rel_err, const std::string& row) {
    (tensor == "y" ? result_.forward_rel_err : result_.grad_rel_err[tensor]) = rel_err;
    if (row.empty() || rel_err < worst_rel_err_) return;
    worst_rel_err_ = rel_err;
    result_.worst_row = fmt::format("{} {}: {:.1e}", tensor, row, rel_err);
  }

  void fail(const std::string& why) {
    failed_ = true;
    add_reason(failures_, why);
  }
  void doubt(const std::string& why) {
    mistrusted_ = true;
    add_reason(doubts_, why);
  }
  CheckResult& result() { return result_; }

  CheckResult finish() {
    result_.numbers_ok = !failed_;
    result_.status = failed_       ? CheckStatus::failed
                     : mistrusted_ ? CheckStatus::mistrusted
                                   : CheckStatus::passed;
    result_.reason = failed_ ? failures_ : doubts_;
    return result_;
  }

 private:
  static void add_reason(std::string& reasons, const std::string& why) {
    reasons += reasons.empty() ? why : "; " + why;
  }

  CheckResult result_;
  bool failed_ = false, mistrusted_ = false;
  std::string failures_, doubts_;
  double worst_rel_err_ = 0;
};

std::string token_label(int64_t token) { return fmt::format("token {}", token); }
std::string shared_label(int64_t row) { return fmt::format("row {}", row); }

// dy = 2 y / (T H) of the stored y.
std::vector<double> stored_loss_gradient(const MatView& y, ThreadTeam& team) {
  std::vector<double> dy(static_cast<size_t>(y.rows * y.cols));
  const double scale = 2.0 / static_cast<double>(y.rows * y.cols);
  team.parallel_for(y.rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < y.cols; ++h)
        dy[static_cast<size_t>(t * y.cols + h)] = scale * static_cast<double>(y.at(t, h));
    }
  });
  return dy;
}

RowComparison compare_tokens(std::span<const int64_t> tokens, const MatView& actual,
                             const Dense<double>& reference) {
  RowComparison rows;
  std::vector<float> row(static_cast<size_t>(actual.cols));
  for (size_t i = 0; i < tokens.size(); ++i) {
    read_row(actual, tokens[i], row.data());
    rows.add_row(tokens[i], row, reference.row_span(static_cast<int64_t>(i)));
  }
  return rows;
}

// dp [T, k] and dlogits [T, E]: differences of large terms, hence the median floor.
RowComparison compare_tokens(std::span<const int64_t> tokens, const float* actual,
                             const Dense<double>& reference) {
  RowComparison rows(RowComparison::kMedianFloor);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const std::span<const float> row{actual + tokens[i] * reference.cols,
                                     static_cast<size_t>(reference.cols)};
    rows.add_row(tokens[i], row, reference.row_span(static_cast<int64_t>(i)));
  }
  return rows;
}

// Row r of a matrix is row `first + numbers[r]` of the tensor.
void compare_rows(const Dense<float>& actual, const Dense<double>& reference, int64_t first,
                  std::span<const int64_t> numbers, RowComparison& rows) {
  for (int64_t r = 0; r < actual.rows; ++r)
    rows.add_row(first + numbers[static_cast<size_t>(r)], actual.row_span(r), reference.row_span(r));
}

// Comparisons of the three gradients of one expert or of several.
struct ExpertComparison {
  RowComparison w1, w2, w3, b1, b2, b3;
  ExpertColumns actual;  // scratch

  void add(const BlockTensors& tensors, int expert, std::span<const int64_t> columns, const double* dy,
           ThreadTeam& team) {
    const bool shared = expert == kSharedExpert;
    const int64_t hidden = tensors.shape.hidden;
    const int64_t width = shared ? tensors.shape.shared_dim : tensors.shape.mlp_dim;
    const int64_t number = shared ? 0 : expert;  // the expert's place in the tensor
    const std::vector<int64_t> all_rows = indices_up_to(hidden);
    const ExpertGradients reference = run_oracle_expert(tensors, expert, columns, dy, team);
    read_expert(tensors.gradients, expert, columns, team, actual);
    compare_rows(actual.w1, reference.dw1, number * hidden, all_rows, w1);
    if (reference.dw3.rows > 0) compare_rows(actual.w3, reference.dw3, number * hidden, all_rows, w3);
    compare_rows(actual.w2, reference.dw2, number * width, columns, w2);
    const std::vector<int64_t> only{0};
    if (reference.db1.rows > 0) compare_rows(actual.b1, reference.db1, number, only, b1);
    if (reference.db3.rows > 0) compare_rows(actual.b3, reference.db3, number, only, b3);
    if (reference.db2.rows > 0) compare_rows(actual.b2, reference.db2, number, only, b2);
  }
};

void check_weight_gradients(const BlockTensors& tensors, const CheckSelection& selection, const double* dy,
                            ThreadTeam& team, Verdict& verdict) {
  const MoeShape& shape = tensors.shape;
  const auto label = [](int64_t rows_per_expert) {
    return [rows_per_expert](int64_t row) {
      return fmt::format("expert {} row {}", row / rows_per_expert, row % rows_per_expert);
    };
  };
  ExpertComparison routed;
  for (const int e : selection.experts) routed.add(tensors, e, selection.columns, dy, team);
  verdict.add_accuracy("dw1", routed.w1, label(shape.hidden));
  verdict.add_accuracy("dw2", routed.w2, label(shape.mlp_dim));
  const bool gated = shape.form.activation.gated;
  if (gated) verdict.add_accuracy("dw3", routed.w3, label(shape.hidden));
  if (shape.form.biases) {
    verdict.add_accuracy("db1", routed.b1, label(1));
    verdict.add_accuracy("db2", routed.b2, label(1));
    if (gated) verdict.add_accuracy("db3", routed.b3, label(1));
  }
  if (shape.shared_dim == 0) return;
  ExpertComparison shared;
  shared.add(tensors, kSharedExpert, selection.shared_columns, dy, team);
  verdict.add_accuracy("ds1", shared.w1, shared_label);
  verdict.add_accuracy("ds2", shared.w2, shared_label);
  if (gated) verdict.add_accuracy("ds3", shared.w3, shared_label);
}

// The norm of a sampled row's error against the variance that the audit gives the row.
void hold_rows(const std::string& tensor, const RowComparison& rows, const std::vector<double>& variance,
               Verdict& verdict) {
  for (const RowComparison::Row& row : rows.rows()) {
    const double bound = kMaxBounds * std::sqrt(variance[static_cast<size_t>(row.index)]);
    if (row.difference <= bound) continue;
    return verdict.fail(
        fmt::format("{} {} is off by {:.1e} against the double-precision block, {:.1e} allowed", tensor,
                    token_label(row.index), unsigned_nan(row.difference), bound));
  }
}

// Rows drawn by the seed against the double-precision block.
void check_sample(const BlockTensors& tensors, const AuditResult& audit, const CheckSelection& selection,
                  const double* dy, ThreadTeam& team, Verdict& verdict) {
  const TokenResult reference = run_oracle_tokens(tensors, selection.tokens, dy, team);
  const RowComparison y = compare_tokens(selection.tokens, tensors.y, reference.y);
  hold_rows("y", y, audit.y_variance, verdict);
  verdict.add_accuracy("y", y, token_label);
  if (dy == nullptr) return;
  const RowComparison dx = compare_tokens(selection.tokens, tensors.dx, reference.dx);
  hold_rows("dx", dx, audit.dx_variance, verdict);
  verdict.add_accuracy("dx", dx, token_label);
  verdict.add_accuracy("dp", compare_tokens(selection.tokens, tensors.dp, reference.dp), token_label);
  if (tensors.dlogits != nullptr)
    verdict.add_accuracy("dlogits", compare_tokens(selection.tokens, tensors.dlogits, reference.dlogits),
                         token_label);
  check_weight_gradients(tensors, selection, dy, team, verdict);
}

// Rows of all results together.
int64_t num_result_rows(const MoeShape& shape, bool backward, bool logits) {
  if (!backward) return shape.tokens;
  const int64_t up_rows = (shape.form.num_matrices() - 1) * shape.hidden;
  const int64_t biases = shape.form.biases ? shape.form.num_matrices() : 0, gate = shape.form.shared_gate;
  const int64_t weights = shape.experts * (up_rows + shape.mlp_dim + biases) +
                          (shape.shared_dim > 0 ? up_rows + shape.shared_dim + gate : 0);
  return (logits ? 4 : 3) * shape.tokens + weights;
}

void doubt_idle_experts(const BlockTensors& tensors, Verdict& verdict) {
  std::vector<int> idle;
  const std::vector<int64_t> load = computed_load(tensors);
  for (size_t e = 0; e < load.size(); ++e) {
    if (load[e] == 0) idle.push_back(static_cast<int>(e));
  }
  if (idle.empty()) return;
  verdict.doubt(
      fmt::format("{} of {} experts have no assignment (the first is expert {}): "
                  "nothing vouches for their weights",
                  idle.size(), load.size(), idle.front()));
}

}  // namespace

double forward_limit(DType dtype) { return dtype == DType::f32 ? 1e-5 : 1e-2; }
double gradient_limit(DType dtype) { return dtype == DType::f32 ? 2e-5 : 2e-2; }

CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed,
                        ThreadTeam& team) {
  if (mode == CheckMode::off) return {};
  const auto start = std::chrono::steady_clock::now();
  const bool backward = pass == Pass::forward_backward, full = mode == CheckMode::full;
  MOEHILL_CHECK(tensors.routing != nullptr, "a block without routing");
  MOEHILL_CHECK(!backward || tensors.dp != nullptr, "a backward pass without dp");
  const AuditResult audit = audit_block(tensors, pass, {full, seed}, team);
  Verdict verdict;
  for (const TensorAudit& tensor : audit.tensors) {
    verdict.add(tensor, tensor.tensor == "dlogits" && tensors.shape.topk == 1);
    if (full) verdict.take_accuracy(tensor.tensor, tensor.rel_err, tensor.worst_row);
  }
  if (tensors.router != nullptr) {
    const std::string fault = router_fault(*tensors.router, tensors.logits, *tensors.routing, team);
    if (!fault.empty()) verdict.fail(fault);
  }
  if (!audit.reference_holds)
    verdict.doubt("a product of the reference does not hold against its projection");
  if (full) {
    doubt_idle_experts(tensors, verdict);
  } else {
    const std::vector<double> dy = backward ? stored_loss_gradient(tensors.y, team) : std::vector<double>{};
    check_sample(tensors, audit, select_sample(tensors, seed), backward ? dy.data() : nullptr, team, verdict);
  }
  CheckResult& result = verdict.result();
  result.seed = seed;
  result.num_rows = num_result_rows(tensors.shape, backward, tensors.dlogits != nullptr);
  result.how = full ? "all rows, every element, against the block in double"
                    : "all rows, by random projections, against a block computed apart; "
                      "rows drawn by the seed against the block in double";
  if (tensors.router != nullptr) result.how += "; the router's choices and gate values against its logits";
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return verdict.finish();
}

// The sample's own part is the gradient of the loss in double and, at most, the rows of one expert.
double check_bytes(const MoeShape& shape, Pass pass, CheckMode mode, int num_threads) {
  if (mode == CheckMode::off) return 0;
  const double audit = audit_bytes(shape, pass, mode == CheckMode::full, num_threads);
  const double gradient = 8.0 * static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden);
  return audit + (mode == CheckMode::sample && pass == Pass::forward_backward ? 3 * gradient : 0);
}

}  // namespace moehill
