// Tests of one collective at one size: the formulas, the exact expectation on uneven shares, and planted
// wrong elements.
#include "moehill/collectives/collective_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "moehill/mesh/threads/thread_mesh.h"

namespace moehill {
namespace {

constexpr Collective kCollectives[] = {Collective::all_reduce, Collective::reduce_scatter,
                                       Collective::all_gather, Collective::all_to_all};

// The factors that PERFORMANCE.md of nccl-tests lists, written out for some P.
TEST(CollectiveCase, BusFactorsAreThoseOfNcclTests) {
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_reduce, 2), 1);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_reduce, 4), 1.5);
  EXPECT_DOUBLE_EQ(bus_factor(Collective::all_reduce, 8), 1.75);
  for (const Collective c : {Collective::reduce_scatter, Collective::all_gather, Collective::all_to_all}) {
    EXPECT_DOUBLE_EQ(bus_factor(c, 2), 0.5);
    EXPECT_DOUBLE_EQ(bus_factor(c, 4), 0.75);
  }
  for (const Collective c : kCollectives) EXPECT_EQ(bus_factor(c, 1), 0);
}

// Counts bytes read and written on the buffers of all ranks: each rank reads what its output consists of.
TEST(CollectiveCase, MemoryFactorCountsWhatAllRanksReadAndWrite) {
  for (const int num_ranks : {1, 2, 3, 4}) {
    for (const Collective c : kCollectives) {
      const int64_t n = 12;
      int64_t touched = 0;
      for (int r = 0; r < num_ranks; ++r) {
        const int64_t output = CollectiveCase(c, DType::f32, n, r, num_ranks).output_elements();
        // Sums read all ranks' elements; an all-reduce computes one share of them and writes it to all ranks.
        const int64_t read = c == Collective::reduce_scatter ? output * num_ranks : output;
        touched += output + read;
      }
      EXPECT_DOUBLE_EQ(memory_factor(c, num_ranks) * n, static_cast<double>(touched)) << name_of(c);
    }
  }
}

TEST(CollectiveCase, SharesCoverTheSizeOnce) {
  for (const int64_t n : {1, 2, 7, 1000}) {
    int64_t scattered = 0, gathered = 0, exchanged = 0;
    for (int r = 0; r < 3; ++r) {
      scattered += CollectiveCase(Collective::reduce_scatter, DType::f32, n, r, 3).output_elements();
      gathered += CollectiveCase(Collective::all_gather, DType::f32, n, r, 3).input_elements();
      exchanged += CollectiveCase(Collective::all_to_all, DType::f32, n, r, 3).output_elements();
      EXPECT_EQ(CollectiveCase(Collective::all_gather, DType::f32, n, r, 3).output_elements(), n);
      EXPECT_EQ(CollectiveCase(Collective::all_reduce, DType::f32, n, r, 3).output_elements(), n);
      EXPECT_EQ(CollectiveCase(Collective::all_to_all, DType::f32, n, r, 3).input_elements(), n);
    }
    EXPECT_EQ(scattered, n);
    EXPECT_EQ(gathered, n);
    EXPECT_EQ(exchanged, 3 * n);
  }
}

// Values of rank r's input as the benchmark fills them.
std::vector<float> input_of(int rank, int64_t n) {
  ThreadTeam team(1);
  std::vector<float> values(static_cast<size_t>(n));
  fill_collective_input(values.data(), DType::f32, n, rank, team);
  return values;
}

TEST(CollectiveCase, InputsAreOfManyValuesAndDifferByRank) {
  const std::vector<float> a = input_of(0, 4096), b = input_of(1, 4096);
  double sum = 0;
  int64_t num_equal = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_LE(std::abs(a[i]), 1);
    sum += a[i];
    num_equal += a[i] == b[i];
  }
  EXPECT_LT(num_equal, 3);
  EXPECT_LT(std::abs(sum / 4096), 0.05);  // five standard errors of a uniform mean
}

TEST(CollectiveCase, AnotherOrderOfAdditionsIsWrong) {
  constexpr int64_t kN = 1000;
  const std::vector<float> a = input_of(0, kN), b = input_of(1, kN), c = input_of(2, kN);
  std::vector<float> in_order(kN), reversed(kN);
  for (size_t i = 0; i < kN; ++i) {
    in_order[i] = (a[i] + b[i]) + c[i];
    reversed[i] = (c[i] + b[i]) + a[i];
  }
  ThreadTeam team(2);
  const CollectiveCase sum(Collective::all_reduce, DType::f32, kN, 0, 3);
  EXPECT_EQ(sum.count_wrong(in_order.data(), team), 0);
  EXPECT_GT(sum.count_wrong(reversed.data(), team), 50);
}

// An output of either type with single elements to spoil.
struct Output {
  DType dtype;
  std::vector<float> wide;
  std::vector<bf16> narrow;
  Output(DType type, int64_t n) : dtype(type), wide(static_cast<size_t>(n)), narrow(static_cast<size_t>(n)) {}
  void* data() { return dtype == DType::f32 ? static_cast<void*>(wide.data()) : narrow.data(); }
  void flip_lowest_bit(int64_t i) {
    const size_t at = static_cast<size_t>(i);
    if (dtype == DType::f32) wide[at] = std::bit_cast<float>(std::bit_cast<uint32_t>(wide[at]) ^ 1u);
    if (dtype == DType::bf16) narrow[at].bits ^= 1;
  }
};

void expect_right_then_spoilt(Group& group, Collective collective, DType dtype, int64_t n) {
  const CollectiveCase problem(collective, dtype, n, group.rank(), group.size());
  Output input(dtype, problem.input_elements()), output(dtype, problem.output_elements());
  fill_collective_input(input.data(), dtype, problem.input_elements(), group.rank(), group.team());
  poison(output.data(), dtype, problem.output_elements(), group.team());
  const int64_t num_outputs = problem.output_elements();
  EXPECT_EQ(problem.count_wrong(output.data(), group.team()), num_outputs);
  problem.call(group, input.data(), output.data());
  EXPECT_EQ(problem.count_wrong(output.data(), group.team()), 0)
      << name_of(collective) << " " << dtype_name(dtype) << " n " << n << " ranks " << group.size();
  if (num_outputs == 0) return;
  output.flip_lowest_bit(num_outputs - 1);
  EXPECT_EQ(problem.count_wrong(output.data(), group.team()), 1);
  if (num_outputs == 1) return;
  output.flip_lowest_bit(0);
  EXPECT_EQ(problem.count_wrong(output.data(), group.team()), 2);
}

TEST(CollectiveCase, CollectivesAreRightAndASingleWrongBitIsSeen) {
  for (const int num_ranks : {1, 2, 3, 5}) {
    ThreadMesh mesh(num_ranks, 2);
    mesh.run([](Group& group) {
      for (const Collective collective : kCollectives) {
        for (const DType dtype : {DType::f32, DType::bf16}) {
          for (const int64_t n : {1, 2, 7, 1000, 4099}) {
            expect_right_then_spoilt(group, collective, dtype, n);
          }
        }
      }
    });
  }
}

}  // namespace
}  // namespace moehill
