// ragged_dot is the grouped GEMM as one call of CBLAS sgemm for each group. It is the plain way, beside which
// this library's own kernels are measured. It widens bf16 operands into scratch, and rounds results from
// there. It is no fast path: make_gmm() is (kernels/grouped_gemm.h has both, with an example).
#include <algorithm>
#include <vector>

#include "moehill/kernels/blas.h"
#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/kernels/rows.h"

namespace moehill {
namespace {

// A larger group is multiplied in several calls, which bounds the scratch.
constexpr int64_t kMaxCallRows = 2048;

// Scratch is one thread's work space: rows, a matrix (or rows), and results.
struct Scratch {
  float* a;
  float* w;
  float* c;
};

// These return the floats of `rows` rows of an operand, and of a part that holds either rows or a matrix.
int64_t rows_floats(const GemmLimits& limits) {
  return std::min(kMaxCallRows, limits.max_rows) * round_up(limits.max_depth, kPanelWidth);
}
int64_t either_floats(const GemmLimits& limits) {
  return std::max(rows_floats(limits), round_up(limits.max_matrix, kPanelWidth));
}

class RaggedDot final : public GroupedGemm {
 public:
  explicit RaggedDot(const GemmLimits& limits)
      : limits_(limits), memory_(ragged_dot_workspace_bytes(limits)), queue_(limits, kMaxCallRows) {
    float* at = static_cast<float*>(memory_.data());
    for (int i = 0; i < limits.num_threads; ++i) {
      Scratch& s = scratch_.emplace_back();
      s.a = at;
      s.w = s.a + rows_floats(limits);
      s.c = s.w + either_floats(limits);
      at = s.c + either_floats(limits);
    }
  }

  WeightLayout layout() const override { return WeightLayout::row_major; }
  bool gathers_and_fuses() const override { return false; }

  void forward(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const WeightView& w,
               const ForwardOutput& out, Product) override {
    check(a, w);
    MOEHILL_CHECK(!out.activation, "ragged_dot has no fused activation");
    run_units(team, groups, w.n, kMaxCallRows, false, [&](const GemmUnit& unit, Range columns, Scratch& s) {
      const Range rows{unit.row_begin, unit.row_end};
      const float* pa = widen_rows(a.matrix.slice_rows(rows.begin, rows.end), {0, w.k}, a.scale, s.a);
      const float* pw = widen_rows(group_matrix(w, unit.group), columns, 1, s.w);
      sgemm({rows.size(), columns.size(), w.k, {pa}, {pw}, s.c});
      if (!out.is_plain()) add_vectors(out, unit, columns, s.c);
      narrow_rows(s.c, out.c.slice_rows(rows.begin, rows.end), columns, false);
    });
  }

  void input_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& dc, const WeightView& w,
                  const InputGradOutput& out, Product) override {
    check(dc, w);
    run_units(team, groups, w.k, kMaxCallRows, false, [&](const GemmUnit& unit, Range columns, Scratch& s) {
      const Range rows{unit.row_begin, unit.row_end};
      const float* pc = widen_rows(dc.matrix.slice_rows(rows.begin, rows.end), {0, w.n}, dc.scale, s.a);
      const float* pw =
          widen_rows(group_matrix(w, unit.group).slice_rows(columns.begin, columns.end), {0, w.n}, 1, s.w);
      sgemm({rows.size(), columns.size(), w.n, {pc}, {pw, CblasTrans}, s.c});
      narrow_rows(s.c, out.da.slice_rows(rows.begin, rows.end), columns, out.accumulate);
    });
  }

  void weight_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const RowSource& dc,
                   const WeightView& dw) override {
    check(a, dw);
    check(dc, dw);
    run_units(team, groups, dw.n, 0, true, [&](const GemmUnit& unit, Range columns, Scratch& s) {
      std::fill(s.c, s.c + dw.k * columns.size(), 0.0f);
      // Sums over blocks of rows, since a group may have more rows than the scratch.
      for (int64_t begin = unit.row_begin; begin < unit.row_end; begin += kMaxCallRows) {
        const Range rows{begin, std::min(begin + kMaxCallRows, unit.row_end)};
        const float* pa = widen_rows(a.matrix.slice_rows(rows.begin, rows.end), {0, dw.k}, a.scale, s.a);
        const float* pc = widen_rows(dc.matrix.slice_rows(rows.begin, rows.end), columns, dc.scale, s.w);
        sgemm({dw.k, columns.size(), rows.size(), {pa, CblasTrans}, {pc}, s.c, true});
      }
      narrow_rows(s.c, group_matrix(dw, unit.group), columns, false);
    });
  }

  void visit_work_space(const MemoryVisitor& visit) override {
    if (has_multiplied_) visit(memory_.data(), memory_.bytes());
  }

 private:
  void check(const RowSource& rows, const WeightView& w) const {
    MOEHILL_CHECK(rows.index == nullptr, "ragged_dot takes packed rows");
    MOEHILL_CHECK(w.layout == WeightLayout::row_major && std::max(w.k, w.n) <= limits_.max_depth,
                  "weights [{}, {}] exceed the limits or are in panels", w.k, w.n);
  }

  // Makes one unit for each group, or for each max_rows rows of a group (0: all rows). If there are fewer
  // than two groups for each thread, the threads share a group by columns.
  template <typename Body>
  void run_units(ThreadTeam& team, const GroupRows& groups, int64_t columns, int64_t max_rows,
                 bool keep_empty, const Body& body) {
    has_multiplied_ = true;
    const int64_t panels = (columns + kPanelWidth - 1) / kPanelWidth;
    const int64_t max_panels =
        groups.size() >= 2 * team.size() ? panels : (panels + team.size() - 1) / team.size();
    queue_.fill(
        groups,
        {.num_panels = panels, .max_rows = max_rows, .max_panels = max_panels, .keep_empty = keep_empty}, 1);
    team.run([&](int i) {
      blas_on_this_thread();
      while (const GemmUnit* unit = queue_.take()) {
        const Range range{unit->panel_begin * kPanelWidth, std::min(unit->panel_end * kPanelWidth, columns)};
        body(*unit, range, scratch_[static_cast<size_t>(i)]);
      }
    });
  }

  // Returns the element of a group's bias that belongs to a column of the products. If there is an up_bias,
  // the columns are columns of a gate-up stack.
  static float vector_at(const ForwardOutput& out, int64_t group, int64_t column) {
    if (out.bias.data == nullptr) return 0;
    if (out.up_bias.data == nullptr) return vector_of(out.bias, group)[column];
    const int64_t m = column / kPanelWidth * kGateUpWidth + column % kGateUpWidth;
    const bool is_gate = column % kPanelWidth < kGateUpWidth;
    return vector_of(is_gate ? out.bias : out.up_bias, group)[m];
  }

  // Multiplies the products of a unit by the factors of their rows and adds the bias of the group.
  static void add_vectors(const ForwardOutput& out, const GemmUnit& unit, Range columns, float* c) {
    for (int64_t r = unit.row_begin; r < unit.row_end; ++r, c += columns.size()) {
      const float factor = out.product_scale == nullptr ? 1.0f : out.product_scale[r];
      const float of_vector = out.row_scale == nullptr ? 1.0f : out.row_scale[r];
      for (int64_t i = 0; i < columns.size(); ++i)
        c[i] = factor * c[i] + of_vector * vector_at(out, unit.group, columns.begin + i);
    }
  }

  static MatView group_matrix(const WeightView& w, int64_t group) {
    return {static_cast<char*>(w.data) + group * w.k * w.n * static_cast<int64_t>(dtype_bytes(w.dtype)),
            w.dtype, w.k, w.n, w.n};
  }

  struct Factor {
    const float* values;
    CBLAS_TRANSPOSE op = CblasNoTrans;
  };
  // MatrixProduct is C [m, n] = op(A) [m, k] op(B) [k, n], or C += op(A) op(B). All are row-major without
  // gaps between rows.
  struct MatrixProduct {
    int64_t m, n, k;
    Factor a, b;
    float* c;
    bool accumulate = false;
  };
  void sgemm(const MatrixProduct& p) const {
    const int m = static_cast<int>(p.m), n = static_cast<int>(p.n), k = static_cast<int>(p.k);
    const int lda = p.a.op == CblasNoTrans ? k : m, ldb = p.b.op == CblasNoTrans ? n : k;
    blas_.sgemm(CblasRowMajor, p.a.op, p.b.op, m, n, k, 1, p.a.values, lda, p.b.values, ldb,
                p.accumulate ? 1 : 0, p.c, n);
  }

  // OpenBLAS is loaded here, so that a missing library is found before there is work.
  const Blas& blas_ = blas_on_this_thread();
  GemmLimits limits_;
  Buffer memory_;
  UnitQueue queue_;
  bool has_multiplied_ = false;
  std::vector<Scratch> scratch_;
};

}  // namespace

size_t ragged_dot_workspace_bytes(const GemmLimits& limits) {
  return static_cast<size_t>(rows_floats(limits) + 2 * either_floats(limits)) * sizeof(float) *
         static_cast<size_t>(limits.num_threads);
}

std::unique_ptr<GroupedGemm> make_ragged_dot(const GemmLimits& limits) {
  return std::make_unique<RaggedDot>(limits);
}

}  // namespace moehill
