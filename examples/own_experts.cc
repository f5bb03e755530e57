// Shows how to use experts that the block does not have. The layer y = sum of p * relu(x A_e) B_e is built
// from the exchange of rows (moehill::Exchange) and the grouped products (moehill::Stack), forward and
// backward, and is compared with plain loops. Gradients of A and B are left out; Stack::take_weight_grad()
// computes them.
//
//     own_experts 4            # four devices in this process
//     mpirun -n 2 own_experts  # built with EXAMPLE_MPI: one device in each process
#include <cstdio>
#include <random>

#include "job.h"
#include "moehill/moehill.hpp"
#include "plain_moe.h"

namespace {

constexpr int64_t H = 24, M = 40, kTokens = 50;
constexpr int E = 6, k = 2;

std::vector<float> normal(std::mt19937& random, int64_t n, float deviation) {
  std::normal_distribution<float> draw(0, deviation);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = draw(random);
  return values;
}

// Returns in [m] W [m, n], or in [m] times the transpose of W [n, m].
plain::Values product(const plain::Values& in, const float* w, size_t n, bool transposed) {
  plain::Values out(n);
  for (size_t j = 0; j < n; ++j) {
    for (size_t i = 0; i < in.size(); ++i)
      out[j] += in[i] * static_cast<double>(transposed ? w[j * in.size() + i] : w[i * n + j]);
  }
  return out;
}

bool run(const Job& job) {
  const moehill::Context context = job.context();
  moehill::Exchange exchange(
      context, {.hidden = H, .experts = E, .topk = k, .max_tokens = kTokens, .dtype = moehill::DType::f32});
  std::mt19937 random(7);
  const std::vector<float> a = normal(random, E * H * M, 0.2f), b = normal(random, E * M * H, 0.2f);
  const std::vector<float> x = normal(random, kTokens * H, 1), dy = normal(random, kTokens * H, 1);
  const std::vector<float> gates = normal(random, kTokens * k, 1);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < kTokens * k; ++i) ids.push_back(static_cast<int32_t>(random() % E));

  // Each process has the matrices of its own experts, to which the exchange brings rows. A stack has at least
  // one matrix, so there may be at most E processes.
  const int begin = exchange.first_expert(), count = exchange.num_experts();
  moehill::Stack first(context, count, H, M, moehill::DType::f32),
      second(context, count, M, H, moehill::DType::f32);
  first.load(0, count, a.data() + begin * H * M, moehill::DType::f32, moehill::Order::in_out);
  second.load(0, count, b.data() + begin * M * H, moehill::DType::f32, moehill::Order::in_out);

  // The plan decides which rows each device receives. It holds until the next plan.
  exchange.plan(kTokens, ids.data(), gates.data());
  const int64_t n = exchange.num_rows();
  const int64_t* offsets = exchange.offsets().data();
  std::vector<float> rows(static_cast<size_t>(n * H)), h(static_cast<size_t>(n * M)), out(rows.size()),
      y(x.size());
  // Forward: rows go to their experts, pass two grouped products with a ReLU between them, and come back as
  // sums weighted by the gate values. `offsets` says where the rows of each expert begin.
  exchange.dispatch(x.data(), rows.data());
  first.forward(offsets, {rows.data(), n, nullptr}, h.data());
  for (float& v : h) v = v > 0 ? v : 0;
  second.forward(offsets, {h.data(), n, nullptr}, out.data());
  exchange.combine(out.data(), y.data());

  std::vector<float> d_out(rows.size()), d_h(h.size()), d_rows(rows.size()), dx(x.size()),
      d_gates(gates.size());
  // Backward takes the same way in reverse. The gradient of a gate value needs the output of the expert, so
  // the program has kept `out`.
  exchange.combine_backward(dy.data(), out.data(), d_out.data(), d_gates.data());
  second.input_grad(offsets, {d_out.data(), n, nullptr}, d_h.data());
  for (size_t i = 0; i < h.size(); ++i) d_h[i] = h[i] > 0 ? d_h[i] : 0;
  first.input_grad(offsets, {d_h.data(), n, nullptr}, d_rows.data());
  exchange.dispatch_backward(d_rows.data(), dx.data());

  // These are the expected values, one choice of one token after the other. Only the rounding of f32 may
  // differ.
  plain::Values expected_y(x.size()), expected_dx(x.size()), expected_gates(gates.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    const size_t row = i / k * H, e = static_cast<size_t>(ids[i]);
    const double p = static_cast<double>(gates[i]);
    const plain::Values in(x.begin() + static_cast<ptrdiff_t>(row),
                           x.begin() + static_cast<ptrdiff_t>(row + H));
    plain::Values hidden = product(in, a.data() + e * H * M, M, false), gradient;
    for (double& v : hidden) v = std::max(v, 0.0);
    const plain::Values o = product(hidden, b.data() + e * M * H, H, false);
    for (size_t c = 0; c < H; ++c) {
      const double g = static_cast<double>(dy[row + c]);
      expected_y[row + c] += p * o[c];
      expected_gates[i] += g * o[c];
      gradient.push_back(p * g);
    }
    plain::Values d_hidden = product(gradient, b.data() + e * M * H, M, true);
    for (size_t m = 0; m < M; ++m) d_hidden[m] = hidden[m] > 0 ? d_hidden[m] : 0;
    const plain::Values d_in = product(d_hidden, a.data() + e * H * M, H, true);
    for (size_t c = 0; c < H; ++c) expected_dx[row + c] += d_in[c];
  }
  const auto difference = [](const std::vector<float>& got, const plain::Values& expected) {
    return plain::difference(plain::Values(got.begin(), got.end()), expected);
  };
  const double worst =
      std::max({difference(y, expected_y), difference(dx, expected_dx), difference(d_gates, expected_gates)});
  std::printf("largest difference of y, dx and d_gates: %.1e\n", worst);
  return worst < 1e-5;
}

}  // namespace

int main(int argc, char** argv) {
  const Job job(argc, argv);
  try {
    return run(job) ? 0 : 1;
  } catch (const moehill::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
