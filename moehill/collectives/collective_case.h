// CollectiveCase is one collective at one size on one rank: its element counts, its call, and the exact
// result that the call must give. It does not time the call; mesh_measurement.h does.
//
//     CollectiveCase problem(Collective::all_reduce, DType::f32, n, group.rank(), group.size());
//     fill_collective_input(input, DType::f32, problem.input_elements(), group.rank(), team);
//     problem.call(group, input, output);
//     problem.count_wrong(output, team);   // 0
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/collective.h"
#include "moehill/mesh/group.h"

namespace moehill {

// Returns the bytes that a link carries, divided by the bytes that algbw counts, as in PERFORMANCE.md of
// nccl-tests: 2 (P - 1) / P for all_reduce, (P - 1) / P for the others.
double bus_factor(Collective collective, int num_ranks);

// Returns the bytes that all ranks together read and write, divided by the bytes of the size, if ranks share
// memory and need no copies in between: 2 P, and P + 1 for reduce_scatter.
double memory_factor(Collective collective, int num_ranks);

// Writes element i of rank r's input: a value in (-1, 1) that uses all 24 bits of an f32, rounded to the
// type. So additions in another order show in the result. The values are the same for any collective and
// size.
void fill_collective_input(void* data, DType dtype, int64_t n, int rank, ThreadTeam& team);

// Fills the memory with NaN of the type, so that elements that the collective does not write show.
void poison(void* data, DType dtype, int64_t n, ThreadTeam& team);

// CollectiveCase describes the problem of one rank.
class CollectiveCase {
 public:
  // `n` is the number of elements of the size as nccl-tests defines it: of the input for all_reduce,
  // reduce_scatter and all_to_all; of the output for all_gather. It is cut into num_ranks shares, which
  // differ by at most one element and may be empty.
  CollectiveCase(Collective collective, DType dtype, int64_t n, int rank, int num_ranks);

  int64_t input_elements() const { return input_elements_; }
  int64_t output_elements() const;

  // Calls the collective; allocates nothing.
  void call(Group& group, const void* input, void* output) const;

  // Counts the elements of `output` that differ from the result of the inputs of fill_collective_input().
  // Sums are in rank order in f32 and rounded once.
  int64_t count_wrong(const void* output, ThreadTeam& team) const;

 private:
  // Segment: elements [begin, begin + n) of the output are elements [source_begin, source_begin + n) of the
  // input of rank `source`, or of the sum over all ranks.
  struct Segment {
    int64_t begin, n;
    int source;
    int64_t source_begin;
  };
  template <typename T>
  int64_t count_wrong_in(const Segment& segment, const T* output, ThreadTeam& team) const;

  Collective collective_;
  DType dtype_;
  int64_t n_;
  int num_ranks_;
  int64_t input_elements_;
  std::vector<int64_t> offsets_;          // [num_ranks + 1] the shares of n
  std::vector<int64_t> receive_offsets_;  // for all_to_all: this rank's share, once from each rank
  std::vector<Segment> expected_;
};

}  // namespace moehill
