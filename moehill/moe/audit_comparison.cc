// Implements audit_comparison.h. All numbers are in double, whatever type the audit's products have.
#include "moehill/moe/audit_comparison.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "moehill/moe/audit_latent.h"
#include "moehill/moe/audit_tokens.h"
#include "moehill/moe/expert_columns.h"
#include "moehill/moe/router_reference.h"

namespace moehill {

void TokenComparison::compare(TokenSums& sums, AuditResult& result) {
  const BlockTensors& t = context_.tensors;
  compare_rows({"y", t.y, 1, sums.y, sums.y_terms}, sums.reached, result.y_variance);
  if (!context_.backward) return;
  const bool rest = is_rest_of_latent(t);
  const double scale = 1 / context_.dy_scale;
  Estimate dlogits;
  if (t.dlogits != nullptr && !rest) dlogits = logit_gradients(sums.dp);
  if (t.weights.wg.rows() > 0) {
    const int64_t num = t.weights.wg.num_columns;
    const MatView stored{const_cast<float*>(t.dlogits), DType::f32, t.shape.tokens, num, num};
    const Factors dz = rest ? Factors(stored, scale) : Factors(dlogits);
    add_product(context_, team_, own_, dz, t.weights.wg, sums.dx);
    found_.router = product_gradient(context_, team_, own_, t.x, dz, DType::f32);
  }
  compare_rows({"dx", t.dx, scale, sums.dx, sums.dx_terms}, sums.reached, result.dx_variance);
  if (rest) return;  // dp and dlogits belong to the experts' part of the block
  compare_small("dp", t.dp, sums.dp);
  if (t.dlogits != nullptr) compare_small("dlogits", t.dlogits, dlogits);
}

void TokenComparison::compare_rows(const Rows& rows, const std::vector<char>& reached,
                                   std::vector<double>& row_variance) {
  const MatView& stored = rows.stored;
  const Projection& by_hidden = context_.by_hidden;
  const double scale = rows.scale, smallest = AuditContext::subnormal_variance(scale);
  MatrixDeviations deviations(stored.rows, by_hidden.num_blocks(), rows.terms.num_group_numbers());
  row_variance.assign(deviations.of_row.size(), 0);
  team_.parallel_for(own_.size(), [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(stored.cols));
    std::vector<double> sum(static_cast<size_t>(by_hidden.num_blocks())), squares(sum.size());
    std::vector<double> off(sum.size()), variances(sum.size());
    std::vector<Deviations> of_block(sum.size()), of_term(deviations.of_term.size());
    for (int64_t t = own_.begin + begin; t < own_.begin + end; ++t) {
      for (int64_t c = 0; c < stored.cols; ++c)
        row[static_cast<size_t>(c)] = static_cast<double>(stored.at(t, c));
      by_hidden.project_row(row.data(), sum.data(), squares.data());
      for (int64_t b = 0; b < by_hidden.num_blocks(); ++b) {
        const size_t i = static_cast<size_t>(b);
        double variance =
            rows.reference.variance.row(t)[b] + 2 * context_.units.store * scale * scale * squares[i];
        if (reached[static_cast<size_t>(t)] != 0) variance += smallest;
        const double expected = rows.reference.value.row(t)[b];
        off[i] = scale * sum[i] - expected;
        variances[i] = variance;
        deviations.add(t, b, off[i], variance, expected, of_block);
        row_variance[static_cast<size_t>(t)] += variance / (scale * scale);
      }
      rows.terms.compare({t, off.data(), variances.data(), kFarAboveSubnormal * smallest}, of_term);
    }
    deviations.add_blocks(of_block, of_term);
  });
  TokenFindings& found = found_.tokens.emplace_back(TokenFindings{{rows.name, RowComparison::kUsualFloor},
                                                                  {},
                                                                  std::move(deviations.of_block),
                                                                  {},
                                                                  std::move(deviations.of_term)});
  add_tokens(deviations.of_row, rows.reference, found);
  std::vector<float> row(static_cast<size_t>(stored.cols));
  for (int64_t t = own_.begin; context_.exact && t < own_.end; ++t) {
    read_row(stored, t, row.data());
    for (double& value : rows.reference.value.row_mutable(t)) value /= scale;
    found.numbers.relative().add_row(t, row, rows.reference.value.row_span(t));
  }
}

void TokenComparison::add_tokens(const std::vector<Deviations>& of_token, const Estimate& reference,
                                 TokenFindings& found) const {
  for (int64_t t = own_.begin; t < own_.end; ++t) {
    judge_.add_token(t, of_token[static_cast<size_t>(t)], found);
    for (const double value : reference.value.row_span(t)) found.numbers.saw_reference(value);
  }
  for (const AuditAssignments& of : assignments_) {
    Deviations& of_expert = found.of_expert.emplace_back();
    for (const int64_t token : of.token) {
      if (share_.has_token(token)) of_expert.add(of_token[static_cast<size_t>(token)]);
    }
  }
}

// Compares dp [T, k] or dlogits [T, E], number by number.
void TokenComparison::compare_small(const std::string& name, const float* stored, Estimate reference) {
  const MoeShape& shape = context_.tensors.shape;
  const double dy_scale = context_.dy_scale;
  std::vector<Deviations> of_token(static_cast<size_t>(shape.tokens));
  const int64_t n = reference.value.cols;
  // A sum of H terms is rounded.
  const double growth = context_.units.sum * static_cast<double>(shape.hidden);
  for (int64_t t = own_.begin; t < own_.end; ++t) {
    for (int64_t j = 0; j < n; ++j) {
      const double value = static_cast<double>(stored[t * n + j]) / dy_scale;
      double variance = reference.variance.row(t)[j];
      if (variance > 0) variance += growth * value * value + AuditContext::subnormal_variance(1 / dy_scale);
      const double expected = reference.value.row(t)[j];
      of_token[static_cast<size_t>(t)].add(t, j, value - expected, variance, expected);
    }
  }
  TokenFindings& found =
      found_.tokens.emplace_back(TokenFindings{{name, RowComparison::kMedianFloor}, {}, {}, {}});
  add_tokens(of_token, reference, found);
  for (int64_t t = own_.begin; context_.exact && t < own_.end; ++t) {
    for (double& value : reference.value.row_mutable(t)) value *= dy_scale;
    found.numbers.relative().add_row(t, {stored + t * n, static_cast<size_t>(n)},
                                     reference.value.row_span(t));
  }
}

// Computes dlogits from dp through the slopes of the gate values. The variance allows f32 to round each term.
Estimate TokenComparison::logit_gradients(const Estimate& dp) const {
  const BlockTensors& tensors = context_.tensors;
  const Routing& routing = *tensors.routing;
  Estimate d(tensors.shape.tokens, routing.num_logits());
  const double units = 2 * 0x1p-24 * static_cast<double>(routing.topk + 1);
  std::vector<double> terms(static_cast<size_t>(routing.num_logits())), of_loss;
  if (tensors.balance_loss != nullptr)
    of_loss = balance_gradient(*tensors.balance_loss, tensors.logits, routing, own_);
  for (int64_t t = own_.begin; t < own_.end; ++t) {
    const auto slopes = gate_slopes(tensors.router, tensors.logits, routing, t);
    std::fill(terms.begin(), terms.end(), 0);
    double *value = d.value.row(t), *variance = d.variance.row(t);
    // A logit changes all gate values of its token, so its gradient is a sum over the choices.
    for (int64_t j = 0; j < slopes.value.rows; ++j) {
      const double of_gate = dp.value.row(t)[j], var = dp.variance.row(t)[j];
      const double *slope = slopes.value.row(j), *size = slopes.size.row(j);
      for (size_t e = 0; e < terms.size(); ++e) {
        value[e] += slope[e] * of_gate;
        variance[e] += slope[e] * slope[e] * var;
        terms[e] += size[e] * std::abs(of_gate);
      }
    }
    // The gradient of a balance loss, also in the units of dy = y, is added to the gradient through the gate
    // values.
    for (size_t e = 0; !of_loss.empty() && e < terms.size(); ++e) {
      const double loss = of_loss[static_cast<size_t>(t - own_.begin) * terms.size() + e] / context_.dy_scale;
      value[e] += loss;
      terms[e] += std::abs(loss);
    }
    for (size_t e = 0; e < terms.size(); ++e) variance[e] += units * units * terms[e] * terms[e];
  }
  return d;
}

}  // namespace moehill
