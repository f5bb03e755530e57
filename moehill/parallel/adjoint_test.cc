// Dispatch and combine of every path are adjoint to each other: <forward(x), v> = <x, backward(v)> for any x
// and v. With experts that are linear maps the block is a chain of linear operators (dispatch, expert, gate
// value, combine), and its backward pass has to be the chain of their adjoints, from the other end.
//
// Experts are linear where their gate sees nothing but a column of x that is 1 in every token: then silu(x
// W1) is a constant of the expert, and the other columns go through W3 and W2 alone.
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/parallel/path.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

// Returns a value in (-1, 1) that depends on `what` and i.
double value(uint32_t what, int64_t i) {
  return 2 * random_uniform(what, Stream::kSampleRows, static_cast<uint64_t>(i)) - 1;
}

void set_linear(const LogicalWeights& w1, const LogicalWeights& w3, const LogicalWeights& w2,
                int64_t groups) {
  for (int64_t g = 0; g < groups; ++g) {
    for (int64_t h = 0; h < w1.rows(); ++h) {
      for (int64_t m = 0; m < w1.num_columns; ++m) {
        const int64_t i = (g * w1.rows() + h) * w1.num_columns + m;
        w1.set(g, h, m, h == 0 ? static_cast<float>(2 + value(1, i)) : 0.0f);
        w3.set(g, h, m, h == 0 ? 0.0f : static_cast<float>(value(2, i)));
        w2.set(g, m, h, static_cast<float>(value(3, i)));
      }
    }
  }
}

// A block with linear experts on the devices of a threads mesh.
class LinearBlock {
 public:
  LinearBlock(const RunConfig& config, const Routing& routing)
      : config_(config), routing_(routing), mesh_(config.num_devices, config.threads_per_device) {
    const MoeShape& shape = config.shape;
    ThreadTeam team(1);
    weights_ = make_weights(weight_key(config), {0, shape.experts}, true);
    fill_shared(*weights_, 1, team);
    fill_experts(*weights_, {0, shape.experts}, 1, team);
    const BlockWeights w = logical_weights(weights_->experts.view, weights_->shared.view, shape);
    set_linear(w.w1, w.w3, w.w2, shape.experts);
    if (shape.shared_dim > 0) set_linear(w.s1, w.s3, w.s2, 1);
    tokens_ = make_tokens(shape, {0, shape.tokens});
    add_gradients(*tokens_);
    for_each([&](int64_t t, int64_t h) { tokens_->x.view().set(t, h, h == 0 ? 1.0f : input(4, t, h)); });
    dp_.resize(static_cast<size_t>(shape.assignments()));
    for (int rank = 0; rank < config.num_devices; ++rank) paths_.push_back(make_path(inputs(rank)));
  }

  // Returns |<forward(x), v> - <x, backward(v)>| as a share of the absolute terms. `backward_gates` are the
  // gate values that backward uses; empty: the same as in forward.
  double defect(const std::vector<float>& backward_gates = {}) {
    mesh_.run([&](Group& group) {
      path(group).prepare(group);
      path(group).begin_step(group);
      path(group).make_plan(group, nullptr);
      path(group).forward(group, nullptr);
    });
    double forward = 0, backward = 0, scale = 0;
    for_each([&](int64_t t, int64_t h) {
      const double term =
          static_cast<double>(tokens_->y.view().at(t, h)) * static_cast<double>(input(5, t, h));
      forward += term;
      scale += std::abs(term);
    });
    for (int rank = 0; rank < config_.num_devices; ++rank)
      set_v(paths_[static_cast<size_t>(rank)]->y(), rank);
    if (!backward_gates.empty()) {
      routing_.weight = backward_gates;
      mesh_.run([&](Group& group) { path(group).make_plan(group, nullptr); });
    }
    mesh_.run([&](Group& group) { path(group).backward(group, 1.0f, nullptr); });
    for_each([&](int64_t t, int64_t h) {
      if (h == 0) return;
      backward +=
          static_cast<double>(tokens_->x.view().at(t, h)) * static_cast<double>(tokens_->dx.view().at(t, h));
    });
    EXPECT_GT(scale, 0);
    return std::abs(forward - backward) / scale;
  }

 private:
  float input(uint32_t what, int64_t t, int64_t h) const {
    return static_cast<float>(value(what, t * config_.shape.hidden + h));
  }
  template <typename Body>
  void for_each(const Body& body) const {
    for (int64_t t = 0; t < config_.shape.tokens; ++t) {
      for (int64_t h = 0; h < config_.shape.hidden; ++h) body(t, h);
    }
  }
  void set_v(const MatView& y, int rank) const {
    const int64_t first = result_tokens(config_, rank).begin;
    for (int64_t t = 0; t < y.rows; ++t) {
      for (int64_t h = 0; h < y.cols; ++h) y.set(t, h, input(5, first + t, h));
    }
  }
  PathInputs inputs(int rank) {
    PathInputs inputs;
    inputs.config = config_;
    inputs.rank = rank;
    inputs.routing = &routing_;
    inputs.x = tokens_->x;
    inputs.y = tokens_->y;
    inputs.dx = tokens_->dx;
    inputs.weights = weights_->views();
    inputs.dp = dp_.data();
    return inputs;
  }
  ParallelPath& path(const Group& group) { return *paths_[static_cast<size_t>(group.rank())]; }

  RunConfig config_;
  Routing routing_;
  ThreadMesh mesh_;
  std::shared_ptr<WeightOperands> weights_;
  std::shared_ptr<TokenOperands> tokens_;
  std::vector<float> dp_;
  std::vector<std::unique_ptr<ParallelPath>> paths_;
};

constexpr double kRounding = 2e-7;  // of f32 sums, against the sum of the absolute terms

std::vector<RunConfig> configs_of(const MoeShape& shape, int devices) {
  std::vector<RunConfig> configs;
  if (devices == 1) configs.push_back({.shape = shape});
  configs.push_back({.shape = shape, .spread = Spread::dp, .num_devices = devices});
  for (const Spread path : kEpPaths)
    configs.push_back({.shape = shape, .spread = path, .num_devices = devices});
  configs.push_back(
      {.shape = shape, .spread = Spread::ring_ag_rs, .split_rows = true, .num_devices = devices});
  configs.push_back({.shape = shape, .spread = Spread::fused, .num_waves = 3, .num_devices = devices});
  return configs;
}

std::string to_text(const RunConfig& c, const char* what) {
  return fmt::format("{} {} on {} devices{} {} waves, {}", to_string(c.shape), name_of(c.spread),
                     c.num_devices, c.split_rows ? " split" : "", c.num_waves, what);
}

// The cases have odd sizes, experts that no token chooses (skew), and more devices than experts or tokens;
// each runs with gate values and with gate values of 1.
TEST(Adjoint, EveryPath) {
  for (const MoeShape& shape :
       {MoeShape{37, 21, 13, 7, 3, 9, DType::f32}, MoeShape{3, 17, 5, 2, 1, 0, DType::f32},
        MoeShape{40, 16, 8, 12, 2, 0, DType::f32}}) {
    for (const double skew : {0.0, 3.0}) {
      Routing routing = random_routing(shape.tokens, shape.experts, shape.topk, skew, 7);
      Routing ones = routing;
      std::fill(ones.weight.begin(), ones.weight.end(), 1.0f);
      for (const int devices : {1, 2, 3, 4, 5}) {
        for (const RunConfig& config : configs_of(shape, devices)) {
          EXPECT_LT(LinearBlock(config, routing).defect(), kRounding) << to_text(config, "gate values");
          EXPECT_LT(LinearBlock(config, ones).defect(), kRounding) << to_text(config, "gates of 1");
        }
      }
    }
  }
}

TEST(Adjoint, CapacityAndForms) {
  const MoeShape shape{37, 21, 13, 7, 3, 9, DType::f32};
  const Routing routing = random_routing(shape.tokens, shape.experts, shape.topk, 1, 8);
  for (const CapacityPolicy policy : {CapacityPolicy::drop, CapacityPolicy::pad}) {
    for (const Impl impl : {Impl::baseline, Impl::fused_w13_preweight, Impl::fast}) {
      for (RunConfig config : configs_of(shape, 3)) {
        config.block.capacity = {policy, 0.75};
        config.block.impl = impl;
        EXPECT_LT(LinearBlock(config, routing).defect(), kRounding)
            << to_text(config, name_of(policy)) << " " << name_of(impl);
      }
    }
  }
}

// If one pass is not the mirror image of the other, every path must show it.
TEST(Adjoint, FaultsShow) {
  const MoeShape shape{37, 21, 13, 7, 3, 9, DType::f32};
  const Routing routing = random_routing(shape.tokens, shape.experts, shape.topk, 0, 9);
  const std::vector<float> left_out(routing.weight.size(), 1.0f);
  std::vector<float> row_lost = routing.weight, expert_missing = routing.weight;
  std::set<int32_t> seen;
  for (size_t a = routing.expert.size(); a-- > 0;) {
    if (seen.insert(routing.expert[a]).second) row_lost[a] = 0;  // an expert's last row
    if (routing.expert[a] == 0) expert_missing[a] = 0;
  }
  for (const RunConfig& config : configs_of(shape, 2)) {
    for (const auto& [gates, what] : {std::pair(left_out, "gate values left out"),
                                      {row_lost, "a row lost"},
                                      {expert_missing, "an expert missing"}}) {
      EXPECT_GT(LinearBlock(config, routing).defect(gates), 100 * kRounding) << to_text(config, what);
    }
  }
}

}  // namespace
}  // namespace moehill
