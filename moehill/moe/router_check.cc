// This file checks a router. A token's choices are right if no expert that was left out surely ranks before
// one that was chosen; nothing is sorted.
#include "moehill/moe/router_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <span>

#include "moehill/base/table.h"
#include "moehill/moe/deviation.h"
#include "moehill/moe/projection.h"
#include "moehill/moe/router_reference.h"

namespace moehill {
namespace {

// A Rank orders candidates. Candidates with equal logits and biases are ordered by their numbers.
struct Rank {
  Bounded key;
  std::array<float, 4> same;  // the logits and biases that the key was made from
  int64_t id;

  bool surely_before(const Rank& other) const {
    if (same == other.same) return id < other.id;
    return key.value - other.key.value > key.error + other.key.error;
  }
};

// TokenCheck checks one token. fault() says what is wrong, or "".
class TokenCheck {
 public:
  TokenCheck(const Router& router, const float* logits, const Routing& routing, int64_t token)
      : router_(router),
        token_(token),
        logits_(logits + token * routing.num_logits(), static_cast<size_t>(routing.num_logits())),
        chosen_(choices_of(routing, token)),
        weights_(routing.weight.data() + token * routing.topk, chosen_.size()),
        reference_(router, logits_) {
    if (router.rule.groups > 1) count_groups();
  }

  std::string fault() const {
    for (size_t j = 0; j < chosen_.size(); ++j) {
      if (chosen_[j] < 0 || chosen_[j] >= std::ssize(logits_))
        return fmt::format("there is no expert {}", chosen_[j]);
      if (std::find(chosen_.begin(), chosen_.begin() + static_cast<ptrdiff_t>(j), chosen_[j]) !=
          chosen_.begin() + static_cast<ptrdiff_t>(j))
        return fmt::format("expert {} is chosen twice", chosen_[j]);
    }
    const std::string fault = router_.rule.hash_ids > 0 ? table_fault() : choice_fault();
    return fault.empty() ? weight_fault() : fault;
  }

 private:
  Rank rank_of(size_t e) const {
    const float bias = router_.bias.empty() ? 0 : router_.bias[e];
    return {reference_.key(e), {logits_[e], bias, 0, 0}, static_cast<int64_t>(e)};
  }

  std::string table_fault() const {
    const auto id = static_cast<size_t>(router_.id_of_token[static_cast<size_t>(token_)]);
    for (size_t j = 0; j < chosen_.size(); ++j) {
      const int32_t right = router_.experts_of_id[id * chosen_.size() + j];
      if (chosen_[j] != right)
        return fmt::format("choice {} is expert {}, the table has {}", j, chosen_[j], right);
    }
    return "";
  }

  std::string choice_fault() const {
    const std::string fault = group_fault();
    if (!fault.empty()) return fault;
    for (size_t j = 1; j < chosen_.size(); ++j) {
      if (rank_of(static_cast<size_t>(chosen_[j]))
              .surely_before(rank_of(static_cast<size_t>(chosen_[j - 1]))))
        return fmt::format("choice {} does not come before choice {}", j - 1, j);
    }
    const Rank last = rank_of(static_cast<size_t>(chosen_.back()));
    for (size_t e = 0; e < logits_.size(); ++e) {
      const bool chosen = std::find(chosen_.begin(), chosen_.end(), e) != chosen_.end();
      if (!chosen && surely_kept(group_of(e)) && rank_of(e).surely_before(last))
        return fmt::format("expert {} is left out", e);
    }
    return "";
  }

  size_t group_size() const { return logits_.size() / static_cast<size_t>(router_.rule.groups); }
  size_t group_of(size_t e) const { return e / group_size(); }

  // A group of experts ranks by its best expert's key, or by the sum of its two best ones. Equal groups rank
  // by their numbers, and so by the numbers of their best experts.
  Rank rank_of_group(size_t g) const {
    const size_t begin = g * group_size();
    size_t best = begin, second = logits_.size();
    for (size_t e = begin + 1; e < begin + group_size(); ++e) {
      const double key = reference_.key(e).value;
      if (key > reference_.key(best).value) {
        second = best;
        best = e;
      } else if (second == logits_.size() || key > reference_.key(second).value) {
        second = e;
      }
    }
    Rank rank = rank_of(best);
    if (!router_.rule.best_two) return rank;
    const Rank other = rank_of(second);
    rank.key.value += other.key.value;
    rank.key.error += other.key.error + 0x1p-24 * std::abs(rank.key.value);
    rank.same[2] = other.same[0];
    rank.same[3] = other.same[1];
    return rank;
  }

  void count_groups() {
    std::vector<Rank> ranks;
    for (size_t g = 0; g < static_cast<size_t>(router_.rule.groups); ++g) ranks.push_back(rank_of_group(g));
    for (const Rank& own : ranks) {
      GroupsBefore before;
      for (const Rank& other : ranks) {
        if (other.id == own.id) continue;
        before.surely += other.surely_before(own);
        before.maybe += !own.surely_before(other);
      }
      before_.push_back(before);
    }
  }
  // A group is surely kept if all groups that may rank before it still leave room for it.
  bool surely_kept(size_t g) const { return before_.empty() || before_[g].maybe < router_.rule.kept_groups; }

  std::string group_fault() const {
    if (before_.empty()) return "";
    std::vector<size_t> used;
    for (const int32_t e : chosen_) {
      const size_t g = group_of(static_cast<size_t>(e));
      if (before_[g].surely >= router_.rule.kept_groups)
        return fmt::format("expert {} is chosen, of group {} that is not kept", e, g);
      if (std::find(used.begin(), used.end(), g) == used.end()) used.push_back(g);
    }
    if (std::ssize(used) <= router_.rule.kept_groups) return "";
    return fmt::format("experts of {} groups are chosen, {} kept", used.size(),
                       count_text(router_.rule.kept_groups, "is", "are"));
  }

  std::string weight_fault() const {
    const std::vector<Bounded> right = reference_.gate_values(chosen_);
    for (size_t j = 0; j < right.size(); ++j) {
      if (std::abs(static_cast<double>(weights_[j]) - right[j].value) <= right[j].error) continue;
      return fmt::format("gate value {} is {:g}, {:g} in double", j, unsigned_nan(weights_[j]),
                         right[j].value);
    }
    return "";
  }

  const Router& router_;
  const int64_t token_;
  const std::span<const float> logits_;   // [L]
  const std::vector<int32_t> chosen_;     // [k]
  const std::span<const float> weights_;  // [k]
  const RouterReference reference_;
  // GroupsBefore counts the groups that rank before a group: surely, and maybe, within the rounding errors.
  struct GroupsBefore {
    int surely = 0, maybe = 0;
  };
  std::vector<GroupsBefore> before_;  // [groups]; empty if the rule has no groups
};

}  // namespace

std::string router_fault(const Router& router, const float* logits, const Routing& routing, Range tokens,
                         ThreadTeam& team) {
  const auto fault_of = [&](int64_t token) { return TokenCheck(router, logits, routing, token).fault(); };
  std::atomic<int64_t> first{tokens.end};
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) {
      if (fault_of(t).empty()) continue;
      // Keeps the lowest number, so that the report does not depend on the threads.
      int64_t known = first;
      while (t < known && !first.compare_exchange_weak(known, t)) {
      }
      return;
    }
  });
  return first == tokens.end ? "" : fmt::format("the router's token {}: {}", first.load(), fault_of(first));
}

std::string logits_fault(const BlockTensors& tensors, Range tokens, uint32_t seed) {
  // Compares one number for each token, x (W_g r) with (logits r) for random weights r. A comparison of all
  // logits would take L times as long.
  const LogicalWeights& w = tensors.weights.wg;
  const Projection by_logit(w.num_columns, w.num_columns, seed);
  std::vector<double> row(static_cast<size_t>(w.num_columns)), weights;
  double weight_squares = 0;
  const auto project = [&] {
    double sum = 0;
    for (size_t l = 0; l < row.size(); ++l) sum += static_cast<double>(by_logit.weight[l]) * row[l];
    return sum;
  };
  for (int64_t h = 0; h < w.rows(); ++h) {
    for (size_t l = 0; l < row.size(); ++l) {
      row[l] = static_cast<double>(w.at(0, h, static_cast<int64_t>(l)));
      const double weighted = static_cast<double>(by_logit.weight[l]) * row[l];
      weight_squares += weighted * weighted;
    }
    weights.push_back(project());
  }
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    double expected = 0, x_squares = 0;
    for (int64_t h = 0; h < w.rows(); ++h) {
      const double x = static_cast<double>(tensors.x.at(t, h));
      expected += x * weights[static_cast<size_t>(h)];
      x_squares += x * x;
    }
    for (size_t l = 0; l < row.size(); ++l)
      row[l] = static_cast<double>(tensors.logits[t * w.num_columns + static_cast<int64_t>(l)]);
    const double bound =
        kMaxBounds * 0x1p-24 *
        std::sqrt(static_cast<double>(w.rows() + w.num_columns) * x_squares * weight_squares);
    if (std::abs(project() - expected) <= bound) continue;
    return fmt::format("the router's token {}: its logits are not x W_g: off by {:.1e}, {:.1e} allowed", t,
                       unsigned_nan(std::abs(project() - expected)), bound);
  }
  return "";
}

}  // namespace moehill
