// This file makes the audit's reference for the results that each token has by itself: zero experts, and
// products with a matrix that all tokens share (the router's W_g, and the matrices around a narrower expert).
#include "moehill/moe/audit_tokens.h"

#include <fmt/format.h>

#include <algorithm>

namespace moehill {
namespace {

// ProjectedToken is a row of H values with its projection and the projection of its squares.
struct ProjectedToken {
  explicit ProjectedToken(const Projection& by_hidden)
      : projection(by_hidden),
        row(static_cast<size_t>(by_hidden.num_columns())),
        sum(static_cast<size_t>(by_hidden.num_blocks())),
        squares(sum.size()) {}

  template <typename ValueAt>
  void take(const ValueAt& value_at) {
    for (size_t h = 0; h < row.size(); ++h) row[h] = static_cast<double>(value_at(static_cast<int64_t>(h)));
    projection.project_row(row.data(), sum.data(), squares.data());
  }
  double product(const ProjectedToken& other) const {
    return dot(row.data(), other.row.data(), std::ssize(row));
  }
  // Adds p times this row to a row of `all`. `rounding` is the variance that each rounding adds, relative to
  // the square of the term.
  void add_to(Estimate& all, int64_t row_of_all, double p, double variance, double rounding) const {
    double *value = all.value.row(row_of_all), *its_variance = all.variance.row(row_of_all);
    for (size_t b = 0; b < sum.size(); ++b) {
      value[b] += p * sum[b];
      its_variance[b] += variance * sum[b] * sum[b] + p * p * rounding * squares[b];
    }
  }

  const Projection& projection;
  std::vector<double> row, sum, squares;
};

}  // namespace

// A stored sum counts as rounded twice, because an implementation may store the sum of a token before it adds
// the last terms.
void add_zero_experts(const AuditContext& context, Range tokens, TokenEstimates sums,
                      std::vector<char>& reached) {
  const BlockTensors& t = context.tensors;
  const Routing& routing = *t.routing;
  const double rounding = 2 * context.units.store + 4 * context.units.sum;
  ProjectedToken x(context.by_hidden), dy(context.by_hidden);
  for (size_t a = 0; a < routing.zero.size(); ++a) {
    const int64_t token = static_cast<int64_t>(a) / routing.topk, j = static_cast<int64_t>(a) % routing.topk;
    if (routing.zero[a] < 0 || token < tokens.begin || token >= tokens.end) continue;
    const double p = static_cast<double>(routing.weight[a]);
    reached[static_cast<size_t>(token)] = 1;
    x.take([&](int64_t h) { return t.x.at(token, h); });
    x.add_to(sums.y, token, p, 0, rounding);
    if (!context.backward) continue;
    dy.take([&](int64_t h) { return t.read_dy().at(token, h); });
    dy.add_to(sums.dx, token, p, 0, rounding);
    sums.dp.value.row(token)[j] = dy.product(x);
    sums.dp.variance.row(token)[j] = context.units.sum * x.product(x) * dy.product(dy);
  }
}

namespace {

// Projects rows i < n of H values, which value_at(i, h) returns.
template <typename ValueAt>
Projected<double> project_rows_of(const AuditContext& context, ThreadTeam& team, int64_t n,
                                  const ValueAt& value_at) {
  Projected<double> all;
  all.reshape(n, context.by_hidden.num_blocks());
  team.parallel_for(n, [&](int64_t begin, int64_t end) {
    std::vector<double> row(static_cast<size_t>(context.by_hidden.num_columns()));
    for (int64_t i = begin; i < end; ++i) {
      for (size_t h = 0; h < row.size(); ++h)
        row[h] = static_cast<double>(value_at(i, static_cast<int64_t>(h)));
      context.by_hidden.project_row(row.data(), all.sum.row(i), all.squares.row(i));
    }
  });
  return all;
}

// Share is the term that one row adds to a sum: `factor` times the row, with the variance of the factor.
struct Share {
  double factor, variance, rounding;
};
void add_share(const Share& s, const double* sum, const double* squares, int64_t blocks, double* value,
               double* variance) {
  for (int64_t b = 0; b < blocks; ++b) {
    value[b] += s.factor * sum[b];
    variance[b] += s.variance * sum[b] * sum[b] + s.factor * s.factor * s.rounding * squares[b];
  }
}

}  // namespace

void add_product(const AuditContext& context, ThreadTeam& team, Range tokens, const Factors& factors,
                 const LogicalWeights& w, Estimate& sum) {
  const int64_t num = factors.num, blocks = context.by_hidden.num_blocks();
  const double rounding = 2 * context.units.store + context.units.sum * static_cast<double>(num);
  const Projected<double> columns =
      project_rows_of(context, team, num, [&](int64_t l, int64_t h) { return w.at(0, h, l); });
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) {
      for (int64_t l = 0; l < num; ++l)
        add_share({factors.value(t, l), factors.variance(t, l), rounding}, columns.sum.row(l),
                  columns.squares.row(l), blocks, sum.value.row(t), sum.variance.row(t));
    }
  });
}

Estimate product_gradient(const AuditContext& context, ThreadTeam& team, Range tokens, const MatView& rows,
                          const Factors& factors, DType type) {
  const int64_t blocks = context.by_hidden.num_blocks();
  const double growth = (type == DType::f32 ? 0 : 2 * context.units.store) +
                        context.units.sum * static_cast<double>(context.tensors.shape.tokens);
  const Projected<double> projected = project_rows_of(
      context, team, tokens.size(), [&](int64_t i, int64_t h) { return rows.at(tokens.begin + i, h); });
  Estimate sums(factors.num, blocks);
  team.parallel_for(factors.num, [&](int64_t begin, int64_t end) {
    for (int64_t l = begin; l < end; ++l) {
      for (int64_t i = 0; i < tokens.size(); ++i) {
        const int64_t t = tokens.begin + i;
        add_share({factors.value(t, l), factors.variance(t, l), growth}, projected.sum.row(i),
                  projected.squares.row(i), blocks, sums.value.row(l), sums.variance.row(l));
      }
    }
  });
  return sums;
}

}  // namespace moehill
