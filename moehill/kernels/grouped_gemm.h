// This header has the grouped GEMM in the three directions that training needs. It multiplies each group of
// rows (the tokens of one expert) by a matrix of its own. The rows of all groups stand one after the other:
// group g has rows [offset[g], offset[g + 1]) and matrix g of a weight stack. Empty groups are legal; they
// cost nothing but the zeros of their weight gradients.
//
//   forward      C [rows, N]  = A [rows, K] W_g [K, N]
//   input_grad   dA [rows, K] = dC [rows, N] W_g^T
//   weight_grad  dW_g [K, N]  = A_g^T [K, rows_g] dC_g [rows_g, N]     (zero for an empty group)
//
// Operands are f32 or bf16. Products and sums are f32, with one rounding to nearest even at the end. Results
// do not depend on the number of threads. This header knows nothing of tokens, gates and devices; moe/mlp.h
// puts the products of an expert together.
//
//   const auto gemm = make_gmm({.max_groups = E, .max_rows = rows, .max_depth = std::max(K, N),
//                               .max_matrix = K * N, .num_threads = team.size()});
//   gemm->forward(team, offsets, {x}, w1.view(), {.c = c});   // offsets: E + 1 values
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "moehill/base/partition.h"
#include "moehill/kernels/activation.h"
#include "moehill/kernels/block_sizes.h"
#include "moehill/kernels/dot_tile.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/memory_visitor.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// RowSource has the rows of an operand. Row i is `scale` times row index[i] of the matrix, or row i of the
// matrix if there is no index. An index of -1 stands for a row of zeros. It owns nothing.
struct RowSource {
  MatView matrix;
  const int32_t* index = nullptr;
  float scale = 1;
};

// ForwardOutput says where forward() stores its result, and what it does to the result before.
struct ForwardOutput {
  // Without an activation: the products, c [rows, N].
  MatView c{};
  // With an activation f: h [rows, M] = f(gate, up) * row_scale. W is then a gate-up stack for M results, or
  // [K, M] if f has no gate. If c has data, it receives the products [rows, N] too, because the backward pass
  // needs them.
  std::optional<Activation> activation{};
  MatView h{};
  const float* row_scale = nullptr;  // [rows], null: 1
  // The products are first multiplied by `product_scale`; then the group's bias is added. Biases are vectors
  // [groups][1, N]; a gated activation has one for the gates (bias) and one for the up values (up_bias).
  // Without an activation, the bias is multiplied by row_scale.
  const float* product_scale = nullptr;  // [rows], null: 1
  WeightView bias{}, up_bias{};          // no data: no bias
  bool is_plain() const { return product_scale == nullptr && bias.data == nullptr; }
};

// InputGradOutput says where input_grad() stores its result.
struct InputGradOutput {
  MatView da;
  bool accumulate = false;  // dA += instead of =
};

// GemmCounts is the work of all forward products and input gradients so far, over all threads. It depends on
// the block sizes.
struct GemmCounts {
  int64_t units = 0;          // taken from the queue
  int64_t packed_values = 0;  // values of rows, counted each time they are packed
  int64_t blocks = 0;         // blocks of B, counted each time strips of rows meet one
  bool operator==(const GemmCounts&) const = default;
};

// GroupRows says which rows each group has. It refers to the caller's offsets and copies nothing.
class GroupRows {
 public:
  // Group g has rows [offsets[g], offsets[g + 1]).
  template <std::convertible_to<std::span<const int64_t>> Offsets>
  GroupRows(const Offsets& offsets) : begin_(offsets), end_(begin_.subspan(1)) {
    begin_ = begin_.first(end_.size());
  }
  // Group g has rows [begin[g], end[g]). Products leave rows between the groups as they are.
  GroupRows(std::span<const int64_t> begin, std::span<const int64_t> end) : begin_(begin), end_(end) {}

  int64_t size() const { return static_cast<int64_t>(end_.size()); }
  Range operator[](int64_t g) const { return {begin_[static_cast<size_t>(g)], end_[static_cast<size_t>(g)]}; }
  int64_t num_rows() const {
    int64_t rows = 0;
    for (int64_t g = 0; g < size(); ++g) rows += (*this)[g].size();
    return rows;
  }

 private:
  std::span<const int64_t> begin_, end_;
};

// GroupedGemm is the interface of a backend. An instance keeps its work space and serves one caller at a
// time. make_gmm() and make_ragged_dot() make the two backends.
class GroupedGemm {
 public:
  virtual ~GroupedGemm() = default;
  // Returns the layout that weights must have.
  virtual WeightLayout layout() const = 0;
  // Returns true if the backend reads RowSource::index while it packs and can apply
  // ForwardOutput::activation. Otherwise the caller must pass packed rows and apply the activation itself.
  virtual bool gathers_and_fuses() const = 0;

  // `product` chooses between the block sizes of the two kinds of products. It does not change the result.
  virtual void forward(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const WeightView& w,
                       const ForwardOutput& out, Product product = Product::to_width) = 0;
  virtual void input_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& dc, const WeightView& w,
                          const InputGradOutput& out, Product product = Product::to_hidden) = 0;
  virtual void weight_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const RowSource& dc,
                           const WeightView& dw) = 0;
  virtual GemmCounts counts() const { return {}; }
  // Visits the work space that every product must write again, such as packed rows and packed weights. Before
  // the first product the function does nothing, because the threads that will use the memory place its
  // pages.
  virtual void visit_work_space(const MemoryVisitor& visit) = 0;
};

// GemmLimits is the largest problem that an instance will see, for which it allocates its work space once. A
// larger problem ends the program (MOEHILL_CHECK).
struct GemmLimits {
  int64_t max_groups = 1;
  int64_t max_rows = 1;    // of all groups together
  int64_t max_depth = 1;   // largest K or N
  int64_t max_matrix = 1;  // largest K * N
  int num_threads = 1;
  BlockSizes blocks{};  // for make_gmm() only
};

// Makes this library's own backend: weights in panels, register tiles, rows gathered while packing.
std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits);
// Makes the same backend with tiles for bf16 from the caller. Tests use it for emulated tiles.
std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits, const PairTiles& tiles);
// Makes a backend that multiplies nothing and leaves results as they are. An ablation uses it to measure the
// time of a step without products. The backend asks for the same operands as `like`.
std::unique_ptr<GroupedGemm> make_no_gemm(std::unique_ptr<GroupedGemm> like);
int gmm_tile_rows();  // rows of a register tile of f32 on this CPU
size_t gmm_workspace_bytes(const GemmLimits& limits);

// Makes the backend that calls sgemm of CBLAS once for each group. It widens bf16 into scratch.
std::unique_ptr<GroupedGemm> make_ragged_dot(const GemmLimits& limits);
size_t ragged_dot_workspace_bytes(const GemmLimits& limits);

}  // namespace moehill
