// Measurement of collectives on meshes that are right, and on one that spoils an element.
#include "moehill/collectives/mesh_measurement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "moehill/mesh/threads/thread_mesh.h"

namespace moehill {
namespace {

// Spoil says which all_reduce of a rank is bad (from 1; 0: none), and how many elements at its end it does
// not write. If it writes all, it leaves one wrong bit in the first one.
struct Spoil {
  int bad_call = 0;
  int64_t unwritten = 0;
};

// Forwards calls to a group, and spoils one.
class SpoilingGroup final : public Group {
 public:
  SpoilingGroup(Group& inner, Spoil spoil) : inner_(inner), spoil_(spoil) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  ThreadTeam& team() override { return inner_.team(); }
  Reach reach() const override { return inner_.reach(); }
  void barrier() override { inner_.barrier(); }
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                  int64_t n) override {
    if (++num_calls_ != spoil_.bad_call)
      return inner_.all_reduce(input, input_dtype, output, output_dtype, n);
    // The peers need this rank, so it makes the call, with its output elsewhere.
    std::vector<float> elsewhere(static_cast<size_t>(n));
    inner_.all_reduce(input, input_dtype, elsewhere.data(), output_dtype, n);
    std::copy_n(elsewhere.data(), n - spoil_.unwritten, static_cast<float*>(output));
    if (spoil_.unwritten == 0) static_cast<unsigned char*>(output)[0] ^= 1;
  }
  void start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                            void* output, DType output_dtype) override {
    inner_.start_reduce_scatter(input, input_dtype, offsets, output, output_dtype);
  }
  void start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                        void* output) override {
    inner_.start_all_gather(input, offsets, element_bytes, output);
  }
  void start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                        std::span<const int64_t> receive_offsets, size_t element_bytes) override {
    inner_.start_all_to_all(input, send_offsets, output, receive_offsets, element_bytes);
  }
  void finish() override { inner_.finish(); }
  std::shared_ptr<void> exchange_memory(size_t bytes) override { return inner_.exchange_memory(bytes); }
  std::shared_ptr<void> common_memory(size_t bytes) override { return inner_.common_memory(bytes); }
  void count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                   size_t element_bytes) override {
    inner_.count_reads(send_offsets, receive_offsets, element_bytes);
  }
  Traffic traffic() const override { return inner_.traffic(); }

 private:
  Group& inner_;
  Spoil spoil_;
  int num_calls_ = 0;
};

// Device 1 is the one that spoils a call.
class SpoilingMesh final : public Mesh {
 public:
  ThreadTeam& team(int device) override { return inner_.team(device); }
  explicit SpoilingMesh(int bad_call, int64_t unwritten = 0) : spoil_{bad_call, unwritten} {}
  int num_devices() const override { return inner_.num_devices(); }
  int threads_per_device() const override { return inner_.threads_per_device(); }
  Range local_devices() const override { return inner_.local_devices(); }
  std::vector<int> local_cpus() const override { return inner_.local_cpus(); }
  void run(const std::function<void(Group&)>& device_main) override {
    inner_.run([&](Group& group) {
      SpoilingGroup spoiling(group, group.rank() == 1 ? spoil_ : Spoil{});
      device_main(spoiling);
    });
  }

 private:
  ThreadMesh inner_{3, 1};
  Spoil spoil_;
};

// Two sizes, 3 timed calls of each after 2 of warm-up and the checked one.
MeshOptions small_options() {
  MeshOptions options;
  options.min_bytes = 400;
  options.max_bytes = 800;
  options.iters = 3;
  options.warmup = 2;
  return options;
}

// Only one device sees the signal, as in a job whose processes get it at different moments.
TEST(MeshMeasurement, AllDevicesEndBehindTheLineDuringWhichOneIsStopped) {
  MeshOptions options = small_options();
  options.collectives = {Collective::all_reduce, Collective::all_gather};
  for (const int last : {1, 2, 3}) {
    ThreadMesh mesh(3, 1);
    std::atomic<int> num_looks = 0;  // each device looks once a line
    const MeshResult result = measure_mesh(mesh, options, {}, {}, [&] { return ++num_looks == 3 * last; });
    ASSERT_EQ(result.collectives.size(), static_cast<size_t>(last));
    EXPECT_EQ(num_looks, 3 * last);
    EXPECT_GT(result.copy_bytes_per_s, 0);
    for (const CollectiveResult& r : result.collectives) EXPECT_TRUE(r.trusted());
  }
}

TEST(MeshMeasurement, EveryCollectiveAndSizeIsCheckedAndTimed) {
  MeshOptions options = small_options();
  options.collectives = {Collective::all_reduce, Collective::reduce_scatter, Collective::all_gather,
                         Collective::all_to_all};
  ThreadMesh mesh(3, 2);
  const MeshResult result = measure_mesh(mesh, options);
  EXPECT_EQ(result.num_devices, 3);
  EXPECT_EQ(result.threads_per_device, 2);
  EXPECT_GT(result.copy_bytes_per_s, 0);
  ASSERT_EQ(result.collectives.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    const CollectiveResult& r = result.collectives[i];
    EXPECT_EQ(r.collective, options.collectives[i / 2]);
    EXPECT_EQ(r.n, i % 2 == 0 ? 100 : 200);
    EXPECT_EQ(r.num_wrong, 0);
    EXPECT_EQ(r.samples.size(), 3u);
    for (const double sample : r.samples) EXPECT_GT(sample, 0);
  }
}

TEST(MeshMeasurement, AWrongElementOfTheFirstCallIsSeenAndTheSizeNotTimed) {
  SpoilingMesh mesh(1);
  const MeshResult result = measure_mesh(mesh, small_options());
  ASSERT_EQ(result.collectives.size(), 2u);
  EXPECT_EQ(result.collectives[0].num_wrong, 1);
  EXPECT_TRUE(result.collectives[0].samples.empty());
  EXPECT_FALSE(result.collectives[0].trusted());
  EXPECT_TRUE(result.collectives[1].trusted());
}

// Calls 4 to 6 are the timed ones of the first size. A call that writes nothing, or a part, would pass if it
// found the output of the call before it.
TEST(MeshMeasurement, WhatAnyTimedCallLeavesWrongOrUnwrittenTakesTheSamples) {
  for (const int bad_call : {4, 5, 6}) {
    for (const int64_t unwritten : {0, 1, 100}) {
      SpoilingMesh mesh(bad_call, unwritten);
      const MeshResult result = measure_mesh(mesh, small_options());
      EXPECT_EQ(result.collectives[0].num_wrong, std::max<int64_t>(1, unwritten)) << bad_call;
      EXPECT_TRUE(result.collectives[0].samples.empty()) << bad_call << " " << unwritten;
      EXPECT_TRUE(result.collectives[1].trusted());
    }
  }
}

TEST(MeshMeasurement, WithoutACheckNothingIsTrusted) {
  MeshOptions options = small_options();
  options.check = false;
  SpoilingMesh mesh(1);
  for (const CollectiveResult& r : measure_mesh(mesh, options).collectives) {
    EXPECT_FALSE(r.num_wrong.has_value());
    EXPECT_EQ(r.samples.size(), 3u);
    EXPECT_FALSE(r.trusted());
  }
}

TEST(MeshMeasurement, BandwidthsAreThatOfTheMedian) {
  const CollectiveResult r{Collective::all_reduce, DType::bf16, 4000, 4, {4e-6, 1e-6, 2e-6}, 0, {}};
  EXPECT_DOUBLE_EQ(r.bytes(), 8000);
  EXPECT_DOUBLE_EQ(r.algorithm_bandwidth(), 4e9);
  EXPECT_DOUBLE_EQ(r.bus_bandwidth(), 6e9);
  EXPECT_DOUBLE_EQ(r.memory_bandwidth(), 32e9);
}

TEST(MeshMeasurement, TheLibraryCountsInIntAndSumsF32) {
  constexpr int64_t kInt = int64_t{1} << 31;  // the first number that is too large
  for (const Collective sum : {Collective::all_reduce, Collective::reduce_scatter}) {
    EXPECT_TRUE(library_has(sum, DType::f32, kInt - 1, 2));
    EXPECT_FALSE(library_has(sum, DType::f32, kInt, 2));
    EXPECT_FALSE(library_has(sum, DType::bf16, 8, 2));
  }
  for (const Collective move : {Collective::all_gather, Collective::all_to_all}) {
    EXPECT_TRUE(library_has(move, DType::bf16, 8, 2));
    EXPECT_TRUE(library_has(move, DType::f32, kInt / 4 - 3, 2));
    EXPECT_FALSE(library_has(move, DType::f32, kInt / 4, 2));
    EXPECT_FALSE(library_has(move, DType::f32, kInt, 2));
  }
}

TEST(MeshMeasurement, PredictedMemoryIsThatOfTheLargestSizeOnTheDevicesOfANode) {
  MeshOptions options = small_options();
  int node_devices = 3;
  const auto bytes_of = [&](const char* name) {
    for (const MemoryPart& part : predict_mesh_memory(options, 3, node_devices)) {
      if (part.name == name) return part.bytes;
    }
    return -1.0;
  };
  EXPECT_EQ(bytes_of("inputs"), 3 * 800);
  EXPECT_EQ(bytes_of("outputs"), 3 * 800);
  options.collectives = {Collective::all_gather};  // 200 elements: 66, 67, 67
  EXPECT_EQ(bytes_of("inputs"), 3 * 67 * 4);
  options.collectives = {Collective::all_to_all};
  EXPECT_EQ(bytes_of("outputs"), 3 * 3 * 67 * 4);
  node_devices = 2;  // the third is on another node
  EXPECT_EQ(bytes_of("outputs"), 2 * 3 * 67 * 4);
}

}  // namespace
}  // namespace moehill
