#include "moehill/moe/audit.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <deque>
#include <optional>
#include <utility>

#include "moehill/moe/audit_sizes.h"
#include "moehill/moe/audit_strip.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/router_reference.h"
#include "moehill/moe/tensor_numbers.h"

namespace moehill {
namespace {

// A sum with its variance.
struct Estimate {
  Dense<double> value, variance;
  Estimate() = default;
  Estimate(int64_t rows, int64_t cols) : value(rows, cols), variance(rows, cols) {}
};

std::string block_name(const Projection& p, int64_t block) {
  const Range columns = p.columns_of(block);
  return columns.size() == 1 ? fmt::format("column {}", columns.begin)
                             : fmt::format("columns {} to {}", columns.begin, columns.end - 1);
}

template <typename F>
class Audit {
 public:
  Audit(const BlockTensors& tensors, bool backward, const AuditOptions& options, ThreadTeam& team)
      : t_(tensors),
        shape_(tensors.shape),
        backward_(backward),
        options_(options),
        team_(team),
        units_(shape_.dtype),
        dy_scale_(2.0 / (static_cast<double>(shape_.tokens) * static_cast<double>(shape_.hidden))),
        by_hidden_(audit_projection(shape_.hidden, options)),
        context_{tensors, backward, options.exact, options.seed, units_, dy_scale_, by_hidden_},
        auditors_(static_cast<size_t>(team.size())),
        y_(shape_.tokens, by_hidden_.num_blocks()) {
    if (!backward) return;
    dx_ = Estimate(shape_.tokens, by_hidden_.num_blocks());
    dp_ = Estimate(shape_.tokens, shape_.topk);
  }

  AuditResult run() {
    if (backward_) measure_loss_gradient();
    sort_assignments();
    TensorNumbers w1 = numbers("dw1"), w2 = numbers("dw2"), w3 = numbers("dw3");
    TensorNumbers b1 = numbers("db1"), b2 = numbers("db2"), b3 = numbers("db3");
    for (size_t begin = 0; begin < assignments_.size();)
      begin = audit_group(begin, {&w1, &w2, &w3, &b1, &b2, &b3});
    TensorNumbers s1 = numbers("ds1"), s2 = numbers("ds2"), s3 = numbers("ds3"), sg = numbers("dsg");
    if (shape_.shared_dim > 0) audit_shared({&s1, &s2, &s3, nullptr, nullptr, nullptr}, sg);
    add_zero_experts();
    compare_tokens();
    if (backward_) {
      const bool gated = shape_.form.activation.gated;
      const auto finish = [&](TensorNumbers& n, bool there) {
        if (there) result_.tensors.push_back(n.finish());
      };
      finish(w1, true), finish(w2, true), finish(w3, gated);
      for (TensorNumbers* n : {&b1, &b2, &b3}) finish(*n, shape_.form.biases && (gated || n != &b3));
      const bool shared = shape_.shared_dim > 0;
      finish(s1, shared), finish(s2, shared), finish(s3, shared && gated);
      finish(sg, shared && shape_.form.shared_gate);
    }
    return std::move(result_);
  }

 private:
  // The gradients of W1, W2, W3 or of the shared expert's.
  struct GradientNumbers {
    TensorNumbers *n1, *n2, *n3;
    TensorNumbers *b1, *b2, *b3;  // of biases
  };

  static TensorNumbers numbers(const std::string& name) {
    return TensorNumbers(name, RowComparison::kUsualFloor);
  }

  // Lists the assignments of each expert in the order of the tokens.
  void sort_assignments() {
    assignments_.resize(static_cast<size_t>(shape_.experts));
    reached_.assign(static_cast<size_t>(shape_.tokens), shape_.shared_dim > 0 ? 1 : 0);
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
      reached_[static_cast<size_t>(a / routing.topk)] = 1;
    }
    for (AuditAssignments& of : assignments_) share_out(of);
  }

  void share_out(AuditAssignments& of) const {
    double largest = 0;
    for (size_t a = 0; a < of.token.size(); ++a) {
      of.dy_size.push_back(backward_ ? dy_size_[static_cast<size_t>(of.token[a])] : 1);
      of.share.push_back(of.gate[a] * of.dy_size[a]);
      largest = std::max(largest, std::abs(of.share[a]));
    }
    if (largest > 0) of.unit = largest;
    for (double& share : of.share) share /= of.unit;
  }

  // The size of a token's dy is the power of two below its largest element, 1 where there is none.
  void measure_loss_gradient() {
    dy_squares_ = Dense<double>(shape_.tokens, by_hidden_.num_blocks());
    dy_size_.assign(static_cast<size_t>(shape_.tokens), 1);
    team_.parallel_for(shape_.tokens, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        double largest = 0;
        for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
          const Range columns = by_hidden_.columns_of(b);
          double sum = 0;
          for (int64_t c = columns.begin; c < columns.end; ++c) {
            const double dy = static_cast<double>(t_.y.at(t, c));
            sum += dy * dy;
            largest = std::max(largest, std::abs(dy));
          }
          dy_squares_.row(t)[b] = sum / static_cast<double>(columns.size());
        }
        if (largest > 0 && std::isfinite(largest))
          dy_size_[static_cast<size_t>(t)] = std::ldexp(1, std::ilogb(largest));
      }
    });
  }

  // Experts from `begin` on until they have as many rows as there are tokens: their strips keep all threads
  // at work. Returns where the next group begins.
  size_t audit_group(size_t begin, const GradientNumbers& numbers) {
    std::deque<AuditExpert<F>> group;
    size_t end = begin;
    for (int64_t rows = 0; end < assignments_.size() && (end == begin || rows < shape_.tokens); ++end) {
      rows += assignments_[end].size();
      add_expert(static_cast<int>(end), shape_.mlp_dim, assignments_[end], group);
    }
    audit_experts(group, numbers);
    return end;
  }

  void audit_shared(const GradientNumbers& numbers, TensorNumbers& gate_numbers) {
    AuditAssignments all;
    all.token = indices_up_to(shape_.tokens);
    all.choice.assign(all.token.size(), 0);
    all.gate.assign(all.token.size(), 1.0);
    all.in = all.gate;
    if (shape_.form.shared_gate) make_shared_gate(all);
    share_out(all);
    std::deque<AuditExpert<F>> group;
    add_expert(kSharedExpert, shape_.shared_dim, all, group);
    audit_experts(group, numbers);
    if (shape_.form.shared_gate && backward_) audit_shared_gate(group.front(), gate_numbers);
  }

  // Gate values s(z) of the shared expert, z = x sg in double; ours is a sum in f32.
  void make_shared_gate(AuditAssignments& all) const {
    std::vector<double> w;
    double w_norm = 0;
    for (int64_t h = 0; h < shape_.hidden; ++h) {
      w.push_back(static_cast<double>(t_.weights.sg.at(0, 0, h)));
      w_norm += w.back() * w.back();
    }
    std::vector<float> x(w.size());
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      read_row(t_.x, t, x.data());
      double z = 0, norm = 0;
      for (size_t h = 0; h < w.size(); ++h) {
        z += w[h] * static_cast<double>(x[h]);
        norm += static_cast<double>(x[h]) * static_cast<double>(x[h]);
      }
      const double s = 1 / (1 + std::exp(-z));
      all.gate[static_cast<size_t>(t)] = s;
      const double variance = (1 - s) * (1 - s) * units_.sum * norm * w_norm + 64 * 0x1p-48;
      all.gate_variance = std::max(all.gate_variance, variance);
    }
  }

  // dz = ds s (1 - s) of each token: dx += dz sg, dsg = sum of dz x.
  void audit_shared_gate(AuditExpert<F>& expert, TensorNumbers& numbers) {
    const int64_t n = shape_.tokens, blocks = by_hidden_.num_blocks();
    std::vector<double> row(static_cast<size_t>(shape_.hidden)), sum(static_cast<size_t>(blocks)),
        squares(sum.size()), gate(sum.size()), value(sum.size()), variance(sum.size());
    for (size_t h = 0; h < row.size(); ++h)
      row[h] = static_cast<double>(t_.weights.sg.at(0, 0, static_cast<int64_t>(h)));
    by_hidden_.project_row(row.data(), gate.data(), squares.data());
    for (int64_t t = 0; t < n; ++t) {
      const size_t i = static_cast<size_t>(t);
      const double s = expert.rows.gate[i], slope = s * (1 - s), dz = slope * expert.dp[i];
      const double dz_var = slope * slope * (expert.dp_var[i] + output_part_of_dp(expert, t)) +
                            dz * dz * (4 * expert.rows.gate_variance + 4 * 0x1p-48 / (slope * slope));
      for (size_t h = 0; h < row.size(); ++h)
        row[h] = static_cast<double>(t_.x.at(t, static_cast<int64_t>(h)));
      by_hidden_.project_row(row.data(), sum.data(), squares.data());
      for (size_t b = 0; b < sum.size(); ++b) {
        dx_.value.row(t)[b] += dz * gate[b];
        dx_.variance.row(t)[b] += dz_var * gate[b] * gate[b];
        value[b] += dz * sum[b];
        variance[b] += dz_var * sum[b] * sum[b] +
                       (units_.store + units_.sum * static_cast<double>(n)) * dz * dz * squares[b];
      }
    }
    for (size_t h = 0; h < row.size(); ++h)
      row[h] = static_cast<double>(t_.gradients.sg.at(0, 0, static_cast<int64_t>(h))) / dy_scale_;
    by_hidden_.project_row(row.data(), sum.data(), squares.data());
    Deviations all;
    const double rounding =
        2 * units_.store + units_.sum * (static_cast<double>(n) + by_hidden_.num_roundings());
    for (int64_t b = 0; b < blocks; ++b) {
      const size_t i = static_cast<size_t>(b);
      all.add(0, b, sum[i] - value[i],
              variance[i] + rounding * squares[i] + context_.subnormal_variance(1 / dy_scale_), value[i]);
      numbers.saw_reference(value[i]);
    }
    numbers.set_rows_per_expert(1);
    numbers.add_group(all, std::min(n, blocks), "the shared expert's gate",
                      [&](int64_t, int64_t block) { return block_name(by_hidden_, block); });
    if (!options_.exact) return;
    std::vector<float> actual;
    for (double& v : row) {
      v *= dy_scale_;
      actual.push_back(static_cast<float>(v));
    }
    for (double& v : value) v *= dy_scale_;
    numbers.relative().add_row(0, actual, value);
  }

  // A choice of a zero expert: y += p x, dx += p dy, dp = <dy, x>. Its sum may be stored on the way.
  void add_zero_experts() {
    const Routing& routing = *t_.routing;
    std::vector<double> x, dy;
    for (size_t a = 0; a < routing.zero.size(); ++a) {
      if (routing.zero[a] < 0) continue;
      const int64_t t = static_cast<int64_t>(a) / routing.topk, j = static_cast<int64_t>(a) % routing.topk;
      const double p = static_cast<double>(routing.weight[a]);
      reached_[static_cast<size_t>(t)] = 1;
      add_token(t_.x, t, p, x, y_);
      if (!backward_) continue;
      add_token(t_.y, t, p, dy, dx_);
      dp_.value.row(t)[j] = dot(dy.data(), x.data(), shape_.hidden);
      dp_.variance.row(t)[j] =
          units_.sum * dot(x.data(), x.data(), shape_.hidden) * dot(dy.data(), dy.data(), shape_.hidden);
    }
  }

  // sum's row of the token += p times its row of m, which is left in `row`.
  void add_token(const MatView& m, int64_t token, double p, std::vector<double>& row, Estimate& sum) const {
    row.clear();
    for (int64_t h = 0; h < shape_.hidden; ++h) row.push_back(static_cast<double>(m.at(token, h)));
    std::vector<double> value(static_cast<size_t>(by_hidden_.num_blocks())), squares(value.size());
    by_hidden_.project_row(row.data(), value.data(), squares.data());
    for (size_t b = 0; b < value.size(); ++b) {
      sum.value.row(token)[b] += p * value[b];
      sum.variance.row(token)[b] += p * p * (2 * units_.store + 4 * units_.sum) * squares[b];
    }
  }

  void add_expert(int number, int64_t width, const AuditAssignments& rows,
                  std::deque<AuditExpert<F>>& group) {
    AuditExpert<F>& expert = group.emplace_back(rows);
    expert.expert = number;
    expert.by_width = audit_projection(width, options_);
    const int64_t n = rows.size(), blocks = by_hidden_.num_blocks();
    expert.out.reshape(n, blocks);
    if (!backward_) return;
    expert.dx.reshape(n, blocks);
    for (std::vector<double>* sum : {&expert.dp, &expert.dp_var}) sum->assign(static_cast<size_t>(n), 0);
    for (GradientAudit* d : {&expert.d1, &expert.d3})
      d->of_block.resize(static_cast<size_t>(expert.by_width.num_blocks()));
    expert.d2.of_block.resize(static_cast<size_t>(blocks));
    expert.b1.of_block = expert.b3.of_block = expert.d1.of_block;
    expert.b2.of_block = expert.d2.of_block;
  }

  // The strips of the experts of a group, shared out to the threads as they get free.
  void audit_experts(std::deque<AuditExpert<F>>& group, const GradientNumbers& numbers) {
    std::vector<std::pair<AuditExpert<F>*, Range>> strips;
    for (AuditExpert<F>& expert : group) {
      const int64_t width = expert.by_width.num_columns(),
                    step = strip_columns(expert.by_width, expert.rows.size(), options_);
      if (expert.rows.size() == 0 && !backward_) continue;
      for (int64_t begin = 0; begin < width; begin += step)
        strips.push_back({&expert, {begin, std::min(width, begin + step)}});
    }
    std::atomic<size_t> next{0};
    team_.run([&](int member) {
      std::optional<StripAuditor<F>>& auditor = auditors_[static_cast<size_t>(member)];
      if (!auditor) auditor.emplace(context_);
      for (size_t i = next++; i < strips.size(); i = next++) auditor->run(*strips[i].first, strips[i].second);
    });
    for (AuditExpert<F>& expert : group) {
      result_.reference_holds = result_.reference_holds && expert.products_hold;
      add_outputs(expert);
      if (!backward_) continue;
      add_input_gradients(expert);
      judge_gradient(expert, expert.d1, shape_.hidden, expert.by_width, *numbers.n1);
      judge_gradient(expert, expert.d2, expert.by_width.num_columns(), by_hidden_, *numbers.n2);
      const bool gated = shape_.form.activation.gated;
      if (gated) judge_gradient(expert, expert.d3, shape_.hidden, expert.by_width, *numbers.n3);
      if (numbers.b1 == nullptr || !shape_.form.biases) continue;
      judge_gradient(expert, expert.b1, 1, expert.by_width, *numbers.b1);
      judge_gradient(expert, expert.b2, 1, by_hidden_, *numbers.b2);
      if (gated) judge_gradient(expert, expert.b3, 1, expert.by_width, *numbers.b3);
    }
  }

  // The bias b2 of each output, and of dp = <dy, o>.
  void add_output_bias(AuditExpert<F>& expert) {
    const LogicalWeights& b2 = t_.weights.b2;
    std::vector<F> bias(static_cast<size_t>(shape_.hidden)),
        sum(static_cast<size_t>(by_hidden_.num_blocks())), squares(sum.size());
    for (int64_t h = 0; h < shape_.hidden; ++h)
      bias[static_cast<size_t>(h)] = static_cast<F>(b2.at(expert.expert, 0, h));
    by_hidden_.project_row(bias.data(), sum.data(), squares.data());
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      for (size_t b = 0; b < sum.size(); ++b) {
        expert.out.sum.row(a)[b] += sum[b];
        expert.out.squares.row(a)[b] += squares[b];
      }
      for (int64_t h = 0; backward_ && h < shape_.hidden; ++h)
        expert.dp[static_cast<size_t>(a)] +=
            static_cast<double>(t_.y.at(expert.rows.token[static_cast<size_t>(a)], h)) *
            static_cast<double>(bias[static_cast<size_t>(h)]);
    }
  }

  void add_outputs(AuditExpert<F>& expert) {
    if (shape_.form.biases && expert.expert != kSharedExpert) add_output_bias(expert);
    expert.out.enlarge_squares();
    // An expert's row, and a device's partial sum, may be stored on the way.
    const double width = static_cast<double>(expert.by_width.num_columns());
    const double rounding =
        2 * units_.store + units_.sum * (width + by_hidden_.num_roundings()) + expert.rows.gate_variance;
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      const size_t i = static_cast<size_t>(a);
      add_row(expert.out, a, expert.rows.gate[i], rounding, expert.rows.token[i], y_);
      if (!backward_ || expert.expert == kSharedExpert) continue;
      dp_.value.row(expert.rows.token[i])[expert.rows.choice[i]] = expert.dp[i];
      const double of_outputs = shape_.router.input_weighted ? 0 : output_part_of_dp(expert, a);
      dp_.variance.row(expert.rows.token[i])[expert.rows.choice[i]] = expert.dp_var[i] + of_outputs;
    }
  }

  // sum's row of `token` += factor times row a.
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

  // dp = <dy, o> where o and dy are rounded, and o is a sum over the expert's width.
  double output_part_of_dp(const AuditExpert<F>& expert, int64_t a) {
    const double terms = static_cast<double>(shape_.hidden + expert.by_width.num_columns());
    const double rounding = 4 * units_.store + units_.sum * terms;
    const int64_t token = expert.rows.token[static_cast<size_t>(a)];
    double sum = 0;
    for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b)
      sum += dy_squares_.row(token)[b] * static_cast<double>(expert.out.squares.row(a)[b]);
    return rounding * sum;
  }

  // dp = <dx, x> where the row of dx is rounded, and is a sum over the expert's width.
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
    // A row may be stored after the first of two products, after the second, and in a partial sum.
    const double width = static_cast<double>(expert.by_width.num_columns());
    const double rounding =
        3 * units_.store + units_.sum * 2 * (width + by_hidden_.num_roundings()) + expert.rows.gate_variance;
    const bool of_inputs = shape_.router.input_weighted && expert.expert != kSharedExpert;
    for (int64_t a = 0; a < expert.rows.size(); ++a) {
      const size_t i = static_cast<size_t>(a);
      const double factor = expert.rows.gate[i] * expert.rows.in[i] * expert.rows.dy_size[i];
      add_row(expert.dx, a, factor, rounding, expert.rows.token[i], dx_);
      if (of_inputs)
        dp_.variance.row(expert.rows.token[i])[expert.rows.choice[i]] += input_part_of_dp(expert, a);
    }
  }

  void judge_gradient(const AuditExpert<F>& expert, const GradientAudit& audit, int64_t num_rows,
                      const Projection& p, TensorNumbers& numbers) {
    numbers.set_rows_per_expert(num_rows);
    if (audit.non_zero_reference) numbers.saw_reference(1);
    const bool shared = expert.expert == kSharedExpert;
    const std::string name = shared ? "the shared expert" : fmt::format("expert {}", expert.expert);
    const auto where = [&](int64_t row, int64_t block) {
      return fmt::format("{} row {} {}", name, row, block_name(p, block));
    };
    const int64_t n = expert.rows.size();
    Deviations all;
    for (const Deviations& block : audit.of_block) all.add(block);
    // A sum over n tokens has the rank n: its rows share the errors of n rows, and its columns likewise.
    numbers.add_group(all, n * std::min(num_rows, p.num_blocks()), name, where);
    numbers.judge_common_factor(all, n * std::min(num_rows, p.num_blocks()), name);
    for (int64_t b = 0; b < p.num_blocks(); ++b) {
      numbers.judge(audit.of_block[static_cast<size_t>(b)], n, fmt::format("{} {}", name, block_name(p, b)),
                    where);
    }
    numbers.relative().add_rows(audit.relative, shared ? 0 : expert.expert * num_rows);
  }

  // y and dx [T, H]; `scale` turns a stored value into the reference's units.
  TensorAudit compare_rows_of_tokens(const std::string& name, const MatView& stored, double scale,
                                     Estimate& reference, std::vector<double>& row_variance) {
    TensorNumbers numbers(name, RowComparison::kUsualFloor);
    MatrixDeviations deviations(stored.rows, by_hidden_.num_blocks());
    row_variance.assign(deviations.of_row.size(), 0);
    team_.parallel_for(stored.rows, [&](int64_t begin, int64_t end) {
      std::vector<double> row(static_cast<size_t>(stored.cols));
      std::vector<double> sum(static_cast<size_t>(by_hidden_.num_blocks())), squares(sum.size());
      std::vector<Deviations> of_block(sum.size());
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t c = 0; c < stored.cols; ++c)
          row[static_cast<size_t>(c)] = static_cast<double>(stored.at(t, c));
        by_hidden_.project_row(row.data(), sum.data(), squares.data());
        for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
          const size_t i = static_cast<size_t>(b);
          double variance = reference.variance.row(t)[b] + 2 * units_.store * scale * scale * squares[i];
          if (reached_[static_cast<size_t>(t)] != 0) variance += context_.subnormal_variance(scale);
          const double expected = reference.value.row(t)[b];
          deviations.add(t, b, scale * sum[i] - expected, variance, expected, of_block);
          row_variance[static_cast<size_t>(t)] += variance / (scale * scale);
        }
      }
      deviations.add_blocks(of_block);
    });
    for (const double value : reference.value.values) numbers.saw_reference(value);
    const auto where = [&](int64_t t, int64_t block) {
      return fmt::format("token {} {}", t, block_name(by_hidden_, block));
    };
    // A row shares the errors of the widths that it is a product of.
    const int64_t width =
        shape_.shared_dim > 0 ? std::min(shape_.mlp_dim, shape_.shared_dim) : shape_.mlp_dim;
    add_tokens(deviations.of_row, width, numbers, where);
    for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
      numbers.judge(deviations.of_block[static_cast<size_t>(b)], stored.rows, block_name(by_hidden_, b),
                    where);
    }
    if (options_.exact) {
      std::vector<float> row(static_cast<size_t>(stored.cols));
      for (int64_t t = 0; t < stored.rows; ++t) {
        read_row(stored, t, row.data());
        for (double& value : reference.value.row_mutable(t)) value /= scale;
        numbers.relative().add_row(t, row, reference.value.row_span(t));
      }
    }
    return numbers.finish();
  }

  // Every token, all together, and the tokens of each expert: an error of one expert alone shows there. A
  // token has at least `num_independent` errors.
  template <typename Where>
  void add_tokens(const std::vector<Deviations>& of_token, int64_t num_independent, TensorNumbers& numbers,
                  const Where& where) {
    for (size_t t = 0; t < of_token.size(); ++t)
      numbers.add_group(of_token[t], num_independent, fmt::format("token {}", t), where);
    for (size_t e = 0; e < assignments_.size(); ++e) {
      Deviations of_expert;
      for (const int64_t token : assignments_[e].token) of_expert.add(of_token[static_cast<size_t>(token)]);
      numbers.judge(of_expert, num_independent * assignments_[e].size(),
                    fmt::format("the tokens of expert {}", e), where);
    }
    Deviations all;
    for (const Deviations& d : of_token) all.add(d);
    numbers.judge(all, num_independent * shape_.tokens, "all tokens", where);
    numbers.judge_common_factor(all, num_independent * shape_.tokens, "all tokens");
  }

  void compare_tokens() {
    result_.tensors.push_back(compare_rows_of_tokens("y", t_.y, 1, y_, result_.y_variance));
    if (!backward_) return;
    result_.tensors.push_back(compare_rows_of_tokens("dx", t_.dx, 1 / dy_scale_, dx_, result_.dx_variance));
    result_.tensors.push_back(compare_small("dp", t_.dp, dp_));
    if (t_.dlogits != nullptr)
      result_.tensors.push_back(compare_small("dlogits", t_.dlogits, logit_gradients()));
  }

  // dp [T, k] and dlogits [T, E], whose numbers are all compared by themselves.
  TensorAudit compare_small(const std::string& name, const float* stored, Estimate reference) {
    TensorNumbers numbers(name, RowComparison::kMedianFloor);
    std::vector<Deviations> of_token(static_cast<size_t>(shape_.tokens));
    const int64_t n = reference.value.cols;
    const double growth = units_.sum * static_cast<double>(shape_.hidden);  // as of a gradient's sum
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      for (int64_t j = 0; j < n; ++j) {
        const double value = static_cast<double>(stored[t * n + j]) / dy_scale_;
        double variance = reference.variance.row(t)[j];
        if (variance > 0) variance += growth * value * value + context_.subnormal_variance(1 / dy_scale_);
        const double expected = reference.value.row(t)[j];
        of_token[static_cast<size_t>(t)].add(t, j, value - expected, variance, expected);
      }
    }
    for (const double value : reference.value.values) numbers.saw_reference(value);
    add_tokens(of_token, 1, numbers,
               [&](int64_t t, int64_t j) { return fmt::format("token {} number {}", t, j); });
    for (int64_t t = 0; options_.exact && t < shape_.tokens; ++t) {
      for (double& value : reference.value.row_mutable(t)) value *= dy_scale_;
      numbers.relative().add_row(t, {stored + t * n, static_cast<size_t>(n)}, reference.value.row_span(t));
    }
    return numbers.finish();
  }

  // Through the slopes of the gate values; f32 may round each of their terms.
  Estimate logit_gradients() const {
    const Routing& routing = *t_.routing;
    Estimate d(shape_.tokens, routing.num_logits());
    const double units = 2 * 0x1p-24 * static_cast<double>(routing.topk + 1);
    std::vector<double> terms(static_cast<size_t>(routing.num_logits())), of_loss;
    if (t_.balance_loss != nullptr) of_loss = balance_gradient(*t_.balance_loss, t_.logits, routing);
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      const auto slopes = gate_slopes(t_.router, t_.logits, routing, t);
      std::fill(terms.begin(), terms.end(), 0);
      double *value = d.value.row(t), *variance = d.variance.row(t);
      for (int64_t j = 0; j < slopes.value.rows; ++j) {
        const double dp = dp_.value.row(t)[j], var = dp_.variance.row(t)[j];
        const double *slope = slopes.value.row(j), *size = slopes.size.row(j);
        for (size_t e = 0; e < terms.size(); ++e) {
          value[e] += slope[e] * dp;
          variance[e] += slope[e] * slope[e] * var;
          terms[e] += size[e] * std::abs(dp);
        }
      }
      for (size_t e = 0; !of_loss.empty() && e < terms.size(); ++e) {
        const double loss = of_loss[static_cast<size_t>(t) * terms.size() + e] / dy_scale_;
        value[e] += loss;
        terms[e] += std::abs(loss);
      }
      for (size_t e = 0; e < terms.size(); ++e) variance[e] += units * units * terms[e] * terms[e];
    }
    return d;
  }

  const BlockTensors& t_;
  const MoeShape& shape_;
  const bool backward_;
  const AuditOptions options_;
  ThreadTeam& team_;
  const ErrorUnits units_;
  const double dy_scale_;
  const Projection by_hidden_;
  const AuditContext context_;
  std::vector<std::optional<StripAuditor<F>>> auditors_;  // of each thread
  std::vector<AuditAssignments> assignments_;             // [E]
  Estimate y_, dx_;                                       // [T, blocks of H]; dx in units of dy = y
  Estimate dp_;                                           // [T, k], likewise
  Dense<double> dy_squares_;                              // [T, blocks of H]: mean squares, likewise
  std::vector<double> dy_size_;                           // [T]
  std::vector<char> reached_;                             // [T]: an expert computes something for the token
  AuditResult result_;
};

}  // namespace

AuditResult audit_block(const BlockTensors& tensors, Pass pass, const AuditOptions& options,
                        ThreadTeam& team) {
  const bool backward = pass == Pass::forward_backward;
  if (!options.exact) return Audit<float>(tensors, backward, options, team).run();
  return Audit<double>(tensors, backward, options, team).run();
}

}  // namespace moehill
