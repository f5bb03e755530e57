// Shows the block with the caller's own weights, rows, routing and gradient: it loads weights as PyTorch
// keeps them, runs one forward and backward, and compares all results with plain loops (plain_moe.h).
//
//     block 4            # four devices in this process
//     mpirun -n 2 block  # built with EXAMPLE_MPI: each process has its own tokens
#include <cstdio>
#include <random>

#include "job.h"
#include "moehill/moehill.hpp"
#include "plain_moe.h"

namespace {

std::vector<float> normal(std::mt19937& random, int64_t n, float deviation) {
  std::normal_distribution<float> draw(0, deviation);
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = draw(random);
  return values;
}

plain::Values wide(const std::vector<float>& v) { return plain::Values(v.begin(), v.end()); }

bool agree(const char* what, const std::vector<float>& got, const plain::Values& expected) {
  const double difference = plain::difference(wide(got), expected);
  std::printf("%-8s largest difference %.1e\n", what, difference);
  return difference < 1e-5;
}

bool run(const Job& job) {
  const moehill::Context context = job.context();
  const int64_t H = 64, M = 48;
  const int E = 8, k = 2;
  // Each process has some more tokens than the one before.
  const int64_t tokens = 32 + 3 * context.rank();
  moehill::Block block(
      context,
      {.hidden = H, .mlp_dim = M, .experts = E, .topk = k, .max_tokens = 64, .dtype = moehill::DType::f32});
  std::printf("process %d of %d: experts %d to %d, %lld bytes\n", context.rank(), context.num_processes(),
              block.first_expert(), block.first_expert() + block.num_experts() - 1,
              static_cast<long long>(block.bytes()));

  // Weights are laid out as torch.nn.Linear keeps them, with gate and up in one array: [E, 2M, H] and [E, H,
  // M].
  std::mt19937 random(1);
  const std::vector<float> gate_up = normal(random, E * 2 * M * H, 0.125f),
                           down = normal(random, E * H * M, 0.125f);
  const int first = block.first_expert();
  block.load_experts(first, block.num_experts(),
                     {.gate_up = gate_up.data() + first * 2 * M * H, .down = down.data() + first * H * M});

  std::mt19937 own(100 + static_cast<unsigned>(context.rank()));
  const std::vector<float> x = normal(own, tokens * H, 1), dy = normal(own, tokens * H, 1);
  const std::vector<float> gates = normal(own, tokens * k, 1);
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < tokens * k; ++i) ids.push_back(static_cast<int32_t>(own() % E));

  std::vector<float> y(x.size()), dx(x.size()), d_gates(gates.size());
  block.plan(tokens, ids.data(), gates.data());
  block.forward(x.data(), y.data());
  block.backward(x.data(), dy.data(), dx.data(), d_gates.data());
  std::vector<float> d_down(static_cast<size_t>(block.num_experts() * H * M));
  block.store_expert_gradients(first, block.num_experts(), {.down = d_down.data()});

  plain::Moe moe;
  moe.sizes = {H, M, E, k, 0};
  for (int64_t e = 0; e < E; ++e) {
    const auto part = [&](const std::vector<float>& w, int64_t begin) {
      return plain::Values(w.begin() + begin, w.begin() + begin + M * H);
    };
    moe.experts.push_back(
        {part(gate_up, 2 * e * M * H), part(gate_up, (2 * e + 1) * M * H), part(down, e * M * H)});
  }
  const plain::Values rows = wide(x), gradient = wide(dy);
  const plain::Result expected = moe.run(tokens, rows, ids, gates, &gradient);
  bool same = agree("y", y, expected.y);
  same = agree("dx", dx, expected.dx) && same;
  same = agree("d_gates", d_gates, expected.d_gates) && same;
  // With several processes, the gradient of an expert is the sum over the tokens of all processes.
  for (int64_t e = 0; e < E && context.num_processes() == 1; ++e) {
    const std::vector<float> one(d_down.begin() + e * H * M, d_down.begin() + (e + 1) * H * M);
    same = agree("d_down", one, expected.d_experts[static_cast<size_t>(e)].down) && same;
  }
  return same;
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
