#include "moehill/moe/router_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <span>

namespace moehill {
namespace {

constexpr double kUnit = 0x1p-24;       // of rounding, f32
constexpr double kSmallest = 0x1p-126;  // a gate value below it may have any error of that size

struct TokenRoute {
  std::span<const float> logits;    // [E]
  std::span<const int32_t> chosen;  // [k]
  std::span<const float> weights;   // [k]

  double logit(size_t e) const { return logits[e]; }
  bool comes_before(size_t a, size_t b) const {
    return logit(a) > logit(b) || (logit(a) == logit(b) && a < b);
  }
};

std::string choice_fault(const TokenRoute& route) {
  for (size_t j = 0; j < route.chosen.size(); ++j) {
    const int32_t e = route.chosen[j];
    if (e < 0 || e >= std::ssize(route.logits)) return fmt::format("there is no expert {}", e);
    if (j > 0 && !route.comes_before(static_cast<size_t>(route.chosen[j - 1]), static_cast<size_t>(e)))
      return fmt::format("choice {} does not come before choice {}", j - 1, j);
  }
  for (size_t e = 0; e < route.logits.size(); ++e) {
    const bool chosen = std::find(route.chosen.begin(), route.chosen.end(), e) != route.chosen.end();
    if (!chosen && route.comes_before(e, static_cast<size_t>(route.chosen.back())))
      return fmt::format("expert {} is left out", e);
  }
  return "";
}

// The errors of a gate value in f32: its own exponent and those of the sum's terms are rounded, each by the
// unit times its size, and a sum of n terms, two exponentials and a quotient by n + 8 units at most.
std::string weight_fault(const TokenRoute& route, bool renormalized) {
  const double largest = route.logit(static_cast<size_t>(route.chosen.front()));
  double sum = 0, gaps = 0;
  const auto add = [&](size_t e) {
    const double gap = route.logit(e) - largest, term = std::exp(gap);
    sum += term;
    if (term > 0) gaps -= gap * term;
  };
  if (renormalized) {
    for (const int32_t e : route.chosen) add(static_cast<size_t>(e));
  } else {
    for (size_t e = 0; e < route.logits.size(); ++e) add(e);
  }
  const double num_terms = static_cast<double>(renormalized ? route.chosen.size() : route.logits.size());
  for (size_t j = 0; j < route.chosen.size(); ++j) {
    const double gap = route.logit(static_cast<size_t>(route.chosen[j])) - largest;
    const double right = std::exp(gap) / sum;
    const double units = num_terms + 8 + gaps / sum + (right > 0 ? -gap : 0);
    const double error = std::abs(route.weights[j] - right);
    if (error <= kUnit * units * right + kSmallest) continue;
    return fmt::format("gate value {} is {:g}, {:g} in double", j, route.weights[j], right);
  }
  return "";
}

}  // namespace

std::string router_fault(const float* logits, bool renormalized, const Routing& routing, ThreadTeam& team) {
  const size_t experts = static_cast<size_t>(routing.num_experts), topk = static_cast<size_t>(routing.topk);
  const auto fault_of = [&](int64_t token) {
    const size_t t = static_cast<size_t>(token);
    const TokenRoute route{{logits + t * experts, experts},
                           {routing.expert.data() + t * topk, topk},
                           {routing.weight.data() + t * topk, topk}};
    const std::string fault = choice_fault(route);
    return fault.empty() ? weight_fault(route, renormalized) : fault;
  };
  std::atomic<int64_t> first{routing.num_tokens};
  team.parallel_for(routing.num_tokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (fault_of(t).empty()) continue;
      int64_t known = first;
      while (t < known && !first.compare_exchange_weak(known, t)) {
      }
      return;
    }
  });
  return first == routing.num_tokens
             ? ""
             : fmt::format("the router's token {}: {}", first.load(), fault_of(first));
}

}  // namespace moehill
