// Implements row_route.h: which assignments the capacity keeps (OwnAssignments), the place of each row and
// the exchange of counts, choices and token numbers (RaggedRoute), and the order of rows by waves
// (RouteWaves). It moves no rows of x.
#include "moehill/parallel/row_route.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/partition.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// 256 KiB take 2 ms at 1 Gbit/s. The team looks after messages about every millisecond, so smaller parts
// would wait for it.
constexpr double kPartBytes = 256 << 10;
constexpr double kMaxWaves = 8;

}  // namespace

OwnAssignments::OwnAssignments(const RunConfig& config, const Routing& routing, Range tokens)
    : capacity_(config.block.capacity), nobody_(config.shape.experts) {
  bind(routing, tokens);
  if (capacity_.policy == CapacityPolicy::none) return;
  const MoeShape& shape = config.shape;
  capacity_rows_ = capacity_rows(capacity_, shape.assignments(), shape.experts);
  // If each device is a source with a capacity of its own, a device decides alone. If the capacity goes by
  // gate value or has next choices, a device must know the choices of all devices, which are gathered in
  // all_.
  const bool is_own_source = capacity_.sources > 1;
  MOEHILL_CHECK(!is_own_source || capacity_.sources == config.num_devices, "{} sources on {} devices",
                capacity_.sources, config.num_devices);
  if (is_own_source || capacity_.needs_choices()) {
    Capacity of_source = capacity_;
    of_source.sources = 1;
    limiter_.emplace(of_source, is_own_source ? tokens.size() : shape.tokens, shape.experts, shape.topk);
    if (is_own_source) return;
    all_ = {shape.tokens, shape.experts, shape.topk, {}, {}};
    all_.expert.resize(static_cast<size_t>(shape.assignments()));
    all_.weight.resize(all_.expert.size());
    all_.spare.resize(static_cast<size_t>(shape.tokens * capacity_.spares));
    for (int r = 0; r <= config.num_devices; ++r) {
      const int64_t first = share(shape.tokens, r, config.num_devices).begin;
      choice_offsets_.push_back(first * shape.topk);
      spare_offsets_.push_back(first * capacity_.spares);
    }
    return;
  }
  // If the capacity goes by position, a device only has to know how many assignments of each pool the devices
  // before it have.
  const int pools = capacity_.num_pools(shape.experts);
  kept_.resize(static_cast<size_t>(size_));
  count_.resize(static_cast<size_t>(pools));
  counts_.resize(count_.size() * static_cast<size_t>(config.num_devices));
  for (int r = 0; r <= config.num_devices; ++r) offsets_.push_back(r * int64_t{pools});
}

void OwnAssignments::bind(const Routing& routing, Range tokens) {
  routing_ = decided_ = &routing;
  begin_ = decided_begin_ = tokens.begin * routing.topk;
  size_ = tokens.size() * routing.topk;
}

void OwnAssignments::drop(Group& group) {
  if (!count_.empty()) drop_by_counts(group);
  if (!limiter_) return;
  const bool is_all = !all_.expert.empty();
  const int64_t topk = routing_->topk;
  const Range own{begin_ / topk, (begin_ + size_) / topk};
  decided_ = is_all ? &limiter_->apply(gather_all(group), {0, all_.num_tokens}, capacity_rows_)
                    : &limiter_->apply(*routing_, own, capacity_rows_);
  decided_begin_ = is_all ? begin_ : 0;
}

void OwnAssignments::drop_by_counts(Group& group) {
  const auto count = [&](int64_t i) -> int32_t& {
    return count_[static_cast<size_t>(expert(i) / capacity_.pool)];
  };
  std::fill(count_.begin(), count_.end(), 0);
  for (int64_t i = 0; i < size_; ++i) {
    if (expert(i) != kNoExpert) ++count(i);
  }
  group.all_gather(count_.data(), offsets_, sizeof(int32_t), counts_.data());
  // From here on count_ has the assignments that come before the current one, those of earlier devices
  // included.
  std::fill(count_.begin(), count_.end(), 0);
  for (int r = 0; r < group.rank(); ++r) {
    for (size_t p = 0; p < count_.size(); ++p)
      count_[p] += counts_[static_cast<size_t>(r) * count_.size() + p];
  }
  for (int64_t i = 0; i < size_; ++i) {
    kept_[static_cast<size_t>(i)] =
        expert(i) != kNoExpert &&
        count(i)++ < pool_rows(capacity_, capacity_rows_, expert(i) / capacity_.pool, routing_->num_experts);
  }
}

const Routing& OwnAssignments::gather_all(Group& group) {
  group.all_gather(routing_->expert.data() + begin_, choice_offsets_, sizeof(int32_t), all_.expert.data());
  group.all_gather(routing_->weight.data() + begin_, choice_offsets_, sizeof(float), all_.weight.data());
  if (capacity_.spares > 0) {
    const int64_t first = begin_ / routing_->topk * capacity_.spares;
    group.all_gather(routing_->spare.data() + first, spare_offsets_, sizeof(int32_t), all_.spare.data());
  }
  return all_;
}

void OwnAssignments::spoil() {
  std::fill(kept_.begin(), kept_.end(), 0);
  std::fill(counts_.begin(), counts_.end(), 0);
  if (limiter_) limiter_->spoil();
  std::fill(all_.expert.begin(), all_.expert.end(), kNoExpert);
}

int64_t RaggedRoute::max_sent(const RunConfig& config, int rank) {
  const int64_t devices = std::min({config.num_devices, config.shape.topk, config.shape.experts});
  return result_tokens(config, rank).size() * devices;
}

int64_t RaggedRoute::max_received(const RunConfig& config, int rank) {
  const MoeShape& shape = config.shape;
  const Capacity& capacity = config.block.capacity;
  if (capacity.policy == CapacityPolicy::none) return shape.tokens;
  const Range own = share(shape.experts, rank, config.num_devices);
  if (own.size() == 0) return 0;
  // The capacity keeps a number of rows for a whole pool of experts, so a pool counts whole even if the
  // device has only a part of it.
  const int64_t rows = capacity_rows(capacity, shape.assignments(), shape.experts);
  int64_t kept = 0;
  for (int64_t pool = own.begin / capacity.pool; pool * capacity.pool < own.end; ++pool)
    kept += capacity.sources * pool_rows(capacity, rows, static_cast<int>(pool), shape.experts);
  return std::min(shape.tokens, kept);
}

RouteEnds ends_at_experts(const RunConfig& config, int rank) {
  RouteEnds ends{config.num_devices, rank, {}, result_tokens(config, rank)};
  for (int d = 0; d < config.num_devices; ++d)
    ends.device_of.insert(ends.device_of.end(),
                          idx(share(config.shape.experts, d, config.num_devices).size()), d);
  ends.max_sent = RaggedRoute::max_sent(config, rank);
  ends.max_received = RaggedRoute::max_received(config, rank);
  ends.sends_tokens = config.spread == Spread::fused;
  return ends;
}

RaggedRoute::RaggedRoute(const RunConfig& config, const Routing& routing, const RouteEnds& ends)
    : num_devices_(ends.num_devices),
      topk_(config.shape.topk),
      nobody_(config.shape.experts),
      rank_(ends.rank),
      max_received_(ends.max_received),
      sends_tokens_(ends.sends_tokens),
      own_(config, routing, ends.own_tokens),
      device_of_(ends.device_of) {
  count_.resize(idx(num_devices_));
  counts_.resize(idx(num_devices_));
  places_.resize(idx(num_devices_));
  send_offsets_.resize(idx(num_devices_) + 1);
  receive_offsets_.resize(idx(num_devices_) + 1);
  const size_t max_rows = idx(ends.max_sent);
  sent_token_.resize(max_rows);
  sent_choice_.resize(max_rows * idx(topk_));
  row_at_device_.resize(idx(ends.own_tokens.size() * num_devices_));
  received_ = {config.shape.tokens, config.shape.experts + 1, topk_, {}, {}};
  received_.expert.resize(idx(config.shape.assignments()));
  received_.weight.resize(received_.expert.size());
  received_choice_.resize(received_.expert.size());
  if (sends_tokens_) received_token_.resize(idx(config.shape.tokens));
}

void RaggedRoute::bind(const Routing& routing, std::span<const int64_t> token_offsets) {
  token_offsets_ = token_offsets;
  bind(routing, {token_offsets[idx(rank_)], token_offsets[idx(rank_) + 1]}, token_offsets.back());
}

void RaggedRoute::bind(const Routing& routing, Range own, int64_t num_tokens) {
  num_own_ = own.size();
  num_tokens_ = num_tokens;
  own_.bind(routing, own);
  received_.num_tokens = num_tokens;
  received_.expert.resize(idx(received_.num_tokens * topk_));
  received_.weight.resize(received_.expert.size());
}

void RaggedRoute::spoil(const MemoryVisitor& visit) {
  for (std::vector<int32_t>* of : {&sent_token_, &row_at_device_, &received_token_}) visit_vector(*of, visit);
  // The ids are ids of existing experts, since a plan refuses others.
  for (std::vector<Choice>* choices : {&sent_choice_, &received_choice_})
    std::fill(choices->begin(), choices->end(), Choice{0, std::numeric_limits<float>::quiet_NaN()});
  for (std::vector<int64_t>* numbers : {&counts_, &places_}) std::fill(numbers->begin(), numbers->end(), 0);
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

// Rows are ordered by device. So a first pass counts the rows for each device, and a second pass gives each
// row its place.
void RaggedRoute::place_rows() {
  std::fill(row_at_device_.begin(), row_at_device_.end(), -1);
  std::fill(count_.begin(), count_.end(), 0);
  for (int64_t i = 0; i < own_.size(); ++i) {
    if (!own_.kept(i)) continue;
    const int device = device_of(own_.expert(i));
    int32_t& row = row_at_device_[idx(i / topk_ * num_devices_ + device)];
    // The first expert of a token on a device makes the row; others on the same device share it.
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
  group.exchange_counts(count_.data(), counts_.data());
  receive_offsets_[0] = 0;
  for (int r = 0; r < num_devices_; ++r)
    receive_offsets_[idx(r) + 1] = receive_offsets_[idx(r)] + counts_[idx(r)];
  // Buffers were sized before the routing was known. More rows than that would be an error of max_received().
  MOEHILL_CHECK(num_received() <= std::min(max_received_, num_tokens_),
                "{} rows received, of {} tokens, into a buffer of {}", num_received(), num_tokens_,
                max_received_);
}

void RaggedRoute::exchange_places(Group& group) {
  group.exchange_counts(receive_offsets_.data(), places_.data());
}

// A sender counts tokens from its own first token. The receiver adds the number at which that device's tokens
// begin.
void RaggedRoute::exchange_tokens(Group& group) {
  group.all_to_all(sent_token_.data(), send_offsets_, received_token_.data(), receive_offsets_,
                   sizeof(int32_t));
  for (int r = 0; r < num_devices_; ++r) {
    const int32_t first = static_cast<int32_t>(token_offsets_[idx(r)]);
    for (int64_t i = receive_offsets_[idx(r)]; i < receive_offsets_[idx(r) + 1]; ++i)
      received_token_[idx(i)] += first;
  }
}

void RaggedRoute::exchange_choices(Group& group) {
  group.all_to_all(sent_choice_.data(), send_offsets_, received_choice_.data(), receive_offsets_,
                   sizeof(Choice) * idx(topk_));
  // Rows after the last received row have no expert, so that the plan has the same size in each step.
  const int64_t num_choices = num_received() * topk_;
  group.team().parallel_for(static_cast<int64_t>(received_.expert.size()), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Choice choice = i < num_choices ? received_choice_[idx(i)] : Choice{nobody_, 0};
      received_.expert[idx(i)] = choice.expert;
      received_.weight[idx(i)] = choice.weight;
    }
  });
}

void RaggedRoute::return_values(Group& group, const float* received, std::vector<float>& returned,
                                float* own) const {
  group.all_to_all(received, receive_offsets_, returned.data(), send_offsets_, idx(topk_) * sizeof(float));
  for (int64_t i = 0; i < own_.size(); ++i) {
    own[i] = 0;
    if (!own_.kept(i)) continue;
    const int64_t row = row_at_device_[idx(i / topk_ * num_devices_ + device_of(own_.expert(i)))];
    own[i] = returned[idx(row * topk_ + i % topk_)];
  }
}

bool reads_in_place(const RunConfig& config) {
  if (config.spread == Spread::ring_ag_rs) return true;
  if (config.spread != Spread::fused || config.num_waves > 0 || config.wire != Wire::native) return false;
  int64_t rows = 0;
  for (int device = 0; device < config.num_devices; ++device)
    rows += RaggedRoute::max_received(config, device);
  return rows <= std::numeric_limits<int32_t>::max();
}

int default_waves(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const double devices = config.num_devices;
  // A device is expected to send T/P (1 - (1 - 1/P)^k) rows to each other device under uniform routing.
  const double rows =
      static_cast<double>(shape.tokens) / devices * (1 - std::pow(1 - 1 / devices, shape.topk));
  const double bytes =
      rows * static_cast<double>(shape.hidden) * static_cast<double>(dtype_bytes(shape.dtype));
  const double experts = std::ceil(shape.experts / devices);
  return static_cast<int>(std::clamp(bytes / kPartBytes, 1.0, std::min(kMaxWaves, experts)));
}

RouteWaves::RouteWaves(const RunConfig& config, const RaggedRoute& route, int rank, int num_waves)
    : route_(route),
      num_waves_(num_waves),
      num_devices_(config.num_devices),
      rank_(rank),
      topk_(config.shape.topk),
      wave_of_(idx(config.shape.experts + 1), -1),
      answers_(idx(num_waves) * idx(num_devices_ - 1)),
      next_(idx(num_waves)) {
  for (int d = 0; d < num_devices_; ++d) {
    const Range experts = share(config.shape.experts, d, num_devices_);
    for (int w = 0; w < num_waves; ++w) {
      const Range wave = share(experts.size(), w, num_waves);
      std::fill_n(wave_of_.begin() + experts.begin + wave.begin, wave.size(), w);
      if (d == rank) experts_.push_back(wave.begin);
    }
    if (d == rank) experts_.push_back(experts.size());
  }
  const size_t sent = idx(RaggedRoute::max_sent(config, rank)), received = idx(config.shape.tokens);
  for (Order* order : {&sent_, &answered_, &received_, &answer_}) {
    order->cuts.resize(idx(num_devices_) * idx(num_waves + 1));
    order->place.resize(order == &sent_ || order == &answered_ ? sent : received);
  }
  sent_token_.resize(sent);
  answer_token_.resize(received);
  answered_row_.resize(idx(result_tokens(config, rank).size() * num_devices_));
}

int RouteWaves::first_wave(const RaggedRoute::Choice* choices) const {
  int first = num_waves_ - 1;
  for (int j = 0; j < topk_; ++j) {
    const int wave = wave_of_[idx(choices[j].expert)];
    if (wave >= 0) first = std::min(first, wave);
  }
  return first;
}

int RouteWaves::last_wave(const RaggedRoute::Choice* choices) const {
  int last = 0;
  for (int j = 0; j < topk_; ++j) last = std::max(last, wave_of_[idx(choices[j].expert)]);
  return last;
}

// Sorts rows by wave, for each device separately, and keeps the order within a wave. It is a counting sort:
// `cuts` becomes the waves' bounds.
template <typename WaveOf>
void RouteWaves::sort(Order& order, const std::vector<int64_t>& offsets, const WaveOf& wave_of) {
  for (int d = 0; d < num_devices_; ++d) {
    const Range rows{offsets[idx(d)], offsets[idx(d) + 1]};
    int64_t* const cuts = order.cuts.data() + idx(d) * idx(num_waves_ + 1);
    std::fill_n(cuts, num_waves_ + 1, int64_t{0});
    cuts[0] = rows.begin;
    if (is_one()) {
      cuts[1] = rows.end;
      continue;
    }
    for (int64_t i = rows.begin; i < rows.end; ++i) ++cuts[wave_of(i) + 1];
    for (int w = 0; w < num_waves_; ++w) cuts[w + 1] += cuts[w];
    std::copy_n(cuts, num_waves_, next_.begin());
    for (int64_t i = rows.begin; i < rows.end; ++i)
      order.place[idx(i)] = static_cast<int32_t>(next_[idx(wave_of(i))]++);
  }
}

void RouteWaves::make() {
  const auto sent = [&](int64_t i) { return route_.sent_choices() + i * topk_; };
  const auto received = [&](int64_t i) { return route_.received_choices() + i * topk_; };
  // The sender and the receiver of a row sort by the same waves, because both see the row's expert ids. So no
  // message is needed for the order.
  sort(sent_, route_.send_offsets(), [&](int64_t i) { return first_wave(sent(i)); });
  sort(received_, route_.receive_offsets(), [&](int64_t i) { return first_wave(received(i)); });
  sort(answer_, route_.receive_offsets(), [&](int64_t i) { return last_wave(received(i)); });
  sort(answered_, route_.send_offsets(), [&](int64_t i) { return last_wave(sent(i)); });
  list_answers();
  if (is_one()) return;
  for (int64_t i = 0; i < route_.num_sent(); ++i)
    sent_token_[idx(sent_.place[idx(i)])] = route_.sent_token()[i];
  for (int64_t i = 0; i < route_.num_received(); ++i)
    answer_token_[idx(answer_.place[idx(i)])] = static_cast<int32_t>(i);
  const int64_t num_own = route_.own().size() / topk_;
  for (int64_t i = 0; i < num_own * num_devices_; ++i) {
    const int32_t row = route_.row_at_device()[i];
    answered_row_[idx(i)] = row < 0 ? -1 : answered_.place[idx(row)];
  }
}

void RouteWaves::spoil(const MemoryVisitor& visit) {
  for (Order* order : {&sent_, &received_, &answer_, &answered_}) {
    std::fill(order->cuts.begin(), order->cuts.end(), 0);
    visit_vector(order->place, visit);
  }
  for (std::vector<int32_t>* of : {&sent_token_, &answer_token_, &answered_row_}) visit_vector(*of, visit);
  std::fill(answers_.begin(), answers_.end(), Range{});
}

void RouteWaves::list_answers() {
  for (int w = 0; w < num_waves_; ++w) {
    for (int d = 0, i = 0; d < num_devices_; ++d) {
      const int64_t* const cut = answer_.cuts.data() + idx(d) * idx(num_waves_ + 1) + idx(w);
      if (d != rank_) answers_[idx(w) * idx(num_devices_ - 1) + idx(i++)] = {cut[0], cut[1]};
    }
  }
}

}  // namespace moehill
