// This header has the block in plain loops of double precision, the reference for tests of the public
// interface. It was written from the documentation of moehill.h and shares nothing with the library, not even
// a type. It is slow, and is not for use in a program.
//
//     plain::Moe moe;
//     moe.sizes = {H, M, E, k, 0};            // no shared expert
//     moe.experts.push_back({gate, up, down});   // [M, H], [M, H], [H, M]; one for each expert
//     const plain::Result r = moe.run(tokens, x, ids, gates, &dy);   // r.y, r.dx, r.d_gates, r.d_experts
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace plain {

using Values = std::vector<double>;

inline uint16_t to_bf16(double value) {
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}
inline double from_bf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

// Tensor is memory of a caller: f32 or bf16, beginning at any multiple of an element.
class Tensor {
 public:
  Tensor() = default;
  Tensor(size_t n, bool bf16, size_t skipped = 0)
      : n_(n), bf16_(bf16), skipped_(skipped), bytes_((n + skipped) * width()) {}
  size_t size() const { return n_; }
  void* data() { return bytes_.data() + skipped_ * width(); }
  const void* data() const { return bytes_.data() + skipped_ * width(); }
  double at(size_t i) const {
    if (bf16_) {
      uint16_t bits = 0;
      std::memcpy(&bits, bytes_.data() + (i + skipped_) * 2, 2);
      return from_bf16(bits);
    }
    float value = 0;
    std::memcpy(&value, bytes_.data() + (i + skipped_) * 4, 4);
    return static_cast<double>(value);
  }
  void set(size_t i, double value) {
    if (bf16_) {
      const uint16_t bits = to_bf16(value);
      std::memcpy(bytes_.data() + (i + skipped_) * 2, &bits, 2);
    } else {
      const float narrow = static_cast<float>(value);
      std::memcpy(bytes_.data() + (i + skipped_) * 4, &narrow, 4);
    }
  }
  Values values() const {
    Values v(n_);
    for (size_t i = 0; i < n_; ++i) v[i] = at(i);
    return v;
  }

 private:
  size_t width() const { return bf16_ ? 2 : 4; }
  size_t n_ = 0;
  bool bf16_ = false;
  size_t skipped_ = 0;
  std::vector<unsigned char> bytes_;
};

inline void fill(Tensor& t, std::mt19937& random, double deviation) {
  std::normal_distribution<double> normal(0, deviation);
  for (size_t i = 0; i < t.size(); ++i) t.set(i, normal(random));
}

struct Sizes {
  int64_t hidden = 1, width = 1, experts = 1, topk = 1, shared = 0;
};

// Form says what an expert computes from its first products; moehill.h has the formulas.
struct Form {
  enum Activation { silu, swiglu_oai, gelu_tanh, relu2, situ } activation = silu;
  bool gated = true;
  double limit = 0, alpha = 1.702, beta = 4, linear_beta = 25;
  bool input_weighted = false;
};

// Returns h for g and u. T may be complex: if an argument has a tiny imaginary part, then the imaginary part
// of h divided by it is the derivative, exact to the last digit (complex-step differentiation).
template <typename T>
T activate(const Form& f, T g, T u) {
  const double pi = 3.14159265358979323846;
  const auto sigmoid = [](T z) { return 1.0 / (1.0 + std::exp(-z)); };
  if (f.limit > 0 && std::real(g) > f.limit) g = f.limit;
  if (f.limit > 0 && std::fabs(std::real(u)) > f.limit) u = std::real(u) > 0 ? f.limit : -f.limit;
  if (!f.gated) u = 1.0;
  switch (f.activation) {
    case Form::silu:
      return g * sigmoid(g) * u;
    case Form::swiglu_oai:
      return g * sigmoid(f.alpha * g) * (u + 1.0);
    case Form::gelu_tanh:
      return 0.5 * g * (1.0 + std::tanh(std::sqrt(2 / pi) * (g + 0.044715 * g * g * g))) * u;
    case Form::relu2:
      return std::real(g) > 0 ? g * g * u : T(0);
    case Form::situ:
      return f.beta * std::tanh(g / f.beta) * sigmoid(g) * f.linear_beta * std::tanh(u / f.linear_beta);
  }
  return T(0);
}

// Mlp is the weights of one expert, stored [out, in]: gate and up [width, hidden], down [hidden, width]. `up`
// is empty if the expert is not gated. The biases [width], [width] and [hidden] and the shared expert's gate
// [hidden] are empty if there are none.
struct Mlp {
  Values gate, up, down;
  Values gate_bias{}, up_bias{}, down_bias{}, shared_gate{};

  Mlp zeros() const {
    Mlp z = *this;
    for (Values* v : {&z.gate, &z.up, &z.down, &z.gate_bias, &z.up_bias, &z.down_bias, &z.shared_gate})
      std::fill(v->begin(), v->end(), 0.0);
    return z;
  }
};

// Result has the results of a step. Gradients of weights have the shape of the weights.
struct Result {
  Values y, dx, d_gates;
  std::vector<Mlp> d_experts;
  Mlp d_shared;
};

// Moe is a whole block: experts, the shared expert, and a step over some tokens.
class Moe {
 public:
  Sizes sizes;
  Form form{};
  std::vector<Mlp> experts;
  Mlp shared;

  // Runs a step: x and dy are [tokens, hidden], ids and gates [tokens, k]. Without dy only y is computed. An
  // id below 0 is a choice that no expert gets, and an id from experts.size() on is a zero expert, which
  // returns its input.
  Result run(int64_t tokens, const Values& x, const std::vector<int32_t>& ids,
             const std::vector<float>& gates, const Values* dy) const {
    Result r;
    const auto n = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
    r.y.resize(n(tokens, sizes.hidden));
    r.dx.resize(r.y.size());
    r.d_gates.resize(n(tokens, sizes.topk));
    for (const Mlp& m : experts) r.d_experts.push_back(m.zeros());
    r.d_shared = shared.zeros();
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t j = 0; j < sizes.topk; ++j) {
        const size_t i = static_cast<size_t>(t * sizes.topk + j);
        if (ids[i] < 0) continue;
        const size_t e = static_cast<size_t>(ids[i]);
        if (e >= experts.size()) {  // a zero expert
          r.d_gates[i] = add_token(x, t, static_cast<double>(gates[i]), dy, r);
          continue;
        }
        r.d_gates[i] =
            add(experts[e], sizes.width, x, t, static_cast<double>(gates[i]), dy, r, r.d_experts[e]);
      }
      if (sizes.shared > 0) add_shared(x, t, dy, r);
    }
    return r;
  }

 private:
  // Adds p times the token itself to y, as a zero expert does. Returns the gradient of p.
  double add_token(const Values& x, int64_t t, double p, const Values* dy, Result& r) const {
    double dot = 0;
    for (int64_t c = t * sizes.hidden; c < (t + 1) * sizes.hidden; ++c) {
      const size_t i = static_cast<size_t>(c);
      r.y[i] += p * x[i];
      if (dy == nullptr) continue;
      r.dx[i] += p * (*dy)[i];
      dot += x[i] * (*dy)[i];
    }
    return dot;
  }

  void add_shared(const Values& x, int64_t t, const Values* dy, Result& r) const {
    const Values& v = shared.shared_gate;
    const size_t row = static_cast<size_t>(t * sizes.hidden);
    double z = 0;
    for (size_t c = 0; c < v.size(); ++c) z += v[c] * x[row + c];
    const double p = v.empty() ? 1 : 1 / (1 + std::exp(-z));
    const double dz = add(shared, sizes.shared, x, t, p, dy, r, r.d_shared, false) * p * (1 - p);
    for (size_t c = 0; c < v.size() && dy != nullptr; ++c) {
      r.dx[row + c] += dz * v[c];
      r.d_shared.shared_gate[c] += dz * x[row + c];
    }
  }

  // Adds p times MLP(x) to row t of y, or MLP(p x) if the form weighs inputs, and adds the gradients. Returns
  // the gradient of p.
  double add(const Mlp& m, int64_t width, const Values& all, int64_t t, double p, const Values* dy, Result& r,
             Mlp& d, bool routed = true) const {
    const size_t hidden = static_cast<size_t>(sizes.hidden), w = static_cast<size_t>(width);
    const size_t row = static_cast<size_t>(t) * hidden;
    const double in = routed && form.input_weighted ? p : 1, out = routed && form.input_weighted ? 1 : p;
    const auto at = [](const Values& v, size_t i) { return v.empty() ? 0.0 : v[i]; };
    double dot_out = 0, dot_in = 0;
    Values x(all.begin() + static_cast<int64_t>(row), all.begin() + static_cast<int64_t>(row + hidden));
    for (double& value : x) value *= in;
    Values h(w), a(w), b(w);
    for (size_t i = 0; i < w; ++i) {
      a[i] = at(m.gate_bias, i);
      b[i] = at(m.up_bias, i);
      for (size_t c = 0; c < hidden; ++c) {
        a[i] += m.gate[i * hidden + c] * x[c];
        if (form.gated) b[i] += m.up[i * hidden + c] * x[c];
      }
      h[i] = activate(form, a[i], b[i]);
    }
    for (size_t c = 0; c < hidden; ++c) {
      double o = at(m.down_bias, c);
      for (size_t i = 0; i < w; ++i) o += m.down[c * w + i] * h[i];
      r.y[row + c] += out * o;
      if (dy == nullptr) continue;
      dot_out += (*dy)[row + c] * o;
      if (!m.down_bias.empty()) d.down_bias[c] += out * (*dy)[row + c];
    }
    if (dy == nullptr) return 0;
    for (size_t i = 0; i < w; ++i) {
      double dh = 0;
      for (size_t c = 0; c < hidden; ++c) {
        const double g = out * (*dy)[row + c];
        dh += g * m.down[c * w + i];
        d.down[c * w + i] += g * h[i];
      }
      // The slopes of the activation come from complex steps, so no formula of a derivative can be wrong
      // here.
      using Complex = std::complex<double>;
      const double tiny = 1e-100;
      const double da = dh * std::imag(activate(form, Complex(a[i], tiny), Complex(b[i]))) / tiny;
      const double db =
          form.gated ? dh * std::imag(activate(form, Complex(a[i]), Complex(b[i], tiny))) / tiny : 0;
      if (!m.gate_bias.empty()) d.gate_bias[i] += da;
      if (!m.up_bias.empty()) d.up_bias[i] += db;
      for (size_t c = 0; c < hidden; ++c) {
        d.gate[i * hidden + c] += da * x[c];
        if (form.gated) d.up[i * hidden + c] += db * x[c];
        const double dx = da * m.gate[i * hidden + c] + (form.gated ? db * m.up[i * hidden + c] : 0);
        r.dx[row + c] += in * dx;
        dot_in += dx * all[row + c];
      }
    }
    return routed && form.input_weighted ? dot_in : dot_out;
  }
};

// Returns the largest difference, relative to the largest expected value. NaN counts as infinite.
inline double difference(const Values& got, const Values& expected) {
  double worst = 0, scale = 0;
  for (const double e : expected) scale = std::max(scale, std::fabs(e));
  if (got.size() != expected.size()) return INFINITY;
  for (size_t i = 0; i < got.size(); ++i) {
    const double d = std::fabs(got[i] - expected[i]);
    if (!(d <= worst)) worst = std::isnan(d) ? INFINITY : d;
  }
  return scale > 0 ? worst / scale : worst;
}

}  // namespace plain
