#include "moehill/moe/check_selection.h"

#include <algorithm>
#include <set>

#include "moehill/base/rng.h"
#include "moehill/moe/oracle.h"

namespace moehill {
namespace {

constexpr size_t kMinTokens = 16, kSeededTokens = 8, kSeededExperts = 2;

constexpr size_t kColumns = 16, kColumnsOfFewTokens = 64;
constexpr int64_t kManyTokens = 1024;

// Seeded draws from [0, n), each call the next.
class Draws {
 public:
  explicit Draws(uint32_t seed) : seed_(seed) {}
  int64_t below(int64_t n) {
    const double u = random_uniform(seed_, Stream::kSampleRows, next_++);
    return std::min(n - 1, static_cast<int64_t>(u * static_cast<double>(n)));
  }

 private:
  uint32_t seed_;
  uint64_t next_ = 0;
};

// Draws from [0, n) until the set holds `count`, or all of them.
void fill_up(Draws& draws, int64_t n, size_t count, std::set<int64_t>& chosen) {
  count = std::min(count, static_cast<size_t>(n));
  while (chosen.size() < count) chosen.insert(draws.below(n));
}

// Of n. A row of a gradient is compared over these columns alone, and a short row can be small by
// cancellation where all of it is not: with the rounding of bf16 products and 18 to 32 tokens the worst of
// 10,000 rows is wrong by 0.4 % over 2048 columns, 0.8 % over 64 and 1.3 % over 16 (once 2.1 %). Sums over
// many tokens do not vary so.
std::vector<int64_t> sample_columns(Draws& draws, int64_t n, int64_t tokens) {
  if (n == 0) return {};
  std::set<int64_t> chosen = {0, n - 1};
  fill_up(draws, n, tokens > kManyTokens ? kColumns : kColumnsOfFewTokens, chosen);
  return {chosen.begin(), chosen.end()};
}

std::vector<int> sample_experts(Draws& draws, const std::vector<int64_t>& load) {
  std::vector<int> busy;
  std::set<int> chosen;
  for (int e = 0; e < static_cast<int>(load.size()); ++e) {
    if (load[static_cast<size_t>(e)] > 0) {
      busy.push_back(e);
    } else if (chosen.empty()) {
      chosen.insert(e);
    }
  }
  if (!busy.empty()) {
    const auto lighter = [&](int a, int b) {
      return load[static_cast<size_t>(a)] < load[static_cast<size_t>(b)];
    };
    const auto [smallest, largest] = std::minmax_element(busy.begin(), busy.end(), lighter);
    chosen.insert({*smallest, *largest});
    // Few busy experts may be chosen already: the number of draws has an end.
    const size_t count = chosen.size() + kSeededExperts;
    for (size_t draw = 0; draw < 16 * kSeededExperts && chosen.size() < count; ++draw)
      chosen.insert(busy[static_cast<size_t>(draws.below(static_cast<int64_t>(busy.size())))]);
  }
  return {chosen.begin(), chosen.end()};
}

// First and last token of each chosen expert, and the first token with a dropped assignment.
void add_group_ends(const BlockTensors& tensors, const std::vector<int>& experts, std::set<int64_t>& tokens) {
  const Routing& routing = *tensors.routing;
  std::vector<int64_t> first(static_cast<size_t>(routing.num_experts), -1), last = first;
  int64_t first_dropped = -1;
  for (int64_t a = 0; a < tensors.shape.assignments(); ++a) {
    const int64_t token = a / routing.topk;
    const size_t e = static_cast<size_t>(routing.expert[static_cast<size_t>(a)]);
    if (tensors.kept != nullptr && tensors.kept[a] == 0) {
      if (first_dropped < 0) first_dropped = token;
      continue;
    }
    if (first[e] < 0) first[e] = token;
    last[e] = token;
  }
  if (first_dropped >= 0) tokens.insert(first_dropped);
  for (const int e : experts) {
    if (first[static_cast<size_t>(e)] < 0) continue;
    tokens.insert({first[static_cast<size_t>(e)], last[static_cast<size_t>(e)]});
  }
}

std::vector<int64_t> sample_tokens(Draws& draws, const BlockTensors& tensors,
                                   const std::vector<int>& experts) {
  const int64_t n = tensors.shape.tokens;
  if (n == 0) return {};
  std::set<int64_t> chosen = {0, std::max<int64_t>(0, n / 2 - 1), n / 2, n - 1};
  add_group_ends(tensors, experts, chosen);
  fill_up(draws, n, std::max(kMinTokens, chosen.size() + kSeededTokens), chosen);
  return {chosen.begin(), chosen.end()};
}

}  // namespace

CheckSelection select_all(const MoeShape& shape) {
  CheckSelection all;
  all.tokens = indices_up_to(shape.tokens);
  for (int e = 0; e < shape.experts; ++e) all.experts.push_back(e);
  all.columns = indices_up_to(shape.mlp_dim);
  all.shared_columns = indices_up_to(shape.shared_dim);
  return all;
}

CheckSelection select_sample(const BlockTensors& tensors, uint32_t seed) {
  Draws draws(seed);
  CheckSelection sample;
  const std::vector<int64_t> load = computed_load(tensors);
  sample.experts = sample_experts(draws, load);
  const int64_t largest = load.empty() ? 0 : *std::max_element(load.begin(), load.end());
  sample.columns = sample_columns(draws, tensors.shape.mlp_dim, largest);
  sample.shared_columns = sample_columns(draws, tensors.shape.shared_dim, tensors.shape.tokens);
  sample.tokens = sample_tokens(draws, tensors, sample.experts);
  return sample;
}

}  // namespace moehill
