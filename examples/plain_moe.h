// The block in plain loops of double, for tests of the public interface: written from its documentation
// alone, and sharing nothing with the library, not even a type.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
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

// A tensor in the caller's memory, f32 or bf16, at any multiple of an element.
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

// One gated MLP, out-in: gate, up [width, hidden], down [hidden, width].
struct Mlp {
  Values gate, up, down;
};

// dW has the form of W.
struct Result {
  Values y, dx, d_gates;
  std::vector<Mlp> d_experts;
  Mlp d_shared;
};

class Moe {
 public:
  Sizes sizes;
  std::vector<Mlp> experts;
  Mlp shared;

  // tokens rows of x and dy; ids and gates [tokens, k]. Without dy: y alone.
  Result run(int64_t tokens, const Values& x, const std::vector<int32_t>& ids,
             const std::vector<float>& gates, const Values* dy) const {
    Result r;
    const auto n = [](int64_t a, int64_t b) { return static_cast<size_t>(a * b); };
    r.y.resize(n(tokens, sizes.hidden));
    r.dx.resize(r.y.size());
    r.d_gates.resize(n(tokens, sizes.topk));
    for (const Mlp& m : experts)
      r.d_experts.push_back({Values(m.gate.size()), Values(m.up.size()), Values(m.down.size())});
    r.d_shared = {Values(shared.gate.size()), Values(shared.up.size()), Values(shared.down.size())};
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t j = 0; j < sizes.topk; ++j) {
        const size_t i = static_cast<size_t>(t * sizes.topk + j);
        if (ids[i] < 0) continue;
        const size_t e = static_cast<size_t>(ids[i]);
        r.d_gates[i] =
            add(experts[e], sizes.width, x, t, static_cast<double>(gates[i]), dy, r, r.d_experts[e]);
      }
      if (sizes.shared > 0) (void)add(shared, sizes.shared, x, t, 1.0, dy, r, r.d_shared);
    }
    return r;
  }

 private:
  // Adds p times the MLP of row t, and the gradients of that. Returns <dy, o>.
  double add(const Mlp& m, int64_t width, const Values& x, int64_t t, double p, const Values* dy, Result& r,
             Mlp& d) const {
    const size_t hidden = static_cast<size_t>(sizes.hidden), w = static_cast<size_t>(width);
    const size_t row = static_cast<size_t>(t) * hidden;
    double dot = 0;
    Values h(w), a(w), b(w);
    for (size_t i = 0; i < w; ++i) {
      for (size_t c = 0; c < hidden; ++c) {
        a[i] += m.gate[i * hidden + c] * x[row + c];
        b[i] += m.up[i * hidden + c] * x[row + c];
      }
      h[i] = a[i] / (1 + std::exp(-a[i])) * b[i];
    }
    for (size_t c = 0; c < hidden; ++c) {
      double o = 0;
      for (size_t i = 0; i < w; ++i) o += m.down[c * w + i] * h[i];
      r.y[row + c] += p * o;
      if (dy != nullptr) dot += (*dy)[row + c] * o;
    }
    if (dy == nullptr) return 0;
    for (size_t i = 0; i < w; ++i) {
      double dh = 0;
      for (size_t c = 0; c < hidden; ++c) {
        const double g = p * (*dy)[row + c];
        dh += g * m.down[c * w + i];
        d.down[c * w + i] += g * h[i];
      }
      const double s = 1 / (1 + std::exp(-a[i]));
      const double da = dh * b[i] * s * (1 + a[i] * (1 - s)), db = dh * a[i] * s;
      for (size_t c = 0; c < hidden; ++c) {
        d.gate[i * hidden + c] += da * x[row + c];
        d.up[i * hidden + c] += db * x[row + c];
        r.dx[row + c] += da * m.gate[i * hidden + c] + db * m.up[i * hidden + c];
      }
    }
    return dot;
  }
};

// The largest difference, relative to the largest value that is expected. NaN counts as infinite.
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
