// Implements balance_loss.h. The losses and gradients in double (balance_loss(), balance_gradient()) are the
// reference. add_balance_gradient() is for a step and allocates nothing. A test compares the two.
#include "moehill/routing/balance_loss.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/overlap.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

// LossScores are the softmax s of a token's logits, and ln of the sum of exponentials.
struct LossScores {
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

// Counts how many choices of these tokens go to each expert.
std::vector<int64_t> choices_of(const Routing& routing, Range tokens) {
  std::vector<int64_t> count(static_cast<size_t>(routing.num_experts), 0);
  for (int64_t a = tokens.begin * routing.topk; a < tokens.end * routing.topk; ++a) {
    const int32_t expert = routing.expert[static_cast<size_t>(a)];
    if (expert != kNoExpert) ++count[static_cast<size_t>(expert)];
  }
  return count;
}

// Windows are the windows of one loss: each has `length` tokens, and each token counts coefficient / T.
struct Windows {
  double coefficient;
  int64_t length;
};

std::vector<Windows> windows_of(const BalanceLoss& loss, int64_t num_tokens) {
  std::vector<Windows> windows;
  if (loss.balance != 0) windows.push_back({loss.balance, num_tokens});
  if (loss.sequence == 0) return windows;
  refuse_impossible(loss, num_tokens);
  windows.push_back({loss.sequence, loss.sequence_tokens});
  return windows;
}

// Returns factor * sum_e n_e s_e of one token. With factor_of() as the factor, the mean of this over the
// tokens of a window is the loss of the window.
double weighted(const std::vector<int64_t>& count, const LossScores& scores, double factor) {
  double sum = 0;
  for (size_t e = 0; e < count.size(); ++e) sum += static_cast<double>(count[e]) * scores.s[e];
  return factor * sum;
}

// Returns E / (k W), the factor of the loss of a window of W tokens.
double factor_of(const Routing& routing, int64_t window) {
  return routing.num_experts / (static_cast<double>(routing.topk) * static_cast<double>(window));
}

}  // namespace

double balance_loss(const BalanceLoss& loss, const float* logits, const Routing& routing, Range tokens) {
  const double num_tokens = static_cast<double>(routing.num_tokens);
  LossScores scores;
  double sum = 0;
  for (const Windows& windows : windows_of(loss, routing.num_tokens)) {
    const double factor = factor_of(routing, windows.length);
    // Only windows that overlap with `tokens` are counted, and the counts are over the whole window.
    for (int64_t first = 0; first < routing.num_tokens; first += windows.length) {
      const Range own = overlap(tokens, {first, first + windows.length});
      if (own.size() == 0) continue;
      const std::vector<int64_t> count = choices_of(routing, {first, first + windows.length});
      for (int64_t t = own.begin; t < own.end; ++t) {
        scores.take(logits + t * routing.num_experts, routing.num_experts);
        sum += windows.coefficient / num_tokens * weighted(count, scores, factor);
      }
    }
  }
  for (int64_t t = tokens.begin; loss.z != 0 && t < tokens.end; ++t) {
    scores.take(logits + t * routing.num_experts, routing.num_experts);
    sum += loss.z / num_tokens * scores.log_sum * scores.log_sum;
  }
  return sum;
}

std::vector<std::pair<std::string, double>> loss_values(const BalanceLoss& loss, const float* logits,
                                                        const Routing& routing, Range tokens) {
  std::vector<std::pair<std::string, double>> values;
  const auto add = [&](const char* name, double BalanceLoss::*factor) {
    if (loss.*factor == 0) return;
    BalanceLoss alone;
    alone.sequence_tokens = loss.sequence_tokens;
    alone.*factor = 1;
    values.emplace_back(name, balance_loss(alone, logits, routing, tokens));
  };
  add("balance", &BalanceLoss::balance);
  add("sequence", &BalanceLoss::sequence);
  add("z", &BalanceLoss::z);
  values.emplace_back("sum", balance_loss(loss, logits, routing, tokens));
  return values;
}

std::vector<double> balance_gradient(const BalanceLoss& loss, const float* logits, const Routing& routing,
                                     Range tokens) {
  const size_t experts = static_cast<size_t>(routing.num_experts);
  const double num_tokens = static_cast<double>(routing.num_tokens);
  std::vector<double> gradient(static_cast<size_t>(tokens.size()) * experts, 0);
  const auto row = [&](int64_t t) { return gradient.begin() + (t - tokens.begin) * routing.num_experts; };
  LossScores scores;
  for (const Windows& windows : windows_of(loss, routing.num_tokens)) {
    const double factor = factor_of(routing, windows.length);
    for (int64_t first = 0; first < routing.num_tokens; first += windows.length) {
      const Range own = overlap(tokens, {first, first + windows.length});
      if (own.size() == 0) continue;
      const std::vector<int64_t> count = choices_of(routing, {first, first + windows.length});
      // d/dz_e of sum_e f n_e s_e is s_e (f n_e - sum_i f n_i s_i), by the derivative of the softmax.
      for (int64_t t = own.begin; t < own.end; ++t) {
        scores.take(logits + t * routing.num_experts, routing.num_experts);
        const double mean = weighted(count, scores, factor);
        for (size_t e = 0; e < experts; ++e)
          row(t)[static_cast<int64_t>(e)] += windows.coefficient / num_tokens * scores.s[e] *
                                             (factor * static_cast<double>(count[e]) - mean);
      }
    }
  }
  for (int64_t t = tokens.begin; loss.z != 0 && t < tokens.end; ++t) {
    scores.take(logits + t * routing.num_experts, routing.num_experts);
    for (size_t e = 0; e < experts; ++e)
      row(t)[static_cast<int64_t>(e)] += 2 * loss.z / num_tokens * scores.log_sum * scores.s[e];
  }
  return gradient;
}

void refuse_impossible(const BalanceLoss& loss, int64_t num_tokens) {
  if (loss.sequence == 0 || (loss.sequence_tokens >= 1 && num_tokens % loss.sequence_tokens == 0)) return;
  throw input_error("--balance-loss", "sequences of " + count_text(loss.sequence_tokens, "token"),
                    "a divisor of the " + count_text(num_tokens, "token"), "choose one");
}

int64_t num_windows(const BalanceLoss& loss, int64_t num_tokens) {
  return (loss.balance != 0 ? 1 : 0) + (loss.sequence != 0 ? num_tokens / loss.sequence_tokens : 0);
}

void count_choices(const BalanceLoss& loss, const Routing& routing, Range tokens, float* counts) {
  const int64_t experts = routing.num_experts, of_sequences = loss.balance != 0 ? experts : 0;
  std::fill_n(counts, num_windows(loss, routing.num_tokens) * experts, 0.0f);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      const int32_t expert = routing.expert[static_cast<size_t>(a)];
      if (expert == kNoExpert) continue;
      if (loss.balance != 0) ++counts[expert];
      if (loss.sequence != 0) ++counts[of_sequences + t / loss.sequence_tokens * experts + expert];
    }
  }
}

namespace {

// WindowSlopes are one window's part of a token's gradient: s_e (slope_e - mean), where slope_e = factor *
// n_e.
struct WindowSlopes {
  const float* count;
  double factor, mean = 0;
};

// Adds the gradient of one token. It computes the scores anew where they are needed, because a step has no
// memory for the scores of all tokens.
void add_token_gradient(const BalanceGradient& gradient, int64_t token) {
  const auto& [loss, all_logits, routing, counts, dlogits] = gradient;
  const int experts = routing.num_experts;
  const double num_tokens = static_cast<double>(routing.num_tokens);
  const float* logits = all_logits + token * experts;
  float* row = dlogits + token * experts;
  const double largest = *std::max_element(logits, logits + experts);
  double sum = 0;
  for (int e = 0; e < experts; ++e) sum += std::exp(logits[e] - largest);
  const auto score = [&](int e) { return std::exp(logits[e] - largest) / sum; };
  // Both losses count assignments, each in its own window: all tokens, or the sequence of this token.
  WindowSlopes windows[2];
  int num = 0;
  if (loss.balance != 0)
    windows[num++] = {counts, loss.balance / num_tokens * factor_of(routing, routing.num_tokens)};
  if (loss.sequence != 0) {
    const int64_t window = token / loss.sequence_tokens + (loss.balance != 0 ? 1 : 0);
    windows[num++] = {counts + window * experts,
                      loss.sequence / num_tokens * factor_of(routing, loss.sequence_tokens)};
  }
  for (int w = 0; w < num; ++w) {
    for (int e = 0; e < experts; ++e)
      windows[w].mean += windows[w].factor * static_cast<double>(windows[w].count[e]) * score(e);
  }
  // The z loss is z times the mean of logsumexp^2. Its slope by a logit is this number times the score.
  const double z_slope = 2 * loss.z / num_tokens * (largest + std::log(sum));
  for (int e = 0; e < experts; ++e) {
    double slope = z_slope;
    for (int w = 0; w < num; ++w)
      slope += windows[w].factor * static_cast<double>(windows[w].count[e]) - windows[w].mean;
    row[e] = static_cast<float>(static_cast<double>(row[e]) + score(e) * slope);
  }
}

}  // namespace

void add_balance_gradient(const BalanceGradient& gradient, Range tokens, ThreadTeam& team) {
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) add_token_gradient(gradient, t);
  });
}

void update_bias(const std::vector<int64_t>& load, double rate, std::vector<float>& bias) {
  const double mean = static_cast<double>(std::accumulate(load.begin(), load.end(), int64_t{0})) /
                      static_cast<double>(load.size());
  for (size_t e = 0; e < load.size(); ++e) {
    const double n = static_cast<double>(load[e]);
    bias[e] += static_cast<float>(n < mean ? rate : n > mean ? -rate : 0);
  }
}

BalanceLoss parse_balance_loss(const std::string& text) {
  BalanceLoss loss;
  if (text == "none") return loss;
  for (const std::string& part : split(text, ',')) {
    const std::vector<std::string> sides = split(part, '=');
    const auto refuse = [&] {
      return input_error("--balance-loss", moehill::quoted(part), kBalanceLossForms, "try balance=0.01");
    };
    if (sides.size() != 2) throw refuse();
    std::vector<std::string> values = split(sides[1], ':');
    double* const factor = sides[0] == "balance"    ? &loss.balance
                           : sides[0] == "sequence" ? &loss.sequence
                           : sides[0] == "z"        ? &loss.z
                                                    : nullptr;
    if (factor == nullptr || values.size() != (factor == &loss.sequence ? 2u : 1u)) throw refuse();
    if (*factor != 0)
      throw usage_error("--balance-loss: " + sides[0] + " is given twice", "leave one of them out");
    *factor = parse_number("--balance-loss " + sides[0], values[0], 1e-12, 1e6);
    if (factor == &loss.sequence)
      loss.sequence_tokens = parse_integer("--balance-loss sequence: tokens", values[1], 1, 1 << 30);
  }
  return loss;
}

std::string to_string(const BalanceLoss& loss) {
  std::vector<std::string> parts;
  if (loss.balance != 0) parts.push_back(fmt::format("balance={}", loss.balance));
  if (loss.sequence != 0) parts.push_back(fmt::format("sequence={}:{}", loss.sequence, loss.sequence_tokens));
  if (loss.z != 0) parts.push_back(fmt::format("z={}", loss.z));
  return parts.empty() ? "none" : fmt::format("{}", fmt::join(parts, ","));
}

}  // namespace moehill
