#include "moehill/routing/balance_loss.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// A token's softmax, and the logarithm of its sum.
struct Scores {
  std::vector<double> s;
  double log_sum = 0;

  void take(const float* logits, int num_experts) {
    s.assign(logits, logits + num_experts);
    const double largest = *std::max_element(s.begin(), s.end());
    double sum = 0;
    for (double& z : s) sum += z = std::exp(z - largest);
    for (double& z : s) z /= sum;
    log_sum = largest + std::log(sum);
  }
};

std::vector<int64_t> count_choices(const Routing& routing, Range tokens) {
  std::vector<int64_t> count(static_cast<size_t>(routing.num_experts), 0);
  for (int64_t a = tokens.begin * routing.topk; a < tokens.end * routing.topk; ++a) {
    const int32_t expert = routing.expert[static_cast<size_t>(a)];
    if (expert != kNoExpert) ++count[static_cast<size_t>(expert)];
  }
  return count;
}

// Windows of `length` tokens each, whose losses count coefficient / T * length each.
struct Windows {
  double coefficient;
  int64_t length;
};

std::vector<Windows> windows_of(const BalanceLoss& loss, int64_t num_tokens) {
  std::vector<Windows> windows;
  if (loss.balance != 0) windows.push_back({loss.balance, num_tokens});
  if (loss.sequence == 0) return windows;
  if (loss.sequence_tokens < 1 || num_tokens % loss.sequence_tokens != 0)
    throw input_error("sequences", std::to_string(loss.sequence_tokens) + " tokens",
                      fmt::format("a divisor of the {} tokens", num_tokens), "choose one");
  windows.push_back({loss.sequence, loss.sequence_tokens});
  return windows;
}

// E / (k n_tokens) sum_e n_e s_e of one token, for a window of this length: what the mean over tokens makes
// the loss of.
double weighted(const std::vector<int64_t>& count, const Scores& scores, double factor) {
  double sum = 0;
  for (size_t e = 0; e < count.size(); ++e) sum += static_cast<double>(count[e]) * scores.s[e];
  return factor * sum;
}

double factor_of(const Routing& routing, int64_t window) {
  return routing.num_experts / (static_cast<double>(routing.topk) * static_cast<double>(window));
}

}  // namespace

double balance_loss(const BalanceLoss& loss, const float* logits, const Routing& routing) {
  const double num_tokens = static_cast<double>(routing.num_tokens);
  Scores scores;
  double sum = 0;
  for (const Windows& windows : windows_of(loss, routing.num_tokens)) {
    const double factor = factor_of(routing, windows.length);
    for (int64_t first = 0; first < routing.num_tokens; first += windows.length) {
      const std::vector<int64_t> count = count_choices(routing, {first, first + windows.length});
      for (int64_t t = first; t < first + windows.length; ++t) {
        scores.take(logits + t * routing.num_experts, routing.num_experts);
        sum += windows.coefficient / num_tokens * weighted(count, scores, factor);
      }
    }
  }
  for (int64_t t = 0; loss.z != 0 && t < routing.num_tokens; ++t) {
    scores.take(logits + t * routing.num_experts, routing.num_experts);
    sum += loss.z / num_tokens * scores.log_sum * scores.log_sum;
  }
  return sum;
}

void add_balance_gradient(const BalanceLoss& loss, const float* logits, const Routing& routing, Range tokens,
                          float* dlogits) {
  const double num_tokens = static_cast<double>(routing.num_tokens);
  const std::vector<Windows> all_windows = windows_of(loss, routing.num_tokens);
  std::vector<std::vector<int64_t>> counts(all_windows.size());
  Scores scores;
  std::vector<double> gradient(static_cast<size_t>(routing.num_experts));
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    scores.take(logits + t * routing.num_experts, routing.num_experts);
    for (size_t e = 0; e < gradient.size(); ++e)
      gradient[e] = 2 * loss.z / num_tokens * scores.log_sum * scores.s[e];
    for (size_t w = 0; w < all_windows.size(); ++w) {
      const auto [coefficient, length] = all_windows[w];
      const int64_t first = t / length * length;
      if (t == first || counts[w].empty()) counts[w] = count_choices(routing, {first, first + length});
      const double factor = factor_of(routing, length), mean = weighted(counts[w], scores, factor);
      for (size_t e = 0; e < gradient.size(); ++e) {
        gradient[e] +=
            coefficient / num_tokens * scores.s[e] * (factor * static_cast<double>(counts[w][e]) - mean);
      }
    }
    float* row = dlogits + t * routing.num_experts;
    for (size_t e = 0; e < gradient.size(); ++e) row[e] += static_cast<float>(gradient[e]);
  }
}

}  // namespace moehill
