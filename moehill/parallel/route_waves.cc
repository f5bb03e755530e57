#include "moehill/parallel/route_waves.h"

#include <algorithm>
#include <cmath>

#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// 256 KiB take 2 ms at 1 Gbit/s, where the team looks after messages about every millisecond.
constexpr double kPartBytes = 256 << 10;
constexpr double kMaxWaves = 8;

size_t idx(int64_t i) { return static_cast<size_t>(i); }

}  // namespace

int default_waves(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const double devices = config.num_devices;
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
      num_own_(result_tokens(config, rank).size()),
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
  answered_row_.resize(idx(num_own_ * num_devices_));
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

// Stable, and for each device by itself.
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
  for (int64_t i = 0; i < num_own_ * num_devices_; ++i) {
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
