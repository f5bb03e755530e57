// CollectiveCase: one collective at one size as one rank sees it: its counts, its call, and the exact result.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/collective.h"
#include "moehill/mesh/group.h"

namespace moehill {

// The bytes that a link carries over those that algbw counts, as in PERFORMANCE.md of nccl-tests: 2 (P - 1) /
// P for all_reduce, (P - 1) / P for the others.
double bus_factor(Collective collective, int num_ranks);

// Bytes that all ranks together read and write, over the bytes of the size, where ranks share memory and
// nothing is staged: 2 P, for reduce_scatter P + 1.
double memory_factor(Collective collective, int num_ranks);

// Element i of rank r's input: a value in (-1, 1) of all 24 bits of an f32, so that another order of
// additions shows, rounded to the type. The same for any collective and size.
void fill_collective_input(void* data, DType dtype, int64_t n, int rank, ThreadTeam& team);

// Fills the memory with NaN of the type.
void poison(void* data, DType dtype, int64_t n, ThreadTeam& team);

class CollectiveCase {
 public:
  // n: elements of the size as nccl-tests defines it: all_reduce: of the input; reduce_scatter: of the input,
  // which is the sum of the outputs of all ranks; all_gather: of the output; all_to_all: of the input. It is
  // cut into num_ranks shares that differ by at most one element and may be empty.
  CollectiveCase(Collective collective, DType dtype, int64_t n, int rank, int num_ranks);

  int64_t input_elements() const { return input_elements_; }
  int64_t output_elements() const;

  // Calls the collective; allocates nothing.
  void call(Group& group, const void* input, void* output) const;

  // Counts the elements of `output` that differ from what the inputs of fill_collective_input() must give,
  // sums in rank order in f32, rounded once.
  int64_t count_wrong(const void* output, ThreadTeam& team) const;

 private:
  // Elements [begin, begin + n) of the output are elements [source_begin, source_begin + n) of rank
  // `source`'s input, or of the sum of all ranks' inputs.
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
  std::vector<int64_t> offsets_;          // [num_ranks + 1] shares of n
  std::vector<int64_t> receive_offsets_;  // all_to_all: this rank's share once from each rank
  std::vector<Segment> expected_;
};

}  // namespace moehill
