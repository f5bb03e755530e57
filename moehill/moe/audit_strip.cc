// Implements audit_strip.h: reads a strip's weights, multiplies its rows chunk by chunk, and compares its
// gradients.
#include "moehill/moe/audit_strip.h"

#include <algorithm>
#include <cmath>

#include "moehill/moe/expert_columns.h"
#include "moehill/moe/wire_reference.h"

namespace moehill {
namespace {

template <typename F>
void square(const Dense<F>& a, Dense<F>& out) {
  out.reshape(a.rows, a.cols);
  for (size_t i = 0; i < a.values.size(); ++i) out.values[i] = a.values[i] * a.values[i];
}

template <typename F>
void transpose(const Dense<F>& a, Dense<F>& out) {
  out.reshape(a.cols, a.rows);
  for (int64_t r = 0; r < a.rows; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) out.row(c)[r] = a.row(r)[c];
  }
}

// Adds `part` to `sum`, element by element.
template <typename F, typename Sum>
void accumulate(const Dense<F>& part, Dense<Sum>& sum, int64_t first_row = 0) {
  Sum* to = sum.row(first_row);
  for (size_t i = 0; i < part.values.size(); ++i) to[i] += static_cast<Sum>(part.values[i]);
}

template <typename F>
void read_strip(const LogicalWeights& weights, int64_t group, Range rows, Range columns, Dense<F>& out) {
  out.reshape(rows.size(), columns.size());
  read_part(weights, group, rows, columns, out.values.data(), out.cols);
}

// Returns an element, or 0 if the matrix is empty.
double element_of(const Dense<double>& m, int64_t row, int64_t column) {
  return m.rows == 0 ? 0 : m.row(row)[column];
}

}  // namespace

template <typename F>
void ProjectedRows<F>::add(const ProjectedRows& part, int64_t first_row) {
  accumulate(part.sum, sum, first_row);
  accumulate(part.variance, variance, first_row);
  accumulate(part.squares, squares, first_row);
}

template <typename F>
void ProjectedRows<F>::enlarge_squares() {
  const AuditLoops<F>& loops = audit_loops<F>();
  for (int64_t r = 0; r < sum.rows; ++r) {
    // The square of a block counts at least as much as the mean of the row's squared sums, and as its own
    // squared sum.
    const F mean = loops.norm_squared(sum.row(r), sum.cols) / static_cast<F>(sum.cols);
    for (int64_t b = 0; b < sum.cols; ++b) {
      const F own = sum.row(r)[b] * sum.row(r)[b];
      squares.row(r)[b] = std::max({squares.row(r)[b], mean, own});
    }
  }
}

template <typename F>
bool StripAuditor<F>::is_shared() const {
  return expert_->expert == kSharedExpert;
}

template <typename F>
void StripAuditor<F>::take_strip(AuditExpert<F>& expert, Range columns) {
  expert_ = &expert;
  columns_ = columns;
  by_strip_ = expert.by_width.slice(columns);
}

template <typename F>
void StripAuditor<F>::add_up(AuditExpert<F>& expert, Range columns) {
  take_strip(expert, columns);
  const int64_t n = expert.rows.size();
  if (n > 0) read_weights();
  if (context_.backward) {
    const int64_t hidden = context_.by_hidden.num_columns(), blocks = context_.by_hidden.num_blocks();
    StripSums& s = sums_;
    s.unit = expert.rows.unit;
    for (Dense<double>* sum : {&s.dw13, &s.dw13_var})
      *sum = Dense<double>(2 * by_strip_.num_blocks(), hidden);
    for (Dense<double>* sum : {&s.dw2, &s.dw2_var}) *sum = Dense<double>(columns.size(), blocks);
    s.small13 = is_shared() ? Dense<double>() : s.dw13;
    s.small2 = is_shared() ? Dense<double>() : s.dw2;
    for (Dense<double>* sum : {&s.db13, &s.db13_var}) *sum = Dense<double>(2 * by_strip_.num_blocks(), 1);
    for (Dense<double>* sum : {&s.db2, &s.db2_var}) *sum = Dense<double>(1, blocks);
  }
  for (int64_t begin = 0; begin < n; begin += kChunkRows)
    audit_chunk({begin, std::min(n, begin + kChunkRows)});
}

template <typename F>
void StripAuditor<F>::compare(AuditExpert<F>& expert, Range columns, const StripSums& sums) {
  take_strip(expert, columns);
  compare_gradients(sums);
}

void StripSums::unify() {
  for (Dense<double>* sum : {&dw13, &dw2, &db13, &db2}) {
    for (double& value : sum->values) value *= unit;
  }
  for (Dense<double>* sum : {&dw13_var, &dw2_var, &db13_var, &db2_var}) {
    for (double& value : sum->values) value *= unit * unit;
  }
  unit = 1;
}

template <typename F>
void StripAuditor<F>::read_weights() {
  const BlockWeights& w = context_.tensors.weights;
  const bool shared = is_shared();
  const int64_t group = shared ? 0 : expert_->expert;
  const Range hidden{0, context_.by_hidden.num_columns()};
  const auto read_bias = [&](const LogicalWeights& from, std::vector<F>& to) {
    to.clear();
    for (int64_t m = columns_.begin; has_biases() && from.rows() > 0 && m < columns_.end; ++m)
      to.push_back(static_cast<F>(from.at(group, 0, m)));
  };
  // A strip has columns of W1 and W3 and rows of W2. The bias of W2 belongs to no strip.
  read_bias(w.b1, w_.bias1);
  read_bias(w.b3, w_.bias3);
  read_strip(shared ? w.s1 : w.w1, group, hidden, columns_, w_.w1);
  if (gated()) read_strip(shared ? w.s3 : w.w3, group, hidden, columns_, w_.w3);
  read_strip(shared ? w.s2 : w.w2, group, columns_, hidden, w_.w2);
  // BLAS makes only the products of many rows. Each of these is checked against a projection of itself, for
  // which its weights are prepared here.
  if (expert_->rows.size() > kFewRows) {
    const Projection p(columns_.size(), context_.exact ? 2 : columns_.size(), context_.seed + 1);
    hold_weights_.assign(p.weight.begin(), p.weight.end());
    prepare_holding(DenseForm::ab, w_.w1, held1_);
    if (gated()) prepare_holding(DenseForm::ab, w_.w3, held3_);
    if (context_.backward) prepare_holding(DenseForm::abt, w_.w2, held2_);
  }
  // The other products are compared through projections of their factors.
  project(context_.by_hidden, w_.w2, w_.w2_blocks);
  project_rows(context_.by_hidden, w_.w1, w_.w1_blocks, w_.norm1);
  if (gated()) project_rows(context_.by_hidden, w_.w3, w_.w3_blocks, w_.norm3);
  if (!context_.backward) return;
  w_.norm2.resize(static_cast<size_t>(w_.w2.rows));
  for (int64_t m = 0; m < w_.w2.rows; ++m)
    w_.norm2[static_cast<size_t>(m)] = loops_.norm_squared(w_.w2.row(m), w_.w2.cols);
}

template <typename F>
void StripAuditor<F>::audit_chunk(Range chunk) {
  rows_.reshape(chunk.size(), context_.by_hidden.num_columns(), columns_.size(), context_.backward);
  read_rows(chunk);
  // The activation uses these three products element by element, so each of them is checked by itself.
  multiply_held(DenseForm::ab, rows_.x, w_.w1, held1_, rows_.gate);
  if (gated()) multiply_held(DenseForm::ab, rows_.x, w_.w3, held3_, rows_.up);
  if (context_.backward) multiply_held(DenseForm::abt, rows_.dy, w_.w2, held2_, rows_.dh);
  const RowMode mode{activation(), context_.tensors.shape.router.input_weighted && !is_shared()};
  for (int64_t a = 0; a < chunk.size(); ++a) {
    context_.backward ? activate_row<true>(mode, context_.units, w_, a, rows_)
                      : activate_row<false>(mode, context_.units, w_, a, rows_);
  }
  add_outputs(chunk);
  if (!context_.backward) return;
  add_input_gradients(chunk);
  add_weight_gradients(chunk);
}

template <typename F>
void StripAuditor<F>::read_rows(Range chunk) {
  std::vector<float> row(static_cast<size_t>(context_.by_hidden.num_columns()));
  Wire wire = Wire::native;
  const auto read = [&](const MatView& from, int64_t token, F* to, double factor) {
    read_row(from, token, row.data());
    pass_wire(wire, row);
    std::copy(row.begin(), row.end(), to);
    for (int64_t c = 0; factor != 1 && c < from.cols; ++c) to[c] = static_cast<F>(factor * to[c]);
    return loops_.norm_squared(to, from.cols);
  };
  for (int64_t a = 0; a < chunk.size(); ++a) {
    const size_t i = static_cast<size_t>(a), assignment = static_cast<size_t>(chunk.begin + a);
    const int64_t token = expert_->rows.token[assignment];
    // Rows of routed experts may have come by a wire; rows of the shared expert never do.
    if (!is_shared()) wire = context_.tensors.wire_of(token, expert_->rows.choice[assignment]);
    rows_.x_norm[i] = read(context_.tensors.x, token, rows_.x.row(a), 1);
    rows_.in[i] = static_cast<F>(expert_->rows.in[assignment]);
    if (!context_.backward) continue;
    rows_.share[i] = static_cast<F>(expert_->rows.share[assignment]);
    rows_.dy_norm[i] =
        read(context_.tensors.read_dy(), token, rows_.dy.row(a), 1 / expert_->rows.dy_size[assignment]);
  }
}

template <typename F>
void StripAuditor<F>::multiply(DenseForm form, const Dense<F>& a, const Dense<F>& b, Dense<F>& c, bool add) {
  const int64_t rows = form == DenseForm::atb ? a.cols : a.rows;
  const int64_t cols = form == DenseForm::abt ? b.rows : b.cols;
  if (!add) c.reshape(rows, cols);
  // For few rows plain loops are faster than BLAS.
  const bool few = std::min(a.rows, form == DenseForm::atb ? a.cols : a.rows) <= kFewRows;
  if (!few)
    return dense_product(form, {a.values.data(), a.rows, a.cols}, {b.values.data(), b.rows, b.cols},
                         DenseView<F>{c.values.data(), rows, cols}, add);
  if (form == DenseForm::abt && !add)
    return loops_.product_bt(a.values.data(), b.values.data(), c.values.data(), rows, cols, a.cols);
  if (!add) std::fill(c.values.begin(), c.values.end(), F{0});
  const Dense<F>* left = &a;
  const Dense<F>* right = &b;
  if (form == DenseForm::atb) {
    transpose(a, transposed_);
    left = &transposed_;
  } else if (form == DenseForm::abt) {
    transpose(b, transposed_);
    right = &transposed_;
  }
  loops_.add_product(left->values.data(), right->values.data(), c.values.data(), rows, cols, left->cols);
}

// Projects the factor b of products c = a b: computes b r.
template <typename F>
void StripAuditor<F>::prepare_holding(DenseForm form, const Dense<F>& b, HeldFactor& held) {
  held.projected.assign(static_cast<size_t>(form == DenseForm::ab ? b.rows : b.cols), 0);
  if (form == DenseForm::ab) {
    for (int64_t k = 0; k < b.rows; ++k)
      held.projected[static_cast<size_t>(k)] = loops_.dot(hold_weights_.data(), b.row(k), b.cols);
  } else {
    for (int64_t n = 0; n < b.rows; ++n)
      loops_.add_scaled(hold_weights_[static_cast<size_t>(n)], b.row(n), held.projected.data(), b.cols);
  }
  held.norm = 0;
  for (int64_t r = 0; r < b.rows; ++r)
    held.norm += static_cast<double>(loops_.norm_squared(b.row(r), b.cols));
}

// Makes a product whose elements are used one by one. If BLAS made it, it is checked against its own
// projection.
template <typename F>
void StripAuditor<F>::multiply_held(DenseForm form, const Dense<F>& a, const Dense<F>& b,
                                    const HeldFactor& held, Dense<F>& c) {
  multiply(form, a, b, c);
  if (a.rows <= kFewRows || holds(a, c, held)) return;
  const std::lock_guard lock(expert_->mutex);
  expert_->products_hold = false;
}

// Checks c = a b for all rows: c r must equal a (b r), computed in double.
template <typename F>
bool StripAuditor<F>::holds(const Dense<F>& a, const Dense<F>& c, const HeldFactor& held) {
  const double unit = sizeof(F) == sizeof(float) ? 0x1p-24 : 0x1p-53;
  // The two projections are sums in double themselves, of c.cols and of a.cols terms.
  const double sums = 0x1p-53 * std::sqrt(static_cast<double>(a.cols + c.cols));
  for (int64_t i = 0; i < a.rows; ++i) {
    const double deviation = loops_.dot(hold_weights_.data(), c.row(i), c.cols) -
                             loops_.dot(held.projected.data(), a.row(i), a.cols);
    const double norm = static_cast<double>(loops_.norm_squared(a.row(i), a.cols));
    if (!(std::abs(deviation) <= 2 * kMaxBounds * (unit + sums) * std::sqrt(norm * held.norm))) return false;
  }
  return true;
}

// Adds the projected outputs o = h W2, and dp.
template <typename F>
void StripAuditor<F>::add_outputs(Range chunk) {
  // These three are the sum of h times the projected W2, its variance, which comes from the variance of h,
  // and the squares of its terms.
  multiply(DenseForm::ab, rows_.h, w_.w2_blocks.sum, part_.sum);
  square(w_.w2_blocks.sum, product_);
  multiply(DenseForm::ab, rows_.h_var, product_, part_.variance);
  square(rows_.h, squared_);
  multiply(DenseForm::ab, squared_, w_.w2_blocks.squares, part_.squares);
  const std::lock_guard lock(expert_->mutex);
  expert_->out.add(part_, chunk.begin);
  for (int64_t a = 0; context_.backward && a < chunk.size(); ++a) {
    const size_t i = static_cast<size_t>(chunk.begin + a);
    const double size = expert_->rows.dy_size[i];
    expert_->dp[i] += size * rows_.dp[static_cast<size_t>(a)];
    expert_->dp_var[i] += size * size * rows_.dp_var[static_cast<size_t>(a)];
  }
}

// Adds the projected rows dx = dgate W1^T + dup W3^T.
template <typename F>
void StripAuditor<F>::add_input_gradients(Range chunk) {
  multiply(DenseForm::abt, rows_.dgate, w_.w1_blocks.sum, part_.sum);
  square(w_.w1_blocks.sum, product_);
  multiply(DenseForm::abt, rows_.dgate_var, product_, part_.variance);
  square(rows_.dgate, squared_);
  multiply(DenseForm::abt, squared_, w_.w1_blocks.squares, part_.squares);
  if (gated()) {
    multiply(DenseForm::abt, rows_.dup, w_.w3_blocks.sum, part_.sum, true);
    square(w_.w3_blocks.sum, product_);
    multiply(DenseForm::abt, rows_.dup_var, product_, part_.variance, true);
    square(rows_.dup, squared_);
    multiply(DenseForm::abt, squared_, w_.w3_blocks.squares, part_.squares, true);
  }
  const std::lock_guard lock(expert_->mutex);
  expert_->dx.add(part_, chunk.begin);
}

// Adds the chunk's part of the weight gradients: dW1 += x^T dgate, dW3 += x^T dup, dW2 += (p h)^T dy.
template <typename F>
void StripAuditor<F>::add_weight_gradients(Range chunk) {
  const double n = static_cast<double>(expert_->num_terms);
  for (Dense<F>* blocks : {&gradient_blocks_, &variance_blocks_})
    blocks->reshape(rows_.x.rows, 2 * by_strip_.num_blocks());
  project_gradient(rows_.dgate, rows_.dgate_var, 0);
  project_gradient(rows_.dup, rows_.dup_var, by_strip_.num_blocks());
  if (has_biases()) add_bias_gradients();
  // dW1 and dW3 are compared as projections of their columns. These are x^T times the projected gradients.
  multiply(DenseForm::atb, gradient_blocks_, rows_.x, product_);
  accumulate(product_, sums_.dw13);
  if (keep_small_rows(chunk, gradient_blocks_, squared_)) {
    multiply(DenseForm::atb, squared_, rows_.x, product_);
    accumulate(product_, sums_.small13);
  }
  square(rows_.x, squared_);
  multiply(DenseForm::atb, variance_blocks_, squared_, product_);
  accumulate(product_, sums_.dw13_var);

  for (int64_t a = 0; a < rows_.h.rows; ++a) {  // h is multiplied by its share
    const F share = rows_.share[static_cast<size_t>(a)];
    for (int64_t m = 0; m < rows_.h.cols; ++m) {
      rows_.h.row(a)[m] *= share;
      F& variance = rows_.h_var.row(a)[m];
      variance = share * share * variance + kLeastVariance<F>;
    }
  }
  project(context_.by_hidden, rows_.dy, blocks_);
  // An implementation may have stored dy, p h and a device's partial sum.
  const F rounding = static_cast<F>(3 + context_.units.sums(n));
  if (has_biases() && columns_.begin == 0) {  // db2 += p dy
    for (int64_t a = 0; a < rows_.h.rows; ++a) {
      const double share = static_cast<double>(rows_.share[static_cast<size_t>(a)]);
      for (int64_t b = 0; b < blocks_.sum.cols; ++b) {
        sums_.db2.row(0)[b] += share * static_cast<double>(blocks_.sum.row(a)[b]);
        sums_.db2_var.row(0)[b] += share * share * static_cast<double>(rounding * blocks_.squares.row(a)[b]);
      }
    }
  }
  multiply(DenseForm::atb, rows_.h, blocks_.sum, product_);
  accumulate(product_, sums_.dw2);
  if (keep_small_rows(chunk, rows_.h, squared_)) {
    multiply(DenseForm::atb, squared_, blocks_.sum, product_);
    accumulate(product_, sums_.small2);
  }
  square(blocks_.sum, blocks_.sum);
  multiply(DenseForm::atb, rows_.h_var, blocks_.sum, product_);
  accumulate(product_, sums_.dw2_var);
  // A gate value that the block computed itself has an error too, which all terms of its row share.
  const F gate_rounding = rounding + static_cast<F>(expert_->rows.gate_variance / context_.units.store);
  for (F& q : blocks_.squares.values) q *= gate_rounding;
  square(rows_.h, squared_);
  multiply(DenseForm::atb, squared_, blocks_.squares, product_);
  accumulate(product_, sums_.dw2_var);
}

// Copies a matrix of the chunk's rows, with zeros in place of the rows whose gate values are large. Returns
// false if no row has a small gate value, and for the shared expert, which has no such part.
template <typename F>
bool StripAuditor<F>::keep_small_rows(Range chunk, const Dense<F>& rows, Dense<F>& small) const {
  if (is_shared()) return false;
  bool any = false;
  small.reshape(rows.rows, rows.cols);
  for (int64_t a = 0; a < rows.rows; ++a) {
    const size_t i = static_cast<size_t>(chunk.begin + a);
    const bool is_small = std::abs(expert_->rows.gate[i] * expert_->rows.in[i]) < kSmallGate;
    any = any || is_small;
    for (int64_t c = 0; c < rows.cols; ++c) small.row(a)[c] = is_small ? rows.row(a)[c] : F{0};
  }
  return any;
}

// For each row, computes its term in the projected weight gradient and the variance of that term, in the
// blocks from `first` on.
template <typename F>
void StripAuditor<F>::project_gradient(const Dense<F>& gradient, const Dense<F>& variance, int64_t first) {
  const double n = static_cast<double>(expert_->num_terms);
  const F rounding = static_cast<F>(1 + context_.units.sums(n));
  const F gate_variance = static_cast<F>(expert_->rows.gate_variance / context_.units.store);
  std::vector<F> squares(static_cast<size_t>(by_strip_.num_blocks()));
  for (int64_t a = 0; a < gradient.rows; ++a) {
    F *sum = gradient_blocks_.row(a) + first, *var = variance_blocks_.row(a) + first;
    by_strip_.project_row(gradient.row(a), sum, squares.data());
    loops_.project_variance(variance.row(a), by_strip_.weight.data(), gradient.cols, by_strip_.block, var);
    const F share = rows_.share[static_cast<size_t>(a)] * rows_.in[static_cast<size_t>(a)];
    for (size_t b = 0; b < squares.size(); ++b) {
      var[b] = share * share * (var[b] + rounding * squares[b] + gate_variance * sum[b] * sum[b]) +
               kLeastVariance<F>;
      sum[b] *= share;
    }
  }
}

// Adds db1 += dgate and db3 += dup, from the projections that project_gradient() made.
template <typename F>
void StripAuditor<F>::add_bias_gradients() {
  for (int64_t a = 0; a < gradient_blocks_.rows; ++a) {
    for (int64_t b = 0; b < gradient_blocks_.cols; ++b) {
      sums_.db13.row(b)[0] += static_cast<double>(gradient_blocks_.row(a)[b]);
      sums_.db13_var.row(b)[0] += static_cast<double>(variance_blocks_.row(a)[b]);
    }
  }
}

template <typename F>
void StripAuditor<F>::compare_gradients(const StripSums& sums) {
  const BlockWeights& g = context_.tensors.gradients;
  const bool shared = expert_->expert == kSharedExpert;
  const Range hidden{0, context_.by_hidden.num_columns()};
  unit_ = sums.unit;
  const int64_t blocks = by_strip_.num_blocks(), first = columns_.begin / by_strip_.block;
  // The sums have the blocks of dW1 first, then the blocks of dW3.
  const auto of_dw13 = [&](int64_t offset) {
    return [&sums, offset](int64_t r, int64_t b) {
      return Number{sums.dw13.row(offset + b)[r], sums.dw13_var.row(offset + b)[r],
                    element_of(sums.small13, offset + b, r)};
    };
  };
  compare_gradient({shared ? g.s1 : g.w1, hidden, columns_, first}, by_strip_, of_dw13(0), expert_->d1);
  if (gated())
    compare_gradient({shared ? g.s3 : g.w3, hidden, columns_, first}, by_strip_, of_dw13(blocks),
                     expert_->d3);
  compare_gradient(
      {shared ? g.s2 : g.w2, columns_, hidden, 0}, context_.by_hidden,
      [&sums](int64_t r, int64_t b) {
        return Number{sums.dw2.row(r)[b], sums.dw2_var.row(r)[b], element_of(sums.small2, r, b)};
      },
      expert_->d2);
  if (!has_biases()) return;
  const auto of_db13 = [&](int64_t offset) {
    return [&sums, offset](int64_t, int64_t b) {
      return Number{sums.db13.row(offset + b)[0], sums.db13_var.row(offset + b)[0]};
    };
  };
  compare_gradient({g.b1, {0, 1}, columns_, first}, by_strip_, of_db13(0), expert_->b1);
  if (gated()) compare_gradient({g.b3, {0, 1}, columns_, first}, by_strip_, of_db13(blocks), expert_->b3);
  // The bias of W2 has no columns of the strip, so the first strip compares it for the whole expert.
  if (columns_.begin > 0) return;
  compare_gradient(
      {g.b2, {0, 1}, hidden, 0}, context_.by_hidden,
      [&sums](int64_t, int64_t b) {
        return Number{sums.db2.row(0)[b], sums.db2_var.row(0)[b]};
      },
      expert_->b2);
}

// `reference(row, block)` is in units of dy = y and of the rows' `unit`.
template <typename F>
template <typename Reference>
void StripAuditor<F>::compare_gradient(const StoredPart& stored, const Projection& p,
                                       const Reference& reference, GradientAudit& audit) {
  const int64_t group = expert_->expert == kSharedExpert ? 0 : expert_->expert;
  const double unit = unit_, n = static_cast<double>(expert_->num_terms);
  // Each value is stored once, and a growing sum is rounded at its own size with each term.
  const double rounding = 2 * context_.units.store + context_.units.sum * (n + p.num_roundings());
  const double scale = 1 / context_.dy_scale;
  read_strip(stored.matrix, group, stored.rows, stored.columns, product_);
  project(p, product_, blocks_);
  std::vector<Deviations> of_block(static_cast<size_t>(p.num_blocks())), of_small(of_block.size()),
      of_row(audit.of_row.empty() ? 0 : static_cast<size_t>(product_.rows));
  // Terms that may have been flushed to zero do not count.
  const double least = kFarAboveSubnormal * context_.subnormal_variance(scale);
  bool non_zero = false, any_small = false;
  for (int64_t r = 0; r < product_.rows; ++r) {
    const F *sum = blocks_.sum.row(r), *squares = blocks_.squares.row(r);
    for (int64_t b = 0; b < p.num_blocks(); ++b) {
      const Number expected = reference(r, b);
      const double value = unit * expected.value;
      double variance = unit * unit * context_.units.store * expected.variance +
                        rounding * static_cast<double>(squares[b]) * scale * scale;
      if (n > 0) variance += context_.subnormal_variance(scale);
      const double off = static_cast<double>(sum[b]) * scale - value, small = unit * expected.small;
      Deviations number;
      number.add(stored.rows.begin + r, stored.first_block + b, off, variance, value);
      of_block[static_cast<size_t>(b)].add(number);
      if (!of_row.empty()) of_row[static_cast<size_t>(r)].add(number);
      non_zero = non_zero || value != 0;
      if (!(small * small > least)) continue;
      any_small = true;
      of_small[static_cast<size_t>(b)].add(stored.rows.begin + r, stored.first_block + b, off, variance,
                                           small);
    }
  }
  const std::lock_guard lock(expert_->mutex);
  for (size_t b = 0; b < of_block.size(); ++b)
    audit.of_block[static_cast<size_t>(stored.first_block) + b].add(of_block[b]);
  for (size_t r = 0; r < of_row.size(); ++r)
    audit.of_row[static_cast<size_t>(stored.rows.begin) + r].add(of_row[r]);
  if (any_small) audit.of_small.resize(audit.of_block.size());
  for (size_t b = 0; any_small && b < of_small.size(); ++b)
    audit.of_small[static_cast<size_t>(stored.first_block) + b].add(of_small[b]);
  audit.non_zero_reference = audit.non_zero_reference || non_zero;
  // If every element is compared, the relative error of each row is known too.
  if (!context_.exact) return;
  std::vector<float> actual(static_cast<size_t>(product_.cols));
  std::vector<double> row(actual.size());
  for (int64_t r = 0; r < product_.rows; ++r) {
    for (size_t b = 0; b < row.size(); ++b) {
      actual[b] = static_cast<float>(product_.row(r)[b]);
      row[b] = unit * context_.dy_scale * reference(r, static_cast<int64_t>(b)).value;
    }
    audit.relative.add_row(stored.rows.begin + r, actual, row);
  }
}

template struct ProjectedRows<float>;
template struct ProjectedRows<double>;
template class StripAuditor<float>;
template class StripAuditor<double>;

}  // namespace moehill
