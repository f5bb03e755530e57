// This file has MpiGroup's exchange of counts. The ranks of a node show each other their numbers, and the
// first rank carries the numbers for other nodes. The file also finds out which pair is at fault if the
// counts of a call do not fit.
#include <algorithm>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/mpi/mpi_group.h"

namespace moehill {
namespace {

// PairCounts has the number of rows that a rank sends to another rank, and the number that it expects from
// it.
struct PairCounts {
  int64_t sent, expected;
};

}  // namespace

int64_t* MpiGroup::carried_counts(int local_rank) const {
  return reinterpret_cast<int64_t*>(counts_window_->part(0)) + int64_t{local_rank} * size_;
}

// The ranks of the node have shown their numbers at the meeting, in the form of offsets. They read the
// carried numbers after they have learnt that the nodes agree.
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

// Called if the calls go together but some rank sends another count than its receiver expects. Each pair of
// ranks on different nodes finds out whether it is at fault. All other pairs still get their rows.
void MpiGroup::tell_counts() {
  const bool to_all = call_.kind == CallKind::all_to_all && !call_.receive_offsets.empty();
  std::vector<PairCounts> own(static_cast<size_t>(size_)), theirs(own.size());
  Messages pairs(comm_.get(), kLargestPieceBytes);
  pairs.use_tag(kHeaderTag);
  for (int i = 1; i < size_ && to_all; ++i) {
    const size_t r = static_cast<size_t>(other(i));
    own[r] = {call_.offsets[r + 1] - call_.offsets[r],
              call_.receive_offsets[r + 1] - call_.receive_offsets[r]};
    if (is_local(other(i))) continue;
    pairs.receive(&theirs[r], sizeof theirs[r], other(i));
    pairs.send(&own[r], sizeof own[r], other(i));
  }
  pairs.finish("the counts of a call that do not fit");
  std::string difference;
  for (int r = 0; r < size_; ++r) {
    const PairCounts mine = own[static_cast<size_t>(r)], other = theirs[static_cast<size_t>(r)];
    if (is_local(r) || (mine.sent == other.expected && mine.expected == other.sent)) continue;
    fits_[static_cast<size_t>(r)] = false;
    if (!difference.empty()) continue;
    difference = mine.expected != other.sent ? count_disagreement(r, other.sent, rank_, mine.expected)
                                             : count_disagreement(rank_, mine.sent, r, other.expected);
  }
  if (!difference.empty()) throw CollectiveError(difference);
  // No pair of this rank is at fault. In a round trip this rank's rows still cannot be used: the counts of
  // two others may not fit, or all counts fit and the cuts into parts do not.
  if (!to_all || call_.n > 0)
    throw CollectiveError(
        "round_trip: the counts of two other ranks do not fit, or the ranks cut their rows differently into "
        "parts");
}

}  // namespace moehill
