// The C++ side of ./call_cost: it calls a block through moehill.hpp, with data that both sides make by the
// same formula.
//   call_cost_worker f32|bf16 THREADS TOKENS HIDDEN WIDTH EXPERTS TOPK
// A line "forward N", "step N" or "training N" on standard input is answered by a line of N times in seconds,
// and "hash" by one hash of the bits of y, dx and the gradients of a training step.
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

#include "moehill/moehill.hpp"

namespace {

using namespace moehill;
using Bytes = std::vector<unsigned char>;

// Element i is (i % 101 - 50) * scale, rounded to the type.
Bytes values(DType dtype, int64_t n, double scale) {
  const size_t size = dtype == DType::f32 ? 4 : 2;
  Bytes bytes(static_cast<size_t>(n) * size);
  for (int64_t i = 0; i < n; ++i) {
    const float value = static_cast<float>(static_cast<double>(i % 101 - 50) * scale);
    uint32_t bits = std::bit_cast<uint32_t>(value);
    if (dtype == DType::bf16) bits = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    std::memcpy(bytes.data() + static_cast<size_t>(i) * size, &bits, size);
  }
  return bytes;
}

class Side {
 public:
  Side(DType dtype, int threads, const BlockDesc& desc)
      : d_(desc),
        context_({.threads_per_device = threads}),
        block_(context_, desc),
        x_(values(dtype, d_.max_tokens * d_.hidden, 0.02)),
        dy_(values(dtype, d_.max_tokens * d_.hidden, 0.01)),
        gate_up_(values(dtype, d_.experts * 2 * d_.mlp_dim * d_.hidden, 0.002)),
        down_(values(dtype, d_.experts * d_.mlp_dim * d_.hidden, 0.003)),
        y_(x_.size()),
        dx_(x_.size()),
        d_gate_up_(gate_up_.size()),
        d_down_(down_.size()) {
    for (int64_t t = 0; t < d_.max_tokens; ++t) {
      for (int64_t j = 0; j < d_.topk; ++j) {
        ids_.push_back(static_cast<int32_t>((5 * t + j) % d_.experts));
        gates_.push_back(static_cast<float>(j + 1) / 8);
      }
    }
    d_gates_.resize(gates_.size());
    load();
  }

  void forward() {
    block_.plan(d_.max_tokens, ids_.data(), gates_.data());
    block_.forward(x_.data(), y_.data());
  }
  void step() {
    forward();
    block_.backward(x_.data(), dy_.data(), dx_.data(), d_gates_.data());
  }
  void training() {
    load();
    step();
    block_.store_expert_gradients(0, d_.experts,
                                  {.gate_up = d_gate_up_.data(), .down = d_down_.data(), .dtype = d_.dtype});
  }
  // Returns a hash of the bits: h = 31 h + sum_i (n_i + 1) (2 i + 1) for one tensor after the other, where
  // n_i are the bits of its element i as an unsigned integer.
  uint64_t hash() {
    training();
    const size_t size = d_.dtype == DType::f32 ? 4 : 2;
    uint64_t hash = 0;
    for (const Bytes* bytes : {&y_, &dx_, &d_gate_up_, &d_down_}) {
      uint64_t sum = 0;
      for (size_t i = 0; i < bytes->size() / size; ++i) {
        uint32_t number = 0;
        std::memcpy(&number, bytes->data() + i * size, size);
        sum += (uint64_t{number} + 1) * (2 * i + 1);
      }
      hash = 31 * hash + sum;
    }
    return hash;
  }

 private:
  void load() {
    block_.load_experts(0, d_.experts, {.gate_up = gate_up_.data(), .down = down_.data(), .dtype = d_.dtype});
  }

  BlockDesc d_;
  Context context_;
  Block block_;
  Bytes x_, dy_, gate_up_, down_, y_, dx_, d_gate_up_, d_down_;
  std::vector<int32_t> ids_;
  std::vector<float> gates_, d_gates_;
};

void answer(Side& side, const std::string& what, int count) {
  for (int i = 0; i < count; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    what == "forward" ? side.forward() : what == "step" ? side.step() : side.training();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    std::cout << seconds.count() << (i + 1 < count ? " " : "");
  }
  std::cout << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 8) {
    std::cerr << "usage: call_cost_worker f32|bf16 THREADS TOKENS HIDDEN WIDTH EXPERTS TOPK\n";
    return 2;
  }
  try {
    const auto number = [&](int i) { return std::stoi(argv[i]); };
    const DType dtype = std::string(argv[1]) == "f32" ? DType::f32 : DType::bf16;
    Side side(dtype, number(2),
              {.hidden = number(4),
               .mlp_dim = number(5),
               .experts = number(6),
               .topk = number(7),
               .max_tokens = number(3),
               .dtype = dtype});
    std::string what;
    while (std::cin >> what) {
      if (what == "hash") {
        std::cout << side.hash() << std::endl;
        continue;
      }
      int count = 0;
      std::cin >> count;
      answer(side, what, count);
    }
  } catch (const std::exception& error) {
    std::cerr << "call_cost_worker: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
