// Tests of the gradients around experts with another width than the model's, against finite differences. The
// loss comes from the block in double precision, written here for one token at a time.
#include <gtest/gtest.h>

#include <cmath>

#include "moehill/api/run_fixture.h"

namespace moehill {
namespace {

using Numbers = std::vector<double>;

// The numbers of a step, each tensor row-major, an expert after the other.
struct Values {
  Numbers x, w1, w3, w2, s1, s3, s2, down, up, norm, p;
};

Numbers numbers_of(const MatView& m) {
  Numbers numbers;
  for (int64_t r = 0; r < m.rows; ++r)
    for (int64_t c = 0; c < m.cols; ++c) numbers.push_back(static_cast<double>(m.at(r, c)));
  return numbers;
}

Numbers numbers_of(const LogicalWeights& w) {
  Numbers numbers;
  for (int64_t g = 0; g < w.stack.num_groups; ++g)
    for (int64_t r = 0; r < w.rows(); ++r)
      for (int64_t c = 0; c < w.num_columns; ++c) numbers.push_back(static_cast<double>(w.at(g, r, c)));
  return numbers;
}

Values values_of(const MatView& x, const BlockWeights& w, std::span<const float> p) {
  return {numbers_of(x),           numbers_of(w.w1),          numbers_of(w.w3),    numbers_of(w.w2),
          numbers_of(w.s1),        numbers_of(w.s3),          numbers_of(w.s2),    numbers_of(w.latent_down),
          numbers_of(w.latent_up), numbers_of(w.latent_norm), {p.begin(), p.end()}};
}

// Returns row [m] times matrix number `group` of a stack of [m, n], or times the transpose of a matrix [n,
// m].
Numbers times(const Numbers& row, const Numbers& stack, size_t n, size_t group = 0, bool transposed = false) {
  const size_t m = row.size();
  Numbers out(n);
  for (size_t i = 0; i < m; ++i)
    for (size_t j = 0; j < n; ++j)
      out[j] += row[i] * stack[group * m * n + (transposed ? j * m + i : i * n + j)];
  return out;
}

Numbers swiglu(const Numbers& g, const Numbers& u) {
  Numbers h;
  for (size_t i = 0; i < g.size(); ++i) h.push_back(g[i] / (1 + std::exp(-g[i])) * u[i]);
  return h;
}

class Block {
 public:
  explicit Block(const BlockTensors& t) : shape_(t.shape), expert_(t.routing->expert) {}

  // Returns mean(y^2) over T H. `held_rms` plants a fault: a norm that does not change with its row.
  double loss(const Values& v, bool held_rms = false) {
    const size_t hidden = size(shape_.hidden), latent = size(shape_.form.latent), k = size(shape_.topk);
    double sum = 0;
    for (size_t t = 0; t < size(shape_.tokens); ++t) {
      const Numbers x(v.x.begin() + offset(t * hidden), v.x.begin() + offset((t + 1) * hidden));
      const Numbers z = times(x, v.down, latent);
      Numbers r(latent);
      for (size_t a = t * k; a < (t + 1) * k; ++a) {
        const size_t e = size(expert_[a]), width = size(shape_.mlp_dim);
        const Numbers out =
            times(swiglu(times(z, v.w1, width, e), times(z, v.w3, width, e)), v.w2, latent, e);
        for (size_t c = 0; c < latent; ++c) r[c] += v.p[a] * out[c];
      }
      if (shape_.form.latent_norm > 0) normalize(t, r, v.norm, held_rms);
      Numbers y = times(r, v.up, hidden, 0, true);
      const size_t width = size(shape_.shared_dim);
      const Numbers shared =
          times(swiglu(times(x, v.s1, width), times(x, v.s3, width)), v.s2, width > 0 ? hidden : 0);
      for (size_t h = 0; h < shared.size(); ++h) y[h] += shared[h];
      for (const double value : y) sum += value * value;
    }
    return sum / static_cast<double>(shape_.tokens * shape_.hidden);
  }

  // Returns central differences with respect to the numbers of one tensor.
  Numbers slopes(Values v, Numbers Values::*tensor, bool held_rms = false) {
    constexpr double kStep = 1e-5;
    rms_.clear();
    if (held_rms) loss(v);  // notes what is held
    Numbers slopes;
    for (double& number : v.*tensor) {
      const double value = number;
      number = value + kStep;
      const double above = loss(v, held_rms);
      number = value - kStep;
      slopes.push_back((above - loss(v, held_rms)) / (2 * kStep));
      number = value;
    }
    return slopes;
  }

 private:
  static size_t size(int64_t n) { return static_cast<size_t>(n); }
  static ptrdiff_t offset(size_t n) { return static_cast<ptrdiff_t>(n); }

  void normalize(size_t token, Numbers& r, const Numbers& weight, bool held_rms) {
    double squares = 0;
    for (const double value : r) squares += value * value;
    double rms = std::sqrt(squares / static_cast<double>(r.size()) + shape_.form.latent_norm);
    if (held_rms) rms = rms_[token];
    if (rms_.size() == token) rms_.push_back(rms);
    for (size_t c = 0; c < r.size(); ++c) r[c] = r[c] / rms * weight[c];
  }

  const MoeShape shape_;
  const std::vector<int32_t> expert_;
  Numbers rms_;  // [T]
};

double relative_error(const Numbers& values, const Numbers& reference) {
  EXPECT_EQ(values.size(), reference.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(values[i] - reference[i], 2);
    norm += reference[i] * reference[i];
  }
  EXPECT_GT(norm, 0);
  return std::sqrt(error / norm);
}

constexpr double kTolerance = 1e-5;  // of f32

class LatentSlopesTest : public RunFixture {
 protected:
  static RunConfig config_of(const char* form, int64_t shared, Spread path) {
    RunConfig config{.shape = {5, 7, 11, 4, 2, shared, DType::f32}};
    config.shape.form = parse_expert_form(form);
    config.spread = path;
    config.num_devices = path == Spread::none ? 1 : 3;
    return config;
  }
  static Values gradients(const BlockTensors& t) {
    return values_of(t.dx, t.gradients, {t.dp, static_cast<size_t>(t.shape.assignments())});
  }
};

TEST_F(LatentSlopesTest, GradientsAreTheSlopesOfTheLoss) {
  struct Named {
    const char* name;
    Numbers Values::*tensor;
  };
  const Named tensors[] = {{"dx", &Values::x},       {"dw1", &Values::w1},     {"dw3", &Values::w3},
                           {"dw2", &Values::w2},     {"ds1", &Values::s1},     {"ds3", &Values::s3},
                           {"ds2", &Values::s2},     {"ddown", &Values::down}, {"dup", &Values::up},
                           {"dnorm", &Values::norm}, {"dp", &Values::p}};
  for (const char* form :
       {"silu,latent:3", "silu,latent:6,latent-norm:1e-05", "silu,latent:13,latent-norm:0.1"}) {
    for (const int64_t shared : {0, 9}) {
      for (const Spread path : {Spread::none, Spread::ring_ag_rs, Spread::fused}) {
        const auto run = step(config_of(form, shared, path));
        const BlockTensors t = run->tensors();
        const Values values = values_of(t.x, t.weights, t.routing->weight), gradient = gradients(t);
        Block block(t);
        for (const auto& [name, tensor] : tensors) {
          if ((values.*tensor).empty()) continue;
          EXPECT_LT(relative_error(gradient.*tensor, block.slopes(values, tensor)), kTolerance)
              << name << " of " << form << ", " << shared << ", " << name_of(path);
        }
      }
    }
  }
}

TEST_F(LatentSlopesTest, SeePlantedFaults) {
  const auto run = step(config_of("silu,latent:6,latent-norm:1e-05", 9, Spread::none));
  const BlockTensors t = run->tensors();
  const Values values = values_of(t.x, t.weights, t.routing->weight);
  Block block(t);
  for (Numbers Values::*tensor : {&Values::down, &Values::up, &Values::norm}) {
    const Numbers slopes = block.slopes(values, tensor);
    Values gradient = gradients(t);
    (gradient.*tensor)[5] *= 1.01;  // of one number
    EXPECT_GT(relative_error(gradient.*tensor, slopes), kTolerance);
    gradient = gradients(t);
    for (double& number : gradient.*tensor) number *= 1.0001;  // of a factor
    EXPECT_GT(relative_error(gradient.*tensor, slopes), kTolerance);
  }
  // Planted fault: a norm's gradient without the part that goes through its own mean.
  EXPECT_GT(relative_error(gradients(t).down, block.slopes(values, &Values::down, true)), 100 * kTolerance);
  // Planted fault: the way back uses a matrix that is not transposed.
  Numbers turned(values.up.size());
  for (size_t i = 0; i < 7; ++i)
    for (size_t j = 0; j < 6; ++j) turned[j * 7 + i] = gradients(t).up[i * 6 + j];
  EXPECT_GT(relative_error(turned, block.slopes(values, &Values::up)), 100 * kTolerance);
}

}  // namespace
}  // namespace moehill
