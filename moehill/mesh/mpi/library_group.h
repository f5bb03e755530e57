// LibraryGroup: the collectives of a Group by the MPI library's own calls: what ours are compared with.
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/mpi/communicator.h"

namespace moehill {

// Sums are f32 alone, in the library's order; counts of bytes and of elements below 2^31. What leaves these
// bounds is a CollectiveError. Counts no traffic.
class LibraryGroup final : public Group {
 public:
  // Collective over `comm`. `team` must outlive the group and does nothing here.
  LibraryGroup(MPI_Comm comm, ThreadTeam& team);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  ThreadTeam& team() override { return team_; }
  Reach reach() const override { return Reach::messages; }
  void barrier() override;
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) override;
  void finish() override;
  std::shared_ptr<void> exchange_memory(size_t bytes) override;
  std::shared_ptr<void> common_memory(size_t) override { return nullptr; }
  void count_reads(std::span<const int64_t>, std::span<const int64_t>, size_t) override {}
  Traffic traffic() const override { return {}; }

 private:
  void reduce_slices(const Started& call);
  // counts_[i] and places_[i] of `offsets`, in units of `unit` bytes each.
  void set_counts(std::span<const int64_t> offsets, size_t unit, std::vector<int>& counts,
                  std::vector<int>& places) const;

  Communicator comm_;
  ThreadTeam& team_;
  int rank_, size_;
  std::vector<int> send_counts_, send_places_, receive_counts_, receive_places_;  // [size]
};

}  // namespace moehill
