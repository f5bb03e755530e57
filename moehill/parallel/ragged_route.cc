#include "moehill/parallel/ragged_route.h"

#include <limits>

#include "moehill/parallel/path.h"

namespace moehill {
namespace {
size_t idx(int64_t i) { return static_cast<size_t>(i); }
}  // namespace

int64_t RaggedRoute::max_sent(const RunConfig& config, int rank) {
  const int64_t devices = std::min({config.num_devices, config.shape.topk, config.shape.experts});
  return result_tokens(config, rank).size() * devices;
}

RaggedRoute::RaggedRoute(const RunConfig& config, const Routing& routing, int rank)
    : num_devices_(config.num_devices),
      topk_(config.shape.topk),
      nobody_(config.shape.experts),
      rank_(rank),
      num_own_(result_tokens(config, rank).size()),
      num_tokens_(config.shape.tokens),
      sends_tokens_(config.spread == Spread::fused),
      own_(config, routing, result_tokens(config, rank)) {
  device_of_.resize(idx(config.shape.experts));
  for (int d = 0; d < num_devices_; ++d) {
    const Range experts = share(config.shape.experts, d, num_devices_);
    std::fill(device_of_.begin() + experts.begin, device_of_.begin() + experts.end, d);
  }
  count_.resize(idx(num_devices_));
  counts_.resize(idx(num_devices_) * idx(num_devices_));
  for (int r = 0; r <= num_devices_; ++r) count_offsets_.push_back(r * num_devices_);
  send_offsets_.resize(idx(num_devices_) + 1);
  receive_offsets_.resize(idx(num_devices_) + 1);
  const size_t max_rows = idx(max_sent(config, rank));
  sent_token_.resize(max_rows);
  sent_choice_.resize(max_rows * idx(topk_));
  row_at_device_.resize(idx(num_own_ * num_devices_));
  received_ = {config.shape.tokens, config.shape.experts + 1, topk_, {}, {}};
  received_.expert.resize(idx(config.shape.assignments()));
  received_.weight.resize(received_.expert.size());
  received_choice_.resize(received_.expert.size());
  if (sends_tokens_) received_token_.resize(idx(config.shape.tokens));
}

void RaggedRoute::spoil(const MemoryVisitor& visit) {
  for (std::vector<int32_t>* of : {&sent_token_, &row_at_device_, &received_token_}) visit_vector(*of, visit);
  // Expert ids are those of somebody, since a plan refuses others.
  for (std::vector<Choice>* choices : {&sent_choice_, &received_choice_})
    std::fill(choices->begin(), choices->end(), Choice{0, std::numeric_limits<float>::quiet_NaN()});
  std::fill(counts_.begin(), counts_.end(), 0);
  own_.spoil();
  spoil_routing(received_, visit);
}

void RaggedRoute::make(Group& group) {
  own_.drop(group);
  place_rows();
  exchange_counts(group);
  exchange_choices(group);
  if (sends_tokens_) exchange_tokens(group);
}

int64_t RaggedRoute::place_at(int device) const {
  int64_t rows = 0;
  for (int r = 0; r < rank_; ++r) rows += counts_[idx(r) * idx(num_devices_) + idx(device)];
  return rows;
}

// Counts first, since rows are ordered by device.
void RaggedRoute::place_rows() {
  std::fill(row_at_device_.begin(), row_at_device_.end(), -1);
  std::fill(count_.begin(), count_.end(), 0);
  for (int64_t i = 0; i < own_.size(); ++i) {
    if (!own_.kept(i)) continue;
    const int device = device_of(own_.expert(i));
    int32_t& row = row_at_device_[idx(i / topk_ * num_devices_ + device)];
    if (row < 0) row = static_cast<int32_t>(count_[idx(device)]++);
  }
  send_offsets_[0] = 0;
  for (int d = 0; d < num_devices_; ++d) send_offsets_[idx(d) + 1] = send_offsets_[idx(d)] + count_[idx(d)];
  std::fill_n(sent_choice_.begin(), num_sent() * topk_, Choice{nobody_, 0});
  for (int64_t t = 0; t < num_own_; ++t) {
    for (int d = 0; d < num_devices_; ++d) {
      int32_t& row = row_at_device_[idx(t * num_devices_ + d)];
      if (row < 0) continue;
      row += static_cast<int32_t>(send_offsets_[idx(d)]);
      sent_token_[idx(row)] = static_cast<int32_t>(t);
    }
    for (int64_t i = t * topk_; i < (t + 1) * topk_; ++i) {
      if (!own_.kept(i)) continue;
      const int64_t row = row_at_device_[idx(t * num_devices_ + device_of(own_.expert(i)))];
      sent_choice_[idx(row * topk_ + i % topk_)] = {own_.expert(i), own_.weight(i)};
    }
  }
}

void RaggedRoute::exchange_counts(Group& group) {
  group.all_gather(count_.data(), count_offsets_, sizeof(int64_t), counts_.data());
  receive_offsets_[0] = 0;
  for (int r = 0; r < num_devices_; ++r) {
    const int64_t rows = counts_[idx(r) * idx(num_devices_) + idx(group.rank())];
    receive_offsets_[idx(r) + 1] = receive_offsets_[idx(r)] + rows;
  }
}

// A sender names tokens by their places among its own.
void RaggedRoute::exchange_tokens(Group& group) {
  group.all_to_all(sent_token_.data(), send_offsets_, received_token_.data(), receive_offsets_,
                   sizeof(int32_t));
  for (int r = 0; r < num_devices_; ++r) {
    const int32_t first = static_cast<int32_t>(share(num_tokens_, r, num_devices_).begin);
    for (int64_t i = receive_offsets_[idx(r)]; i < receive_offsets_[idx(r) + 1]; ++i)
      received_token_[idx(i)] += first;
  }
}

void RaggedRoute::exchange_choices(Group& group) {
  group.all_to_all(sent_choice_.data(), send_offsets_, received_choice_.data(), receive_offsets_,
                   sizeof(Choice) * idx(topk_));
  const int64_t num_choices = num_received() * topk_;
  group.team().parallel_for(static_cast<int64_t>(received_.expert.size()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Choice choice = i < num_choices ? received_choice_[idx(i)] : Choice{nobody_, 0};
      received_.expert[idx(i)] = choice.expert;
      received_.weight[idx(i)] = choice.weight;
    }
  });
}

}  // namespace moehill
