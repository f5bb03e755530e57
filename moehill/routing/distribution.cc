// This file makes router logits of each distribution (distribution.h has the formulas): random numbers first,
// then a large addition for the experts that the distribution favours.
#include "moehill/routing/distribution.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/base/rng.h"
#include "moehill/routing/workloads.h"

namespace moehill {
namespace {

constexpr float kRunLogit = 6;
// This is larger than the widest gap between two normals, since random_normal() is within 5.77.
constexpr float kChosenLogit = 12;

// Returns a geometric number on 1, 2, ... with mean 1 / p, by inversion of u in (0, 1).
int64_t geometric(double u, double p) {
  return 1 + static_cast<int64_t>(std::floor(std::log(u) / std::log1p(-p)));
}

// Draws one of the least loaded experts by u in (0, 1). It is not `previous` if there is another one.
int draw_expert(const std::vector<int64_t>& load, int previous, double u) {
  const int64_t least = *std::min_element(load.begin(), load.end());
  const auto num_least = std::count(load.begin(), load.end(), least);
  const bool skips_previous = num_least > 1 && previous >= 0 && load[static_cast<size_t>(previous)] == least;
  auto left = static_cast<int64_t>(u * static_cast<double>(num_least - skips_previous));
  int expert = 0;
  for (;; ++expert) {
    const bool is_candidate =
        load[static_cast<size_t>(expert)] == least && !(skips_previous && expert == previous);
    if (is_candidate && left-- == 0) return expert;
  }
}

// Shuffles by the method of Fisher and Yates, with the numbers [index, index + n) of a stream.
void shuffle(std::vector<int32_t>& values, uint32_t seed, Stream stream, uint64_t index) {
  for (size_t i = values.size(); i-- > 1;) {
    const double u = random_uniform(seed, stream, index + i);
    std::swap(values[i], values[static_cast<size_t>(u * static_cast<double>(i + 1))]);
  }
}

bool has_hot_experts(const DistributionOptions& options) {
  return options.kind == Distribution::hot_experts || options.kind == Distribution::hot_device;
}

// Adds kChosenLogit to the `count` largest logits among the experts that are hot (hot = 1) or not hot (hot =
// 0), so that these are chosen.
void raise_largest(float* logits, const std::vector<char>& is_hot, char hot, int64_t count) {
  std::vector<int32_t> candidates;
  for (size_t e = 0; e < is_hot.size(); ++e) {
    if (is_hot[e] == hot) candidates.push_back(static_cast<int32_t>(e));
  }
  std::partial_sort(
      candidates.begin(), candidates.begin() + count, candidates.end(),
      [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  for (int64_t i = 0; i < count; ++i) logits[candidates[static_cast<size_t>(i)]] += kChosenLogit;
}

}  // namespace

std::vector<int32_t> hot_experts(const DistributionOptions& options, int num_experts, uint32_t seed,
                                 int num_zero_experts) {
  if (options.kind == Distribution::hot_device) {
    std::vector<int32_t> first(idx(share(num_experts - num_zero_experts, 0, options.devices).end));
    std::iota(first.begin(), first.end(), 0);
    return first;
  }
  if (options.kind != Distribution::hot_experts) return {};
  std::vector<int32_t> order = expert_order(num_experts, seed);
  order.resize(static_cast<size_t>(options.num_hot));
  return order;
}

LogitStream::LogitStream(const DistributionOptions& options, int num_experts, int topk, uint32_t seed,
                         int num_zero_experts)
    : options_(options), num_experts_(num_experts), topk_(topk), seed_(seed_of_step(options, seed)) {
  MOEHILL_CHECK(options.kind != Distribution::trace, "logits of a trace");
  refuse_impossible(options, num_experts, topk, num_zero_experts);
  log_popularity_ = log_popularity(options, num_experts, seed);
  is_favoured_ = favoured_experts(options, num_experts, topk, seed);
  const size_t num = static_cast<size_t>(num_experts);
  if (options.kind == Distribution::runs) load_.assign(num, 0);
  if (options.kind == Distribution::balanced) deck_.resize(num), deck_next_ = num;
  if (has_hot_experts(options)) {
    is_hot_.assign(num, 0);
    for (const int32_t e : hot_experts(options, num_experts, seed, num_zero_experts)) is_hot_[idx(e)] = 1;
  }
}

// Returns the expert that this token's run prefers; begins a new run when the last one has ended.
int LogitStream::preferred_expert() {
  if (run_left_ == 0) {
    const double p = std::clamp(1 / std::max(2.0, 1 / (1 - options_.run_alpha)), 0.01, 0.9);
    run_expert_ = draw_expert(load_, run_expert_, random_uniform(seed_, Stream::kRunExperts, run_));
    run_left_ = geometric(random_uniform(seed_, Stream::kRunLengths, run_), p);
    load_[static_cast<size_t>(run_expert_)] += run_left_;
    ++run_;
  }
  --run_left_;
  return run_expert_;
}

// Returns the number of hot experts of this token. Rounding the running sum keeps the share exact over all
// tokens.
int64_t LogitStream::hot_count() const {
  const double per_token = topk_ * options_.hot_share;
  const auto until = [&](int64_t t) { return std::llround(static_cast<double>(t) * per_token); };
  return until(token_ + 1) - until(token_);
}

void LogitStream::shuffle_deck() {
  std::iota(deck_.begin(), deck_.end(), 0);
  shuffle(deck_, seed_, Stream::kDeals, num_decks_++ * static_cast<uint64_t>(num_experts_));
  deck_next_ = 0;
}

// Deals topk experts from the deck. A card that the token already has stays in the deck for a later token.
void LogitStream::deal(bool* chosen) {
  for (int j = 0; j < topk_; ++j) {
    if (deck_next_ == deck_.size()) shuffle_deck();
    size_t card = deck_next_;
    // The loop ends, because the cards of this deck that the token has already lie before deck_next_.
    while (chosen[deck_[card]]) ++card;
    std::rotate(deck_.begin() + static_cast<int64_t>(deck_next_), deck_.begin() + static_cast<int64_t>(card),
                deck_.begin() + static_cast<int64_t>(card) + 1);
    chosen[deck_[deck_next_++]] = true;
  }
}

void LogitStream::choose(float* logits) {
  if (has_hot_experts(options_)) {
    const int64_t num_hot = hot_count();
    raise_largest(logits, is_hot_, 1, num_hot);
    raise_largest(logits, is_hot_, 0, topk_ - num_hot);
  }
  if (options_.kind == Distribution::workload && options_.workload == 0) {
    for (int64_t a = token_ * topk_; a < (token_ + 1) * topk_; ++a) logits[a % num_experts_] += kChosenLogit;
  }
  if (!is_favoured_.empty() && is_favoured(options_, token_)) {
    for (size_t e = 0; e < is_favoured_.size(); ++e) logits[e] += is_favoured_[e] != 0 ? kChosenLogit : 0;
  }
  if (options_.kind == Distribution::balanced) {
    const auto chosen = std::make_unique<bool[]>(static_cast<size_t>(num_experts_));
    deal(chosen.get());
    for (int e = 0; e < num_experts_; ++e) logits[e] += chosen[static_cast<size_t>(e)] ? kChosenLogit : 0;
  }
}

// Only runs and balanced depend on earlier tokens; the other distributions need only the token's number.
void LogitStream::skip(int64_t num_tokens) {
  const auto chosen = std::make_unique<bool[]>(static_cast<size_t>(num_experts_));
  for (int64_t i = 0; i < num_tokens; ++i, ++token_) {
    if (options_.kind == Distribution::runs) preferred_expert();
    if (options_.kind != Distribution::balanced) continue;
    std::fill_n(chosen.get(), num_experts_, false);
    deal(chosen.get());
  }
}

void LogitStream::next(int64_t num_tokens, std::vector<float>& logits) {
  logits.resize(static_cast<size_t>(num_tokens) * static_cast<size_t>(num_experts_));
  const double scale = options_.kind == Distribution::runs ? options_.run_noise_scale : 1;
  float* row = logits.data();
  for (int64_t i = 0; i < num_tokens; ++i, ++token_, row += num_experts_) {
    const uint64_t first = static_cast<uint64_t>(token_) * static_cast<uint64_t>(num_experts_);
    for (int e = 0; e < num_experts_; ++e) {
      const uint64_t index = first + static_cast<uint64_t>(e);
      // With a popularity, -ln(-ln U) is Gumbel noise: the largest k logits are then k draws without
      // replacement in proportion to the popularity.
      row[e] = log_popularity_.empty()
                   ? static_cast<float>(scale * random_normal(seed_, Stream::kLogits, index))
                   : static_cast<float>(log_popularity_[static_cast<size_t>(e)] -
                                        std::log(-std::log(random_uniform(seed_, Stream::kLogits, index))));
    }
    if (options_.kind == Distribution::runs) row[preferred_expert()] += kRunLogit;
    choose(row);
  }
}

std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts,
                               int topk, uint32_t seed, int num_zero_experts) {
  MOEHILL_CHECK(num_tokens >= 0 && num_experts >= 1, "logits of {} tokens x {} experts", num_tokens,
                num_experts);
  std::vector<float> logits;
  LogitStream(options, num_experts, topk, seed, num_zero_experts).next(num_tokens, logits);
  return logits;
}

}  // namespace moehill
