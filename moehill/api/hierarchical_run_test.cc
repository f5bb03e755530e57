// Tests of the two-level exchange: results pass the check for every number of nodes, plans are equal to those
// of ragged_a2a (and so are the bits, if the order of additions is equal), and each level moves as many bytes
// as its formula says.
#include <gtest/gtest.h>

#include <set>

#include "moehill/api/run_fixture.h"
#include "moehill/routing/router_rule.h"

namespace moehill {
namespace {

RunConfig nodes_config(int devices, int ranks_per_node, Spread spread = Spread::hierarchical) {
  RunConfig config{.shape = kOdd, .spread = spread, .ranks_per_node = ranks_per_node, .num_devices = devices};
  config.block.router_grad = true;
  return config;
}

class HierarchicalRun : public testing::Test {
 protected:
  void step(const RunConfig& config) {
    run_ = factory_.make(config);
    run_->step({});
    run_->step({});  // a second step must not add to the first
    run_->collect();
  }
  void expect_right(const RunConfig& config, const std::string& what) {
    step(config);
    ThreadTeam team(1);
    const CheckResult result = check_block(run_->tensors(), config.block.pass, CheckMode::full, 0, team);
    EXPECT_TRUE(result.numbers_ok) << what << ": " << name_of(result.status) << ", " << result.reason << ", "
                                   << result.worst_row;
  }
  // y, dx, dp and the gradients of all experts.
  std::vector<float> results() const {
    const BlockTensors t = run_->tensors();
    std::vector<float> all(t.dp, t.dp + t.shape.assignments());
    for (const MatView* m : {&t.y, &t.dx}) {
      for (int64_t r = 0; r < m->rows; ++r) {
        for (int64_t c = 0; c < m->cols; ++c) all.push_back(m->at(r, c));
      }
    }
    for (int e = 0; e < t.shape.experts; ++e) {
      for (int64_t h = 0; h < t.shape.hidden; ++h) {
        for (int64_t m = 0; m < t.shape.mlp_dim; ++m) {
          all.push_back(static_cast<float>(t.gradients.w1.at(e, h, m)));
          all.push_back(static_cast<float>(t.gradients.w2.at(e, m, h)));
          all.push_back(static_cast<float>(t.gradients.w3.at(e, h, m)));
        }
      }
    }
    return all;
  }

  RunFactory factory_{{}, 5, {}};
  std::unique_ptr<moehill::Run> run_;
};

// Devices and ranks of a node: one node, each rank on its own, equal nodes, a smaller last node, and more
// devices than experts or tokens.
constexpr std::pair<int, int> kLayouts[] = {{1, 0}, {2, 0}, {2, 1}, {4, 2}, {5, 2},
                                            {5, 3}, {6, 2}, {9, 4}, {40, 3}};

TEST_F(HierarchicalRun, IsRightOnAnyNodes) {
  for (const auto& [devices, ranks] : kLayouts) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
        RunConfig config = nodes_config(devices, ranks);
        config.shape.dtype = dtype;
        config.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.75};
        expect_right(config, fmt::format("{} devices, {} a node, {}, {}", devices, ranks, dtype_name(dtype),
                                         name_of(policy)));
      }
    }
  }
}

TEST_F(HierarchicalRun, IsRightInEveryForm) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Backend backend : {Backend::gmm, Backend::ragged_dot}) {
      for (const Impl impl : {Impl::baseline, Impl::fused_w13, Impl::preweight, Impl::fused_w13_preweight,
                              Impl::scatter, Impl::fast}) {
        for (const Remat remat : {Remat::none, Remat::expert_mlp, Remat::combine}) {
          RunConfig config = nodes_config(5, 2);
          config.shape.dtype = dtype;
          config.block.backend = backend;
          config.block.impl = impl;
          config.block.remat = remat;
          config.threads_per_device = 2;
          expect_right(config, fmt::format("{} {} {} {}", dtype_name(dtype), name_of(backend), name_of(impl),
                                           name_of(remat)));
        }
      }
    }
  }
}

TEST_F(HierarchicalRun, IsRightOnShapesAtTheEdge) {
  for (const MoeShape& shape :
       {MoeShape{1, 15, 13, 4, 2, 0, DType::f32}, MoeShape{1, 1, 1, 1, 1, 1, DType::bf16},
        MoeShape{9, 33, 17, 5, 5, 0, DType::f32}, MoeShape{3, 16, 16, 40, 1, 8, DType::bf16}}) {
    RunConfig config = nodes_config(5, 2);
    config.shape = shape;
    expect_right(config, to_string(shape));
    config.block.pass = Pass::forward;
    config.block.router_grad = false;
    for (const bool prequeue : {false, true}) {
      config.block.prequeue = prequeue;
      expect_right(config, to_string(shape) + " forward");
    }
  }
}

// A token's partial sums are added in the order of ragged_a2a if no node has two of them; then all bits are
// equal. Plans are always equal.
TEST_F(HierarchicalRun, HasTheBitsOfRaggedWhereSumsHaveOneOrder) {
  for (const Impl impl : {Impl::fused_w13, Impl::fast}) {
    for (const auto& [devices, ranks, topk] : {std::tuple{5, 1, 3}, {5, 2, 1}, {9, 4, 1}, {3, 0, 3}}) {
      RunConfig config = nodes_config(devices, ranks, Spread::ragged_a2a);
      config.shape.topk = topk;
      config.block.impl = impl;
      // One node adds all of a token's sums before it adds the shared expert's output.
      if (ranks == 0) config.shape.shared_dim = 0;
      step(config);
      const std::vector<float> ragged = results();
      const uint64_t plan = run_->plan_hash();
      config.spread = Spread::hierarchical;
      step(config);
      EXPECT_EQ(run_->plan_hash(), plan);
      EXPECT_TRUE(results() == ragged) << devices << " devices, " << ranks << " a node, top " << topk;
    }
  }
}

TEST_F(HierarchicalRun, HasThePlanOfRagged) {
  for (const auto& [devices, ranks] : kLayouts) {
    step(nodes_config(devices, ranks, Spread::ragged_a2a));
    const uint64_t plan = run_->plan_hash();
    step(nodes_config(devices, ranks));
    EXPECT_EQ(run_->plan_hash(), plan) << devices << " devices, " << ranks << " a node";
  }
}

}  // namespace
}  // namespace moehill
