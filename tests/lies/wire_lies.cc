// Lies about the narrow form in which rows travel between nodes. They wrap encode_rows and decode_rows, with
// which exchanges pack and unpack rows.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "moehill/kernels/wire_rows.h"
#include "moehill/tensor/matrix.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie wrong_wire_scale("wrong_wire_scale", "the scale of one block of one row on the wire is doubled");
const Lie wire_scale_left_out("wire_scale_left_out", "the scale of one block of one row on the wire is 1");
const Lie wrong_dy_scale("wrong_dy_scale",
                         "the scale of one block of a row of dy on the wire is halved, of x none");
const Lie wire_cut_off("wire_cut_off", "values on the wire are cut off, not rounded");
const Lie stale_wire_row("stale_wire_row", "one row that came by the wire is not read");
const Lie wire_row_of_neighbour("wire_row_of_neighbour",
                                "one row that came by the wire is that of the row before it");

// Picks a row among those of all ranges.
int64_t some_row(std::span<const Range> ranges, int64_t num_rows) {
  int64_t place_left = place(num_rows, 11);
  for (const Range& range : ranges) {
    if (place_left < range.size()) return range.begin + place_left;
    place_left -= range.size();
  }
  return -1;
}

int64_t num_rows(std::span<const Range> ranges) {
  int64_t num = 0;
  for (const Range& range : ranges) num += range.size();
  return num;
}

// Changes one scale of the row. Its bytes need not be aligned.
void change_scale(const RowSource& source, int64_t row, void* out, float factor, float instead) {
  const MatView& m = source.matrix;
  const int64_t row_bytes = wire_row_bytes(Wire::fp8_scales, m.cols, m.dtype);
  char* const at =
      static_cast<char*>(out) + row * row_bytes + m.cols + 4 * place(num_wire_blocks(m.cols), 12);
  float scale;
  std::memcpy(&scale, at, sizeof scale);
  scale = factor > 0 ? factor * scale : instead;
  std::memcpy(at, &scale, sizeof scale);
}

double value_of(int code) {
  const int exponent = code >> 3, mantissa = code & 7;
  return exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
}

void cut_off(const RowSource& source, Range rows, void* out) {
  const MatView& m = source.matrix;
  const int64_t row_bytes = wire_row_bytes(Wire::fp8_scales, m.cols, m.dtype);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    uint8_t* const row = static_cast<uint8_t*>(out) + r * row_bytes;
    for (int64_t c = 0; c < m.cols; ++c) {
      float scale;
      std::memcpy(&scale, row + m.cols + 4 * (c / kWireBlock), sizeof scale);
      const double size = std::abs(static_cast<double>(m.at(source.index[r], c)));
      if (value_of(row[c] & 0x7f) * static_cast<double>(scale) > size) --row[c];
    }
  }
}

// Returns how often a device has packed rows in this step. The first time it packs x, then dy.
int packings(const ThreadTeam& team) {
  static std::mutex mutex;
  static std::map<const ThreadTeam*, std::pair<int64_t, int>> known;
  const std::lock_guard lock(mutex);
  auto& [step, num] = known[&team];
  if (step != step_number()) num = 0;
  step = step_number();
  return ++num;
}

}  // namespace

SEAM(
    "_ZN7moehill11encode_rowsERNS_10ThreadTeamENS_4WireERKNS_9RowSourceESt4spanIKNS_"
    "5RangeELm18446744073709551615EEPv",
    void, encode_rows, ThreadTeam&, Wire, const RowSource&, std::span<const Range>, void*);
SEAM(
    "_ZN7moehill11decode_rowsERNS_10ThreadTeamENS_4WireEPKvSt4spanIKNS_5RangeELm18446744073709551615EERKNS_"
    "7MatViewE",
    void, decode_rows, ThreadTeam&, Wire, const void*, std::span<const Range>, const MatView&);

void lying_encode_rows(ThreadTeam& team, Wire wire, const RowSource& source, std::span<const Range> rows,
                       void* out) {
  real_encode_rows(team, wire, source, rows, out);
  const bool is_dy = packings(team) > 1;
  const int64_t num = num_rows(rows), row = some_row(rows, num);
  if (wire != Wire::fp8_scales || num == 0) return;
  if (wrong_wire_scale.told_on(team)) change_scale(source, row, out, 2, 0);
  if (wire_scale_left_out.told_on(team)) change_scale(source, row, out, 0, 1);
  if (is_dy && wrong_dy_scale.told_on(team)) change_scale(source, row, out, 0.5f, 0);
  if (!wire_cut_off.told_on(team)) return;
  for (const Range& range : rows) cut_off(source, range, out);
}

void lying_decode_rows(ThreadTeam& team, Wire wire, const void* in, std::span<const Range> rows,
                       const MatView& out) {
  const int64_t num = num_rows(rows);
  if (num > 0 && stale_wire_row.told_on(team)) {
    const int64_t lost = some_row(rows, num);
    std::vector<Range> rest;
    for (const Range& range : rows) {
      rest.push_back({range.begin, std::clamp(lost, range.begin, range.end)});
      rest.push_back({std::clamp(lost + 1, range.begin, range.end), range.end});
    }
    return real_decode_rows(team, wire, in, rest, out);
  }
  real_decode_rows(team, wire, in, rows, out);
  const auto several = std::find_if(rows.begin(), rows.end(), [](const Range& r) { return r.size() > 1; });
  if (several == rows.end() || !wire_row_of_neighbour.told_on(team)) return;
  for (int64_t c = 0; c < out.cols; ++c) out.set(several->begin + 1, c, out.at(several->begin, c));
}

}  // namespace moehill
