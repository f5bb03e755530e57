#include "moehill/parallel/own_assignments.h"

namespace moehill {

OwnAssignments::OwnAssignments(const RunConfig& config, const Routing& routing, Range tokens)
    : routing_(&routing), begin_(tokens.begin * routing.topk), size_(tokens.size() * routing.topk) {
  const Capacity& capacity = config.block.capacity;
  if (capacity.policy == CapacityPolicy::none) return;
  capacity_rows_ = capacity_rows(capacity, config.shape.assignments(), config.shape.experts);
  kept_.resize(static_cast<size_t>(size_));
  count_.resize(static_cast<size_t>(routing.num_experts));
  counts_.resize(count_.size() * static_cast<size_t>(config.num_devices));
  for (int r = 0; r <= config.num_devices; ++r) offsets_.push_back(r * int64_t{routing.num_experts});
}

void OwnAssignments::drop(Group& group) {
  if (count_.empty()) return;
  std::fill(count_.begin(), count_.end(), 0);
  for (int64_t i = 0; i < size_; ++i) ++count_[static_cast<size_t>(expert(i))];
  group.all_gather(count_.data(), offsets_, sizeof(int32_t), counts_.data());
  std::fill(count_.begin(), count_.end(), 0);
  for (int r = 0; r < group.rank(); ++r) {
    for (size_t e = 0; e < count_.size(); ++e)
      count_[e] += counts_[static_cast<size_t>(r) * count_.size() + e];
  }
  for (int64_t i = 0; i < size_; ++i)
    kept_[static_cast<size_t>(i)] = count_[static_cast<size_t>(expert(i))]++ < capacity_rows_;
}

void OwnAssignments::spoil() {
  std::fill(kept_.begin(), kept_.end(), 0);
  std::fill(counts_.begin(), counts_.end(), 0);
}

}  // namespace moehill
