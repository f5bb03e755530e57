// This file has this library's own grouped GEMM. For each of the three directions it makes a queue of units,
// and the team works the queue off on the best SIMD target of this CPU. gmm_forward-inl.h (forward and input
// gradient), gmm_flipped-inl.h (input gradient of few rows) and gmm_grad-inl.h (weight gradient) compute one
// unit.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/gmm.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "moehill/kernels/gmm_epilogue-inl.h"
#include "moehill/kernels/gmm_flipped-inl.h"
#include "moehill/kernels/gmm_forward-inl.h"
#include "moehill/kernels/gmm_grad-inl.h"
#include "moehill/kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Calls body(blocks) with the view of B that the kernel multiplies. few: the unit has few strips of rows, so
// it reads a panel once, as one stream, and widening it into scratch first would not pay.
template <class Kernel, class Body>
HWY_INLINE void with_forward_blocks(const PanelBlocks<typename Kernel::T>& panels, bool few,
                                    const Body& body) {
  using T = typename Kernel::T;
  if constexpr (Kernel::kDepth == 2) {
    body(PairBlocks{panels});
  } else if (few) {
    body(StreamedBlocks<T>{panels});
  } else if constexpr (sizeof(T) == 2) {
    body(WidenedBlocks{panels});
  } else {
    body(panels);
  }
}

// This is the loop of one thread: it takes units and multiplies them until the queue is empty.
template <class Kernel>
void forward_by(const Kernel& kernel, UnitQueue& queue, const ColumnsProduct& product, GmmScratch& scratch) {
  using T = typename Kernel::T;
  const UnitDepth stream = unit_depth<Kernel>(product, product.sizes.depth),
                  calls = unit_depth<Kernel>(product, Kernel::call_depth(product.sizes.call_depth));
  while (const GemmUnit* unit = queue.take()) {
    const bool few = unit->row_end - unit->row_begin <= Kernel::kStreamStrips * Kernel::kRows;
    const PanelBlocks<T> panels{group_panels<T>(product.weights, unit->group), product.weights.panel_rows()};
    with_forward_blocks<Kernel>(panels, few, [&](const auto& blocks) {
      columns_unit(kernel, *unit, product, few ? stream : calls, blocks, scratch);
    });
  }
}

// Does the same for the input gradient dC W^T. Tile calls of single values are half as deep as the block
// sizes say, because transposing a block of B brings the source of the block into L1 too. Units of few rows
// are flipped, so that their weights need not be transposed.
template <class Kernel>
void input_grad_by(const Kernel& kernel, UnitQueue& queue, const ColumnsProduct& product,
                   GmmScratch& scratch) {
  using T = typename Kernel::T;
  const int64_t call = product.sizes.call_depth * Kernel::kDepth / 2;
  const UnitDepth depth = unit_depth<Kernel>(product, round_up(call, kPanelWidth * Kernel::kDepth));
  while (const GemmUnit* unit = queue.take()) {
    if constexpr (Kernel::kFlippedRows > 0) {
      if (unit->row_end - unit->row_begin <= Kernel::kFlippedRows) {
        flipped_unit(kernel, *unit, product, scratch);
        continue;
      }
    }
    const TransposedBlocks<Kernel> blocks{group_panels<T>(product.weights, unit->group),
                                          product.weights.panel_rows()};
    columns_unit(kernel, *unit, product, depth, blocks, scratch);
  }
}

int tile_rows_of_target() { return kTileRows; }

int64_t grad_rows_of_narrow_units() { return kTilePanels == 1 ? kGradRows : kGradRowsOfNarrowUnits; }

// Calls body(kernel) with the kernel that multiplies operands of this type on this CPU.
template <class Body>
void with_kernel(DType dtype, const PairTiles& tiles, const Body& body) {
  if (dtype == DType::f32) return body(VectorKernel<float>{});
  if (tiles.amx != nullptr) {
    const AmxScope registers(*tiles.amx);
    return body(AmxKernel{*tiles.amx});
  }
  if (tiles.dot != nullptr) return body(DotKernel{*tiles.dot});
  body(VectorKernel<bf16>{});
}

void forward_units(const PairTiles& tiles, UnitQueue& queue, const ColumnsProduct& product,
                   GmmScratch& scratch) {
  with_kernel(product.weights.dtype, tiles,
              [&](const auto& kernel) { forward_by(kernel, queue, product, scratch); });
}

void input_grad_units(const PairTiles& tiles, UnitQueue& queue, const ColumnsProduct& product,
                      GmmScratch& scratch) {
  with_kernel(product.weights.dtype, tiles,
              [&](const auto& kernel) { input_grad_by(kernel, queue, product, scratch); });
}

// FlushStream makes gradients that were stored past the caches visible before the team is done.
void weight_grad_units(const PairTiles& tiles, UnitQueue& queue, const RowsProduct& product,
                       GmmScratch& scratch) {
  with_kernel(product.dw.dtype, tiles, [&](const auto& kernel) {
    while (const GemmUnit* unit = queue.take()) grad_unit(kernel, *unit, product, scratch);
    hwy::FlushStream();
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <vector>

namespace moehill {
namespace {

HWY_EXPORT(tile_rows_of_target);
HWY_EXPORT(grad_rows_of_narrow_units);
HWY_EXPORT(forward_epilogue);
HWY_EXPORT(input_grad_epilogue);
HWY_EXPORT(forward_units);
HWY_EXPORT(input_grad_units);
HWY_EXPORT(weight_grad_units);

constexpr int64_t kMaxTileRows = 32, kMaxTileSteps = kAmxSteps;  // the most of any target
constexpr int64_t kLineFloats = 16;

// ScratchSizes has the floats of each part of one thread's work space, for the largest problem: packed rows
// a, packed panels b, sums c, and a row of zeros.
struct ScratchSizes {
  int64_t a, b, c, zeros;
  int64_t total() const { return a + b + c + zeros; }
};

// Each part is as large as the direction that needs most of it: columns_* is for forward and input gradient,
// grad_* for the weight gradient, flipped_* and squares for the flipped input gradient. `+ kMaxTileRows` and
// `+ kLineFloats` are room for the stores of whole vectors past the end of a strip.
ScratchSizes scratch_sizes(const GemmLimits& limits) {
  const BlockSizes& blocks = limits.blocks;
  const int64_t rows = std::min(blocks.bt, limits.max_rows) + kMaxTileRows;
  const int64_t depth = std::min(std::max(blocks.bd1, blocks.bf), limits.max_depth);
  const int64_t chunks = depth / (std::min(blocks.bd1c, blocks.bfc) / 4) + 1;
  const int64_t call_depth = std::max(blocks.bd1c, blocks.bfc);
  const int64_t grad_rows = round_up(std::min(kGradRows, limits.max_rows), kMaxTileSteps);
  const int64_t grad_columns = std::min(kGradColumns, limits.max_depth);
  const int64_t panels = limits.max_depth / kPanelWidth + 1;
  // Partial sums are kept only if a product is deeper than the depth that is packed together.
  const bool deep = limits.max_depth > std::min(blocks.bd1, blocks.bf);
  const bool deep_grad = limits.max_rows > kGradRows;

  const int64_t columns_a = rows * (depth + kPanelWidth) + chunks * kLineFloats;
  const int64_t grad_a = (grad_columns + kMaxTileRows) * (grad_rows + kLineFloats);
  const int64_t grad_b = grad_rows * kPanelWidth * panels;
  const int64_t pass_panels = std::min(panels, blocks.bd2c / kPanelWidth);
  const int64_t columns_c =
      rows * kPanelWidth * std::max(pass_panels, deep ? std::min(panels, kMaxPanelsDeep) : 0);
  const int64_t grad_c =
      deep_grad ? (grad_columns + kMaxTileRows) * kPanelWidth * std::min(panels, kMaxGradPanelsDeep) : 0;
  const int64_t flipped_a = (limits.max_depth + 1) * kFlippedWidth;
  const int64_t squares = kFlippedSquares * kPanelWidth * kPanelWidth;
  ScratchSizes sizes{
      std::max({columns_a, grad_a, flipped_a}), std::max({2 * call_depth * kPanelWidth, grad_b, squares}),
      std::max({columns_c, grad_c, kMaxTileRows * 2 * kPanelWidth, squares}), limits.max_depth + kPanelWidth};
  for (int64_t* n : {&sizes.a, &sizes.b, &sizes.c, &sizes.zeros})
    *n = round_up(*n + kLineFloats, kLineFloats);
  return sizes;
}

// Gmm has the three directions on queues of units. It allocates its work space once; a call allocates
// nothing.
class Gmm final : public GroupedGemm {
 public:
  Gmm(const GemmLimits& limits, const PairTiles& tiles)
      : limits_(limits),
        tiles_(tiles),
        memory_(gmm_workspace_bytes(limits)),
        queue_(limits, limits.blocks.bt) {
    const ScratchSizes sizes = scratch_sizes(limits);
    float* at = static_cast<float*>(memory_.data());
    for (int i = 0; i < limits.num_threads; ++i, at += sizes.total()) {
      scratch_.push_back({at, at + sizes.a, at + sizes.a + sizes.b, at + sizes.a + sizes.b + sizes.c});
    }
  }

  WeightLayout layout() const override { return WeightLayout::panels; }
  bool gathers_and_fuses() const override { return true; }

  void forward(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const WeightView& w,
               const ForwardOutput& out, Product product) override {
    const ColumnsProduct operands{a, w, w.k, blocks_of(limits_.blocks, product),
                                  HWY_DYNAMIC_DISPATCH(forward_epilogue)(out, a.scale)};
    fill_queue(team, groups, operands, w.num_panels());
    team.run([&](int i) {
      HWY_DYNAMIC_DISPATCH(forward_units)(tiles_, queue_, operands, scratch_[static_cast<size_t>(i)]);
    });
  }

  void input_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& dc, const WeightView& w,
                  const InputGradOutput& out, Product product) override {
    const ColumnsProduct operands{dc, w, w.n, blocks_of(limits_.blocks, product),
                                  HWY_DYNAMIC_DISPATCH(input_grad_epilogue)(out, dc.scale)};
    fill_queue(team, groups, operands, (w.k + kPanelWidth - 1) / kPanelWidth);
    team.run([&](int i) {
      HWY_DYNAMIC_DISPATCH(input_grad_units)(tiles_, queue_, operands, scratch_[static_cast<size_t>(i)]);
    });
  }

  void weight_grad(ThreadTeam& team, const GroupRows& groups, const RowSource& a, const RowSource& dc,
                   const WeightView& dw) override {
    check(team, groups, dw);
    has_multiplied_ = true;
    scratch_.front().polling = &team;
    queue_.fill(groups,
                {.num_panels = dw.num_panels(),
                 .max_rows = 0,
                 .max_panels = dw.num_panels(),
                 .tall_rows = HWY_DYNAMIC_DISPATCH(grad_rows_of_narrow_units)(),
                 .max_panels_tall = kMaxGradPanelsDeep,
                 .min_panels = kMinGradPanels,
                 .keep_empty = true},
                team.size());
    const RowsProduct operands{a, dc, dw};
    team.run([&](int i) {
      HWY_DYNAMIC_DISPATCH(weight_grad_units)(tiles_, queue_, operands, scratch_[static_cast<size_t>(i)]);
    });
  }

  GemmCounts counts() const override {
    GemmCounts counts{num_units_, 0, 0};
    for (const GmmScratch& scratch : scratch_) {
      counts.packed_values += scratch.num_packed;
      counts.blocks += scratch.num_blocks;
    }
    return counts;
  }

  // Visits all of a thread's scratch but the row of zeros at its end, which products only read.
  void visit_work_space(const MemoryVisitor& visit) override {
    if (!has_multiplied_) return;
    for (const GmmScratch& scratch : scratch_)
      visit(scratch.a, static_cast<size_t>(scratch.zeros - scratch.a) * sizeof(float));
  }

 private:
  void fill_queue(const ThreadTeam& team, const GroupRows& groups, const ColumnsProduct& operands,
                  int64_t panels) {
    const ProductBlocks& sizes = operands.sizes;
    check(team, groups, operands.weights);
    has_multiplied_ = true;
    scratch_.front().polling = &team;
    // If a unit keeps partial sums, the room for them limits its panels.
    const int64_t max_panels =
        operands.depth > sizes.depth ? std::min(kMaxPanelsDeep, sizes.unit_panels) : sizes.unit_panels;
    queue_.fill(groups, {.num_panels = panels, .max_rows = sizes.rows, .max_panels = max_panels},
                team.size());
    num_units_ += queue_.num_units();
  }

  void check(const ThreadTeam& team, const GroupRows& groups, const WeightView& w) const {
    const int64_t rows = groups.num_rows();
    MOEHILL_CHECK(team.size() <= limits_.num_threads && groups.size() <= limits_.max_groups &&
                      groups.size() <= w.num_groups && rows <= limits_.max_rows &&
                      std::max(w.k, w.n) <= limits_.max_depth,
                  "{} threads, {} groups, {} rows, [{}, {}] exceed the limits of this grouped GEMM",
                  team.size(), groups.size(), rows, w.k, w.n);
    MOEHILL_CHECK(w.layout == WeightLayout::panels, "weights are not in panels");
  }

  GemmLimits limits_;
  PairTiles tiles_;
  Buffer memory_;
  UnitQueue queue_;
  int64_t num_units_ = 0;
  bool has_multiplied_ = false;
  std::vector<GmmScratch> scratch_;
};

}  // namespace

size_t gmm_workspace_bytes(const GemmLimits& limits) {
  return static_cast<size_t>(scratch_sizes(limits).total()) * sizeof(float) *
         static_cast<size_t>(limits.num_threads);
}

int gmm_tile_rows() { return HWY_DYNAMIC_DISPATCH(tile_rows_of_target)(); }

std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits) { return make_gmm(limits, pair_tiles()); }

std::unique_ptr<GroupedGemm> make_gmm(const GemmLimits& limits, const PairTiles& tiles) {
  return std::make_unique<Gmm>(limits, tiles);
}

}  // namespace moehill
#endif
