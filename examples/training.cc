// Shows a training loop: the block learns a function of its rows by plain gradient descent, with gate values
// from a router that learns too. The same loop runs in double precision with plain loops. The example
// succeeds if both losses fall in the same way, for any number of devices or processes.
//
//     training 2         # prints the losses of both loops
#include <cstdio>
#include <random>

#include "job.h"
#include "moehill/moehill.hpp"
#include "plain_moe.h"

namespace {

constexpr int64_t H = 16, M = 24, kTokens = 96, kSteps = 60;
constexpr int E = 8, k = 2;
constexpr double kRate = 2.0;

struct Task {
  std::vector<float> x;               // [T, H]
  std::vector<double> target;         // [T, H]
  std::vector<int32_t> ids;           // [T, k]
  std::vector<double> router;         // [H, E]
  std::vector<double> gate_up, down;  // [E, 2M, H], [E, H, M]
};

Task make_task() {
  std::mt19937 random(3);
  std::normal_distribution<double> draw(0, 1);
  Task task;
  for (int64_t i = 0; i < kTokens * H; ++i) task.x.push_back(static_cast<float>(draw(random)));
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t c = 0; c < H; ++c) {
      const float* const row = task.x.data() + t * H;
      task.target.push_back(std::sin(static_cast<double>(row[c])) +
                            0.5 * static_cast<double>(row[(c + 1) % H]));
    }
    const int32_t expert = static_cast<int32_t>(random() % E);
    task.ids.push_back(expert);
    task.ids.push_back((expert + 1 + static_cast<int32_t>(random() % (E - 1))) % E);
  }
  for (int64_t i = 0; i < H * E; ++i) task.router.push_back(0.1 * draw(random));
  for (int64_t i = 0; i < E * 2 * M * H; ++i) task.gate_up.push_back(draw(random) / 4);
  for (int64_t i = 0; i < E * H * M; ++i) task.down.push_back(draw(random) / 5);
  return task;
}

// Computes the gate values of token t: the softmax over the logits of its k chosen experts, router [H, E].
void gates_of(const Task& task, int64_t t, double* gates) {
  double sum = 0;
  for (int j = 0; j < k; ++j) {
    double logit = 0;
    for (int64_t c = 0; c < H; ++c)
      logit += static_cast<double>(task.x[static_cast<size_t>(t * H + c)]) *
               task.router[static_cast<size_t>(c * E + task.ids[static_cast<size_t>(t * k + j)])];
    sum += gates[j] = std::exp(logit);
  }
  for (int j = 0; j < k; ++j) gates[j] /= sum;
}

// Adds the contribution of dL/dgates to the gradient [H, E] of the router. For a softmax, dL/dlogit_j is
// gate_j (d_gate_j - sum of gate_i d_gate_i).
void add_router_gradient(const Task& task, int64_t t, const double* gates, const double* d_gates,
                         std::vector<double>& gradient) {
  double mean = 0;
  for (int j = 0; j < k; ++j) mean += gates[j] * d_gates[j];
  for (int j = 0; j < k; ++j) {
    for (int64_t c = 0; c < H; ++c)
      gradient[static_cast<size_t>(c * E + task.ids[static_cast<size_t>(t * k + j)])] +=
          static_cast<double>(task.x[static_cast<size_t>(t * H + c)]) * gates[j] * (d_gates[j] - mean);
  }
}

// One step of gradient descent on `count` parameters from `begin` on.
void descend(std::vector<double>& parameters, const double* gradient, size_t begin, size_t count) {
  for (size_t i = 0; i < count; ++i) parameters[begin + i] -= kRate * gradient[i];
}

// Returns the loss L = mean((y - target)^2) and stores its gradient dL/dy in dy.
template <typename T>
double loss_gradient(const Task& task, int64_t begin, const std::vector<T>& y, std::vector<T>& dy) {
  double loss = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double difference = static_cast<double>(y[i]) - task.target[static_cast<size_t>(begin * H) + i];
    loss += difference * difference / (kTokens * H);
    dy[i] = static_cast<T>(2 * difference / (kTokens * H));
  }
  return loss;
}

// Trains with the plain implementation, in double precision. It returns the loss of each step.
std::vector<double> losses_in_double() {
  Task task = make_task();
  std::vector<double> losses;
  for (int64_t step = 0; step < kSteps; ++step) {
    plain::Moe moe;
    moe.sizes = {H, M, E, k, 0};
    for (int64_t e = 0; e < E; ++e) {
      const auto part = [&](const std::vector<double>& w, int64_t first) {
        return plain::Values(w.begin() + first, w.begin() + first + M * H);
      };
      moe.experts.push_back({part(task.gate_up, 2 * e * M * H), part(task.gate_up, (2 * e + 1) * M * H),
                             part(task.down, e * M * H)});
    }
    std::vector<double> gates(kTokens * k);
    for (int64_t t = 0; t < kTokens; ++t) gates_of(task, t, gates.data() + t * k);
    const std::vector<float> narrow(gates.begin(), gates.end());
    const plain::Values x(task.x.begin(), task.x.end());
    const plain::Values y = moe.run(kTokens, x, task.ids, narrow, nullptr).y;
    plain::Values dy(y.size());
    losses.push_back(loss_gradient(task, 0, y, dy));
    const plain::Result r = moe.run(kTokens, x, task.ids, narrow, &dy);
    std::vector<double> router(H * E);
    for (int64_t t = 0; t < kTokens; ++t)
      add_router_gradient(task, t, gates.data() + t * k, r.d_gates.data() + t * k, router);
    descend(task.router, router.data(), 0, router.size());
    for (size_t e = 0; e < E; ++e) {
      descend(task.gate_up, r.d_experts[e].gate.data(), 2 * e * M * H, M * H);
      descend(task.gate_up, r.d_experts[e].up.data(), (2 * e + 1) * M * H, M * H);
      descend(task.down, r.d_experts[e].down.data(), e * M * H, M * H);
    }
  }
  return losses;
}

// Trains with the block. Parameters are kept in double precision and given to the block in f32 before each
// step, so that rounding does not add up. The choices of experts stay fixed, because only gate values are
// differentiable.
std::vector<double> losses_of_block(const Job& job) {
  const moehill::Context context = job.context();
  moehill::Block block(context, {.hidden = H,
                                 .mlp_dim = M,
                                 .experts = E,
                                 .topk = k,
                                 .max_tokens = kTokens,
                                 .dtype = moehill::DType::f32});
  Task task = make_task();
  const int64_t begin = kTokens * context.rank() / context.num_processes();
  const int64_t tokens = kTokens * (context.rank() + 1) / context.num_processes() - begin;
  const int first = block.first_expert(), count = block.num_experts();
  std::vector<float> y(static_cast<size_t>(tokens * H)), dy(y.size()), dx(y.size());
  std::vector<float> gates(static_cast<size_t>(tokens * k)), d_gates(gates.size());
  std::vector<float> d_gate_up(static_cast<size_t>(count * 2 * M * H)),
      d_down(static_cast<size_t>(count * H * M));
  std::vector<double> losses;
  for (int64_t step = 0; step < kSteps; ++step) {
    // Each process loads the experts that it holds. The plan must follow the new gate values, so every step
    // has one.
    const auto own = [&](const std::vector<double>& w, int64_t each) {
      return std::vector<float>(w.begin() + first * each, w.begin() + (first + count) * each);
    };
    const std::vector<float> gate_up = own(task.gate_up, 2 * M * H), down = own(task.down, H * M);
    block.load_experts(first, count, {.gate_up = gate_up.data(), .down = down.data()});
    for (int64_t t = 0; t < tokens; ++t) {
      double of_token[k];
      gates_of(task, begin + t, of_token);
      for (int j = 0; j < k; ++j) gates[static_cast<size_t>(t * k + j)] = static_cast<float>(of_token[j]);
    }
    const float* const x = task.x.data() + begin * H;
    block.plan(tokens, task.ids.data() + begin * k, gates.data());
    block.forward(x, y.data());
    double loss = loss_gradient(task, begin, y, dy);
    block.backward(x, dy.data(), dx.data(), d_gates.data());
    block.store_expert_gradients(first, count, {.gate_up = d_gate_up.data(), .down = d_down.data()});

    // The library knows nothing of this router. The program makes the router's gradient from d_gates and sums
    // it over processes.
    std::vector<double> router(H * E);
    for (int64_t t = 0; t < tokens; ++t) {
      double p[k], d[k];
      for (int j = 0; j < k; ++j) {
        p[j] = static_cast<double>(gates[static_cast<size_t>(t * k + j)]);
        d[j] = static_cast<double>(d_gates[static_cast<size_t>(t * k + j)]);
      }
      add_router_gradient(task, begin + t, p, d, router);
    }
    job.sum(&loss, 1);
    job.sum(router.data(), H * E);
    losses.push_back(loss);
    descend(task.router, router.data(), 0, router.size());
    // Gradients of experts are complete already: the block sums them over all tokens.
    const std::vector<double> wide_up(d_gate_up.begin(), d_gate_up.end()),
        wide_down(d_down.begin(), d_down.end());
    descend(task.gate_up, wide_up.data(), static_cast<size_t>(first * 2 * M * H), wide_up.size());
    descend(task.down, wide_down.data(), static_cast<size_t>(first * H * M), wide_down.size());
  }
  return losses;
}

}  // namespace

int main(int argc, char** argv) {
  const Job job(argc, argv);
  try {
    const std::vector<double> expected = losses_in_double(), got = losses_of_block(job);
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      worst = std::max(worst, std::fabs(got[i] / expected[i] - 1));
      if (i % 10 == 0 || i + 1 == got.size())
        std::printf("step %2zu: loss %.6f, in double %.6f\n", i, got[i], expected[i]);
    }
    std::printf("largest relative difference: %.1e\n", worst);
    return worst < 1e-4 && got.back() < 0.5 * got.front() ? 0 : 1;
  } catch (const moehill::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
