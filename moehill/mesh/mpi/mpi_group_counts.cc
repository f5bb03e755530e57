// MpiGroup's exchange of counts: the ranks of a node show each other theirs, and its first rank carries those
// for other nodes.
#include <algorithm>

#include "moehill/mesh/mpi/mpi_group.h"

namespace moehill {

int64_t* MpiGroup::carried_counts(int local_rank) const {
  return reinterpret_cast<int64_t*>(counts_window_->part(0)) + int64_t{local_rank} * size_;
}

// The ranks of the node have shown their numbers at the meeting, as offsets, and read what came once they are
// told that the nodes agree.
void MpiGroup::carry_counts() {
  for (const Call& call : rendezvous_->calls()) {
    for (int to = 0; to < size_; ++to) {
      const size_t r = static_cast<size_t>(to);
      if (!is_local(to)) counts_->add({call.rank, to, call.offsets[r + 1] - call.offsets[r]});
    }
  }
  std::fill_n(carried_counts(0), num_local_ * size_, 0);
  for (const CarriedCount& c : counts_->carry()) carried_counts(local_of(c.to))[c.from] = c.count;
}

void MpiGroup::exchange_counts(const int64_t* own, int64_t* theirs) {
  require_idle("counts");
  for (size_t r = 0; r + 1 < slices_.size(); ++r) slices_[r + 1] = slices_[r] + own[r];
  gather_at({.kind = CallKind::counts, .offsets = slices_});
  if (counts_window_) std::copy_n(carried_counts(local_rank_), size_, theirs);
  const size_t rank = static_cast<size_t>(rank_);
  for (const Call& call : meeting_.calls) theirs[call.rank] = call.offsets[rank + 1] - call.offsets[rank];
  const uint64_t bytes = static_cast<uint64_t>(size_ - 1) * sizeof(int64_t);
  traffic_.sent_bytes += bytes;
  traffic_.received_bytes += bytes;
  traffic_.network_bytes += static_cast<uint64_t>(size_ - num_local_) * sizeof(int64_t);
}

}  // namespace moehill
