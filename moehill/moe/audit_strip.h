// StripAuditor audits one strip of an expert (moe/audit.h): some of its M columns, with all rows of its
// tokens. It does not judge what it finds (moe/audit_judge.h). The M columns do not depend on each other, so
// a strip is a small expert of its own: threads audit strips at the same time, and a strip's weights stay in
// the cache of a core. Two kinds of results need the whole expert and are summed over its strips: the rows of
// outputs and input gradients, and dp.
//
//   AuditExpert<float> expert(assignments);        // the sums over all strips
//   StripAuditor<float> auditor(context);          // one for each thread
//   auditor.add_up(expert, {begin, end});          // makes the reference of the columns
//   auditor.compare();                             // compares the stored gradients of these columns
//
// F is float, or double if every element is compared by itself.
#pragma once

#include <mutex>
#include <vector>

#include "moehill/kernels/dense_gemm.h"
#include "moehill/moe/audit_rows.h"
#include "moehill/moe/deviation.h"
#include "moehill/moe/row_comparison.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// An auditor takes this many rows of an expert at a time: enough for a fast product, and little memory.
inline constexpr int64_t kChunkRows = 512;

// Rows with smaller gate values may be less than a rounding error of a bf16 gradient.
inline constexpr double kSmallGate = 0x1p-7;

// For products of at most this many rows, packing in a BLAS call costs more than the product itself.
inline constexpr int64_t kFewRows = 16;

// AuditContext has the parts of an audit that all of its strips share.
struct AuditContext {
  const BlockTensors& tensors;
  bool backward;
  bool exact;  // blocks have one column, so each element is compared
  uint32_t seed;
  ErrorUnits units;
  double dy_scale;  // dy = dy_scale y; the audit computes gradients for dy = y
  Projection by_hidden;

  // Returns the variance of a value below the normal numbers of the storage type. An implementation may round
  // such a value or flush it to zero. `scale` turns a stored value into the caller's units.
  static double subnormal_variance(double scale) {
    const double smallest = 0x1p-126 * 64 * scale;
    return smallest * smallest;
  }
};

// ProjectedRows are projections of rows of outputs or gradients: the sums, the part of the variance that
// comes from the factors of the products, and the squares.
template <typename F>
struct ProjectedRows {
  Dense<F> sum, variance, squares;  // [rows, blocks of H]
  void reshape(int64_t rows, int64_t blocks) {
    for (Dense<F>* m : {&sum, &variance, &squares}) m->reshape(rows, blocks);
  }
  void clear() {
    for (Dense<F>* m : {&sum, &variance, &squares}) std::fill(m->values.begin(), m->values.end(), F{0});
  }
  void add(const ProjectedRows& part, int64_t first_row);
  // Enlarges the squares where a row is larger than its terms suggest. On average the square of a row is the
  // sum of the squares of its terms. Where the signs of the terms agree, the row is larger, and its
  // projections show that.
  void enlarge_squares();
};

// Estimate is a matrix of sums, each with its variance.
struct Estimate {
  Dense<double> value, variance;
  Estimate() = default;
  Estimate(int64_t rows, int64_t cols) : value(rows, cols), variance(rows, cols) {}
};

// GradientAudit has the findings about one stored gradient of one expert.
struct GradientAudit {
  std::vector<Deviations> of_block;
  // [M] the rows of dW2, of which each has the errors of its own column of h; empty for other gradients. The
  // errors of dW1 and dW3 belong to their columns, which are in `of_block`.
  std::vector<Deviations> of_row;
  // The deviations along the part of the gradient that comes from rows with small gate values; empty if there
  // are none. The shared expert, whose findings several processes have, has no such numbers.
  std::vector<Deviations> of_small;
  bool non_zero_reference = false;
  // The relative errors of the rows [M or H], if blocks have one column; otherwise empty.
  RowComparison relative;

  void pass(Parcel& parcel) {
    parcel(of_block), parcel(of_row), parcel(non_zero_reference);
    relative.pass(parcel);
  }
  // Adds the findings of another strip of the same expert.
  void add(const GradientAudit& other) {
    for (size_t b = 0; b < of_block.size(); ++b) of_block[b].add(other.of_block[b]);
    for (size_t r = 0; r < of_row.size(); ++r) of_row[r].add(other.of_row[r]);
    non_zero_reference = non_zero_reference || other.non_zero_reference;
    relative.add_rows(other.relative, 0);
  }
};

// StripSums are the gradients of a strip's columns, summed over rows, in units of `unit` and for dy = y.
struct StripSums {
  double unit = 1;
  // [2 blocks of the strip, H]: dW1 and dW3, transposed; [strip, blocks of H]: dW2
  Dense<double> dw13, dw13_var, dw2, dw2_var;
  Dense<double> small13, small2;  // the part of rows with small gate values; empty for the shared expert
  Dense<double> db13, db13_var, db2, db2_var;  // biases: [2 blocks of the strip, 1]; [1, blocks of H]

  // Multiplies the sums by `unit` and sets `unit` to 1, so that the sums of other rows can be added.
  void unify();
};

// AuditExpert is one expert, or the shared one, with the sums over its strips. A strip locks `mutex` to add.
template <typename F>
struct AuditExpert {
  explicit AuditExpert(const AuditAssignments& assignments) : rows(assignments) {}

  int expert = 0;  // the number of the expert, or kSharedExpert
  // The number of terms in a weight's gradient. `rows` has fewer if other processes have some of them.
  int64_t num_terms = 0;
  int64_t width = 0;  // M or S
  const AuditAssignments rows;
  Projection by_width;
  ProjectedRows<F> out, dx;        // for each row
  std::vector<double> dp, dp_var;  // [rows]; dp_var lacks the rounding of the expert's output
  GradientAudit d1, d2, d3;
  GradientAudit b1, b2, b3;  // of the biases, if there are any
  bool products_hold = true;
  std::mutex mutex;
};

template <typename F>
class StripAuditor {
 public:
  explicit StripAuditor(const AuditContext& context) : context_(context), loops_(audit_loops<F>()) {}

  // Makes the reference of columns [begin, end) of the expert and adds it to the expert's sums.
  void add_up(AuditExpert<F>& expert, Range columns);
  // Compares the stored gradients of the columns of the last add_up(). The other overload takes the sums as
  // an argument.
  void compare() { compare_gradients(sums_); }
  void compare(AuditExpert<F>& expert, Range columns, const StripSums& sums);
  StripSums take_sums() { return std::move(sums_); }

 private:
  const Activation& activation() const { return context_.tensors.shape.form.activation; }
  bool gated() const { return activation().gated; }
  bool is_shared() const;
  bool has_biases() const { return context_.tensors.shape.form.biases && !is_shared(); }
  void add_bias_gradients();
  void read_weights();
  void audit_chunk(Range chunk);
  void read_rows(Range chunk);
  void multiply(DenseForm form, const Dense<F>& a, const Dense<F>& b, Dense<F>& c, bool add = false);
  // HeldFactor is the factor b of a product c = a b, prepared for the check that compares c r with a (b r).
  struct HeldFactor {
    std::vector<double> projected;  // b r
    double norm = 0;                // the squared norm of b
  };
  void prepare_holding(DenseForm form, const Dense<F>& b, HeldFactor& held);
  void multiply_held(DenseForm form, const Dense<F>& a, const Dense<F>& b, const HeldFactor& held,
                     Dense<F>& c);
  bool holds(const Dense<F>& a, const Dense<F>& c, const HeldFactor& held);
  void add_outputs(Range chunk);
  void add_input_gradients(Range chunk);
  void add_weight_gradients(Range chunk);
  bool keep_small_rows(Range chunk, const Dense<F>& rows, Dense<F>& small) const;
  void project_gradient(const Dense<F>& gradient, const Dense<F>& variance, int64_t first_block);
  void take_strip(AuditExpert<F>& expert, Range columns);
  void compare_gradients(const StripSums& sums);
  // StoredPart is the strip's part of a stored gradient. `first_block` is the number of its first block of
  // columns.
  struct StoredPart {
    const LogicalWeights& matrix;
    Range rows, columns;
    int64_t first_block;
  };
  struct Number {
    double value, variance;
    double small = 0;  // the part of `value` that comes from rows with small gate values
  };
  template <typename Reference>
  void compare_gradient(const StoredPart& stored, const Projection& p, const Reference& reference,
                        GradientAudit& audit);

  const AuditContext& context_;
  const AuditLoops<F>& loops_;
  AuditExpert<F>* expert_ = nullptr;
  Range columns_{};
  Projection by_strip_;  // the expert's by_width, for these columns
  AuditWeights<F> w_;
  AuditRows<F> rows_;
  ProjectedRows<F> part_;
  Projected<F> blocks_;
  Dense<F> squared_, product_, transposed_, gradient_blocks_, variance_blocks_;
  std::vector<double> hold_weights_;  // r, [strip]
  HeldFactor held1_, held3_, held2_;
  StripSums sums_;
  double unit_ = 1;  // of the sums that are compared
};

}  // namespace moehill
