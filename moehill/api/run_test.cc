// Tests that apply to everything a run can be: every implementation, backend, remat mode, capacity policy and
// path against the double-precision reference on odd shapes, and paths against `none`.
#include "moehill/api/measuring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <new>

#include "moehill/base/error.h"
#include "moehill/base/hash.h"
#include "moehill/block/ablation.h"
#include "moehill/moe/check.h"
#include "moehill/parallel/memory_model.h"
#include "moehill/routing/router_families.h"
#include "moehill/tensor/buffer.h"

namespace {
std::atomic<size_t> num_news{0};
}  // namespace

// Counts every allocation of this program, so that a step can be shown to make none.
[[gnu::noinline]] void* operator new(size_t bytes) {
  num_news.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(bytes)) return p;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace moehill {
namespace {

constexpr MoeShape kOdd{37, 45, 27, 7, 3, 19, DType::f32};

constexpr Spread kShardingPaths[] = {Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused};

RunConfig dp(RunConfig config, int devices) {
  config.spread = Spread::dp;
  config.num_devices = devices;
  return config;
}

RunConfig ep(RunConfig config, int devices, Spread path) {
  config.num_devices = devices;
  config.spread = path;
  return config;
}

class RunTest : public testing::Test {
 protected:
  CheckResult step_and_check(const RunConfig& config) {
    run_ = factory_.make(config);
    run_->step({});
    run_->step({});  // a second step must not add to the first
    run_->collect();
    ThreadTeam team(1);
    return check_block(run_->tensors(), config.block.pass, CheckMode::full, 0, team);
  }
  void expect_right(const RunConfig& config, const std::string& what) {
    const CheckResult result = step_and_check(config);
    EXPECT_TRUE(result.numbers_ok) << what << ": " << name_of(result.status) << ", " << result.reason << ", "
                                   << result.worst_row;
  }

  // Hashes y, dx and all gradients.
  uint64_t all_results_hash() const {
    const BlockTensors t = run_->tensors();
    uint64_t hash = run_->output_hash();
    const auto add = [&](double value) { hash = fnv1a(hash, std::bit_cast<uint64_t>(value)); };
    for (int64_t r = 0; r < t.dx.rows; ++r) {
      for (int64_t c = 0; c < t.dx.cols; ++c) add(t.dx.at(r, c));
    }
    for (int64_t i = 0; i < t.shape.assignments(); ++i) add(static_cast<double>(t.dp[i]));
    for (int e = 0; e < t.shape.experts; ++e) {
      for (int64_t h = 0; h < t.shape.hidden; ++h) {
        for (int64_t m = 0; m < t.shape.mlp_dim; ++m) {
          add(t.gradients.w1.at(e, h, m));
          add(t.gradients.w2.at(e, m, h));
          add(t.gradients.w3.at(e, h, m));
        }
      }
    }
    return hash;
  }

  RunFactory factory_{{}, 5, {}};
  std::unique_ptr<moehill::Run> run_;
};

TEST_F(RunTest, EveryImplAndBackend) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    for (Backend backend : {Backend::gmm, Backend::ragged_dot}) {
      for (Impl impl : {Impl::baseline, Impl::fused_w13, Impl::preweight, Impl::fused_w13_preweight,
                        Impl::scatter, Impl::fast}) {
        for (Remat remat : {Remat::none, Remat::expert_mlp, Remat::combine}) {
          RunConfig config{.shape = kOdd, .threads_per_device = 2};
          config.shape.dtype = dtype;
          config.block.backend = backend;
          config.block.impl = impl;
          config.block.remat = remat;
          config.block.router_grad = true;
          config.block.shared_fused = remat == Remat::combine;
          const std::string what =
              fmt::format("{} {} {} {}", dtype_name(dtype), name_of(backend), name_of(impl), name_of(remat));
          expect_right(config, what + " none");
          expect_right(ep(config, 3, Spread::compact_psum), what + " compact_psum");
          for (Spread path : kShardingPaths) expect_right(ep(config, 3, path), what + " " + name_of(path));
          expect_right(dp(config, 3), what + " dp");
        }
      }
    }
  }
}

TEST_F(RunTest, EveryPathPlacementAndCapacity) {
  for (CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
    for (Spread path : {Spread::compact_psum, Spread::dense_masked}) {
      for (SharedPlacement placement : {SharedPlacement::sliced, SharedPlacement::replicated}) {
        for (int devices : {1, 2, 4, 9}) {  // more devices than the 7 experts too
          RunConfig config = ep({.shape = kOdd, .shared_placement = placement}, devices, path);
          config.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.75};
          expect_right(config, fmt::format("{} {} {} P={}", name_of(policy), name_of(path),
                                           name_of(placement), devices));
        }
      }
    }
    for (int devices : {1, 2, 4, 9, 40}) {  // more devices than the 7 experts and than the 37 tokens too
      RunConfig config{.shape = kOdd};
      config.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.75};
      const std::string what = fmt::format("{} P={}", name_of(policy), devices);
      for (Spread path : kShardingPaths)
        expect_right(ep(config, devices, path), fmt::format("{} {}", name_of(path), what));
      expect_right(dp(config, devices), "dp " + what);
    }
  }
}

TEST_F(RunTest, ShapesAtTheEdge) {
  for (const MoeShape& shape :
       {MoeShape{1, 15, 13, 4, 2, 0, DType::f32}, MoeShape{1, 1, 1, 1, 1, 1, DType::bf16},
        MoeShape{9, 33, 17, 5, 5, 0, DType::f32}, MoeShape{3, 16, 16, 40, 1, 8, DType::bf16}}) {
    RunConfig config{.shape = shape};
    expect_right(config, to_string(shape));
    for (Spread path : kEpPaths) expect_right(ep(config, 3, path), to_string(shape) + " " + name_of(path));
    expect_right(dp(config, 3), to_string(shape) + " dp");
  }
}

TEST_F(RunTest, ForwardAloneAndPrequeue) {
  for (Backend backend : {Backend::gmm, Backend::ragged_dot}) {
    for (bool prequeue : {false, true}) {
      RunConfig config{.shape = kOdd};
      config.block.backend = backend;
      config.block.pass = Pass::forward;
      config.block.prequeue = prequeue;
      expect_right(config, "none");
      for (Spread path : kEpPaths) expect_right(ep(config, 2, path), name_of(path));
      expect_right(dp(config, 2), "dp");
    }
  }
}

TEST_F(RunTest, PathsAgreeWithNoneInF32) {
  const auto snapshot = [](const moehill::Run& run) {
    std::vector<double> values;
    const BlockTensors t = run.tensors();
    for (const MatView& m : {t.y, t.dx}) {
      for (int64_t r = 0; r < m.rows; ++r) {
        for (int64_t c = 0; c < m.cols; ++c) values.push_back(m.at(r, c));
      }
    }
    return values;
  };
  RunConfig config{.shape = kOdd};
  step_and_check(config);
  const std::vector<double> none = snapshot(*run_);
  double scale = 0;
  for (double v : none) scale = std::max(scale, std::abs(v));
  std::vector<RunConfig> others = {dp(config, 3)};
  for (Spread path : kEpPaths) others.push_back(ep(config, 3, path));
  for (const RunConfig& other_config : others) {
    step_and_check(other_config);
    const std::vector<double> other = snapshot(*run_);
    for (size_t i = 0; i < none.size(); ++i) {
      ASSERT_NEAR(none[i], other[i], 2e-6 * scale) << name_of(other_config.spread) << " " << i;
    }
  }
}

TEST_F(RunTest, SameBitsForAnyThreadCountAndEveryTime) {
  RunConfig config{.shape = {300, 64, 48, 5, 2, 40, DType::bf16}};
  config.threads_per_device = 1;
  step_and_check(config);
  const uint64_t plan = run_->plan_hash(), output = run_->output_hash();
  for (int threads : {1, 2, 3, 5}) {
    config.threads_per_device = threads;
    step_and_check(config);
    EXPECT_EQ(run_->plan_hash(), plan) << threads;
    EXPECT_EQ(run_->output_hash(), output) << threads;
  }
}

TEST_F(RunTest, AStepAllocatesNothing) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, dp({.shape = kOdd}, 2)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 2, path));
  configs.push_back(ep({.shape = kOdd, .split_rows = true}, 2, Spread::ring_ag_rs));
  configs.push_back(ep({.shape = kOdd, .num_waves = 3}, 2, Spread::fused));
  for (RunConfig config : configs) {
    for (Remat remat : {Remat::none, Remat::expert_mlp}) {
      config.block.capacity = {CapacityPolicy::drop, 0.75};
      config.block.remat = remat;
      config.block.router_grad = true;
      std::unique_ptr<moehill::Run> run = factory_.make(config);
      const std::vector<StageListener*> nobody;
      run->step(nobody);
      const size_t before = num_news.load(), buffers = Buffer::num_allocations();
      run->rouse();
      run->step(nobody);
      EXPECT_EQ(num_news.load(), before) << name_of(config.spread) << " " << name_of(remat);
      EXPECT_EQ(Buffer::num_allocations(), buffers);
    }
  }
}

class EnteredStages final : public StageListener {
 public:
  void enter(Stage stage) override { entered_.push_back(stage); }
  void finish() override {}
  int64_t times(Stage stage) const { return std::count(entered_.begin(), entered_.end(), stage); }

 private:
  std::vector<Stage> entered_;
};

TEST_F(RunTest, AStepEntersTheStagesThatItIsSaidToHave) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, dp({.shape = kOdd}, 2)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 2, path));
  configs.push_back(ep({.shape = kOdd, .split_rows = true}, 2, Spread::ring_ag_rs));
  configs.push_back(ep({.shape = kOdd, .num_waves = 3}, 2, Spread::fused));
  for (const RunConfig& config : configs) {
    run_ = factory_.make(config);
    std::vector<EnteredStages> devices(static_cast<size_t>(config.num_devices));
    std::vector<StageListener*> listeners;
    for (EnteredStages& device : devices) listeners.push_back(&device);
    run_->step(listeners);
    StageSet entered;
    for (const Stage stage : all_values<Stage>()) {
      for (const EnteredStages& device : devices) {
        if (device.times(stage) > 0) entered.add(stage);
      }
    }
    EXPECT_EQ(entered.names(), stages_of_step(config).names()) << name_of(config.spread);
  }
}

// The last entry is the one that waits for the sums that come back.
TEST_F(RunTest, SumsLeaveWaveByWave) {
  for (const int waves : {1, 2, 3}) {
    RunConfig config = ep({.shape = kOdd, .num_waves = waves}, 2, Spread::fused);
    config.block.pass = Pass::forward;
    run_ = factory_.make(config);
    EnteredStages stages[2];
    run_->step({&stages[0], &stages[1]});
    for (const EnteredStages& of_device : stages) EXPECT_EQ(of_device.times(Stage::reduce), waves + 1);
  }
}

// A timed step is compared with the checked one by these hashes of every tensor on every device, copies
// included.
TEST_F(RunTest, TheHashesAreOfAllResults) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, dp({.shape = kOdd}, 2)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 2, path));
  for (RunConfig config : configs) {
    config.block.router_grad = true;
    run_ = factory_.make(config);
    run_->step({});
    const auto results = run_->result_hashes();
    const BlockTensors t = run_->tensors();
    const auto expect_seen = [&](const char* tensor, const std::function<void(float)>& add) {
      add(1);
      EXPECT_NE(run_->result_hashes(), results) << tensor << " " << name_of(config.spread);
      add(-1);
      run_->step({});
      EXPECT_EQ(run_->result_hashes(), results) << tensor;
    };
    expect_seen("y", [&](float d) { t.y.set(36, 44, t.y.at(36, 44) + d); });
    expect_seen("dx", [&](float d) { t.dx.set(0, 44, t.dx.at(0, 44) + d); });
    const auto change = [&](const LogicalWeights& w, int64_t group) {
      return [&w, group](float d) { w.set(group, w.rows() - 1, 0, w.at(group, w.rows() - 1, 0) + d); };
    };
    expect_seen("dw1", change(t.gradients.w1, 6));
    expect_seen("dw2", change(t.gradients.w2, 0));
    expect_seen("dw3", change(t.gradients.w3, 3));
    expect_seen("ds1", change(t.gradients.s1, 0));
    expect_seen("ds2", change(t.gradients.s2, 0));
    expect_seen("ds3", change(t.gradients.s3, 0));
    expect_seen("dp", [&](float d) { const_cast<float*>(t.dp)[110] += d; });
    expect_seen("dlogits", [&](float d) { const_cast<float*>(t.dlogits)[258] += d; });
    const std::vector<uint64_t> replicas = run_->replica_hashes();
    for (const uint64_t hash : replicas) EXPECT_EQ(hash, replicas.front()) << name_of(config.spread);
  }
}

// No result of a forward pass shows the logit of an expert that nobody chose.
TEST_F(RunTest, TheHashesAreOfWhatTheRouterInTheStepMakes) {
  RunConfig config{.shape = kOdd};
  config.block.pass = Pass::forward;
  config.block.route_in_step = config.block.router_product = true;
  for (const RunConfig& one : {config, dp(config, 2), ep(config, 2, Spread::fused)}) {
    run_ = factory_.make(one);
    run_->step({});
    const auto results = run_->result_hashes();
    const BlockTensors t = run_->tensors();
    const auto expect_seen = [&](const char* what, const std::function<void()>& change) {
      change();
      EXPECT_NE(run_->result_hashes(), results) << what << " " << name_of(one.spread);
      run_->poison();
      EXPECT_NE(run_->result_hashes(), results) << what;
      run_->step({});
      EXPECT_EQ(run_->result_hashes(), results) << what << " " << name_of(one.spread);
    };
    expect_seen("logit", [&] { const_cast<float*>(t.logits)[258] += 1; });
    expect_seen("gate value", [&] { const_cast<Routing*>(t.step_routing)->weight[110] *= 2; });
    expect_seen("choice", [&] { const_cast<Routing*>(t.step_routing)->expert[110] ^= 1; });
  }
}

// A step that left a stage out would use the values of the step before in the work space. After poison() it
// would find NaN there. So a step that gives equal bits after poison() has made everything anew.
TEST_F(RunTest, AStepMakesAllOfItsWorkSpaceAnew) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, dp({.shape = kOdd}, 3)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 3, path));
  configs.push_back(ep({.shape = kOdd, .split_rows = true}, 3, Spread::ring_ag_rs));
  configs.push_back(ep({.shape = kOdd, .num_waves = 3}, 3, Spread::fused));
  for (RunConfig config : configs) {
    for (const Impl impl : {Impl::baseline, Impl::fused_w13, Impl::preweight, Impl::fast}) {
      for (const Remat remat : {Remat::none, Remat::expert_mlp, Remat::combine}) {
        for (const Backend backend : {Backend::gmm, Backend::ragged_dot}) {
          config.block.impl = impl;
          config.block.remat = remat;
          config.block.backend = backend;
          config.block.capacity = {CapacityPolicy::pad, 0.75};
          run_ = factory_.make(config);
          run_->poison();
          run_->step({});
          const auto results = run_->result_hashes();
          run_->poison();
          EXPECT_NE(run_->result_hashes(), results);
          run_->step({});
          EXPECT_EQ(run_->result_hashes(), results) << name_of(config.spread) << " " << name_of(impl) << " "
                                                    << name_of(remat) << " " << name_of(backend);
        }
      }
    }
  }
}

// The order of the sums is fixed, no matter which rows arrive first.
TEST_F(RunTest, SameBitsInTenSteps) {
  std::vector<RunConfig> configs = {dp({.shape = kOdd}, 3)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 3, path));
  configs.push_back(ep({.shape = kOdd, .split_rows = true}, 3, Spread::ring_ag_rs));
  configs.push_back(ep({.shape = kOdd, .num_waves = 3}, 3, Spread::fused));
  for (const RunConfig& config : configs) {
    run_ = factory_.make(config);
    run_->step({});
    const auto results = run_->result_hashes();
    for (int i = 0; i < 9; ++i) {
      run_->step({});
      ASSERT_EQ(run_->result_hashes(), results) << name_of(config.spread);
    }
  }
}

// Computing a device's own rows apart from the others gives the bits of computing all at once. Also with more
// devices than experts, with padding, and with a device without tokens.
TEST_F(RunTest, SplitRowsChangeNoBit) {
  for (const MoeShape& shape :
       {kOdd, MoeShape{300, 64, 48, 5, 2, 40, DType::bf16}, MoeShape{2, 16, 16, 3, 1, 0, DType::f32}}) {
    for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
      for (const Impl impl : {Impl::fused_w13, Impl::fused_w13_preweight, Impl::baseline}) {
        for (const int devices : {1, 2, 3, 9}) {
          RunConfig config = ep({.shape = shape, .threads_per_device = 2}, devices, Spread::ring_ag_rs);
          config.block.impl = impl;
          config.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.75};
          const std::string what =
              fmt::format("{} {} {} P={}", to_string(shape), name_of(policy), name_of(impl), devices);
          run_ = factory_.make(config);
          run_->step({});
          const uint64_t hash = all_results_hash();
          config.split_rows = true;
          if (devices == 3) expect_right(config, what + " split");
          run_ = factory_.make(config);
          run_->step({});
          EXPECT_EQ(all_results_hash(), hash) << what;
        }
      }
    }
  }
}

// Experts in waves, with messages, give the bits of rows in place. Waves have one expert, several or none;
// also with more devices than experts, padding, and a device without tokens.
TEST_F(RunTest, WavesChangeNoBit) {
  for (const MoeShape& shape :
       {kOdd, MoeShape{300, 64, 48, 11, 2, 40, DType::bf16}, MoeShape{2, 16, 16, 3, 1, 0, DType::f32}}) {
    for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
      for (const Impl impl : {Impl::fused_w13, Impl::fused_w13_preweight}) {
        for (const int devices : {1, 3, 9}) {
          RunConfig config = ep({.shape = shape, .threads_per_device = 2}, devices, Spread::fused);
          config.block.impl = impl;
          config.block.remat = impl == Impl::fused_w13 ? Remat::none : Remat::combine;
          config.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.75};
          run_ = factory_.make(config);
          run_->step({});
          const uint64_t hash = all_results_hash();
          for (const int waves : {2, 5}) {
            config.num_waves = waves;
            run_ = factory_.make(config);
            run_->step({});
            EXPECT_EQ(all_results_hash(), hash) << fmt::format(
                "{} {} {} P={} waves={}", to_string(shape), name_of(policy), name_of(impl), devices, waves);
          }
        }
      }
    }
  }
}

// All tokens choose the same experts, so all waves without these experts are empty.
TEST_F(RunTest, WavesWithNothingToDo) {
  for (const int topk : {1, 2}) {
    const MoeShape shape{37, 45, 27, 7, topk, 0, DType::f32};
    Routing routing{shape.tokens, shape.experts, topk, {}, {}};
    for (const int first : {0, 3, 5}) {
      routing.expert.clear();
      for (int64_t t = 0; t < shape.tokens; ++t) {
        for (int j = 0; j < topk; ++j) routing.expert.push_back(first + j);
      }
      routing.weight.assign(routing.expert.size(), 0.5f);
      for (const int devices : {2, 3}) {
        RunConfig config = ep({.shape = shape}, devices, Spread::fused);
        run_ = factory_.make(config, routing);
        run_->step({});
        const uint64_t hash = all_results_hash();
        config.num_waves = 3;
        run_ = factory_.make(config, routing);
        run_->step({});
        EXPECT_EQ(all_results_hash(), hash) << topk << " from " << first << " on " << devices;
      }
    }
  }
}

// Remat changes which rows are kept and not the results, and it really keeps less.
TEST_F(RunTest, RematLowersPredictedMemory) {
  RunConfig config{.shape = {4096, 512, 256, 8, 4, 512, DType::bf16}};
  std::vector<double> bytes;
  for (Remat remat : {Remat::none, Remat::combine, Remat::expert_mlp}) {
    config.block.remat = remat;
    double total = 0;
    for (const MemoryPart& part : predict_memory({config})) total += part.bytes;
    bytes.push_back(total);
  }
  const double outputs = 4096 * 4 * 512 * 2;
  EXPECT_NEAR(bytes[0] - bytes[1], outputs, 1);
  EXPECT_LT(bytes[2], bytes[0] - 4096.0 * 4 * 3 * 256 * 2 * 0.7);
}

// Devices that share an address space read rows of x and dy where they are, so no copy needs memory.
TEST_F(RunTest, RowsReadInPlaceTakeNoMemory) {
  const RunConfig sent = ep({.shape = {4096, 512, 256, 8, 4, 0, DType::bf16}}, 2, Spread::ragged_a2a);
  RunConfig read = sent;
  read.spread = Spread::fused;
  const auto bytes = [](const RunConfig& config, int num_processes) {
    double total = 0;
    for (const MemoryPart& part : predict_memory({config}, {.num_processes = num_processes}))
      total += part.bytes;
    return total;
  };
  const double rows = 4096.0 * 2 * (1 - 1.0 / 16) * 512 * 2;  // 1/16: of tokens with no expert on a device
  const double kept = 4 * rows;                               // sent rows, the sums that come back, x and dy
  EXPECT_NEAR(bytes(sent, 1) - bytes(read, 1), kept, 1);
  EXPECT_NEAR(bytes(sent, 2) - bytes(read, 2), 0, 1);
}

// A place has weights, gradients, and a gradient that is sent to the expert's home. The home needs room for
// that one too.
TEST_F(RunTest, CopiesOfExpertsAreInTheMemory) {
  RunConfig config = ep({.shape = {64, 512, 256, 8, 2, 0, DType::bf16}}, 2, Spread::ragged_a2a);
  const auto work_space = [](const RunConfig& c) { return predict_memory({c})[3].bytes; };
  config.placement = {0, 1, 2, 3, 4, 5, 6, 7};
  const double before = work_space(config);
  config.placement = {0, 1, 2, 3, 4, 0, 5, 6, 7, 1};  // five places a device, two copies
  const double expert = 3.0 * 512 * 256 * 2;
  EXPECT_NEAR(work_space(config) - before, 2 * 2 * expert, 0.1 * expert);
  config.block.pass = Pass::forward;
  const double forward = work_space(config);
  config.placement = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_NEAR(forward, work_space(config), 0.1 * expert) << "no gradients";
}

// Each process needs only a part of the block, except for `none`, which the first process computes alone.
TEST_F(RunTest, AProcessNeedsItsPartOfTheBlock) {
  const RunConfig sharded = ep({.shape = {4096, 512, 256, 8, 4, 0, DType::bf16}}, 4, Spread::fused);
  RunConfig alone = sharded;
  alone.spread = Spread::none;
  alone.num_devices = 1;
  const auto bytes = [](const std::vector<RunConfig>& runs, int rank, size_t part) {
    return predict_memory(runs, {.num_processes = 4, .rank = rank})[part].bytes;
  };
  const double experts = 8.0 * 3 * 512 * 256 * 2, rows = 4096.0 * 512 * 2;
  for (int rank = 0; rank < 4; ++rank) {
    for (const size_t weights_or_gradients : {0, 1})
      EXPECT_EQ(bytes({sharded}, rank, weights_or_gradients), experts / 4);
    EXPECT_EQ(bytes({sharded}, rank, 2), 3 * rows / 4);
    EXPECT_EQ(bytes({alone}, rank, 0), rank == 0 ? experts : 0);
    // Operands that two points share are there once.
    EXPECT_EQ(bytes({sharded, alone}, rank, 0), rank == 0 ? experts : experts / 4);
    EXPECT_EQ(bytes({sharded, alone}, rank, 2), rank == 0 ? 3 * rows : 3 * rows / 4);
  }
}

// Every router that the block has, with the gradient of its logits, before the clock and in the step.
TEST_F(RunTest, RoutesByEveryRuleAndInTheStep) {
  for (const RouterFamily& family : kRouterFamilies) {
    RunConfig config{.shape = {37, 45, 27, 12, 3, 19, DType::f32}, .threads_per_device = 2};
    config.shape.router = parse_router_rule(family.rule);
    config.block.router_grad = true;
    expect_right(config, "none");
    config.block.route_in_step = true;
    expect_right(config, "none");
    BlockTensors wrong = run_->tensors();
    Router other = *wrong.router;
    other.rule.factor *= 1.5;
    other.rule.jitter *= 0.5;
    other.rule.normalized = other.rule.score != RouterScore::chosen_softmax &&
                            other.rule.score != RouterScore::sparsemixer && !other.rule.normalized;
    wrong.router = &other;
    ThreadTeam team(1);
    EXPECT_EQ(check_block(wrong, config.block.pass, CheckMode::full, 0, team).status, CheckStatus::failed)
        << family.models;
    expect_right(dp(config, 2), "dp");
    for (const Spread path : kShardingPaths) expect_right(ep(config, 3, path), name_of(path));
  }
}

// The logits are x W_g, so their gradient continues to W_g and to x, on every path that routes in the step.
TEST_F(RunTest, TheRoutersProductIsAPartOfTheStep) {
  ThreadTeam team(1);
  for (const RouterFamily& family : kRouterFamilies) {
    RunConfig config{.shape = {37, 45, 27, 12, 3, 19, DType::f32}, .threads_per_device = 2};
    config.shape.router = parse_router_rule(family.rule);
    config.block.route_in_step = config.block.router_product = true;
    if (config.shape.router.expert_scale) {
      EXPECT_THROW(factory_.make(config), InputError);
      continue;
    }
    for (const DType dtype : {DType::bf16, DType::f32}) {
      config.shape.dtype = dtype;
      expect_right(dp(config, 2), "dp");
      for (const Spread path : kShardingPaths) expect_right(ep(config, 3, path), name_of(path));
      expect_right(config, "none");
    }
    BlockTensors t = run_->tensors();
    const auto status = [&] { return check_block(t, config.block.pass, CheckMode::full, 0, team).status; };
    EXPECT_EQ(status(), CheckStatus::passed) << family.models;
    const float value = t.gradients.wg.at(0, 7, 5);
    t.gradients.wg.set(0, 7, 5, value + 1);
    EXPECT_EQ(status(), CheckStatus::failed) << family.models;
    t.gradients.wg.set(0, 7, 5, value);
    t.weights.wg = t.gradients.wg = {};  // dx without the router's part is another
    EXPECT_EQ(status(), CheckStatus::failed) << family.models;
  }
}

TEST_F(RunTest, TheRoutersProductNeedsItInTheStep) {
  RunConfig config{.shape = kOdd};
  config.block.router_product = true;
  EXPECT_THROW(factory_.make(config), InputError);
}

// Zero experts add to y, dx and dp on every path: the check notices where that part is left out.
TEST_F(RunTest, ZeroExpertsAddTheTokenItself) {
  RunConfig config{.shape = {37, 45, 27, 12, 3, 0, DType::f32}, .threads_per_device = 2};
  config.shape.router = parse_router_rule("softmax,bias,factor:6,zero:4");
  for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
    config.block.capacity = {policy, 1.0};
    expect_right(config, "none");
    expect_right(dp(config, 2), "dp");
    for (const Spread path : kEpPaths) expect_right(ep(config, 3, path), name_of(path));
    RunConfig replicated = ep(config, 3, Spread::dense_masked);
    replicated.shared_placement = SharedPlacement::replicated;
    expect_right(replicated, "replicated");
  }
  const BlockTensors right = run_->tensors();
  ThreadTeam team(1);
  const auto status = [&](const BlockTensors& t) {
    return check_block(t, config.block.pass, CheckMode::full, 0, team).status;
  };
  const std::vector<int32_t>& zero = right.routing->zero;
  const size_t a = static_cast<size_t>(
      std::find_if(zero.begin(), zero.end(), [](int32_t z) { return z >= 0; }) - zero.begin());
  ASSERT_LT(a, zero.size());
  BlockTensors wrong = right;
  wrong.router = nullptr;
  Routing without = *right.routing;
  without.zero.clear();
  wrong.routing = &without;
  EXPECT_EQ(status(wrong), CheckStatus::failed);
  wrong = right;
  std::vector<float> no_dp(right.dp, right.dp + zero.size());
  no_dp[a] = 0;
  wrong.dp = no_dp.data();
  EXPECT_EQ(status(wrong), CheckStatus::failed);
}

TEST_F(RunTest, RefusesARouterInTheStepWhereItCannotBe) {
  RunConfig config{.shape = kOdd};
  config.block.route_in_step = true;
  EXPECT_THROW(factory_.make(ep(config, 2, Spread::compact_psum)), InputError);
  config.block.prequeue = true;
  EXPECT_THROW(factory_.make(config), InputError);
}

}  // namespace
}  // namespace moehill
