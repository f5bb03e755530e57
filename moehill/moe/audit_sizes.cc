// Computes the sizes of audit_sizes.h.
#include "moehill/moe/audit_sizes.h"

#include <algorithm>
#include <cmath>

#include "moehill/moe/audit_strip.h"
#include "moehill/moe/audit_terms.h"

namespace moehill {
namespace {

constexpr int64_t kMaxBlock = 64;      // columns of a block
constexpr int64_t kBlocksOfARow = 32;  // narrow rows have narrower blocks
constexpr int64_t kNarrowStrip = 64, kWideStrip = 256;

}  // namespace

Projection audit_projection(int64_t n, const AuditOptions& options) {
  int64_t width = std::clamp<int64_t>(n / kBlocksOfARow, 1, kMaxBlock);
  // A strip has to begin where a part of a panel begins.
  const int64_t rest = width % kGateUpWidth;
  if (width > rest) width -= rest;
  return {n, options.exact ? 1 : width, options.seed};
}

int64_t strip_columns(const Projection& p, int64_t rows, const AuditOptions& options) {
  if (options.exact) return p.num_columns();
  const int64_t unit = p.block % kGateUpWidth == 0 ? p.block : p.block * kGateUpWidth;
  const int64_t aim = rows <= kFewRows ? kNarrowStrip : kWideStrip;
  const int64_t num_strips = (p.num_columns() + aim - 1) / aim;
  const int64_t columns = (p.num_columns() + num_strips - 1) / num_strips;
  return (columns + unit - 1) / unit * unit;
}

double audit_bytes(const MoeShape& shape, Pass pass, bool exact, const Auditors& auditors) {
  const bool backward = pass == Pass::forward_backward;
  const AuditOptions options{exact, 0};
  const double value = exact ? 8 : 4;
  const double hidden = static_cast<double>(shape.hidden), tokens = static_cast<double>(shape.tokens);
  const Projection by_width = audit_projection(std::max(shape.mlp_dim, shape.shared_dim), options);
  const double blocks = static_cast<double>(audit_projection(shape.hidden, options).num_blocks());
  const double strip =
      static_cast<double>(std::min(strip_columns(by_width, kChunkRows, options), by_width.num_columns()));
  const double strip_blocks = strip / static_cast<double>(by_width.block);
  const double chunk = std::min(static_cast<double>(kChunkRows), tokens);
  // Each thread has weights with their projections, rows, and the gradients of a strip.
  const double weights = value * strip * (3 * hidden + (backward ? 10 : 6) * blocks);
  const double rows =
      value * chunk * ((backward ? 3 : 1) * hidden + (backward ? 11 : 5) * strip + 3 * blocks);
  const double gradients =
      backward ? (value + 24) * (2 * hidden * strip_blocks + strip * blocks) + value * hidden * strip : 0;
  // A group of experts has at most about twice as many rows as a process has tokens. `sums` are for all
  // tokens.
  const double group = 2 * tokens / auditors.num_processes * blocks * value * (backward ? 6 : 3);
  const double sums = 8 * tokens * (backward ? 5 * blocks + 2 * shape.topk : 2 * blocks);
  const double assignments = 40 * tokens * (shape.topk + 2);
  const double term_bytes = 8 * static_cast<double>(num_terms(shape) * (kMostTermNumbers + 1));
  const double terms = tokens * term_bytes * (backward ? 2 : 1);
  // These strips of the shared expert wait for the sums of other processes.
  const double waiting = std::min(std::ceil(static_cast<double>(shape.shared_dim) / strip),
                                  static_cast<double>(strips_at_once(auditors.num_processes)));
  const double shared = backward ? waiting * 16 * (2 * hidden * strip_blocks + strip * blocks) : 0;
  return auditors.num_threads * (weights + rows + gradients) + group + sums + shared + assignments + terms;
}

}  // namespace moehill
