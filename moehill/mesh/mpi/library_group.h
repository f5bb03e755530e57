// LibraryGroup is a Group whose collectives are the MPI library's own calls. `moehill mesh` measures the
// mesh's collectives beside it; no path uses it.
#pragma once

#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/mesh/mpi/communicator.h"

namespace moehill {

// LibraryGroup sums in f32 only, in the MPI library's own order. Bytes and elements must be below 2^31. Other
// calls throw CollectiveError. It counts no traffic.
class LibraryGroup final : public Group {
 public:
  // Collective over `comm`. `team` must outlive the group; it has nothing to do here.
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
  // Fills counts[i] and places[i] from `offsets`, in units of `unit` bytes.
  void set_counts(std::span<const int64_t> offsets, size_t unit, std::vector<int>& counts,
                  std::vector<int>& places) const;

  Communicator comm_;
  ThreadTeam& team_;
  int rank_, size_;
  std::vector<int> send_counts_, send_places_, receive_counts_, receive_places_;  // [size]
};

}  // namespace moehill
