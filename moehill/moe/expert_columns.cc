#include "moehill/moe/expert_columns.h"

#include <array>
#include <numeric>

namespace moehill {
namespace {

// Where the elements of a logical row stand: columns repeat in blocks of `width` at a constant distance, so
// an element is at first + block * stride + offset[c], and no element needs a division.
struct RowPlaces {
  RowPlaces(const LogicalWeights& w, int64_t group, int64_t row)
      : width(w.part == LogicalWeights::Part::all ? kPanelWidth : kGateUpWidth) {
    const auto place = [&](int64_t n) { return w.stack.index(group, row, w.column(n)); };
    first = place(0);
    stride = place(width) - first;
    for (int64_t c = 0; c < width; ++c) offset[static_cast<size_t>(c)] = place(c) - first;
  }

  int64_t width, first, stride;
  std::array<int64_t, kPanelWidth> offset;
};

// Whole blocks with elements kStep apart, which a compiler can keep in vectors, then the rest of the row.
template <int64_t kStep, typename T>
void read_blocks(const T* data, const RowPlaces& places, int64_t n, float* out) {
  const T* first = data + places.first;
  int64_t begin = 0;
  for (; begin + kGateUpWidth <= n; begin += kGateUpWidth) {
    const int64_t in_block = begin % places.width;
    const T* block = first + begin / places.width * places.stride + in_block * kStep;
    for (int64_t i = 0; i < kGateUpWidth; ++i) out[begin + i] = to_f32(block[i * kStep]);
  }
  for (; begin < n; ++begin)
    out[begin] = to_f32(first[begin / places.width * places.stride + begin % places.width * kStep]);
}

template <typename T>
void read_places(const T* data, const RowPlaces& places, int64_t n, float* out) {
  const int64_t step = places.offset[1] - places.offset[0];
  for (int64_t c = 0; c < places.width; ++c) {
    MOEHILL_CHECK(places.offset[static_cast<size_t>(c)] == c * step && (step == 1 || step == 2),
                  "a layout whose rows are {} elements apart", step);
  }
  step == 1 ? read_blocks<1>(data, places, n, out) : read_blocks<2>(data, places, n, out);
}

// Rows of a logical matrix, each cut to `columns`.
void read_columns(const LogicalWeights& weights, int64_t group, std::span<const int64_t> columns,
                  ThreadTeam& team, Dense<float>& out) {
  out.reshape(weights.rows(), static_cast<int64_t>(columns.size()));
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    std::vector<float> whole(static_cast<size_t>(weights.num_columns));
    for (int64_t r = begin; r < end; ++r) {
      read_row(weights, group, r, whole.data());
      for (size_t c = 0; c < columns.size(); ++c) out.row(r)[c] = whole[static_cast<size_t>(columns[c])];
    }
  });
}

void read_rows(const LogicalWeights& weights, int64_t group, std::span<const int64_t> rows, ThreadTeam& team,
               Dense<float>& out) {
  out.reshape(static_cast<int64_t>(rows.size()), weights.num_columns);
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) read_row(weights, group, rows[static_cast<size_t>(r)], out.row(r));
  });
}

}  // namespace

void read_row(const LogicalWeights& weights, int64_t group, int64_t row, float* out) {
  const RowPlaces places(weights, group, row);
  const WeightView& stack = weights.stack;
  if (stack.dtype == DType::f32) {
    read_places(static_cast<const float*>(stack.data), places, weights.num_columns, out);
  } else {
    read_places(static_cast<const bf16*>(stack.data), places, weights.num_columns, out);
  }
}

void read_row(const MatView& matrix, int64_t row, float* out) {
  if (matrix.dtype == DType::f32) {
    std::copy_n(matrix.row<float>(row), matrix.cols, out);
  } else {
    const bf16* source = matrix.row<bf16>(row);
    for (int64_t c = 0; c < matrix.cols; ++c) out[c] = to_f32(source[c]);
  }
}

void read_expert(const BlockWeights& weights, int expert, std::span<const int64_t> columns, ThreadTeam& team,
                 ExpertColumns& out) {
  const bool shared = expert == kSharedExpert;
  const int64_t group = shared ? 0 : expert;
  read_columns(shared ? weights.s1 : weights.w1, group, columns, team, out.w1);
  read_columns(shared ? weights.s3 : weights.w3, group, columns, team, out.w3);
  read_rows(shared ? weights.s2 : weights.w2, group, columns, team, out.w2);
}

std::vector<int64_t> indices_up_to(int64_t n) {
  std::vector<int64_t> indices(static_cast<size_t>(n));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

}  // namespace moehill
