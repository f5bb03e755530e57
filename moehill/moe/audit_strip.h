// A strip of an expert for the audit (moe/audit.h): some of its M columns, with all of its tokens. A strip is
// an expert of its own, so strips are audited by different threads at once, and a strip's weights stay
// in the cache of its core. Two things alone need the whole expert and are summed over its strips: the rows
// of outputs and input gradients, and dp.
//
// F is float, or double where every element is compared by itself.
#pragma once

#include <mutex>
#include <vector>

#include "moehill/kernels/dense_gemm.h"
#include "moehill/moe/audit_rows.h"
#include "moehill/moe/deviation.h"
#include "moehill/moe/row_comparison.h"
#include "moehill/moe/tensors.h"

namespace moehill {

inline constexpr int64_t kChunkRows = 512;  // of an expert at a time: enough for a product, little memory

// Below that many rows of a product the packing of a BLAS call costs more than the product.
inline constexpr int64_t kFewRows = 16;

// The parts of an audit that all of its strips share.
struct AuditContext {
  const BlockTensors& tensors;
  bool backward;
  bool exact;  // blocks of one column
  uint32_t seed;
  ErrorUnits units;
  double dy_scale;  // dy = dy_scale y; the audit's gradients are those of dy = y
  Projection by_hidden;

  // A value below the normal numbers of the storage type may be rounded or flushed to zero. `scale` turns a
  // stored value into the units that are asked for.
  static double subnormal_variance(double scale) {
    const double smallest = 0x1p-126 * 64 * scale;
    return smallest * smallest;
  }
};

// Projected rows: sums, the part of their variance that comes from what they are products of, and their
// squares.
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
  // The sum of squares of products is what a row's squares are on average; where signs conspire the row is
  // larger, and its projections show that.
  void enlarge_squares();
};

// A sum with its variance.
struct Estimate {
  Dense<double> value, variance;
  Estimate() = default;
  Estimate(int64_t rows, int64_t cols) : value(rows, cols), variance(rows, cols) {}
};

// The findings for one stored gradient of one expert.
struct GradientAudit {
  std::vector<Deviations> of_block;
  bool non_zero_reference = false;
  // Rows [M or H], filled where blocks are exact.
  RowComparison relative;

  void pass(Parcel& parcel) {
    parcel(of_block), parcel(non_zero_reference);
    relative.pass(parcel);
  }
  // Adds the findings of the expert's other strips.
  void add(const GradientAudit& other) {
    for (size_t b = 0; b < of_block.size(); ++b) of_block[b].add(other.of_block[b]);
    non_zero_reference = non_zero_reference || other.non_zero_reference;
    relative.add_rows(other.relative, 0);
  }
};

// Sums over rows of the gradients of a strip's columns, in units of `unit` and of dy = y.
struct StripSums {
  double unit = 1;
  // [2 blocks of the strip, H]: dW1 and dW3, transposed; [strip, blocks of H]: dW2.
  Dense<double> dw13, dw13_var, dw2, dw2_var;
  Dense<double> db13, db13_var, db2, db2_var;  // [2 blocks of the strip, 1]; [1, blocks of H]: biases

  // Changes `unit` to 1: those of other rows can be added.
  void unify();
};

// One expert, or the shared one, and what its strips add up to. Its strips lock `mutex` to add.
template <typename F>
struct AuditExpert {
  explicit AuditExpert(const AuditAssignments& assignments) : rows(assignments) {}

  int expert = 0;         // or kSharedExpert
  int64_t num_terms = 0;  // of a weight's gradient; there are fewer rows where other processes have some
  int64_t width = 0;      // M or S
  const AuditAssignments rows;
  Projection by_width;
  ProjectedRows<F> out, dx;        // of each row
  std::vector<double> dp, dp_var;  // [rows]; the variance but for the rounding of the expert's output
  GradientAudit d1, d2, d3;
  GradientAudit b1, b2, b3;  // of the biases, where there are
  bool products_hold = true;
  std::mutex mutex;
};

template <typename F>
class StripAuditor {
 public:
  explicit StripAuditor(const AuditContext& context) : context_(context), loops_(audit_loops<F>()) {}

  // Adds columns [begin, end) of the expert, a strip, up over its rows.
  void add_up(AuditExpert<F>& expert, Range columns);
  // Compares the stored gradients of the strip that was added up last, or of this one.
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
  // The factor b of a product c = a b, for the proof that it holds.
  struct HeldFactor {
    std::vector<double> projected;  // b r
    double norm = 0;                // b's, squared
  };
  void prepare_holding(DenseForm form, const Dense<F>& b, HeldFactor& held);
  void multiply_held(DenseForm form, const Dense<F>& a, const Dense<F>& b, const HeldFactor& held,
                     Dense<F>& c);
  bool holds(const Dense<F>& a, const Dense<F>& c, const HeldFactor& held);
  void add_outputs(Range chunk);
  void add_input_gradients(Range chunk);
  void add_weight_gradients();
  void project_gradient(const Dense<F>& gradient, const Dense<F>& variance, int64_t first_block);
  void take_strip(AuditExpert<F>& expert, Range columns);
  void compare_gradients(const StripSums& sums);
  // The strip's part of a stored gradient; `first_block` is the place of its first block of columns.
  struct StoredPart {
    const LogicalWeights& matrix;
    Range rows, columns;
    int64_t first_block;
  };
  struct Number {
    double value, variance;
  };
  template <typename Reference>
  void compare_gradient(const StoredPart& stored, const Projection& p, const Reference& reference,
                        GradientAudit& audit);

  const AuditContext& context_;
  const AuditLoops<F>& loops_;
  AuditExpert<F>* expert_ = nullptr;
  Range columns_{};
  Projection by_strip_;  // the expert's by_width, of these columns
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
