// This file reads the weights of one expert out of the layout in which they are stored, as fast as memory
// allows: the audit and the oracle read every weight of the block once.
#include "moehill/moe/expert_columns.h"

#include <array>
#include <numeric>

#include "moehill/kernels/audit_loops.h"

namespace moehill {
namespace {

// RowPlaces says where the elements of a logical row are. The pattern of its columns repeats every `width`
// columns at a constant distance, so column c of a block is at first + block * stride + offset[c], and no
// element needs a division.
struct RowPlaces {
  RowPlaces(const LogicalWeights& w, int64_t group, int64_t row)
      : width(w.part == LogicalWeights::Part::all ? kPanelWidth : kGateUpWidth) {
    const auto place = [&](int64_t n) { return w.index(group, row, n); };
    first = place(0);
    stride = place(width) - first;
    for (int64_t c = 0; c < width; ++c) offset[static_cast<size_t>(c)] = place(c) - first;
  }

  int64_t width, first, stride;
  std::array<int64_t, kPanelWidth> offset;
};

// Reads whole blocks with elements kStep apart, which a compiler can keep in vectors, then the rest of the
// row.
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

// ColumnBlock is the place of eight columns in memory.
struct ColumnBlock {
  // All are in elements. If rows lie in pairs (step 2), row_stride is the distance between pairs.
  int64_t first, row_stride, step;
};

ColumnBlock column_block(const LogicalWeights& w, int64_t group, int64_t row, int64_t column) {
  const auto place = [&](int64_t r, int64_t c) { return w.index(group, r, c); };
  const int64_t step = place(row, column + 1) - place(row, column);  // padded columns have a place too
  return {place(row, column), place(row + (step == 2 ? 2 : 1), column) - place(row, column), step};
}

template <typename T, typename F>
void read_column_block(const T* data, const ColumnBlock& block, Range rows, int64_t count, F* out,
                       int64_t out_stride) {
  const T* from = data + block.first;
  for (int64_t r = rows.begin; r < rows.end; ++r, out += out_stride) {
    const int64_t i = r - rows.begin;
    const T* row = block.step == 2 ? from + i / 2 * block.row_stride + i % 2 : from + i * block.row_stride;
    for (int64_t c = 0; c < count; ++c) out[c] = static_cast<F>(to_f32(row[c * block.step]));
  }
}

// Reads two whole blocks that lie side by side in panels of pairs. It returns false and reads nothing if the
// stack has another layout or type.
template <typename F>
bool read_two_blocks(const LogicalWeights& weights, int64_t group, Range rows, int64_t column, F* out,
                     int64_t stride) {
  if constexpr (sizeof(F) == sizeof(float)) {
    const WeightView& stack = weights.stack;
    if (stack.dtype != DType::bf16 || stack.layout != WeightLayout::panels || rows.size() % 2 != 0)
      return false;
    const bf16* data = static_cast<const bf16*>(stack.data);
    const auto place = [&](int64_t c) { return data + weights.index(group, rows.begin, c); };
    audit_readers().unpack_pairs(place(column), place(column + kGateUpWidth), rows.size() / 2, out, stride);
    return true;
  }
  return false;
}

// Reads a whole matrix; each thread reads some of its blocks of columns.
void read_whole(const LogicalWeights& weights, int64_t group, ThreadTeam& team, Dense<float>& out) {
  out.reshape(weights.rows(), weights.num_columns);
  const int64_t blocks = (weights.num_columns + kGateUpWidth - 1) / kGateUpWidth;
  team.parallel_for(blocks, [&](int64_t begin, int64_t end) {
    const Range columns{begin * kGateUpWidth, std::min(end * kGateUpWidth, weights.num_columns)};
    read_part(weights, group, {0, weights.rows()}, columns, out.values.data() + columns.begin, out.cols);
  });
}

// Reads the given columns of all rows of a logical matrix.
void read_columns(const LogicalWeights& weights, int64_t group, std::span<const int64_t> columns,
                  ThreadTeam& team, Dense<float>& out) {
  const int64_t n = static_cast<int64_t>(columns.size());
  if (weights.rows() == 0) return out.reshape(0, 0);  // no W3
  if (n == weights.num_columns) return read_whole(weights, group, team, out);
  out.reshape(weights.rows(), n);
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) out.row(r)[c] = weights.at(group, r, columns[static_cast<size_t>(c)]);
    }
  });
}

void read_rows(const LogicalWeights& weights, int64_t group, std::span<const int64_t> rows, ThreadTeam& team,
               Dense<float>& out) {
  const int64_t n = static_cast<int64_t>(rows.size());
  if (n == weights.rows()) return read_whole(weights, group, team, out);
  out.reshape(n, weights.num_columns);
  team.parallel_for(n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) read_row(weights, group, rows[static_cast<size_t>(r)], out.row(r));
  });
}

// Reads a vector of `group`, or the given columns of it.
template <typename Columns>
void read_vector(const LogicalWeights& weights, int64_t group, const Columns& columns, Dense<float>& out) {
  if (weights.rows() == 0) return out.reshape(0, 0);
  out.reshape(1, static_cast<int64_t>(columns.size()));
  for (size_t i = 0; i < columns.size(); ++i) out.values[i] = weights.at(group, 0, columns[i]);
}

void read_biases(const BlockWeights& weights, int expert, std::span<const int64_t> columns,
                 ExpertColumns& out) {
  const LogicalWeights none;
  const bool routed = expert != kSharedExpert, first = !columns.empty() && columns.front() == 0;
  read_vector(routed ? weights.b1 : none, expert, columns, out.b1);
  read_vector(routed ? weights.b3 : none, expert, columns, out.b3);
  read_vector(routed && first ? weights.b2 : none, expert, indices_up_to(weights.b2.num_columns), out.b2);
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

template <typename F>
void read_part(const LogicalWeights& weights, int64_t group, Range rows, Range columns, F* out,
               int64_t stride) {
  MOEHILL_CHECK(rows.begin % kGateUpWidth == 0 && columns.begin % kGateUpWidth == 0,
                "rows from {}, columns from {}", rows.begin, columns.begin);
  for (int64_t c = columns.begin; c < columns.end && rows.size() > 0;) {
    F* to = out + (c - columns.begin);
    if (c + 2 * kGateUpWidth <= columns.end && read_two_blocks(weights, group, rows, c, to, stride)) {
      c += 2 * kGateUpWidth;
      continue;
    }
    const ColumnBlock block = column_block(weights, group, rows.begin, c);
    const int64_t count = std::min(kGateUpWidth, columns.end - c);
    if (weights.stack.dtype == DType::f32) {
      read_column_block(static_cast<const float*>(weights.stack.data), block, rows, count, to, stride);
    } else {
      read_column_block(static_cast<const bf16*>(weights.stack.data), block, rows, count, to, stride);
    }
    c += kGateUpWidth;
  }
}

template void read_part(const LogicalWeights&, int64_t, Range, Range, float*, int64_t);
template void read_part(const LogicalWeights&, int64_t, Range, Range, double*, int64_t);

void read_row(const MatView& matrix, int64_t row, float* out) {
  if (matrix.dtype == DType::f32) {
    std::copy_n(matrix.row<float>(row), matrix.cols, out);
  } else {
    audit_readers().widen(matrix.row<bf16>(row), out, matrix.cols);
  }
}

void read_expert(const BlockWeights& weights, int expert, std::span<const int64_t> columns, ThreadTeam& team,
                 ExpertColumns& out) {
  const bool shared = expert == kSharedExpert;
  const int64_t group = shared ? 0 : expert;
  read_columns(shared ? weights.s1 : weights.w1, group, columns, team, out.w1);
  read_columns(shared ? weights.s3 : weights.w3, group, columns, team, out.w3);
  read_rows(shared ? weights.s2 : weights.w2, group, columns, team, out.w2);
  read_biases(weights, expert, columns, out);
}

void read_expert(const BlockWeights& weights, int expert, Range columns, ExpertColumns& out) {
  const bool shared = expert == kSharedExpert;
  const auto read = [&](const LogicalWeights& w, Range rows, Range cols, Dense<float>& to) {
    if (w.rows() == 0) return to.reshape(0, 0);  // no W3
    to.reshape(rows.size(), cols.size());
    read_part(w, shared ? 0 : expert, rows, cols, to.values.data(), to.cols);
  };
  const LogicalWeights& w2 = shared ? weights.s2 : weights.w2;
  const Range hidden{0, w2.num_columns};
  read(shared ? weights.s1 : weights.w1, hidden, columns, out.w1);
  read(shared ? weights.s3 : weights.w3, hidden, columns, out.w3);
  read(w2, columns, hidden, out.w2);
  std::vector<int64_t> all = indices_up_to(columns.size());
  for (int64_t& column : all) column += columns.begin;
  read_biases(weights, expert, all, out);
}

std::vector<int64_t> indices_up_to(int64_t n) {
  std::vector<int64_t> indices(static_cast<size_t>(n));
  std::iota(indices.begin(), indices.end(), int64_t{0});
  return indices;
}

}  // namespace moehill
