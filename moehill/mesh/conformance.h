// This header has the conformance suite of Group: what every backend must do, one TEST_P for each property. A
// backend's test file includes it and instantiates MeshConformance with the meshes that the backend can make.
// The rank that checks a value computes it from (rank, index), so ranks may live in different processes.
//
//   INSTANTIATE_TEST_SUITE_P(Threads, MeshConformance, testing::ValuesIn(thread_meshes()));
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <ostream>
#include <string>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/line_share.h"

namespace moehill {

// A MeshRun runs a program on every device of a mesh, or on this process's device while other processes run
// theirs.
using MeshRun = std::function<void(const std::function<void(Group&)>&)>;

// MeshMaker makes the mesh of one instance of the suite; `name` is its name in the tests.
struct MeshMaker {
  std::string name;  // letters, digits and _
  std::function<MeshRun()> make;
};
inline std::ostream& operator<<(std::ostream& out, const MeshMaker& maker) { return out << maker.name; }

// A How says how a test calls a collective: in which memory, and in one call or in split phase.
struct How {
  bool exchange_input = false;  // input in exchange memory instead of ordinary memory of this process
  bool exchange_output = false;
  bool split_phase = false;
  bool far_rows = false;  // for round trips: rows have another form between nodes
};
inline constexpr How kExchangeHows[] = {{true, false}, {false, true}, {true, true}};

// GuardedArray has n elements between two guards that no collective may overwrite. It expects zeroed memory.
class GuardedArray {
 public:
  GuardedArray(DType dtype, int64_t n, std::shared_ptr<void> memory)
      : dtype_(dtype),
        n_(n),
        bytes_(static_cast<size_t>(n) * dtype_bytes(dtype)),
        memory_(std::move(memory)),
        start_(static_cast<unsigned char*>(memory_.get())) {
    EXPECT_TRUE(holds_only(0, 0, bytes_ + 2 * kGuard));
    std::fill_n(start_, bytes_ + 2 * kGuard, kFill);
  }
  GuardedArray(DType dtype, int64_t n) : GuardedArray(dtype, n, make_exchange_buffer(bytes_of(dtype, n))) {}
  // With `exchange`, all ranks must call this together.
  GuardedArray(Group& group, bool exchange, DType dtype, int64_t n)
      : GuardedArray(dtype, n,
                     exchange ? group.exchange_memory(bytes_of(dtype, n))
                              : make_exchange_buffer(bytes_of(dtype, n))) {}

  void* data() { return start_ + kGuard; }
  int64_t size() const { return n_; }
  float at(int64_t i) const {
    float wide;
    bf16 narrow;
    const unsigned char* place = start_ + kGuard + static_cast<size_t>(i) * dtype_bytes(dtype_);
    if (dtype_ == DType::f32) return std::memcpy(&wide, place, sizeof wide), wide;
    return std::memcpy(&narrow, place, sizeof narrow), to_f32(narrow);
  }
  void set(int64_t i, float value) {
    const bf16 narrow = to_bf16(value);
    unsigned char* place = start_ + kGuard + static_cast<size_t>(i) * dtype_bytes(dtype_);
    std::memcpy(place, dtype_ == DType::f32 ? static_cast<const void*>(&value) : &narrow,
                dtype_bytes(dtype_));
  }
  bool guards_intact() const {
    return holds_only(kFill, 0, kGuard) && holds_only(kFill, kGuard + bytes_, kGuard);
  }
  template <typename Expected>
  int64_t num_wrong(const Expected& expected) const {
    int64_t wrong = guards_intact() ? 0 : 1;
    for (int64_t i = 0; i < n_; ++i) wrong += at(i) != expected(i);
    return wrong;
  }

 private:
  static constexpr size_t kGuard = 64;
  static constexpr unsigned char kFill = 0xa5;
  static size_t bytes_of(DType dtype, int64_t n) {
    return static_cast<size_t>(n) * dtype_bytes(dtype) + 2 * kGuard;
  }
  bool holds_only(unsigned char value, size_t begin, size_t n) const {
    return std::all_of(start_ + begin, start_ + begin + n, [=](unsigned char byte) { return byte == value; });
  }

  DType dtype_;
  int64_t n_;
  size_t bytes_;
  std::shared_ptr<void> memory_;
  unsigned char* start_;
};

// Returns values in (-1, 1) that use all 24 bits of an f32, so that another order of additions gives another
// sum.
inline float test_value(int rank, int64_t i) {
  uint32_t x = static_cast<uint32_t>(i) * 0x9e3779b1u + static_cast<uint32_t>(rank + 1) * 0x85ebca77u;
  x = (x ^ (x >> 15)) * 0x2c1b3c6du;
  x = (x ^ (x >> 12)) * 0x297a2d39u;
  return static_cast<float>(static_cast<int32_t>(x ^ (x >> 15))) * 0x1p-31f;
}

inline GuardedArray test_array(Group& group, bool exchange, DType dtype, int64_t n) {
  GuardedArray array(group, exchange, dtype, n);
  for (int64_t i = 0; i < n; ++i) array.set(i, test_value(group.rank(), i));
  return array;
}

// Returns element i of the sum over ranks: added in rank order in f32 and rounded once.
inline float test_sum(int num_ranks, DType input_dtype, DType output_dtype, int64_t i) {
  float sum = rounded_to(input_dtype, test_value(0, i));
  for (int r = 1; r < num_ranks; ++r) sum += rounded_to(input_dtype, test_value(r, i));
  return rounded_to(output_dtype, sum);
}

// Returns [ranks + 1] offsets of uneven segments of about `scale` elements; about every third one is empty.
inline std::vector<int64_t> uneven_offsets(int num_ranks, int64_t scale, int salt = 0) {
  std::vector<int64_t> offsets = {0};
  for (int r = 0; r < num_ranks; ++r) {
    const int64_t count = (r + salt) % 3 == 1 ? 0 : scale + 3 * r + salt;
    offsets.push_back(offsets.back() + count);
  }
  return offsets;
}

inline bool all_ranks_agree(Group& group, uint64_t value) {
  std::vector<uint64_t> values(static_cast<size_t>(group.size()));
  std::vector<int64_t> offsets(values.size() + 1);
  std::iota(offsets.begin(), offsets.end(), int64_t{0});
  group.all_gather(&value, offsets, sizeof value, values.data());
  return std::all_of(values.begin(), values.end(), [&](uint64_t v) { return v == value; });
}

// Each of these functions calls one collective and checks its result, that it left its inputs as they were,
// and that it wrote nothing outside of its output. How::split_phase is only for collectives that have a split
// phase.
void check_all_reduce(Group& group, DType input_dtype, DType output_dtype, int64_t n, How how = {});
void check_all_reduce_in_place(Group& group, DType dtype, int64_t n, How how = {});
void check_reduce_scatter(Group& group, DType input_dtype, DType output_dtype,
                          const std::vector<int64_t>& offsets, How how = {});
void check_all_gather(Group& group, DType dtype, int64_t row, const std::vector<int64_t>& offsets,
                      bool in_place, How how = {});
void check_all_to_all(Group& group, DType dtype, int64_t row, int64_t scale, How how = {});
// With how.split_phase the team works between the parts.
void check_round_trip(Group& group, int64_t row, int64_t scale, int num_parts, How how = {});

}  // namespace moehill

#include "moehill/mesh/conformance_checks.h"
#include "moehill/mesh/conformance_tests.h"
