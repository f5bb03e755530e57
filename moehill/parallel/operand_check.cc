// Implementation of parallel/operand_check.h. A DrawnMatrix knows how the numbers of one matrix are made; a
// MatrixList lists all matrices of a block.
#include "moehill/parallel/operand_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/parallel/other_operands.h"
#include "moehill/weights/source_matrix.h"

namespace moehill {
namespace {

// At most this many numbers of a row or column are compared with a file.
constexpr int64_t kFilePlaces = 64;
// This many numbers of x are made and compared together, so that they stay in the first cache.
constexpr int64_t kTokenNumbers = 1024;
// A file decodes this many columns together (decode_row()).
constexpr int64_t kDecoded = 32;

// Numbers makes the numbers of one row of a matrix, in the given columns.
using Numbers = std::function<void(int64_t row, Range columns, float* out)>;

// DrawnMatrix is a matrix in memory and what makes its numbers.
struct DrawnMatrix {
  std::string name;
  LogicalWeights weights;
  int64_t group;  // its place in the stack
  Numbers numbers;
  int64_t max_places;  // the most numbers of a row or column that are compared
  bool is_router = false;
};

bool same_bits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

float number_of_file(const SourceMatrix& source, int64_t row, int64_t column) {
  float block[kDecoded] = {};
  const int64_t begin = column / kDecoded * kDecoded;
  decode_row(source, row, begin, std::min(kDecoded, source.columns.count - begin), block);
  return block[column - begin];
}

// Compares drawn lines of one matrix.
class LineCheck {
 public:
  LineCheck(const DrawnMatrix& matrix, bool others) : m_(matrix), others_(others) {}

  std::string row_fault(int64_t k) const {
    const int64_t columns = m_.weights.num_columns, step = step_of(columns);
    std::vector<float> values(static_cast<size_t>(columns));
    if (step == 1) m_.numbers(k, {0, columns}, values.data());
    for (int64_t n = 0; n < columns; n += step) {
      float& value = values[static_cast<size_t>(n)];
      if (step > 1) m_.numbers(k, {n, n + 1}, &value);
      if (!is_stored(k, n, value)) return fault(k, n, value);
    }
    return "";
  }

  std::string column_fault(int64_t n) const {
    for (int64_t k = 0; k < m_.weights.rows(); k += step_of(m_.weights.rows())) {
      float value = 0;
      m_.numbers(k, {n, n + 1}, &value);
      if (!is_stored(k, n, value)) return fault(k, n, value);
    }
    return "";
  }

 private:
  int64_t step_of(int64_t length) const { return (length + m_.max_places - 1) / m_.max_places; }
  float stored(int64_t k, int64_t n) const { return m_.weights.at(m_.group, k, n); }
  // Returns the number that belongs in memory if the file or the seed has `value`.
  float expected(int64_t k, int64_t n, float value) const {
    const WeightView& stack = m_.weights.stack;
    const float rounded = rounded_to(stack.dtype, value);
    if (!others_) return rounded;
    if (m_.is_router) return kOtherRouterWeights * rounded;
    return has_other_sign(stack.index(0, k, m_.weights.column(n))) ? -rounded : rounded;
  }
  bool is_stored(int64_t k, int64_t n, float value) const {
    return same_bits(stored(k, n), expected(k, n, value));
  }
  std::string fault(int64_t k, int64_t n, float value) const {
    return fmt::format("{} is not what it was to be filled with: row {} column {} is {:g}, {:g} expected",
                       m_.name, k, n, stored(k, n), expected(k, n, value));
  }

  const DrawnMatrix& m_;
  const bool others_;
};

// MatrixList lists the matrices of a block that this process holds.
class MatrixList {
 public:
  MatrixList(const WeightOperands& weights, const WeightOrigin& origin)
      : weights_(weights), key_(weights.key), origin_(origin) {}

  std::vector<DrawnMatrix> list(Range places) {
    for (int64_t p = places.begin; p < places.end; ++p) add_expert(p);
    add_shared();
    add_latent();
    add_router();
    return std::move(matrices_);
  }

 private:
  // Weights have the deviation 1/sqrt(inputs).
  static float of_inputs(int64_t inputs) {
    return static_cast<float>(1.0 / std::sqrt(static_cast<double>(inputs)));
  }

  void add(std::string name, const LogicalWeights& w, int64_t group, Numbers numbers, int64_t max_places) {
    if (w.stack.data != nullptr)
      matrices_.push_back({std::move(name), w, group, std::move(numbers), max_places, false});
  }
  // `index` is the number of the matrix among all matrices of its tensor.
  void add_seeded(std::string name, const LogicalWeights& w, int64_t group, Stream stream, float deviation,
                  int64_t index) {
    const int64_t rows = w.rows(), columns = w.num_columns;
    const uint32_t seed = origin_.seed;
    const auto numbers = [=](int64_t k, Range part, float* out) {
      const int64_t first = (index * rows + k) * columns + part.begin;
      random_row(seed, stream, static_cast<uint64_t>(first), part.size(), deviation, out);
    };
    add(std::move(name), w, group, numbers, INT64_MAX / 2);
  }
  // A source without bytes is a matrix that the file does not have.
  void add_filed(std::string name, const LogicalWeights& w, int64_t group, const SourceMatrix* source,
                 bool inputs_first) {
    if (source == nullptr || source->bytes.empty()) return;
    const auto numbers = [=](int64_t k, Range part, float* out) {
      for (int64_t n = part.begin; n < part.end; ++n)
        *out++ = inputs_first ? number_of_file(*source, k, n) : number_of_file(*source, n, k);
    };
    add(std::move(name), w, group, numbers, kFilePlaces);
  }

  void add_expert(int64_t place) {
    const int64_t expert = key_.placement.empty() ? place : key_.placement[static_cast<size_t>(place)];
    const int64_t group = place - weights_.held.begin;
    LogicalWeights w1, w3, w2;
    set_logical(weights_.experts.view, key_.mlp_dim, w1, w3, w2);
    BlockWeights v;
    set_vectors(weights_.experts.view, weights_.shared.view, v);
    const auto name = [&](const char* tensor) { return fmt::format("{} of expert {}", tensor, expert); };
    if (origin_.layer != nullptr) {
      const MlpSource& file = origin_.layer->source_of_expert(expert);
      add_filed(name("w1"), w1, group, &file.gate, file.gate.inputs_first);
      add_filed(name("w3"), w3, group, &file.up, file.up.inputs_first);
      add_filed(name("w2"), w2, group, &file.down, file.down.inputs_first);
      add_filed(name("b1"), v.b1, group, &file.gate_bias, true);
      add_filed(name("b3"), v.b3, group, &file.up_bias, true);
      return add_filed(name("b2"), v.b2, group, &file.down_bias, true);
    }
    const float up = of_inputs(key_.expert_hidden()), down = of_inputs(key_.mlp_dim);
    add_seeded(name("w1"), w1, group, Stream::kW1, up, expert);
    add_seeded(name("w3"), w3, group, Stream::kW3, up, expert);
    add_seeded(name("w2"), w2, group, Stream::kW2, down, expert);
    add_seeded(name("b1"), v.b1, group, Stream::kB1, kBiasDeviation, expert);
    add_seeded(name("b3"), v.b3, group, Stream::kB3, kBiasDeviation, expert);
    add_seeded(name("b2"), v.b2, group, Stream::kB2, kBiasDeviation, expert);
  }

  void add_shared() {
    if (key_.shared_dim == 0) return;
    LogicalWeights s1, s3, s2;
    set_logical(weights_.shared.view, key_.shared_dim, s1, s3, s2);
    BlockWeights v;
    set_vectors(weights_.experts.view, weights_.shared.view, v);
    if (origin_.layer != nullptr) {
      const LayerSources file = origin_.layer->sources();
      if (file.shared == nullptr) return;
      add_filed("s1", s1, 0, &file.shared->gate, file.shared->gate.inputs_first);
      add_filed("s3", s3, 0, &file.shared->up, file.shared->up.inputs_first);
      add_filed("s2", s2, 0, &file.shared->down, file.shared->down.inputs_first);
      return add_filed("the shared expert's gate", v.sg, 0, file.shared_gate, true);
    }
    const float up = of_inputs(key_.hidden);
    add_seeded("s1", s1, 0, Stream::kS1, up, 0);
    add_seeded("s3", s3, 0, Stream::kS3, up, 0);
    add_seeded("s2", s2, 0, Stream::kS2, of_inputs(key_.shared_dim), 0);
    add_seeded("the shared expert's gate", v.sg, 0, Stream::kSharedGate, up, 0);
  }

  void add_latent() {
    if (key_.form.latent == 0) return;
    BlockWeights w;
    set_latent(weights_.latent.view(), key_.form.latent, w);
    if (origin_.layer != nullptr) {
      const LayerSources file = origin_.layer->sources();
      if (file.latent_down == nullptr || file.latent_up == nullptr) return;
      add_filed("latent_down", w.latent_down, 0, file.latent_down, file.latent_down->inputs_first);
      add_filed("latent_up", w.latent_up, 0, file.latent_up, file.latent_up->inputs_first);
      return add_filed("latent_norm", w.latent_norm, 0, file.latent_norm, true);
    }
    add_seeded("latent_down", w.latent_down, 0, Stream::kLatentDown, of_inputs(key_.hidden), 0);
    add_seeded("latent_up", w.latent_up, 0, Stream::kLatentUp, of_inputs(key_.form.latent), 0);
    add_seeded("latent_norm", w.latent_norm, 0, Stream::kLatentNorm, 1.0f, 0);
  }

  void add_router() {
    if (key_.router_logits == 0) return;
    const LogicalWeights w{weights_.router, LogicalWeights::Part::all, key_.router_logits};
    const size_t before = matrices_.size();
    if (origin_.layer == nullptr) {
      add_seeded("the router's W_g", w, 0, Stream::kRouterWeights, of_inputs(key_.hidden), 0);
    } else {
      // The file has a row for each logit.
      add_filed("the router's W_g", w, 0, origin_.layer->sources().router, false);
    }
    for (size_t i = before; i < matrices_.size(); ++i) matrices_[i].is_router = true;
  }

  const WeightOperands& weights_;
  const WeightKey& key_;
  const WeightOrigin origin_;
  std::vector<DrawnMatrix> matrices_;
};

// Calls fault_of(i) for each i in [0, n) on the team, and returns the first text that is not empty.
template <typename FaultOf>
std::string first_fault(ThreadTeam& team, int64_t n, const FaultOf& fault_of) {
  std::atomic<int64_t> first{n};
  team.parallel_for(n, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (fault_of(i).empty()) continue;
      int64_t known = first;
      while (i < known && !first.compare_exchange_weak(known, i)) {
      }
      return;
    }
  });
  return first == n ? "" : fault_of(first);
}

// Returns the bits in which a stored number differs from `made` times the factor.
template <typename T>
uint32_t other_bits(T stored, float made, float factor) {
  const float expected = factor * to_f32(from_f32<T>(made));
  return std::bit_cast<uint32_t>(to_f32(stored)) ^ std::bit_cast<uint32_t>(expected);
}

// Returns the first place of [0, n) where a stored number is not `made` times the factor, or n. The first
// loop has no branch, so that the compiler makes vector code of it: all of x is compared in each check.
template <typename T>
int64_t first_other(const T* stored, const float* made, int64_t n, float factor) {
  uint32_t bits = 0;
  for (int64_t i = 0; i < n; ++i) bits |= other_bits(stored[i], made[i], factor);
  int64_t place = bits == 0 ? n : 0;
  while (place < n && other_bits(stored[place], made[place], factor) == 0) ++place;
  return place;
}

}  // namespace

std::string weights_fault(const WeightOperands& weights, Range places, const WeightOrigin& origin,
                          const OperandDraw& draw, ThreadTeam& team) {
  const std::vector<DrawnMatrix> matrices = MatrixList(weights, origin).list(places);
  return first_fault(team, std::ssize(matrices), [&](int64_t i) {
    const DrawnMatrix& m = matrices[static_cast<size_t>(i)];
    const auto [row, column] = threefry(draw.seed, Stream::kOperandCheck, static_cast<uint64_t>(i));
    const LineCheck check(m, draw.others);
    const std::string fault = check.row_fault(row % m.weights.rows());
    return fault.empty() ? check.column_fault(column % m.weights.num_columns) : fault;
  });
}

std::string tokens_fault(const TokenOperands& tokens, Range rows, uint32_t seed, bool others,
                         ThreadTeam& team) {
  const MatView x = tokens.among_all(tokens.x);
  const float factor = others ? kOtherTokens : 1;
  return first_fault(team, rows.size(), [&](int64_t i) -> std::string {
    const int64_t t = rows.begin + i;
    std::array<float, kTokenNumbers> made;
    for (int64_t begin = 0; begin < x.cols; begin += kTokenNumbers) {
      const int64_t count = std::min(kTokenNumbers, x.cols - begin);
      random_row(seed, Stream::kX, static_cast<uint64_t>(t * x.cols + begin), count, 1.0f, made.data());
      const int64_t place = x.dtype == DType::f32
                                ? first_other(x.row<float>(t) + begin, made.data(), count, factor)
                                : first_other(x.row<bf16>(t) + begin, made.data(), count, factor);
      if (place == count) continue;
      return fmt::format("x is not what the seed gives: token {} column {} is {:g}, {:g} expected", t,
                         begin + place, x.at(t, begin + place),
                         factor * rounded_to(x.dtype, made[static_cast<size_t>(place)]));
    }
    return "";
  });
}

}  // namespace moehill
