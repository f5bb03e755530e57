// Grouped GEMM in the three directions that training needs. Rows of all groups stand one after the other;
// group g owns rows [offset[g], offset[g + 1]) and the g-th matrix of a weight stack. Empty groups are legal
// and cost nothing.
//
//   forward      C [rows, N]  = A [rows, K] W_g [K, N]
//   input_grad   dA [rows, K] = dC [rows, N] W_g^T
//   weight_grad  dW_g [K, N]  = A_g^T [K, rows_g] dC_g [rows_g, N]     (zero for an empty group)
//
// Operands f32 or bf16, products and sums f32, one rounding to nearest even at the end. Results do not depend
// on the number of threads.
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
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// Rows of an operand: row i is `scale` times matrix row index[i], or row i itself without an index. index -1:
// a zero row.
struct RowSource {
  MatView matrix;
  const int32_t* index = nullptr;
  float scale = 1;
};

// Where forward puts its result.
struct ForwardOutput {
  // Plain: c [rows, N].
  MatView c{};
  // With an activation f (W is a gate-up stack of M results, or [K, M] where f is not gated): h [rows, M] =
  // f(gate, up) * row_scale; c, if it has data, receives the products [rows, N], which backward needs.
  std::optional<Activation> activation{};
  MatView h{};
  const float* row_scale = nullptr;  // [rows], null: 1
  // The products are first taken times `product_scale`, then vectors [groups][1, N] are added, those of the
  // gates and of the ups with a gated activation. Without an activation a vector is taken times row_scale.
  const float* product_scale = nullptr;  // [rows], null: 1
  WeightView bias{}, up_bias{};          // without data: nothing
  bool is_plain() const { return product_scale == nullptr && bias.data == nullptr; }
};

struct InputGradOutput {
  MatView da;
  bool accumulate = false;  // dA += instead of =
};

// Counts of the work that the block sizes have made so far: forward and input gradient, all threads.
struct GemmCounts {
  int64_t units = 0;          // taken from the queue
  int64_t packed_values = 0;  // of rows, each as often as it was packed
  int64_t blocks = 0;         // of B, each as often as strips of rows met it
  bool operator==(const GemmCounts&) const = default;
};

// Which rows each group has.
class GroupRows {
 public:
  // Group g: [offsets[g], offsets[g + 1]).
  template <std::convertible_to<std::span<const int64_t>> Offsets>
  GroupRows(const Offsets& offsets) : begin_(offsets), end_(begin_.subspan(1)) {
    begin_ = begin_.first(end_.size());
  }
  // Some of each group's rows, [begin[g], end[g]): the others are left as they are.
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

class GroupedGemm {
 public:
  virtual ~GroupedGemm() = default;
  virtual WeightLayout layout() const = 0;
  // Returns true if RowSource::index is read while packing (else the caller passes packed rows) and
  // ForwardOutput::activation is possible.
  virtual bool gathers_and_fuses() const = 0;

  // product: which block sizes hold; the result is the same.
  virtual void forward(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const WeightView& w,
                       const ForwardOutput& out, Product product = Product::to_width) = 0;
  virtual void input_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& dc, const WeightView& w,
                          const InputGradOutput& out, Product product = Product::to_hidden) = 0;
  virtual void weight_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const RowSource& dc,
                           const WeightView& dw) = 0;
  virtual GemmCounts counts() const { return {}; }
};

// The largest problem that an instance will see; its work space is allocated once, for this.
struct GemmLimits {
  int64_t max_groups = 1;
  int64_t max_rows = 1;    // of all groups together
  int64_t max_depth = 1;   // largest K or N
  int64_t max_matrix = 1;  // largest K * N
  int num_threads = 1;
  BlockSizes blocks{};  // of our own kernels
};

// Our own kernels: packed panels, register tiles, rows gathered while packing.
std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits);
// The caller gives the tiles for bf16.
std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits, const PairTiles& tiles);
// Asks for the same operands as `like` and leaves results as they are.
std::unique_ptr<GroupedGemm> make_no_gemm(std::unique_ptr<GroupedGemm> like);
int gmm_tile_rows();  // of a register tile on this CPU
size_t gmm_workspace_bytes(const GemmLimits& limits);

// One CBLAS sgemm a group (bf16 widened into scratch).
std::unique_ptr<GroupedGemm> make_ragged_dot(const GemmLimits& limits);
size_t ragged_dot_workspace_bytes(const GemmLimits& limits);

}  // namespace moehill
