// Implements audit_judge.h: forms the groups of numbers, names them, and judges them against their bounds.
#include "moehill/moe/audit_judge.h"

#include "moehill/moe/audit_sizes.h"
#include "moehill/moe/audit_terms.h"
#include "moehill/moe/expert_columns.h"

namespace moehill {
namespace {

// All numbers of a column of dW1, or of a row of dW2, may share the errors of a few tokens. The differences
// between fewer columns do not tell how large these errors are: two may be near each other by chance.
constexpr int64_t kFewestColumns = 16;

std::string block_name(const Projection& p, int64_t block) {
  const Range columns = p.columns_of(block);
  return columns.size() == 1 ? fmt::format("column {}", columns.begin)
                             : fmt::format("columns {} to {}", columns.begin, columns.end - 1);
}

}  // namespace

void AuditJudge::judge_gradient(const Expert& expert, const GradientAudit& audit, int64_t num_rows,
                                const Projection& p, TensorNumbers& numbers) const {
  numbers.set_rows_per_expert(num_rows);
  if (audit.non_zero_reference) numbers.saw_reference(1);
  const bool shared = expert.number == kSharedExpert;
  const std::string name = shared ? "the shared expert" : fmt::format("expert {}", expert.number);
  const auto where = [&](int64_t row, int64_t block) {
    return fmt::format("{} row {} {}", name, row, block_name(p, block));
  };
  const int64_t n = expert.num_tokens, least = std::min(num_rows, p.num_blocks());
  Deviations all;
  for (const Deviations& block : audit.of_block) all.add(block);
  // A gradient is a sum over n tokens, so its rank is at most n. Therefore its rows, and its columns, share
  // the errors of n rows.
  numbers.add_group(all, n * least, name, where);
  const int64_t width = shared ? shape().shared_dim : shape().mlp_dim;
  const int64_t num_independent = width < kFewestColumns ? least : n * least;
  const double spread = std::max(factor_spread(audit.of_block), factor_spread(audit.of_row));
  numbers.judge_common_factor(all, num_independent, spread, name);
  judge_small(all, audit, num_independent, name, numbers);
  for (int64_t b = 0; b < p.num_blocks(); ++b) {
    numbers.judge(audit.of_block[static_cast<size_t>(b)], n, fmt::format("{} {}", name, block_name(p, b)),
                  where);
  }
  numbers.relative().add_rows(audit.relative, shared ? 0 : expert.number * num_rows);
}

// Judges the part of a gradient that comes from rows with small gate values.
void AuditJudge::judge_small(const Deviations& all, const GradientAudit& audit, int64_t num_independent,
                             const std::string& name, TensorNumbers& numbers) const {
  Deviations small;
  for (const Deviations& block : audit.of_small) small.add(block);
  numbers.judge_terms(small, num_independent, {factor_spread(audit.of_small), all.reference()},
                      name + " and gate values below 2^-7");
}

// Returns how many independent errors a token has at least. A row of outputs is a product over the experts'
// widths, so its numbers share the errors of the intermediate values.
int64_t AuditJudge::num_independent(const TokenFindings& found) const {
  if (found.of_block.empty()) return 1;
  return shape().shared_dim > 0 ? std::min(shape().mlp_dim, shape().shared_dim) : shape().mlp_dim;
}

std::string AuditJudge::number_name(const TokenFindings& found, int64_t token, int64_t number) const {
  return fmt::format(
      "token {} {}", token,
      found.of_block.empty() ? fmt::format("number {}", number) : block_name(context_.by_hidden, number));
}

void AuditJudge::add_token(int64_t token, const Deviations& of_token, TokenFindings& found) const {
  found.all.add(of_token);
  found.numbers.add_group(of_token, num_independent(found), fmt::format("token {}", token),
                          [&](int64_t t, int64_t j) { return number_name(found, t, j); });
}

void AuditJudge::judge_tokens(const std::vector<AuditAssignments>& assignments, TokenFindings& found) const {
  const int64_t independent = num_independent(found);
  const auto where = [&](int64_t t, int64_t j) { return number_name(found, t, j); };
  for (size_t e = 0; e < found.of_expert.size(); ++e) {
    found.numbers.judge(found.of_expert[e], independent * assignments[e].size(),
                        fmt::format("the tokens of expert {}", e), where);
  }
  found.numbers.judge(found.all, independent * shape().tokens, "all tokens", where);
  found.numbers.judge_common_factor(found.all, independent * shape().tokens, factor_spread(found.of_block),
                                    "all tokens");
  for (size_t b = 0; b < found.of_block.size(); ++b) {
    found.numbers.judge(found.of_block[b], shape().tokens,
                        block_name(context_.by_hidden, static_cast<int64_t>(b)), where);
  }
  judge_terms(found);
}

// Judges how far each group of terms is missing in the sums, or is in them too often.
void AuditJudge::judge_terms(TokenFindings& found) const {
  if (found.of_term.empty()) return;
  const int64_t num_groups = num_term_groups(shape()), numbers = std::ssize(found.of_term) / num_groups;
  for (int64_t g = 0; g < num_groups; ++g) {
    const auto first = found.of_term.begin() + g * numbers;
    const std::vector<Deviations> columns(first, first + numbers);
    Deviations group;
    for (const Deviations& column : columns) group.add(column);
    const int64_t tokens = group.count() / numbers;
    found.numbers.judge_terms(group, num_independent(found) * tokens,
                              {factor_spread(columns), found.all.reference()}, term_group_name(shape(), g));
  }
}

void AuditJudge::judge_shared_gate(AuditFindings& found, TensorNumbers& numbers) const {
  const int64_t n = shape().tokens, blocks = context_.by_hidden.num_blocks();
  const ErrorUnits& units = context_.units;
  std::vector<double>&value = found.gate_value, &variance = found.gate_variance;
  std::vector<double> row(static_cast<size_t>(shape().hidden)), sum(value.size()), squares(value.size());
  // Projects the stored gradient in the units of the reference, in which dy = y.
  for (size_t h = 0; h < row.size(); ++h) {
    const float stored = context_.tensors.gradients.sg.at(0, 0, static_cast<int64_t>(h));
    row[h] = static_cast<double>(stored) / context_.dy_scale;
  }
  context_.by_hidden.project_row(row.data(), sum.data(), squares.data());
  Deviations all;
  const double rounding =
      2 * units.store + units.sum * (static_cast<double>(n) + context_.by_hidden.num_roundings());
  for (int64_t b = 0; b < blocks; ++b) {
    const size_t i = static_cast<size_t>(b);
    all.add(0, b, sum[i] - value[i],
            variance[i] + rounding * squares[i] + context_.subnormal_variance(1 / context_.dy_scale),
            value[i]);
    numbers.saw_reference(value[i]);
  }
  numbers.set_rows_per_expert(1);
  numbers.add_group(all, std::min(n, blocks), "the shared expert's gate",
                    [&](int64_t, int64_t block) { return block_name(context_.by_hidden, block); });
  // If every element is compared, the relative error of the stored row is known too.
  if (!context_.exact) return;
  std::vector<float> actual;
  for (double& v : row) {
    v *= context_.dy_scale;
    actual.push_back(static_cast<float>(v));
  }
  for (double& v : value) v *= context_.dy_scale;
  numbers.relative().add_row(0, actual, value);
}

// Rows of the reference are columns of the stored matrix.
TensorAudit AuditJudge::judge_product(const char* tensor, const LogicalWeights& stored,
                                      const Estimate& reference) const {
  const int64_t num = reference.value.rows, blocks = reference.value.cols, tokens = shape().tokens;
  const double scale = context_.dy_scale;
  const double store = stored.stack.dtype == DType::f32 ? 0 : 2 * context_.units.store;
  const double rounding =
      store + context_.units.sum * (static_cast<double>(tokens) + context_.by_hidden.num_roundings());
  TensorNumbers numbers(tensor, RowComparison::kUsualFloor);
  numbers.set_rows_per_expert(num);
  std::vector<double> row(static_cast<size_t>(shape().hidden)), sum(static_cast<size_t>(blocks)),
      squares(sum.size());
  Deviations all;
  for (int64_t l = 0; l < num; ++l) {
    for (size_t h = 0; h < row.size(); ++h) {
      row[h] = static_cast<double>(stored.at(0, static_cast<int64_t>(h), l)) / scale;
    }
    context_.by_hidden.project_row(row.data(), sum.data(), squares.data());
    std::vector<double> expected(reference.value.row(l), reference.value.row(l) + blocks);
    for (size_t b = 0; b < sum.size(); ++b) {
      const double variance = reference.variance.row(l)[b] + rounding * squares[b];
      const double smallest = variance > 0 ? context_.subnormal_variance(1 / scale) : 0;
      all.add(l, static_cast<int64_t>(b), sum[b] - expected[b], variance + smallest, expected[b]);
      numbers.saw_reference(expected[b]);
    }
    if (!context_.exact) continue;
    std::vector<float> actual;
    for (const double value : row) actual.push_back(static_cast<float>(value * scale));
    for (double& value : expected) value *= scale;
    numbers.relative().add_row(l, actual, expected);
  }
  numbers.add_group(all, std::min(tokens, num), "the product", [&](int64_t l, int64_t block) {
    return fmt::format("column {} of {}", l, block_name(context_.by_hidden, block));
  });
  return numbers.finish();
}

TensorAudit AuditJudge::judge_norm(const Estimate& reference) const {
  TensorNumbers numbers("dlatent_norm", RowComparison::kUsualFloor);
  numbers.set_rows_per_expert(1);
  std::vector<float> actual;
  Deviations all;
  for (int64_t c = 0; c < reference.value.cols; ++c) {
    const double expected = reference.value.row(0)[c], variance = reference.variance.row(0)[c];
    actual.push_back(context_.tensors.gradients.latent_norm.at(0, 0, c));
    all.add(0, c, static_cast<double>(actual.back()) - expected,
            variance + (variance > 0 ? context_.subnormal_variance(1) : 0), expected);
    numbers.saw_reference(expected);
  }
  numbers.add_group(all, 1, "the norm", [](int64_t, int64_t c) { return fmt::format("number {}", c); });
  if (context_.exact) numbers.relative().add_row(0, actual, reference.value.row_span(0));
  return numbers.finish();
}

void AuditJudge::judge_shared(AuditFindings& found, std::vector<TensorAudit>& tensors) const {
  const Projection by_width =
      audit_projection(shape().shared_dim, {.exact = context_.exact, .seed = context_.seed});
  const auto judge = [&](const char* name, const GradientAudit& audit, int64_t rows, const Projection& p) {
    TensorNumbers numbers(name, RowComparison::kUsualFloor);
    judge_gradient({kSharedExpert, shape().tokens}, audit, rows, p, numbers);
    tensors.push_back(numbers.finish());
  };
  judge("ds1", found.of_shared[0], shape().hidden, by_width);
  judge("ds2", found.of_shared[1], shape().shared_dim, context_.by_hidden);
  if (shape().form.activation.gated) judge("ds3", found.of_shared[2], shape().hidden, by_width);
  if (!shape().form.shared_gate) return;
  TensorNumbers numbers("dsg", RowComparison::kUsualFloor);
  judge_shared_gate(found, numbers);
  tensors.push_back(numbers.finish());
}

std::vector<TensorAudit> AuditJudge::judge(AuditFindings& found,
                                           const std::vector<AuditAssignments>& assignments) const {
  std::vector<TensorAudit> tensors;
  for (TokenFindings& of : found.tokens) {
    judge_tokens(assignments, of);
    tensors.push_back(of.numbers.finish());
  }
  if (!context_.backward) return tensors;
  const BlockWeights& stored = context_.tensors.gradients;
  const auto product = [&](const char* tensor, const LogicalWeights& of, const Estimate& reference) {
    if (reference.value.rows > 0) tensors.push_back(judge_product(tensor, of, reference));
  };
  product("dwg", stored.wg, found.router);
  product("dlatent_down", stored.latent_down, found.latent_down);
  product("dlatent_up", stored.latent_up, found.latent_up);
  if (found.latent_norm.value.rows > 0) tensors.push_back(judge_norm(found.latent_norm));
  const bool gated = shape().form.activation.gated, biases = shape().form.biases;
  const bool there[] = {true, true, gated, biases, biases, biases && gated};
  for (size_t i = 0; i < found.of_experts.size(); ++i) {
    if (there[i] && shape().experts > 0) tensors.push_back(found.of_experts[i].finish());
  }
  if (shape().shared_dim > 0) judge_shared(found, tensors);
  return tensors;
}

}  // namespace moehill
