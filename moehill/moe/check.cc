#include "moehill/moe/check.h"

#include "moehill/base/error.h"
#include "moehill/moe/check_selection.h"
#include "moehill/moe/oracle.h"

namespace moehill {
namespace {

// Collects the comparisons of all tensors and says what they amount to.
class Verdict {
 public:
  explicit Verdict(DType dtype) : dtype_(dtype) {}

  // `label(index)` names a row. `may_be_zero`: a zero reference is no ground for mistrust.
  template <typename Label>
  void add(const std::string& tensor, const RowComparison& rows, const Label& label,
           bool may_be_zero = false) {
    const RowComparison::Result compared = rows.result();
    const bool forward = tensor == "y";
    const double limit = forward ? forward_limit(dtype_) : gradient_limit(dtype_);
    (forward ? result_.forward_rel_err : result_.grad_rel_err[tensor]) = compared.rel_err;
    if (compared.zero_reference && !may_be_zero) {
      result_.zero_reference = true;
      doubt(fmt::format("the reference of {} is zero: nothing to compare with", tensor));
    }
    if (!(compared.rel_err <= limit)) {
      failed_ = true;
      add_reason(failures_, fmt::format("{} {}: {:.1e} is over {:.0e}", tensor, label(compared.worst_index),
                                        compared.rel_err, limit));
    }
    if (compared.worst_index >= 0 && compared.rel_err / limit >= worst_share_) {
      worst_share_ = compared.rel_err / limit;
      result_.worst_row = fmt::format("{} {}: {:.1e}", tensor, label(compared.worst_index), compared.rel_err);
    }
  }

  void doubt(const std::string& why) {
    mistrusted_ = true;
    add_reason(doubts_, why);
  }

  CheckResult finish() {
    result_.numbers_ok = !failed_;
    result_.status = failed_ ? "failed" : mistrusted_ ? "mistrusted" : "passed";
    result_.reason = failed_ ? failures_ : doubts_;
    return result_;
  }

 private:
  static void add_reason(std::string& reasons, const std::string& why) {
    reasons += reasons.empty() ? why : "; " + why;
  }

  DType dtype_;
  CheckResult result_;
  bool failed_ = false, mistrusted_ = false;
  std::string failures_, doubts_;
  double worst_share_ = 0;
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
  RowComparison w1, w2, w3;
  ExpertColumns actual;  // scratch

  // `number`: the expert's place in the tensor.
  void add(const BlockTensors& tensors, int expert, int64_t number, std::span<const int64_t> columns,
           int64_t width, const double* dy, ThreadTeam& team) {
    const int64_t hidden = tensors.shape.hidden;
    const std::vector<int64_t> all_rows = indices_up_to(hidden);
    const ExpertGradients reference = run_oracle_expert(tensors, expert, columns, dy, team);
    read_expert(tensors.gradients, expert, columns, team, actual);
    compare_rows(actual.w1, reference.dw1, number * hidden, all_rows, w1);
    compare_rows(actual.w3, reference.dw3, number * hidden, all_rows, w3);
    compare_rows(actual.w2, reference.dw2, number * width, columns, w2);
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
  for (const int e : selection.experts) routed.add(tensors, e, e, selection.columns, shape.mlp_dim, dy, team);
  verdict.add("dw1", routed.w1, label(shape.hidden));
  verdict.add("dw2", routed.w2, label(shape.mlp_dim));
  verdict.add("dw3", routed.w3, label(shape.hidden));
  if (shape.shared_dim == 0) return;
  ExpertComparison shared;
  shared.add(tensors, kSharedExpert, 0, selection.shared_columns, shape.shared_dim, dy, team);
  verdict.add("ds1", shared.w1, shared_label);
  verdict.add("ds2", shared.w2, shared_label);
  verdict.add("ds3", shared.w3, shared_label);
}

void check_token_gradients(const BlockTensors& tensors, std::span<const int64_t> tokens,
                           const TokenResult& reference, Verdict& verdict) {
  verdict.add("dx", compare_tokens(tokens, tensors.dx, reference.dx), token_label);
  verdict.add("dp", compare_tokens(tokens, tensors.dp, reference.dp), token_label);
  if (tensors.dlogits == nullptr) return;
  const bool constant_gate = tensors.shape.topk == 1;
  verdict.add("dlogits", compare_tokens(tokens, tensors.dlogits, reference.dlogits), token_label,
              constant_gate);
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
  const bool backward = pass == Pass::forward_backward;
  MOEHILL_CHECK(tensors.routing != nullptr, "a block without routing");
  MOEHILL_CHECK(!backward || tensors.dp != nullptr, "a backward pass without dp");
  const CheckSelection selection =
      mode == CheckMode::full ? select_all(tensors.shape) : select_sample(tensors, seed);
  std::vector<double> dy_values;
  if (backward) dy_values = stored_loss_gradient(tensors.y, team);
  const double* dy = backward ? dy_values.data() : nullptr;

  Verdict verdict(tensors.shape.dtype);
  const TokenResult reference = run_oracle_tokens(tensors, selection.tokens, dy, team);
  verdict.add("y", compare_tokens(selection.tokens, tensors.y, reference.y), token_label);
  if (backward) {
    check_token_gradients(tensors, selection.tokens, reference, verdict);
    check_weight_gradients(tensors, selection, dy, team, verdict);
  }
  if (mode == CheckMode::full) doubt_idle_experts(tensors, verdict);
  return verdict.finish();
}

}  // namespace moehill
