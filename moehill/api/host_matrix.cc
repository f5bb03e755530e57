// Implementation of api/host_matrix.h. It walks both sides in tiles, because one of them is read across its
// rows and would miss the cache at every element.
#include "moehill/api/host_matrix.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace moehill {
namespace {

constexpr int64_t kColumns = 8;    // columns of a unit of work, all in one panel
constexpr int64_t kTileRows = 64;  // rows of a tile, which fits into L1 in either order

// Column is one column of a stack in memory. Row r lies at first + row_step * r. In pairs (bf16 panels), rows
// 2 i and 2 i + 1 are neighbours.
struct Column {
  int64_t first, row_step;
  bool in_pairs;
  int64_t at(int64_t row) const {
    return in_pairs ? first + (row & ~int64_t{1}) * row_step + (row & 1) : first + row * row_step;
  }
};

Column column_of(const WeightView& stack, int64_t group, int64_t column) {
  const bool panels = stack.layout == WeightLayout::panels;
  return {stack.index(group, 0, column), panels ? kPanelWidth : stack.n,
          panels && stack.dtype == DType::bf16};
}

// Calls move(place in the host's memory, place in the stack's, number of elements) for all elements, tile by
// tile on the team. It moves one element, or two rows of a column that are neighbours on both sides.
template <typename Move>
void for_each_element(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack,
                      const Move& move) {
  const int64_t units = (stack.num_columns + kColumns - 1) / kColumns;
  team.parallel_for(stack.stack.num_groups * units, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t group = i / units, first = i % units * kColumns;
      const int64_t last = std::min(stack.num_columns, first + kColumns);
      for (int64_t row = 0; row < stack.rows(); row += kTileRows) {
        for (int64_t n = first; n < last; ++n) {
          const Column column = column_of(stack.stack, group, stack.column(n));
          const int64_t from = group * host.group_step + n * host.column_step;
          const int64_t end_row = std::min(stack.rows(), row + kTileRows);
          int64_t r = row;
          for (; column.in_pairs && host.row_step == 1 && r + 1 < end_row; r += 2)
            move(from + r, column.at(r), std::integral_constant<int, 2>());
          for (; r < end_row; ++r)
            move(from + r * host.row_step, column.at(r), std::integral_constant<int, 1>());
        }
      }
    }
  });
}

template <typename Host, typename Stack>
void load(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack) {
  const Host* const from = static_cast<const Host*>(host.data);
  Stack* const to = static_cast<Stack*>(stack.stack.data);
  for_each_element(team, host, stack, [=](int64_t i, int64_t j, auto num) {
    if constexpr (std::is_same_v<Host, Stack>) {
      std::memcpy(to + j, from + i, num * sizeof(Stack));
    } else {
      for (int e = 0; e < num; ++e) to[j + e] = from_f32<Stack>(to_f32(from[i + e]));
    }
  });
}

template <typename Host, typename Stack>
void store(ThreadTeam& team, const LogicalWeights& stack, const HostMatrices& host, bool accumulate) {
  const Stack* const from = static_cast<const Stack*>(stack.stack.data);
  Host* const to = static_cast<Host*>(host.data);
  if (accumulate) {
    return for_each_element(team, host, stack, [=](int64_t i, int64_t j, auto num) {
      for (int e = 0; e < num; ++e) to[i + e] = from_f32<Host>(to_f32(from[j + e]) + to_f32(to[i + e]));
    });
  }
  for_each_element(team, host, stack, [=](int64_t i, int64_t j, auto num) {
    if constexpr (std::is_same_v<Host, Stack>) {
      std::memcpy(to + i, from + j, num * sizeof(Host));
    } else {
      for (int e = 0; e < num; ++e) to[i + e] = from_f32<Host>(to_f32(from[j + e]));
    }
  });
}

}  // namespace

HostMatrices host_matrices(void* data, DType dtype, int64_t k, int64_t n, bool is_transposed) {
  return {data, dtype, k * n, is_transposed ? 1 : n, is_transposed ? k : 1};
}

void load_stack(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack) {
  const bool wide = host.dtype == DType::f32;
  if (stack.stack.dtype == DType::f32)
    return wide ? load<float, float>(team, host, stack) : load<bf16, float>(team, host, stack);
  wide ? load<float, bf16>(team, host, stack) : load<bf16, bf16>(team, host, stack);
}

void store_stack(ThreadTeam& team, const LogicalWeights& stack, const HostMatrices& host, bool accumulate) {
  const bool wide = host.dtype == DType::f32;
  if (stack.stack.dtype == DType::f32)
    return wide ? store<float, float>(team, stack, host, accumulate)
                : store<bf16, float>(team, stack, host, accumulate);
  wide ? store<float, bf16>(team, stack, host, accumulate) : store<bf16, bf16>(team, stack, host, accumulate);
}

}  // namespace moehill
