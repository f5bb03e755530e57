// Implements fill.h. It decodes, checks for finite values, rounds and transposes tile by tile, so that each
// value is read from memory once and written once.
#include "moehill/weights/fill.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <vector>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// Outputs n are rows of a file but columns of a stack, so every matrix has to be transposed, a tile at a
// time. The rows of a tile are outputs, and a tile stays in L1.
constexpr int64_t kTileElements = 4096;
constexpr int64_t kStrip = 16;            // outputs in a tile
constexpr int64_t kLongStrip = 64;        // the same if outputs lie side by side in the file already
constexpr int64_t kLanes = kGateUpWidth;  // outputs that lie side by side in every stack

int64_t strip_of(const FillTask& task) { return task.source->inputs_first ? kLongStrip : kStrip; }
int64_t num_strips(const FillTask& task) {
  return (task.target.num_columns + strip_of(task) - 1) / strip_of(task);
}

// The accumulator is as wide as the values, which lets the compiler use vectors.
bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i)
    bad |= (std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
  return bad == 0;
}
bool all_finite(const uint16_t* values, int64_t count) {
  uint16_t bad = 0;
  for (int64_t i = 0; i < count; ++i)
    bad = static_cast<uint16_t>(bad | ((values[i] & 0x7f80u) == 0x7f80u ? 1u : 0u));
  return bad == 0;
}

// Returns the error of rounding as a share of the value.
float share_of_error(float value, float rounded) {
  return std::fabs(rounded - value) / std::max(std::fabs(value), FLT_MIN);
}

// Rounds to nearest, ties to even; values that are not finite stay so. Returns the larger of `worst` and the
// largest share of error. The loop has no division and no value for which the next iteration must wait: it
// only notices whether some value of a part is worse than `worst`, and then looks for it in that part.
float round_values(const float* values, int64_t count, uint16_t* out, float worst) {
  constexpr int64_t kPart = 64;
  for (int64_t begin = 0; begin < count; begin += kPart) {
    const int64_t end = std::min(count, begin + kPart);
    uint32_t worse = 0;  // the sign bit is set if some value is worse
    for (int64_t i = begin; i < end; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(values[i]);
      const uint32_t not_finite = (bits & 0x7f800000u) == 0x7f800000u ? 0x7f80u : 0u;
      const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 | not_finite;
      out[i] = static_cast<uint16_t>(rounded);
      const float error = std::fabs(std::bit_cast<float>(rounded << 16) - values[i]);
      worse |= std::bit_cast<uint32_t>(worst * std::max(std::fabs(values[i]), FLT_MIN) - error);
    }
    for (int64_t i = begin; worse >> 31 != 0 && i < end; ++i)
      worst = std::max(worst, share_of_error(values[i], std::bit_cast<float>(uint32_t{out[i]} << 16)));
  }
  return worst;
}

// Reads these columns of a row of the source in the target's type.
float read_line(const SourceMatrix& source, int64_t row, Range columns, float* out, float worst) {
  decode_row(source, row, columns.begin, columns.size(), out);
  return worst;
}
float read_line(const SourceMatrix& source, int64_t row, Range columns, uint16_t* out, float worst) {
  if (source.encoding == Encoding::bf16) {
    copy_bf16_row(source, row, columns.begin, columns.size(), out);
    return worst;
  }
  float values[kTileElements / kStrip];
  decode_row(source, row, columns.begin, columns.size(), values);
  return round_values(values, columns.size(), out, worst);
}

template <typename T>
void require_finite(const SourceMatrix& source, const T* values, int64_t count) {
  if (all_finite(values, count)) return;
  throw input_error("--weights: " + source.name,
                    "a value that is not finite, or too large for the type of the run", "finite numbers",
                    "download or write the file anew");
}

// Reads a tile [outputs][depth] from these inputs and outputs of the source.
template <typename T>
float read_tile(const SourceMatrix& source, Range inputs, Range outputs, T* tile, float worst) {
  const int64_t depth = kTileElements / (source.inputs_first ? kLongStrip : kStrip);
  if (!source.inputs_first) {
    for (int64_t n = 0; n < outputs.size(); ++n) {
      worst = read_line(source, outputs.begin + n, inputs, tile + n * depth, worst);
      require_finite(source, tile + n * depth, inputs.size());
    }
    return worst;
  }
  T line[kLongStrip];
  for (int64_t k = 0; k < inputs.size(); ++k) {
    worst = read_line(source, inputs.begin + k, outputs, line, worst);
    require_finite(source, line, outputs.size());
    for (int64_t n = 0; n < outputs.size(); ++n) tile[n * depth + k] = line[n];
  }
  return worst;
}

// Transposes units of kBytes bytes: out[u * stride + j] = in[j * depth + u].
template <size_t kBytes>
void transpose(const char* in, int64_t depth, int64_t num_lanes, int64_t num_units, char* out,
               int64_t stride) {
  constexpr int64_t kUnit = kBytes;
  if (num_lanes == kLanes) {
    for (int64_t u = 0; u < num_units; ++u) {
      for (int64_t j = 0; j < kLanes; ++j)
        std::memcpy(out + (u * stride + j) * kUnit, in + (j * depth + u) * kUnit, kBytes);
    }
    return;
  }
  for (int64_t u = 0; u < num_units; ++u) {
    for (int64_t j = 0; j < num_lanes; ++j)
      std::memcpy(out + (u * stride + j) * kUnit, in + (j * depth + u) * kUnit, kBytes);
  }
}

// Writes a tile into the stack. A panel is a matrix of units of 32 bits: one f32, or two bf16 that stand one
// below the other. So the copy does not depend on the type. Rows past an odd K are set to zero.
template <typename T>
void write_tile(T* tile, int64_t depth, Range inputs, Range outputs, const FillTask& task) {
  const LogicalWeights& w = task.target;
  char* data = static_cast<char*>(w.stack.data);
  for (int64_t n = 0; n < outputs.size(); n += kLanes) {
    T* from = tile + n * depth;
    const int64_t num_lanes = std::min(kLanes, outputs.size() - n);
    char* to = data + w.stack.index(task.group, inputs.begin, w.column(outputs.begin + n)) *
                          static_cast<int64_t>(sizeof(T));
    if (w.stack.layout == WeightLayout::row_major) {
      transpose<sizeof(T)>(reinterpret_cast<char*>(from), depth, num_lanes, inputs.size(), to, w.stack.n);
      continue;
    }
    constexpr int64_t kValues = 4 / sizeof(T);
    if (inputs.size() % kValues != 0) {
      for (int64_t j = 0; j < num_lanes; ++j) from[j * depth + inputs.size()] = 0;
    }
    transpose<4>(reinterpret_cast<char*>(from), depth / kValues, num_lanes,
                 (inputs.size() + kValues - 1) / kValues, to, kPanelWidth);
  }
}

// Fills these outputs, over the whole depth.
template <typename T>
float fill_strip(const FillTask& task, Range outputs, float worst) {
  alignas(64) T tile[kTileElements];
  const int64_t depth = kTileElements / strip_of(task);
  for (int64_t k = 0; k < task.target.rows(); k += depth) {
    const Range inputs{k, std::min(k + depth, task.target.rows())};
    worst = read_tile(*task.source, inputs, outputs, tile, worst);
    write_tile(tile, depth, inputs, outputs, task);
  }
  return worst;
}

}  // namespace

float fill_weights(ThreadTeam& team, std::span<const FillTask> tasks) {
  int64_t num_units = 0;
  for (const FillTask& task : tasks) num_units += num_strips(task);
  std::vector<float> worst(static_cast<size_t>(team.size()));
  // Each thread gets an equal share of all strips of all tasks, so a large matrix does not hold up the
  // others.
  team.run([&](int member) {
    const Range units = share(num_units, member, team.size());
    int64_t first = 0;
    for (const FillTask& task : tasks) {
      const int64_t strip = strip_of(task), count = num_strips(task);
      for (int64_t i = std::max(units.begin, first); i < std::min(units.end, first + count); ++i) {
        const int64_t begin = (i - first) * strip;
        const Range outputs{begin, std::min(begin + strip, task.target.num_columns)};
        float& of_member = worst[static_cast<size_t>(member)];
        of_member = task.target.stack.dtype == DType::f32 ? fill_strip<float>(task, outputs, of_member)
                                                          : fill_strip<uint16_t>(task, outputs, of_member);
      }
      first += count;
    }
  });
  return *std::max_element(worst.begin(), worst.end());
}

void require_finite(const SourceMatrix& source, std::span<const float> values) {
  require_finite(source, values.data(), std::ssize(values));
}

void fill_vector(const SourceMatrix& source, const LogicalWeights& target, int64_t group) {
  std::vector<float> values(static_cast<size_t>(source.columns.count));
  decode_row(source, 0, 0, source.columns.count, values.data());
  require_finite(source, values);
  for (int64_t n = 0; n < source.columns.count; ++n) target.set(group, 0, n, values[static_cast<size_t>(n)]);
}

}  // namespace moehill
