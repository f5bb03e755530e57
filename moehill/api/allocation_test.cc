// A step of the interface allocates nothing: plan, forward and backward. If there is no memory, a call
// returns a status, and the objects can still be used.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

#include "moehill/api/block_fixture.h"

namespace {
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();
std::atomic<int64_t> num_allocations{0}, first_refused{kNever};

void* counted(size_t size) {
  if (num_allocations.fetch_add(1) >= first_refused) throw std::bad_alloc();
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

// Returns the status of a call that is refused every allocation but the first `num`.
template <typename Call>
moehill_status with_allocations(int64_t num, const Call& call) {
  first_refused = num_allocations + num;
  const moehill_status status = call();
  first_refused = kNever;
  return status;
}

// The text of an error needs memory, too.
TEST(Allocation, WithoutMemoryForItsTextAnErrorHasAStatus) {
  const Context context(ContextOptions::callers_thread());
  const BlockDesc desc{
      .hidden = 4, .mlp_dim = 4, .experts = 2, .topk = 1, .max_tokens = 3, .dtype = DType::f32};
  const Block block(context, desc);
  const auto plan = [&] { return moehill_block_plan(block.handle(), -1, nullptr, nullptr); };
  EXPECT_EQ(with_allocations(0, plan), MOEHILL_OUT_OF_MEMORY);
  moehill_status status = MOEHILL_OK;
  for (int64_t num = 1; num <= 30; ++num) {
    status = with_allocations(num, plan);
    EXPECT_TRUE(status == MOEHILL_OUT_OF_MEMORY || status == MOEHILL_INVALID_ARGUMENT) << num;
  }
  EXPECT_EQ(status, MOEHILL_INVALID_ARGUMENT);
}

TEST(Allocation, AStackGoesOnAfterItCouldNotGrow) {
  const Context context(ContextOptions::callers_thread());
  moehill_stack* stack = nullptr;
  ASSERT_EQ(moehill_stack_create(context.handle(), 1, 2, 2, MOEHILL_F32, &stack), MOEHILL_OK);
  const float w[] = {1, 2, 3, 4};  // in-out: [K, N]
  ASSERT_EQ(moehill_stack_load(stack, 0, 1, w, MOEHILL_F32, MOEHILL_IN_OUT), MOEHILL_OK);
  std::vector<float> a(2000, 1.0f), c(2000);
  const moehill_rows rows{sizeof(moehill_rows), a.data(), 1000, nullptr};
  const int64_t few[] = {0, 1}, many[] = {0, 1000};
  const auto multiply_many = [&] { return moehill_gemm_forward(stack, many, &rows, c.data()); };
  EXPECT_EQ(moehill_gemm_forward(stack, few, &rows, c.data()), MOEHILL_OK);
  EXPECT_EQ(with_allocations(0, multiply_many), MOEHILL_OUT_OF_MEMORY);
  EXPECT_EQ(multiply_many(), MOEHILL_OK);
  EXPECT_EQ(c.back(), 6.0f);
  moehill_stack_destroy(stack);
}

}  // namespace
}  // namespace moehill_test
