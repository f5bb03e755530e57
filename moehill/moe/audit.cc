// Implements audit.h. It goes through the experts, the shared expert and the products around them, compares
// their gradients with the stored ones, and adds up their contributions to each token, which
// audit_comparison.h compares.
#include "moehill/moe/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "moehill/moe/audit_comparison.h"
#include "moehill/moe/audit_judge.h"
#include "moehill/moe/audit_latent.h"
#include "moehill/moe/audit_sizes.h"
#include "moehill/moe/audit_terms.h"
#include "moehill/moe/audit_tokens.h"
#include "moehill/moe/dy_sizes.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/wire_reference.h"

namespace moehill {
namespace {

// An Audit runs the whole audit of one block. It computes gradients for dy = y, so that they do not depend on
// the small factor of the loss, and divides stored gradients by that factor before it compares them.
template <typename F>
class Audit {
 public:
  Audit(const CheckShare& share, bool backward, const AuditOptions& options, ThreadTeam& team)
      : share_(share),
        own_(share.own_tokens()),
        t_(share.tensors),
        shape_(t_.shape),
        backward_(backward),
        options_(options),
        team_(team),
        units_(shape_.dtype),
        dy_scale_(t_.loss_scale()),
        by_hidden_(audit_projection(shape_.hidden, options)),
        context_{t_, backward, options.exact, options.seed, units_, dy_scale_, by_hidden_},
        judge_(context_),
        auditors_(static_cast<size_t>(team.size())),
        comparison_(share, context_, judge_, assignments_, team, found_) {
    sums_.y = Estimate(shape_.tokens, by_hidden_.num_blocks());
    sums_.y_terms = AuditTerms(shape_, by_hidden_, options.seed);
    if (!backward) return;
    dy_ = DySizes(shape_.tokens, by_hidden_.num_blocks());
    sums_.dx = Estimate(shape_.tokens, by_hidden_.num_blocks());
    sums_.dx_terms = AuditTerms(shape_, by_hidden_, options.seed);
    sums_.dp = Estimate(shape_.tokens, shape_.topk);
  }

  AuditResult run() {
    sort_assignments();
    for (const char* name : {"dw1", "dw2", "dw3", "db1", "db2", "db3"})
      found_.of_experts.emplace_back(name, RowComparison::kUsualFloor);
    audit_experts();
    if (shape_.shared_dim > 0) audit_shared();
    add_zero_experts(context_, own_, {sums_.y, sums_.dx, sums_.dp}, sums_.reached);
    if (is_rest_of_latent(t_)) add_latent();
    sum_tokens();
    comparison_.compare(sums_, result_);
    add_findings();
    result_.reference_holds = found_.reference_holds;
    result_.zero_expert = found_.zero_expert;
    if (share_.is_first()) result_.tensors = judge_.judge(found_, assignments_);
    return std::move(result_);
  }

 private:
  // Lists the assignments of each expert, in the order of the tokens.
  void sort_assignments() {
    assignments_.resize(static_cast<size_t>(shape_.experts));
    sums_.reached.assign(static_cast<size_t>(shape_.tokens), shape_.shared_dim > 0 ? 1 : 0);
    const Routing& routing = *t_.routing;
    for (int64_t a = 0; a < shape_.assignments(); ++a) {
      const size_t i = static_cast<size_t>(a);
      if (t_.kept != nullptr && t_.kept[i] == 0) continue;
      AuditAssignments& of = assignments_[static_cast<size_t>(routing.expert[i])];
      of.token.push_back(a / routing.topk);
      of.choice.push_back(static_cast<int>(a % routing.topk));
      const double p = static_cast<double>(routing.weight[i]);
      of.gate.push_back(shape_.router.input_weighted ? 1 : p);
      of.in.push_back(shape_.router.input_weighted ? p : 1);
      sums_.reached[static_cast<size_t>(a / routing.topk)] = 1;
    }
  }

  // Computes each row's share of a gradient, relative to the largest share, so that squares stay in the range
  // of F.
  void share_out(AuditAssignments& of) const {
    double largest = 0;
    for (size_t a = 0; a < of.token.size(); ++a) {
      of.dy_size.push_back(backward_ ? dy_.size[static_cast<size_t>(of.token[a])] : 1);
      of.share.push_back(of.gate[a] * of.dy_size[a]);
      largest = std::max(largest, std::abs(of.share[a]));
    }
    if (largest > 0) of.unit = largest;
    for (double& share : of.share) share /= of.unit;
  }

  // Audits the experts in rounds, so that only some rows have to be in memory at a time. In each round every
  // process audits one group of its own experts, and the processes first send each other the rows of x and y
  // that these groups need.
  void audit_experts() {
    std::vector<std::vector<std::vector<int>>> groups;  // [process][round]
    size_t num_rounds = 0;
    std::vector<int64_t> load;
    for (const AuditAssignments& of : assignments_) load.push_back(of.size());
    for (int r = 0; r < share_.size(); ++r) {
      groups.push_back(expert_groups(share_, r, load));
      num_rounds = std::max(num_rounds, groups.back().size());
    }
    for (size_t round = 0; round < num_rounds; ++round) {
      TokensOfProcesses tokens;
      for (const auto& of_process : groups)
        tokens.push_back(round < of_process.size() ? tokens_of_experts(t_, of_process[round])
                                                   : std::vector<int64_t>{});
      share_.bring(tokens);
      const size_t rank = static_cast<size_t>(share_.rank());
      if (backward_) dy_.measure(t_.read_dy(), by_hidden_, tokens[rank], team_);
      if (round < groups[rank].size()) audit_group(groups[rank][round]);
    }
  }

  void audit_group(const std::vector<int>& experts) {
    std::deque<AuditExpert<F>> group;
    for (const int e : experts) {
      AuditAssignments& assignments = assignments_[static_cast<size_t>(e)];
      share_out(assignments);
      add_expert(e, shape_.mlp_dim, assignments, group);
    }
    std::vector<std::pair<AuditExpert<F>*, Range>> strips;
    for (AuditExpert<F>& expert : group) {
      for (const Range& strip : strips_of(expert)) strips.push_back({&expert, strip});
    }
    on_threads(strips.size(), [&](StripAuditor<F>& auditor, size_t i) {
      auditor.add_up(*strips[i].first, strips[i].second);
      if (backward_) auditor.compare();
    });
    for (AuditExpert<F>& expert : group) finish_expert(expert);
  }

  std::vector<Range> strips_of(const AuditExpert<F>& expert) const {
    std::vector<Range> strips;
    if (expert.num_terms == 0 && !backward_) return strips;
    const int64_t width = expert.by_width.num_columns(),
                  columns = strip_columns(expert.by_width, expert.num_terms, options_);
    for (int64_t begin = 0; begin < width; begin += columns)
      strips.push_back({begin, std::min(width, begin + columns)});
    return strips;
  }

  // Calls work(auditor, i) for each i in [0, n). A thread takes the next i whenever it is free.
  template <typename Work>
  void on_threads(size_t n, const Work& work) {
    std::atomic<size_t> next{0};
    team_.run([&](int member) {
      std::optional<StripAuditor<F>>& auditor = auditors_[static_cast<size_t>(member)];
      if (!auditor) auditor.emplace(context_);
      for (size_t i = next++; i < n; i = next++) work(*auditor, i);
    });
  }

  void finish_expert(AuditExpert<F>& expert) {
    const auto is_zero = [](auto value) { return value == 0; };
    const std::vector<F>& outputs = expert.out.sum.values;
    if (found_.zero_expert < 0 && !std::all_of(expert.rows.in.begin(), expert.rows.in.end(), is_zero) &&
        std::all_of(outputs.begin(), outputs.end(), is_zero))
      found_.zero_expert = expert.expert;
    add_expert_rows(expert);
    if (!backward_) return;
    const bool gated = shape_.form.activation.gated;
    const auto judge = [&](const GradientAudit& audit, int64_t num_rows, const Projection& p, size_t i) {
      judge_.judge_gradient({expert.expert, expert.rows.size()}, audit, num_rows, p, found_.of_experts[i]);
    };
    judge(expert.d1, shape_.hidden, expert.by_width, 0);
    judge(expert.d2, expert.by_width.num_columns(), by_hidden_, 1);
    if (gated) judge(expert.d3, shape_.hidden, expert.by_width, 2);
    if (!shape_.form.biases) return;
    judge(expert.b1, 1, expert.by_width, 3);
    judge(expert.b2, 1, by_hidden_, 4);
    if (gated) judge(expert.b3, 1, expert.by_width, 5);
  }

  // Each process audits the rows of the shared expert that belong to its own tokens.
  void audit_shared() {
    AuditAssignments own;
    for (int64_t t = own_.begin; t < own_.end; ++t) own.token.push_back(t);
    own.choice.assign(own.token.size(), 0);
    own.gate.assign(own.token.size(), 1.0);
    own.in = own.gate;
    if (backward_) dy_.measure(t_.read_dy(), by_hidden_, own.token, team_);
    if (shape_.form.shared_gate) make_shared_gate(own);
    share_out(own);
    std::deque<AuditExpert<F>> group;
    add_expert(kSharedExpert, shape_.shared_dim, own, group);
    AuditExpert<F>& expert = group.front();
    // A gradient of the shared expert sums over all tokens; this process has only the terms of its own
    // tokens.
    expert.num_terms = shape_.tokens;
    audit_shared_strips(expert);
    add_expert_rows(expert);
    if (!backward_) return;
    found_.of_shared = {std::move(expert.d1), std::move(expert.d2), std::move(expert.d3)};
    if (shape_.form.shared_gate) audit_shared_gate(expert);
  }

  // All processes add up a strip over their own tokens; then one of them, in turn, compares the sum.
  void audit_shared_strips(AuditExpert<F>& expert) {
    const std::vector<Range> strips = strips_of(expert);
    const size_t num_processes = static_cast<size_t>(share_.size()),
                 most = static_cast<size_t>(strips_at_once(share_.size()));
    for (size_t first = 0; first < strips.size(); first += most) {
      std::vector<StripSums> sums(std::min(most, strips.size() - first));
      on_threads(sums.size(), [&](StripAuditor<F>& auditor, size_t i) {
        auditor.add_up(expert, strips[first + i]);
        if (!backward_) return;
        sums[i] = auditor.take_sums();
        sums[i].unify();
      });
      if (!backward_) continue;
      for (size_t i = 0; i < sums.size(); ++i) {
        StripSums& s = sums[i];
        sum_values(share_, static_cast<int>(i % num_processes),
                   {&s.dw13.values, &s.dw13_var.values, &s.dw2.values, &s.dw2_var.values});
      }
      on_threads(sums.size(), [&](StripAuditor<F>& auditor, size_t i) {
        if (static_cast<int>(i % num_processes) == share_.rank())
          auditor.compare(expert, strips[first + i], sums[i]);
      });
    }
  }

  // Computes the gate values s(z) of the shared expert, with z = x sg in double. The block's own z is a sum
  // in f32.
  void make_shared_gate(AuditAssignments& all) const {
    std::vector<double> w;
    double w_norm = 0;
    for (int64_t h = 0; h < shape_.hidden; ++h) {
      w.push_back(static_cast<double>(t_.weights.sg.at(0, 0, h)));
      w_norm += w.back() * w.back();
    }
    std::vector<float> x(w.size());
    for (size_t i = 0; i < all.token.size(); ++i) {
      read_row(t_.x, all.token[i], x.data());
      double z = 0, norm = 0;
      for (size_t h = 0; h < w.size(); ++h) {
        z += w[h] * static_cast<double>(x[h]);
        norm += static_cast<double>(x[h]) * static_cast<double>(x[h]);
      }
      // The error of z reaches s, relative to s, by the factor s'(z) / s = 1 - s. On top of that f32 may
      // round eight times while it computes s, hence 64 v^2.
      const double s = 1 / (1 + std::exp(-z));
      all.gate[i] = s;
      const double variance = (1 - s) * (1 - s) * units_.sum * norm * w_norm + 64 * 0x1p-48;
      all.gate_variance = std::max(all.gate_variance, variance);
    }
  }

  // Computes dz = ds s (1 - s) of each own token, dx += dz sg, and dsg as the sum of dz x.
  void audit_shared_gate(AuditExpert<F>& expert) {
    const int64_t n = shape_.tokens, blocks = by_hidden_.num_blocks();
    std::vector<double> row(static_cast<size_t>(shape_.hidden)), sum(static_cast<size_t>(blocks)),
        squares(sum.size()), gate(sum.size());
    std::vector<double>&value = found_.gate_value, &variance = found_.gate_variance;
    value.resize(sum.size()), variance.resize(sum.size());
    for (size_t h = 0; h < row.size(); ++h)
      row[h] = static_cast<double>(t_.weights.sg.at(0, 0, static_cast<int64_t>(h)));
    by_hidden_.project_row(row.data(), gate.data(), squares.data());
    for (int64_t t = own_.begin; t < own_.end; ++t) {
      const size_t i = static_cast<size_t>(t - own_.begin);
      const double s = expert.rows.gate[i], slope = s * (1 - s), dz = slope * expert.dp[i];
      const double dz_var = slope * slope * (expert.dp_var[i] + output_part_of_dp(expert, t - own_.begin)) +
                            dz * dz * (4 * expert.rows.gate_variance + 4 * 0x1p-48 / (slope * slope));
      for (size_t h = 0; h < row.size(); ++h)
        row[h] = static_cast<double>(t_.x.at(t, static_cast<int64_t>(h)));
      by_hidden_.project_row(row.data(), sum.data(), squares.data());
      for (size_t b = 0; b < sum.size(); ++b) {
        sums_.dx.value.row(t)[b] += dz * gate[b];
        sums_.dx.variance.row(t)[b] += dz_var * gate[b] * gate[b];
        value[b] += dz * sum[b];
        variance[b] += dz_var * sum[b] * sum[b] +
                       (units_.store + units_.sum * static_cast<double>(n)) * dz * dz * squares[b];
      }
    }
  }

  void add_expert(int number, int64_t width, const AuditAssignments& rows,
                  std::deque<AuditExpert<F>>& group) {
    AuditExpert<F>& expert = group.emplace_back(rows);
    expert.expert = number;
    expert.num_terms = rows.size();
    expert.by_width = audit_projection(width, options_);
    const int64_t n = rows.size(), blocks = by_hidden_.num_blocks();
    expert.out.reshape(n, blocks);
    if (!backward_) return;
    expert.dx.reshape(n, blocks);
    for (std::vector<double>* sum : {&expert.dp, &expert.dp_var}) sum->assign(static_cast<size_t>(n), 0);
    for (GradientAudit* d : {&expert.d1, &expert.d3})
      d->of_block.resize(static_cast<size_t>(expert.by_width.num_blocks()));
    expert.d2.of_block.resize(static_cast<size_t>(blocks));
    expert.d2.of_row.resize(static_cast<size_t>(width));
    expert.b1.of_block = expert.b3.of_block = expert.d1.of_block;
    expert.b2.of_block = expert.d2.of_block;
  }

  void add_expert_rows(AuditExpert<F>& expert) {
    found_.reference_holds = found_.reference_holds && expert.products_hold;
    add_outputs(expert);
    if (backward_) add_input_gradients(expert);
  }

  // Audits the products around the experts. It takes r and dz as given and compares all other rows.
  void add_latent() {
    for (int64_t t = own_.begin; t < own_.end; ++t) sums_.reached[static_cast<size_t>(t)] = 1;
    const Factors n(t_.latent.n, 1), dz(t_.latent.dz, 1 / dy_scale_);
    add_product(context_, team_, own_, n, t_.weights.latent_up, sums_.y);
    for (LatentNumbers& numbers : latent_numbers(context_, own_)) {
      TokenFindings& found =
          found_.tokens.emplace_back(TokenFindings{{numbers.tensor, RowComparison::kUsualFloor}, {}, {}, {}});
      comparison_.add_tokens(numbers.of_token, numbers.reference, found);
    }
    if (!backward_) return;
    add_product(context_, team_, own_, dz, t_.weights.latent_down, sums_.dx);
    found_.latent_up = product_gradient(context_, team_, own_, t_.read_dy(), n, shape_.dtype);
    found_.latent_down = product_gradient(context_, team_, own_, t_.x, dz, shape_.dtype);
    if (shape_.form.latent_norm > 0) found_.latent_norm = norm_gradient(context_, own_);
  }

  void sum_tokens() {
    std::vector<SummedRows> sums;
    for (Estimate* of : {&sums_.y, &sums_.dx, &sums_.dp}) {
      for (Dense<double>* m : {&of->value, &of->variance}) {
        if (m->rows > 0) sums.push_back({m->values.data(), m->cols});
      }
    }
    for (AuditTerms* terms : {&sums_.y_terms, &sums_.dx_terms}) {
      if (terms->rows().cols > 0) sums.push_back(terms->rows());
    }
    sum_rows(share_, share_.tokens, sums);
  }

  // Brings the findings of all processes together on the first one.
  void add_findings() {
    if (share_.peers == nullptr) return;
    Parcel own;
    found_.pass(own);
    std::vector<std::string> all = share_.gather(own.bytes());
    for (size_t r = 1; r < all.size(); ++r) {
      AuditFindings other = found_;  // copied for its sizes
      Parcel came(std::move(all[r]));
      other.pass(came);
      found_.add(other);
    }
  }

  // Adds the bias b2 to each output, and its part to dp = <dy, o>.
  void add_output_bias(AuditExpert<F>& expert) {
    const LogicalWeights& b2 = t_.weights.b2;
    std::vector<F> bias(static_cast<size_t>(shape_.hidden)),
        sum(static_cast<size_t>(by_hidden_.num_blocks())), squares(sum.size());
    for (int64_t h = 0; h < shape_.hidden; ++h)
      bias[static_cast<size_t>(h)] = static_cast<F>(b2.at(expert.expert, 0, h));
    by_hidden_.project_row(bias.data(), sum.data(), squares.data());
    std::vector<float> dy(bias.size());
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      const size_t i = static_cast<size_t>(a);
      for (size_t b = 0; b < sum.size(); ++b) {
        expert.out.sum.row(a)[b] += sum[b];
        expert.out.squares.row(a)[b] += squares[b];
      }
      if (!backward_) continue;
      read_row(t_.read_dy(), expert.rows.token[i], dy.data());
      pass_wire(t_.wire_of(expert.rows.token[i], expert.rows.choice[i]), dy);
      for (size_t h = 0; h < dy.size(); ++h)
        expert.dp[i] += static_cast<double>(dy[h]) * static_cast<double>(bias[h]);
    }
  }

  void add_outputs(AuditExpert<F>& expert) {
    if (shape_.form.biases && expert.expert != kSharedExpert) add_output_bias(expert);
    expert.out.enlarge_squares();
    // An implementation may store an expert's row and a device's partial sum, which rounds them.
    const double width = static_cast<double>(expert.by_width.num_columns());
    const double rounding =
        2 * units_.store + units_.sum * (width + by_hidden_.num_roundings()) + expert.rows.gate_variance;
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      const size_t i = static_cast<size_t>(a);
      add_row(expert.out, a, expert.rows.gate[i], rounding, expert.rows.token[i], sums_.y);
      set_term(expert, a, expert.rows.gate[i], expert.out, sums_.y_terms);
      if (!backward_ || expert.expert == kSharedExpert) continue;
      sums_.dp.value.row(expert.rows.token[i])[expert.rows.choice[i]] = expert.dp[i];
      const double of_outputs = shape_.router.input_weighted ? 0 : output_part_of_dp(expert, a);
      sums_.dp.variance.row(expert.rows.token[i])[expert.rows.choice[i]] = expert.dp_var[i] + of_outputs;
    }
  }

  // Adds factor times row a to the sum's row of `token`.
  void add_row(const ProjectedRows<F>& rows, int64_t a, double factor, double rounding, int64_t token,
               Estimate& sum) {
    double *value = sum.value.row(token), *variance = sum.variance.row(token);
    for (int64_t b = 0; b < rows.sum.cols; ++b) {
      value[b] += factor * static_cast<double>(rows.sum.row(a)[b]);
      variance[b] += factor * factor *
                     (units_.store * static_cast<double>(rows.variance.row(a)[b]) +
                      rounding * static_cast<double>(rows.squares.row(a)[b]));
    }
  }

  // Notes that factor times row a is a term of the token's sum, so that judge_terms() can tell whether it is
  // missing.
  void set_term(const AuditExpert<F>& expert, int64_t a, double factor, const ProjectedRows<F>& rows,
                AuditTerms& terms) const {
    const size_t i = static_cast<size_t>(a);
    const int slot = expert.expert == kSharedExpert ? shape_.topk : expert.rows.choice[i];
    terms.set({expert.rows.token[i], slot, expert.rows.gate[i] * expert.rows.in[i]}, factor, rows.sum.row(a));
  }

  // Returns the variance of dp = <dy, o> that comes from rounding o and dy, where o is a sum over the
  // expert's width.
  double output_part_of_dp(const AuditExpert<F>& expert, int64_t a) {
    const double terms = static_cast<double>(shape_.hidden + expert.by_width.num_columns());
    const double rounding = 4 * units_.store + units_.sum * terms;
    const int64_t token = expert.rows.token[static_cast<size_t>(a)];
    double sum = 0;
    for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b)
      sum += dy_.squares.row(token)[b] * static_cast<double>(expert.out.squares.row(a)[b]);
    return rounding * sum;
  }

  // Returns the variance of dp = <dx, x> that comes from rounding the row of dx, which is a sum over the
  // expert's width.
  double input_part_of_dp(const AuditExpert<F>& expert, int64_t a) const {
    const size_t i = static_cast<size_t>(a);
    const double terms = static_cast<double>(shape_.hidden + 2 * expert.by_width.num_columns());
    const double size = expert.rows.dy_size[i], rounding = 3 * units_.store + units_.sum * terms;
    double sum = 0;
    for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
      const Range columns = by_hidden_.columns_of(b);
      double x_squares = 0;
      for (int64_t c = columns.begin; c < columns.end; ++c) {
        const double x = static_cast<double>(t_.x.at(expert.rows.token[i], c));
        x_squares += x * x;
      }
      sum +=
          x_squares / static_cast<double>(columns.size()) * static_cast<double>(expert.dx.squares.row(a)[b]);
    }
    return rounding * size * size * sum;
  }

  void add_input_gradients(AuditExpert<F>& expert) {
    expert.dx.enlarge_squares();
    // An implementation may store a row after the first of two products, after the second one, and in a
    // partial sum.
    const double width = static_cast<double>(expert.by_width.num_columns());
    const double rounding =
        3 * units_.store + units_.sum * 2 * (width + by_hidden_.num_roundings()) + expert.rows.gate_variance;
    const bool of_inputs = shape_.router.input_weighted && expert.expert != kSharedExpert;
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      const size_t i = static_cast<size_t>(a);
      const double factor = expert.rows.gate[i] * expert.rows.in[i] * expert.rows.dy_size[i];
      add_row(expert.dx, a, factor, rounding, expert.rows.token[i], sums_.dx);
      set_term(expert, a, factor, expert.dx, sums_.dx_terms);
      if (of_inputs)
        sums_.dp.variance.row(expert.rows.token[i])[expert.rows.choice[i]] += input_part_of_dp(expert, a);
    }
  }

  const CheckShare& share_;
  const Range own_;  // the tokens of this process
  const BlockTensors& t_;
  const MoeShape& shape_;
  const bool backward_;
  const AuditOptions options_;
  ThreadTeam& team_;
  const ErrorUnits units_;
  const double dy_scale_;
  const Projection by_hidden_;
  const AuditContext context_;
  const AuditJudge judge_;
  std::vector<std::optional<StripAuditor<F>>> auditors_;  // [threads]
  std::vector<AuditAssignments> assignments_;             // [E]
  TokenSums sums_;
  DySizes dy_;
  AuditFindings found_;
  TokenComparison comparison_;
  AuditResult result_;
};

}  // namespace

AuditResult audit_block(const CheckShare& share, Pass pass, const AuditOptions& options, ThreadTeam& team) {
  const bool backward = pass == Pass::forward_backward;
  if (!options.exact) return Audit<float>(share, backward, options, team).run();
  return Audit<double>(share, backward, options, team).run();
}

}  // namespace moehill
