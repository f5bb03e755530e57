// Implements audit_latent.h in double. It compares the products around the experts by one projection for each
// row, and the norm element by element.
#include "moehill/moe/audit_latent.h"

#include <cmath>

namespace moehill {
namespace {

const Routing kNoChoices{0, 0, 0, {}, {}};

// RowProduct is a product out = scale a w for rows of tokens.
struct RowProduct {
  const char* tensor;
  const MatView& a;
  double scale;
  const LogicalWeights& w;
  const MatView& out;
};

LatentNumbers product_numbers(const AuditContext& context, Range tokens, const RowProduct& p) {
  const int64_t width = p.w.num_columns, depth = p.w.rows();
  const Projection by_width(width, width, context.seed);
  // Projects w once, so that each token needs one inner product instead of a product with the matrix.
  std::vector<double> projected;  // w r, [depth]
  double w_squares = 0;
  for (int64_t k = 0; k < depth; ++k) {
    double sum = 0;
    for (int64_t l = 0; l < width; ++l) {
      const double term =
          static_cast<double>(by_width.weight[static_cast<size_t>(l)]) * static_cast<double>(p.w.at(0, k, l));
      sum += term;
      w_squares += term * term;
    }
    projected.push_back(sum);
  }
  LatentNumbers numbers{p.tensor, std::vector<Deviations>(static_cast<size_t>(p.out.rows)),
                        Estimate(p.out.rows, 1)};
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    double expected = 0, a_squares = 0, actual = 0, out_squares = 0;
    for (int64_t k = 0; k < depth; ++k) {
      const double a = p.scale * static_cast<double>(p.a.at(t, k));
      expected += a * projected[static_cast<size_t>(k)];
      a_squares += a * a;
    }
    for (int64_t l = 0; l < width; ++l) {
      const double term =
          static_cast<double>(by_width.weight[static_cast<size_t>(l)]) * static_cast<double>(p.out.at(t, l));
      actual += term;
      out_squares += term * term;
    }
    // The stored row is rounded, each sum of the product has its own error, and small results may be flushed
    // to zero.
    const double variance = 2 * context.units.store * out_squares +
                            context.units.sum * static_cast<double>(depth) * a_squares * w_squares +
                            (a_squares > 0 ? AuditContext::subnormal_variance(1) : 0);
    numbers.reference.value.row(t)[0] = expected;
    numbers.of_token[static_cast<size_t>(t)].add(t, 0, actual - expected, variance, expected);
  }
  return numbers;
}

double inverse_rms(const BlockTensors& t, int64_t token) {
  const MatView& r = t.latent.r;
  double sum = 0;
  for (int64_t c = 0; c < r.cols; ++c)
    sum += static_cast<double>(r.at(token, c)) * static_cast<double>(r.at(token, c));
  return 1 / std::sqrt(sum / static_cast<double>(r.cols) + t.shape.form.latent_norm);
}

// Returns the rounding of the norm's own sums in f32, plus the rounding of the stored value.
double norm_rounding(const AuditContext& context, int64_t width) {
  return 2 * context.units.store + context.units.sum * static_cast<double>(width + 16);
}

LatentNumbers norm_numbers(const AuditContext& context, Range tokens) {
  const BlockTensors& t = context.tensors;
  const MatView &r = t.latent.r, &n = t.latent.n;
  const double rounding = norm_rounding(context, r.cols);
  LatentNumbers numbers{"latent_n", std::vector<Deviations>(static_cast<size_t>(n.rows)),
                        Estimate(n.rows, n.cols)};
  for (int64_t token = tokens.begin; token < tokens.end; ++token) {
    const double inverse = inverse_rms(t, token);
    for (int64_t c = 0; c < n.cols; ++c) {
      const double expected = static_cast<double>(r.at(token, c)) * inverse *
                              static_cast<double>(t.weights.latent_norm.at(0, 0, c));
      const double smallest = expected != 0 ? AuditContext::subnormal_variance(1) : 0;
      numbers.reference.value.row(token)[c] = expected;
      numbers.of_token[static_cast<size_t>(token)].add(token, c,
                                                       static_cast<double>(n.at(token, c)) - expected,
                                                       rounding * expected * expected + smallest, expected);
    }
  }
  return numbers;
}

// With u = r / rms(r) and g = dn w, the gradient is dr = (g - u mean(g u)) / rms(r).
LatentNumbers norm_input_numbers(const AuditContext& context, Range tokens) {
  const BlockTensors& t = context.tensors;
  const MatView &r = t.latent.r, &dn = t.latent.dn, &dr = t.latent.dr;
  const double rounding = norm_rounding(context, r.cols), width = static_cast<double>(r.cols);
  LatentNumbers numbers{"latent_dr", std::vector<Deviations>(static_cast<size_t>(dr.rows)),
                        Estimate(dr.rows, dr.cols)};
  std::vector<double> u(static_cast<size_t>(r.cols)), g(u.size());
  for (int64_t token = tokens.begin; token < tokens.end; ++token) {
    const double inverse = inverse_rms(t, token);
    double mean = 0, squares = 0;
    for (size_t i = 0; i < u.size(); ++i) {
      const int64_t c = static_cast<int64_t>(i);
      u[i] = static_cast<double>(r.at(token, c)) * inverse;
      g[i] = static_cast<double>(dn.at(token, c)) * static_cast<double>(t.weights.latent_norm.at(0, 0, c));
      mean += g[i] * u[i] / width;
      squares += g[i] * g[i] * u[i] * u[i] / width;
    }
    // The mean of g u enters every element, and with it the errors of its terms.
    for (size_t i = 0; i < u.size(); ++i) {
      const int64_t c = static_cast<int64_t>(i);
      const double expected = inverse * (g[i] - u[i] * mean);
      const double terms = inverse * inverse * (g[i] * g[i] + u[i] * u[i] * (mean * mean + squares));
      const double variance = rounding * expected * expected + context.units.sum * (width + 16) * terms +
                              (terms > 0 ? AuditContext::subnormal_variance(1) : 0);
      numbers.reference.value.row(token)[c] = expected;
      numbers.of_token[static_cast<size_t>(token)].add(
          token, c, static_cast<double>(dr.at(token, c)) - expected, variance, expected);
    }
  }
  return numbers;
}

}  // namespace

CheckShare experts_of_latent(const CheckShare& share) {
  CheckShare part = share;
  BlockTensors& t = part.tensors;
  t.shape.hidden = t.shape.form.latent;
  t.shape.shared_dim = 0;
  t.shape.form.latent = 0;
  t.shape.form.latent_norm = 0;
  t.shape.form.shared_gate = false;
  t.x = t.latent.z;
  t.y = t.latent.r;
  t.dy = t.latent.dr;
  t.dy_scale = 1;
  t.dx = t.latent.dz;
  t.latent = {};
  for (BlockWeights* w : {&t.weights, &t.gradients})
    w->s1 = w->s2 = w->s3 = w->sg = w->wg = w->latent_down = w->latent_up = w->latent_norm = {};
  return part;
}

CheckShare rest_of_latent(const CheckShare& share) {
  CheckShare part = share;
  BlockTensors& t = part.tensors;
  t.shape.experts = t.shape.topk = 0;
  t.shape.mlp_dim = t.shape.form.latent;
  t.shape.router = {};
  t.shape.form.biases = false;
  t.routing = &kNoChoices;
  t.router = nullptr;
  t.kept = nullptr;
  t.far = nullptr;
  t.balance_loss = nullptr;
  for (BlockWeights* w : {&t.weights, &t.gradients}) w->w1 = w->w2 = w->w3 = w->b1 = w->b2 = w->b3 = {};
  part.owner.clear();
  return part;
}

std::vector<LatentNumbers> latent_numbers(const AuditContext& context, Range tokens) {
  const BlockTensors& t = context.tensors;
  const LatentRows& rows = t.latent;
  const bool norm = t.shape.form.latent_norm > 0;
  std::vector<LatentNumbers> all;
  all.push_back(product_numbers(context, tokens, {"latent_z", t.x, 1, t.weights.latent_down, rows.z}));
  if (norm) all.push_back(norm_numbers(context, tokens));
  if (!context.backward) return all;
  all.push_back(product_numbers(context, tokens,
                                {"latent_dn", t.read_dy(), t.loss_scale(), t.weights.latent_up, rows.dn}));
  if (norm) all.push_back(norm_input_numbers(context, tokens));
  return all;
}

Estimate norm_gradient(const AuditContext& context, Range tokens) {
  const BlockTensors& t = context.tensors;
  const MatView &r = t.latent.r, &dn = t.latent.dn;
  Estimate sum(1, r.cols);
  const double rounding = context.units.sum * static_cast<double>(t.shape.tokens + r.cols + 16);
  for (int64_t token = tokens.begin; token < tokens.end; ++token) {
    const double inverse = inverse_rms(t, token);
    for (int64_t c = 0; c < r.cols; ++c) {
      const double term =
          static_cast<double>(dn.at(token, c)) * static_cast<double>(r.at(token, c)) * inverse;
      sum.value.row(0)[c] += term;
      sum.variance.row(0)[c] += rounding * term * term;
    }
  }
  return sum;
}

}  // namespace moehill
