// Implements audit_terms.h.
#include "moehill/moe/audit_terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace moehill {
namespace {

using TermNumbers = std::array<double, static_cast<size_t>(kMostTermNumbers)>;

// Octave o has the gate values in [2^-(o + 1), 2^-o). The first octave also has all larger values, and the
// last octave all smaller ones.
size_t octave_of(double gate) {
  return static_cast<size_t>(std::clamp(-1 - std::ilogb(gate), 0, kGateOctaves - 1));
}

}  // namespace

std::string term_group_name(const MoeShape& shape, int64_t group) {
  if (group < shape.topk) return fmt::format("the choices of rank {}", group + 1);
  if (group < num_terms(shape)) return "the shared expert";
  const int64_t octave = group - num_terms(shape);
  if (octave == 0) return "gate values of at least 2^-1";
  if (octave == kGateOctaves - 1) return fmt::format("gate values below 2^-{}", octave);
  return fmt::format("gate values from 2^-{} to 2^-{}", octave + 1, octave);
}

AuditTerms::AuditTerms(const MoeShape& shape, const Projection& by_hidden, uint32_t seed)
    : num_terms_(moehill::num_terms(shape)),
      by_blocks_(by_hidden.num_blocks(), (by_hidden.num_blocks() + kMostTermNumbers - 1) / kMostTermNumbers,
                 seed),
      values_(shape.tokens, num_terms_ * (num_numbers() + 1)) {}

template <typename F>
void AuditTerms::set(const Slot& at, double factor, const F* row) {
  std::array<F, static_cast<size_t>(kMostTermNumbers)> sum{}, squares{};
  by_blocks_.project_row(row, sum.data(), squares.data());
  double* const to = values_.row(at.token) + slot_begin(at.slot);
  to[0] = at.gate;
  for (int64_t c = 0; c < num_numbers(); ++c) to[1 + c] = factor * static_cast<double>(sum[idx(c)]);
}

void AuditTerms::compare(const TokenErrors& errors, std::vector<Deviations>& groups) const {
  if (num_terms_ == 0) return;
  TermNumbers deviation{}, variance{}, squares{};
  by_blocks_.project_row(errors.deviation, deviation.data(), squares.data());
  audit_loops<double>().project_variance(errors.variance, by_blocks_.weight.data(), by_blocks_.num_columns(),
                                         by_blocks_.block, variance.data());
  const auto add = [&](int64_t group, int64_t c, double term) {
    if (!(term * term > errors.least)) return;
    groups[idx(group * num_numbers() + c)].add(errors.token, c, deviation[idx(c)], variance[idx(c)], term);
  };
  std::array<TermNumbers, static_cast<size_t>(kGateOctaves)> of_octave{};
  for (int slot = 0; slot < num_terms_; ++slot) {
    const double* const term = values_.row(errors.token) + slot_begin(slot);
    if (!(std::abs(term[0]) > 0) || !std::isfinite(term[0])) continue;
    TermNumbers& octave = of_octave[octave_of(term[0])];
    for (int64_t c = 0; c < num_numbers(); ++c) {
      add(slot, c, term[1 + c]);
      octave[idx(c)] += term[1 + c];
    }
  }
  for (int octave = 0; octave < kGateOctaves; ++octave) {
    for (int64_t c = 0; c < num_numbers(); ++c) add(num_terms_ + octave, c, of_octave[idx(octave)][idx(c)]);
  }
}

template void AuditTerms::set(const Slot& at, double factor, const float* row);
template void AuditTerms::set(const Slot& at, double factor, const double* row);

}  // namespace moehill
