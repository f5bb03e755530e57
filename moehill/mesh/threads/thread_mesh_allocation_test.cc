// Collectives, runs and team tasks allocate nothing: this program counts every operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "moehill/mesh/threads/thread_mesh.h"

namespace {
std::atomic<int64_t> num_allocations{0};
}  // namespace

// This is not inline, since gcc would see new paired with free and warn.
[[gnu::noinline]] void* operator new(size_t bytes) {
  num_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace moehill {
namespace {

constexpr int64_t kN = 6000;

struct Workspace {
  std::vector<float> input = std::vector<float>(kN, 1.0f);
  std::vector<float> output = std::vector<float>(kN);
  std::vector<int64_t> offsets;
};

TEST(ThreadMeshAllocations, NoneInRunsAndCollectives) {
  for (const int num_devices : {1, 3}) {
    ThreadMesh mesh(num_devices, 2);
    std::vector<Workspace> workspaces(static_cast<size_t>(num_devices));
    for (Workspace& w : workspaces) {
      for (int r = 0; r <= num_devices; ++r) w.offsets.push_back(kN * r / num_devices);
    }
    const std::function<void(Group&)> all_collectives = [&](Group& group) {
      Workspace& w = workspaces[static_cast<size_t>(group.rank())];
      group.barrier();
      group.all_reduce(w.input.data(), DType::f32, w.output.data(), DType::bf16, kN);
      group.reduce_scatter(w.input.data(), DType::f32, w.offsets, w.output.data(), DType::f32);
      group.all_gather(w.input.data(), w.offsets, sizeof(float), w.output.data());
      group.all_to_all(w.input.data(), w.offsets, w.output.data(), w.offsets, sizeof(float));
      group.start_all_gather(w.input.data(), w.offsets, sizeof(float), w.output.data());
      group.finish();
    };
    mesh.run(all_collectives);
    const int64_t before = num_allocations;
    for (int i = 0; i < 10; ++i) mesh.run(all_collectives);
    EXPECT_EQ(num_allocations - before, 0) << num_devices << " devices";
    EXPECT_GT(before, 0);
  }
}

}  // namespace
}  // namespace moehill
