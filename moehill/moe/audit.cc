#include "moehill/moe/audit.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "moehill/moe/audit_products.h"
#include "moehill/moe/audit_rows.h"
#include "moehill/moe/tensor_numbers.h"

namespace moehill {
namespace {

constexpr int64_t kChunkRows = 512;    // of an expert at a time: enough for a product, little memory
constexpr int64_t kMaxBlock = 64;      // columns of a block
constexpr int64_t kBlocksOfARow = 32;  // narrow rows have narrower blocks

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

Projection projection(int64_t n, const AuditOptions& options) {
  const int64_t width = std::clamp<int64_t>(n / kBlocksOfARow, 1, kMaxBlock);
  return {n, options.exact ? 1 : width, options.seed};
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
        by_hidden_(projection(shape_.hidden, options)),
        y_(shape_.tokens, by_hidden_.num_blocks()) {
    if (!backward) return;
    dx_ = Estimate(shape_.tokens, by_hidden_.num_blocks());
    dp_ = Estimate(shape_.tokens, shape_.topk);
  }

  AuditResult run() {
    sort_assignments();
    TensorNumbers w1 = numbers("dw1"), w2 = numbers("dw2"), w3 = numbers("dw3");
    for (int e = 0; e < shape_.experts; ++e) audit_expert(e, w1, w2, w3);
    TensorNumbers s1 = numbers("ds1"), s2 = numbers("ds2"), s3 = numbers("ds3");
    if (shape_.shared_dim > 0) audit_expert(kSharedExpert, s1, s2, s3);
    compare_tokens();
    if (backward_) {
      for (TensorNumbers* n : {&w1, &w2, &w3}) result_.tensors.push_back(n->finish());
      if (shape_.shared_dim > 0) {
        for (TensorNumbers* n : {&s1, &s2, &s3}) result_.tensors.push_back(n->finish());
      }
    }
    return std::move(result_);
  }

 private:
  static TensorNumbers numbers(const std::string& name) {
    return TensorNumbers(name, RowComparison::kUsualFloor);
  }

  // Lists the assignments of each expert in the order of the tokens.
  void sort_assignments() {
    assignments_.resize(static_cast<size_t>(shape_.experts));
    const Routing& routing = *t_.routing;
    for (int64_t a = 0; a < shape_.assignments(); ++a) {
      const size_t i = static_cast<size_t>(a);
      if (t_.kept != nullptr && t_.kept[i] == 0) continue;
      AuditAssignments& of = assignments_[static_cast<size_t>(routing.expert[i])];
      of.token.push_back(a / routing.topk);
      of.choice.push_back(static_cast<int>(a % routing.topk));
      of.gate.push_back(static_cast<double>(routing.weight[i]));
    }
    shared_.token = indices_up_to(shape_.tokens);
    shared_.choice.assign(shared_.token.size(), 0);
    shared_.gate.assign(shared_.token.size(), 1.0);
    for (AuditAssignments& of : assignments_) scale_gates(of);
    scale_gates(shared_);
  }

  // Relative to the largest one: squares of small gate values would leave the range of F.
  static void scale_gates(AuditAssignments& of) {
    for (const double gate : of.gate) of.largest_gate = std::max(of.largest_gate, std::abs(gate));
    if (of.largest_gate == 0) of.largest_gate = 1;
    for (double& gate : of.gate) gate /= of.largest_gate;
  }

  void read_weights(int expert) {
    const bool shared = expert == kSharedExpert;
    const int64_t group = shared ? 0 : expert;
    read_matrix(team_, shared ? t_.weights.s1 : t_.weights.w1, group, w_.w1);
    read_matrix(team_, shared ? t_.weights.s3 : t_.weights.w3, group, w_.w3);
    read_matrix(team_, shared ? t_.weights.s2 : t_.weights.w2, group, w_.w2);
    project(team_, by_hidden_, w_.w2, w_.w2_blocks);
    norms_of_columns(w_.w1, w_.norm1);
    norms_of_columns(w_.w3, w_.norm3);
    if (!backward_) return;
    project_rows(team_, by_hidden_, w_.w1, w_.w1_blocks);
    project_rows(team_, by_hidden_, w_.w3, w_.w3_blocks);
    w_.norm2.resize(static_cast<size_t>(w_.w2.rows));
    team_.parallel_for(w_.w2.rows, [&](int64_t begin, int64_t end) {
      for (int64_t m = begin; m < end; ++m)
        w_.norm2[static_cast<size_t>(m)] = norm_squared(w_.w2.row(m), w_.w2.cols);
    });
  }

  void norms_of_columns(const Dense<F>& w, std::vector<F>& norms) {
    norms.assign(static_cast<size_t>(w.cols), F{0});
    team_.parallel_for(w.cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = 0; r < w.rows; ++r) {
        const F* row = w.row(r);
        for (int64_t c = begin; c < end; ++c) norms[static_cast<size_t>(c)] += row[c] * row[c];
      }
    });
  }

  void audit_expert(int expert, TensorNumbers& n1, TensorNumbers& n2, TensorNumbers& n3) {
    const AuditAssignments& of =
        expert == kSharedExpert ? shared_ : assignments_[static_cast<size_t>(expert)];
    const int64_t width = expert == kSharedExpert ? shape_.shared_dim : shape_.mlp_dim;
    by_width_ = projection(width, options_);
    if (backward_) {
      dw1_ = dw3_ = Estimate(shape_.hidden, by_width_.num_blocks());
      dw2_ = Estimate(width, by_hidden_.num_blocks());
    }
    if (of.size() > 0) read_weights(expert);
    for (int64_t begin = 0; begin < of.size(); begin += kChunkRows)
      audit_chunk(of, {begin, std::min(of.size(), begin + kChunkRows)}, expert == kSharedExpert);
    if (!backward_) return;
    const bool shared = expert == kSharedExpert;
    const BlockWeights& g = t_.gradients;
    compare_gradient(shared ? g.s1 : g.w1, expert, by_width_, dw1_, n1);
    compare_gradient(shared ? g.s3 : g.w3, expert, by_width_, dw3_, n3);
    compare_gradient(shared ? g.s2 : g.w2, expert, by_hidden_, dw2_, n2);
  }

  void audit_chunk(const AuditAssignments& of, Range chunk, bool shared) {
    const int64_t n = chunk.size(), width = w_.w1.cols;
    rows_.reshape(n, shape_.hidden, width, backward_);
    team_.parallel_for(n, [&](int64_t begin, int64_t end) {
      for (int64_t a = begin; a < end; ++a) read_operands(of, chunk.begin + a, a);
    });
    multiply(team_, DenseForm::ab, rows_.x, w_.w1, rows_.gate);
    multiply(team_, DenseForm::ab, rows_.x, w_.w3, rows_.up);
    hold(DenseForm::ab, rows_.x, w_.w1, w_.norm1, rows_.gate);
    hold(DenseForm::ab, rows_.x, w_.w3, w_.norm3, rows_.up);
    if (backward_) {
      multiply(team_, DenseForm::abt, rows_.dy, w_.w2, rows_.dh);
      hold(DenseForm::abt, rows_.dy, w_.w2, w_.norm2, rows_.dh);
    }
    team_.parallel_for(n, [&](int64_t begin, int64_t end) {
      for (int64_t a = begin; a < end; ++a) {
        activate_row(units_, w_, a, rows_);
        if (backward_) activate_row_backward(units_, w_, a, rows_);
      }
    });
    add_outputs(of, chunk, shared);
    if (!backward_) return;
    add_input_gradients(of, chunk);
    add_weight_gradients(of);
  }

  // Row a of the chunk is assignment i of the expert.
  void read_operands(const AuditAssignments& of, int64_t i, int64_t a) {
    const int64_t token = of.token[static_cast<size_t>(i)];
    std::vector<float> row(static_cast<size_t>(shape_.hidden));
    const auto read = [&](const MatView& from, Dense<F>& to, std::vector<F>& norm) {
      read_row(from, token, row.data());
      std::copy(row.begin(), row.end(), to.row(a));
      norm[static_cast<size_t>(a)] = norm_squared(to.row(a), to.cols);
    };
    read(t_.x, rows_.x, rows_.x_norm);
    rows_.gate_value[static_cast<size_t>(a)] = static_cast<F>(of.gate[static_cast<size_t>(i)]);
    if (backward_) read(t_.y, rows_.dy, rows_.dy_norm);
  }

  // A product c of OpenBLAS by c r = a (b r) in double, all of its rows. `norms` are b's, squared.
  void hold(DenseForm form, const Dense<F>& a, const Dense<F>& b, const std::vector<F>& norms,
            const Dense<F>& c) {
    const Projection r(c.cols, options_.exact ? 2 : c.cols, options_.seed + 1);
    std::vector<double> br(static_cast<size_t>(a.cols));
    const double b_norm = std::accumulate(norms.begin(), norms.end(), 0.0);
    team_.parallel_for(a.cols, [&](int64_t begin, int64_t end) {
      if (form == DenseForm::ab) {
        for (int64_t k = begin; k < end; ++k)
          br[static_cast<size_t>(k)] = dot(r.weight.data(), b.row(k), b.cols);
        return;
      }
      for (int64_t n = 0; n < b.rows; ++n) {
        const double weight = static_cast<double>(r.weight[static_cast<size_t>(n)]);
        for (int64_t k = begin; k < end; ++k)
          br[static_cast<size_t>(k)] += weight * static_cast<double>(b.row(n)[k]);
      }
    });
    const double unit = sizeof(F) == sizeof(float) ? 0x1p-24 : 0x1p-53;
    std::vector<uint8_t> wrong(static_cast<size_t>(a.rows));
    team_.parallel_for(a.rows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const double deviation = dot(r.weight.data(), c.row(i), c.cols) - dot(a.row(i), br.data(), a.cols);
        const double norm = dot(a.row(i), a.row(i), a.cols);
        // The two projections are sums in double themselves, of c.cols and of a.cols terms.
        const double sums = 0x1p-53 * std::sqrt(static_cast<double>(a.cols + c.cols));
        const double bound = 2 * kMaxBounds * (unit + sums) * std::sqrt(norm * b_norm);
        wrong[static_cast<size_t>(i)] = !(std::abs(deviation) <= bound);
      }
    });
    for (const uint8_t w : wrong) result_.reference_holds = result_.reference_holds && w == 0;
  }

  // Projects o = h W2: its sums, the part of their variance that comes from h, and the squares of o, [rows,
  // blocks].
  void project_outputs() {
    multiply(team_, DenseForm::ab, rows_.h, w_.w2_blocks.sum, out_);
    square(team_, w_.w2_blocks.sum, squared_weights_);
    multiply(team_, DenseForm::ab, rows_.h_var, squared_weights_, out_var_);
    square(team_, rows_.h, squared_);
    multiply(team_, DenseForm::ab, squared_, w_.w2_blocks.squares, out_squares_);
    enlarge_squares(out_, out_squares_);
  }

  // The sum of squares of products is what a row's squares are on average; where signs conspire the row is
  // larger, and its projections show that.
  static void enlarge_squares(const Dense<F>& sums, Dense<F>& squares) {
    for (int64_t a = 0; a < sums.rows; ++a) {
      const F mean = norm_squared(sums.row(a), sums.cols) / static_cast<F>(sums.cols);
      for (int64_t b = 0; b < sums.cols; ++b) {
        const F own = sums.row(a)[b] * sums.row(a)[b];
        squares.row(a)[b] = std::max({squares.row(a)[b], mean, own});
      }
    }
  }

  void add_outputs(const AuditAssignments& of, Range chunk, bool shared) {
    project_outputs();
    // An expert's row, and a device's partial sum, may be stored on the way.
    const double rounding = 2 * units_.store + units_.sum * static_cast<double>(rows_.h.cols);
    for (int64_t a = 0; a < chunk.size(); ++a) {
      const size_t i = static_cast<size_t>(chunk.begin + a);
      const int64_t token = of.token[i];
      const double p = of.gate[i] * of.largest_gate;
      for (int64_t b = 0; b < out_.cols; ++b) {
        y_.value.row(token)[b] += p * static_cast<double>(out_.row(a)[b]);
        y_.variance.row(token)[b] += p * p *
                                     (static_cast<double>(out_var_.row(a)[b]) +
                                      rounding * static_cast<double>(out_squares_.row(a)[b]));
      }
      if (!backward_ || shared) continue;
      dp_.value.row(token)[of.choice[i]] = rows_.dp[static_cast<size_t>(a)];
      dp_.variance.row(token)[of.choice[i]] = rows_.dp_var[static_cast<size_t>(a)] + output_part_of_dp(a);
    }
  }

  // dp = <dy, o> where o and dy are rounded, and o is a sum over the expert's width.
  double output_part_of_dp(int64_t a) const {
    const double rounding = 4 * units_.store + units_.sum * static_cast<double>(shape_.hidden + rows_.h.cols);
    double sum = 0;
    for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
      const Range columns = by_hidden_.columns_of(b);
      const double mean = static_cast<double>(norm_squared(rows_.dy.row(a) + columns.begin, columns.size())) /
                          static_cast<double>(columns.size());
      sum += mean * static_cast<double>(out_squares_.row(a)[b]);
    }
    return rounding * sum;
  }

  // dx row = dgate W1^T + dup W3^T.
  void add_input_gradients(const AuditAssignments& of, Range chunk) {
    multiply(team_, DenseForm::abt, rows_.dgate, w_.w1_blocks.sum, out_);
    multiply(team_, DenseForm::abt, rows_.dup, w_.w3_blocks.sum, out_, true);
    square(team_, w_.w1_blocks.sum, squared_weights_);
    multiply(team_, DenseForm::abt, rows_.dgate_var, squared_weights_, out_var_);
    square(team_, w_.w3_blocks.sum, squared_weights_);
    multiply(team_, DenseForm::abt, rows_.dup_var, squared_weights_, out_var_, true);
    square(team_, rows_.dgate, squared_);
    multiply(team_, DenseForm::abt, squared_, w_.w1_blocks.squares, out_squares_);
    square(team_, rows_.dup, squared_);
    multiply(team_, DenseForm::abt, squared_, w_.w3_blocks.squares, out_squares_, true);
    enlarge_squares(out_, out_squares_);
    // A row may be stored after the first of two products, after the second, and in a partial sum.
    const double rounding = 3 * units_.store + units_.sum * 2 * static_cast<double>(rows_.h.cols);
    const double scale = of.largest_gate;
    for (int64_t a = 0; a < chunk.size(); ++a) {
      const int64_t token = of.token[static_cast<size_t>(chunk.begin + a)];
      for (int64_t b = 0; b < out_.cols; ++b) {
        dx_.value.row(token)[b] += scale * static_cast<double>(out_.row(a)[b]);
        dx_.variance.row(token)[b] += scale * scale *
                                      (static_cast<double>(out_var_.row(a)[b]) +
                                       rounding * static_cast<double>(out_squares_.row(a)[b]));
      }
    }
  }

  // Adds this chunk's part: dW1 += x^T dgate, dW3 += x^T dup, dW2 += (p h)^T dy.
  void add_weight_gradients(const AuditAssignments& of) {
    const double n = static_cast<double>(of.size());
    square(team_, rows_.x, squared_);
    add_up_gradient(rows_.dgate, rows_.dgate_var, n, dw1_);
    add_up_gradient(rows_.dup, rows_.dup_var, n, dw3_);
    scale_hidden();
    project(team_, by_hidden_, rows_.dy, blocks_);
    multiply(team_, DenseForm::atb, rows_.h, blocks_.sum, part_);
    accumulate(part_, dw2_.value);
    square(team_, blocks_.sum, blocks_.sum);
    multiply(team_, DenseForm::atb, rows_.h_var, blocks_.sum, part_);
    accumulate(part_, dw2_.variance);
    // dy, p h and a device's partial sum may be stored.
    const F rounding = static_cast<F>(3 * units_.store + units_.sum * n);
    for (F& q : blocks_.squares.values) q *= rounding;
    square(team_, rows_.h, squared_);
    multiply(team_, DenseForm::atb, squared_, blocks_.squares, part_);
    accumulate(part_, dw2_.variance);
  }

  // h becomes p h.
  void scale_hidden() {
    team_.parallel_for(rows_.h.rows, [&](int64_t begin, int64_t end) {
      for (int64_t a = begin; a < end; ++a) {
        const F p = rows_.gate_value[static_cast<size_t>(a)];
        for (int64_t m = 0; m < rows_.h.cols; ++m) {
          rows_.h.row(a)[m] *= p;
          rows_.h_var.row(a)[m] *= p * p;
        }
      }
    });
  }

  // `squared_` holds the squares of x.
  void add_up_gradient(const Dense<F>& gradient, const Dense<F>& variance, double n, Estimate& sum) {
    project(team_, by_width_, gradient, blocks_);
    const F rounding = static_cast<F>(units_.store + units_.sum * n);
    team_.parallel_for(gradient.rows, [&](int64_t begin, int64_t end) {
      for (int64_t a = begin; a < end; ++a) {
        F* squares = blocks_.squares.row(a);
        for (int64_t b = 0; b < by_width_.num_blocks(); ++b) {
          const Range columns = by_width_.columns_of(b);
          F own = 0;
          for (int64_t m = columns.begin; m < columns.end; ++m) {
            const F w = static_cast<F>(by_width_.weight[static_cast<size_t>(m)]);
            own += w * w * variance.row(a)[m];
          }
          squares[b] = rounding * squares[b] + own;
        }
      }
    });
    multiply(team_, DenseForm::atb, rows_.x, blocks_.sum, part_);
    accumulate(part_, sum.value);
    multiply(team_, DenseForm::atb, squared_, blocks_.squares, part_);
    accumulate(part_, sum.variance);
  }

  // What is below the normal numbers of the storage type may be rounded to them or flushed to zero; in units
  // of dy = y.
  double subnormal_variance() const {
    const double smallest = 0x1p-126 * 64 / dy_scale_;
    return smallest * smallest;
  }

  void compare_gradient(const LogicalWeights& gradient, int expert, const Projection& p, Estimate& reference,
                        TensorNumbers& numbers) {
    const int64_t group = expert == kSharedExpert ? 0 : expert;
    const AuditAssignments& of =
        expert == kSharedExpert ? shared_ : assignments_[static_cast<size_t>(expert)];
    const double unit = of.largest_gate;
    // A value is stored, and a sum that grows from term to term is rounded at its own size each time.
    const double rounding = 2 * units_.store + units_.sum * static_cast<double>(of.size());
    MatrixDeviations deviations(gradient.rows(), p.num_blocks());
    std::vector<std::vector<float>> actual(options_.exact ? deviations.of_row.size() : 0);
    team_.parallel_for(gradient.rows(), [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(gradient.num_columns));
      std::vector<double> sum(static_cast<size_t>(p.num_blocks())), squares(sum.size());
      std::vector<Deviations> of_block(sum.size());
      for (int64_t r = begin; r < end; ++r) {
        read_row(gradient, group, r, row.data());
        p.project_row(row.data(), sum.data(), squares.data());
        for (int64_t b = 0; b < p.num_blocks(); ++b) {
          const size_t i = static_cast<size_t>(b);
          double& value = reference.value.row(r)[b];
          value *= unit;
          double variance =
              unit * unit * reference.variance.row(r)[b] + rounding * squares[i] / (dy_scale_ * dy_scale_);
          if (of.size() > 0) variance += subnormal_variance();
          deviations.add(r, b, sum[i] / dy_scale_ - value, variance, of_block);
        }
        if (options_.exact) actual[static_cast<size_t>(r)] = row;
      }
      deviations.add_blocks(of_block);
    });
    numbers.set_rows_per_expert(gradient.rows());
    for (const double value : reference.value.values) numbers.saw_reference(value);
    const std::string name = expert == kSharedExpert ? "the shared expert" : fmt::format("expert {}", expert);
    const auto where = [&](int64_t row, int64_t block) {
      return fmt::format("{} row {} {}", name, row, block_name(p, block));
    };
    // A sum over n tokens has the rank n: its rows share the errors of n rows, and its columns likewise.
    numbers.add_group(deviations.all(), of.size() * std::min(gradient.rows(), p.num_blocks()), name, where);
    for (int64_t b = 0; b < p.num_blocks(); ++b) {
      numbers.judge(deviations.of_block[static_cast<size_t>(b)], of.size(),
                    fmt::format("{} {}", name, block_name(p, b)), where);
    }
    for (int64_t r = 0; options_.exact && r < gradient.rows(); ++r) {
      for (double& value : reference.value.row_mutable(r)) value *= dy_scale_;
      numbers.relative().add_row(group * gradient.rows() + r, actual[static_cast<size_t>(r)],
                                 reference.value.row_span(r));
    }
  }

  // y and dx [T, H]; `scale` turns a stored value into the reference's units.
  TensorAudit compare_rows_of_tokens(const std::string& name, const MatView& stored, double scale,
                                     Estimate& reference, std::vector<double>& row_variance) {
    TensorNumbers numbers(name, RowComparison::kUsualFloor);
    MatrixDeviations deviations(stored.rows, by_hidden_.num_blocks());
    row_variance.assign(deviations.of_row.size(), 0);
    team_.parallel_for(stored.rows, [&](int64_t begin, int64_t end) {
      std::vector<float> row(static_cast<size_t>(stored.cols));
      std::vector<double> sum(static_cast<size_t>(by_hidden_.num_blocks())), squares(sum.size());
      std::vector<Deviations> of_block(sum.size());
      for (int64_t t = begin; t < end; ++t) {
        read_row(stored, t, row.data());
        by_hidden_.project_row(row.data(), sum.data(), squares.data());
        for (int64_t b = 0; b < by_hidden_.num_blocks(); ++b) {
          const size_t i = static_cast<size_t>(b);
          double variance = reference.variance.row(t)[b] + 2 * units_.store * scale * scale * squares[i];
          if (variance > 0) variance += subnormal_variance();
          deviations.add(t, b, scale * sum[i] - reference.value.row(t)[b], variance, of_block);
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
        if (variance > 0) variance += growth * value * value + subnormal_variance();
        of_token[static_cast<size_t>(t)].add(t, j, value - reference.value.row(t)[j], variance);
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

  // Softmax over a token's choices: dlogit_j = p_j (dp_j - sum_i p_i dp_i).
  Estimate logit_gradients() const {
    Estimate d(shape_.tokens, shape_.experts);
    const Routing& routing = *t_.routing;
    for (int64_t t = 0; t < shape_.tokens; ++t) {
      const float* p = routing.weight.data() + t * routing.topk;
      const double *dp = dp_.value.row(t), *var = dp_.variance.row(t);
      double mean = 0, mean_var = 0, terms = 0;
      for (int j = 0; j < routing.topk; ++j) {
        const double gate = static_cast<double>(p[j]);
        mean += gate * dp[j];
        mean_var += gate * gate * var[j];
        terms += gate * std::abs(dp[j]);
      }
      for (int j = 0; j < routing.topk; ++j) {
        const double gate = static_cast<double>(p[j]);
        const int32_t e = routing.expert[static_cast<size_t>(t * routing.topk + j)];
        const double sum_of_terms = std::abs(dp[j]) + static_cast<double>(routing.topk) * terms;
        d.value.row(t)[e] = gate * (dp[j] - mean);
        d.variance.row(t)[e] =
            gate * gate * ((1 - 2 * gate) * var[j] + mean_var + 4 * 0x1p-48 * sum_of_terms * sum_of_terms);
      }
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
  Projection by_width_;
  std::vector<AuditAssignments> assignments_;  // [E]
  AuditAssignments shared_;
  AuditWeights<F> w_;
  AuditRows<F> rows_;
  Estimate y_, dx_;     // [T, blocks of H]; dx in units of dy = y
  Estimate dp_;         // [T, k], likewise
  Estimate dw1_, dw3_;  // [H, blocks of M] of one expert, likewise
  Estimate dw2_;        // [M, blocks of H]
  Dense<F> out_, out_var_, out_squares_, squared_, squared_weights_, part_;
  Projected<F> blocks_;
  AuditResult result_;
};

}  // namespace

AuditResult audit_block(const BlockTensors& tensors, Pass pass, const AuditOptions& options,
                        ThreadTeam& team) {
  const bool backward = pass == Pass::forward_backward;
  if (tensors.shape.dtype == DType::bf16 && !options.exact)
    return Audit<float>(tensors, backward, options, team).run();
  return Audit<double>(tensors, backward, options, team).run();
}

double audit_bytes(const MoeShape& shape, Pass pass, bool exact) {
  const bool backward = pass == Pass::forward_backward;
  const double value = shape.dtype == DType::bf16 && !exact ? 4 : 8;
  const double hidden = static_cast<double>(shape.hidden), tokens = static_cast<double>(shape.tokens);
  const double width = static_cast<double>(std::max(shape.mlp_dim, shape.shared_dim));
  const AuditOptions options{exact, 0};
  const double blocks = static_cast<double>(projection(shape.hidden, options).num_blocks());
  const double width_blocks =
      static_cast<double>(projection(std::max(shape.mlp_dim, shape.shared_dim), options).num_blocks());
  const double weights = value * 3 * (hidden * width + (backward ? 2 : 1) * 2 * blocks * width);
  const double rows = value * static_cast<double>(std::min(kChunkRows, shape.tokens)) *
                      ((backward ? 3 : 1) * hidden + (backward ? 10 : 5) * width);
  const double sums = 8 * 2 * tokens * (backward ? 2 * blocks + shape.topk : blocks);
  const double gradients = backward ? 8 * 2 * (2 * hidden * width_blocks + width * blocks) : 0;
  return weights + rows + sums + gradients;
}

}  // namespace moehill
