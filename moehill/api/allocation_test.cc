// A step of the interface allocates nothing: plan, forward and backward.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "moehill/api/block_fixture.h"

namespace {
std::atomic<int64_t> num_allocations{0};

void* counted(size_t size) {
  num_allocations.fetch_add(1);
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(size_t size) { return counted(size); }
void* operator new[](size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace moehill_test {
namespace {

using namespace moehill;

TEST(Allocation, AStepNeedsNone) {
  for (const Path path :
       {Path::data_parallel, Path::compact_psum, Path::ring_ag_rs, Path::ragged_a2a, Path::fused}) {
    const Context context({.devices = 2, .threads_per_device = 2});
    const BlockDesc desc{.hidden = 32,
                         .mlp_dim = 16,
                         .experts = 5,
                         .topk = 3,
                         .shared_dim = 9,
                         .max_tokens = 50,
                         .dtype = DType::f32,
                         .path = path};
    Pair pair(context, desc, 3);
    const Tokens many = random_tokens(desc, 50, 1), few = random_tokens(desc, 7, 2);
    plain::Tensor y(many.x.size(), false), dx(many.x.size(), false);
    std::vector<float> d_gates(many.gates.size());
    int64_t before = 0;
    for (int i = 0; i < 3; ++i) {
      if (i == 1) before = num_allocations;  // the first step may warm something up
      for (const Tokens* t : std::initializer_list<const Tokens*>{&many, &few}) {
        pair.block.plan(t->count, t->ids.data(), t->gates.data());
        pair.block.forward(t->x.data(), y.data());
        pair.block.backward(t->x.data(), t->dy.data(), dx.data(), d_gates.data());
      }
    }
    EXPECT_EQ(num_allocations, before) << static_cast<int>(path);
  }
}

}  // namespace
}  // namespace moehill_test
