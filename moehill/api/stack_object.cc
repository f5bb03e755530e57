// Implementation of api/stack_object.h. This file checks the arguments; GroupedGemm of kernels multiplies.
#include "moehill/api/stack_object.h"

#include <algorithm>
#include <limits>

#include "moehill/api/description.h"
#include "moehill/api/host_matrix.h"
#include "moehill/api/step_tokens.h"
#include "moehill/base/error.h"
#include "moehill/base/table.h"

namespace moehill {

StackObject::StackObject(std::shared_ptr<Context> context, int groups, int64_t k, int64_t n, DType dtype)
    : context_(std::move(context)) {
  require_between("groups", groups, 1, 65536, "give a size within these");
  require_between("k", k, 1, std::numeric_limits<int32_t>::max(), "give a size within these");
  require_between("n", n, 1, std::numeric_limits<int32_t>::max(), "give a size within these");
  require_countable({static_cast<double>(groups), static_cast<double>(k), static_cast<double>(n)});
  stack_ = WeightStack(WeightLayout::panels, groups, k, n, dtype);
}

// Returns matrices [first, first + count) of the stack. Throws if there are fewer.
LogicalWeights StackObject::matrices(int first, int count) const {
  const WeightView& all = stack_.view();
  if (first < 0 || count < 0 || int64_t{first} + count > all.num_groups) {
    throw invalid("matrices", fmt::format("{} from {} on", count, first),
                  fmt::format("0 to {}", all.num_groups - 1), "name some of the stack");
  }
  return {all.slice_groups(first, first + count), LogicalWeights::Part::all, all.n};
}

// Describes all matrices of a call in the caller's memory.
HostMatrices StackObject::host(void* data, int count, int32_t dtype, int32_t order) const {
  const DType type = dtype_named(dtype, "dtype of the data");
  require_memory({{"data", data, count * stack_.view().k * stack_.view().n, dtype_bytes(type)}}, {});
  return host_matrices(data, type, stack_.view().k, stack_.view().n, is_out_in(order));
}

void StackObject::load(int first, int count, const void* data, int32_t dtype, int32_t order) {
  const LogicalWeights to = matrices(first, count);
  const HostMatrices from = host(const_cast<void*>(data), count, dtype, order);
  context_->on_first([&](ThreadTeam& team) { load_stack(team, from, to); });
}

void StackObject::store(int first, int count, void* data, int32_t dtype, int32_t order) const {
  const LogicalWeights from = matrices(first, count);
  const HostMatrices to = host(data, count, dtype, order);
  context_->on_first([&](ThreadTeam& team) { store_stack(team, from, to, false); });
}

// Returns the number of rows of all groups. Throws unless offsets begin at 0 and never fall.
int64_t StackObject::require_offsets(const int64_t* offsets) const {
  const int64_t groups = stack_.view().num_groups;
  require_memory({{"offsets", offsets, groups + 1, sizeof(int64_t)}}, {});
  for (int64_t g = 0; g < groups; ++g) {
    if (offsets[0] == 0 && offsets[g] <= offsets[g + 1] &&
        offsets[g + 1] <= std::numeric_limits<int32_t>::max())
      continue;
    throw invalid("offsets", fmt::format("{} to {} for group {}", offsets[g], offsets[g + 1], g),
                  "offsets that begin at 0, never fall and stay below 2^31",
                  "give the first row of each group");
  }
  return offsets[groups];
}

// Returns the rows as the kernels read them: `num_wanted` rows, taken by an index if there is one; -1 is a
// row of zeros.
RowSource StackObject::source(const moehill_rows& rows, int64_t num_wanted, int64_t columns,
                              const char* what) const {
  require_between(what, rows.num_rows, 0, std::numeric_limits<int32_t>::max(), "give a size within these");
  if (rows.index == nullptr && rows.num_rows < num_wanted) {
    throw invalid(what, count_text(rows.num_rows, "row"), fmt::format("{}, those of all groups", num_wanted),
                  "pass an index, or more rows");
  }
  require_memory({{"index", rows.index, rows.index == nullptr ? 0 : num_wanted, sizeof(int32_t)}}, {});
  for (int64_t i = 0; i < num_wanted && rows.index != nullptr; ++i) {
    if (rows.index[i] >= -1 && rows.index[i] < rows.num_rows) continue;
    throw invalid(what, fmt::format("row {} at {}", rows.index[i], i),
                  fmt::format("-1 to {}", rows.num_rows - 1), "check the index");
  }
  return {{const_cast<void*>(rows.data), stack_.view().dtype, rows.num_rows, columns, columns}, rows.index};
}

NamedTensor StackObject::tensor(const char* what, const MatView& m) const {
  return {what, m.data, m.rows * m.cols, dtype_bytes(m.dtype)};
}

// Work space grows by doubling, so that calls with slowly growing numbers of rows do not allocate each time.
GroupedGemm& StackObject::gemm(int64_t rows) const {
  if (gemm_ != nullptr && rows <= max_rows_) return *gemm_;
  const WeightView& w = stack_.view();
  const int64_t max_rows = std::max({int64_t{1}, rows, 2 * max_rows_});
  GemmLimits limits;
  limits.max_groups = static_cast<int>(w.num_groups);
  limits.max_rows = max_rows;
  limits.max_depth = std::max(w.k, w.n);
  limits.max_matrix = w.k * w.n;
  limits.num_threads = context_->threads_per_device();
  gemm_ = make_gmm(limits);
  max_rows_ = max_rows;  // only now: if there was no memory, the last product stays with its own limit
  return *gemm_;
}

void StackObject::forward(const int64_t* offsets, const moehill_rows& a, void* c) const {
  const WeightView& w = stack_.view();
  const int64_t rows = require_offsets(offsets);
  const RowSource from = source(a, rows, w.k, "a");
  const MatView to{c, w.dtype, rows, w.n, w.n};
  require_memory({tensor("a", from.matrix)}, {tensor("c", to)});
  const GroupRows groups(std::span(offsets, static_cast<size_t>(w.num_groups) + 1));
  context_->on_first([&](ThreadTeam& team) { gemm(rows).forward(team, groups, from, w, {to}); });
}

void StackObject::input_grad(const int64_t* offsets, const moehill_rows& dc, void* da) const {
  const WeightView& w = stack_.view();
  const int64_t rows = require_offsets(offsets);
  const RowSource from = source(dc, rows, w.n, "dc");
  const MatView to{da, w.dtype, rows, w.k, w.k};
  require_memory({tensor("dc", from.matrix)}, {tensor("da", to)});
  const GroupRows groups(std::span(offsets, static_cast<size_t>(w.num_groups) + 1));
  context_->on_first([&](ThreadTeam& team) { gemm(rows).input_grad(team, groups, from, w, {to}); });
}

void StackObject::weight_grad(const int64_t* offsets, const moehill_rows& a, const moehill_rows& dc) {
  const WeightView& w = stack_.view();
  const int64_t rows = require_offsets(offsets);
  const RowSource left = source(a, rows, w.k, "a"), right = source(dc, rows, w.n, "dc");
  require_memory({tensor("a", left.matrix), tensor("dc", right.matrix)}, {});
  const GroupRows groups(std::span(offsets, static_cast<size_t>(w.num_groups) + 1));
  context_->on_first([&](ThreadTeam& team) { gemm(rows).weight_grad(team, groups, left, right, w); });
}

}  // namespace moehill
