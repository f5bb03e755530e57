// Tests of a run's operands: other operands are another problem and come back, operands that nobody filled
// fail the check, and the choices of a router in the step are of that step.
#include <gtest/gtest.h>

#include <cmath>

#include "moehill/api/run_fixture.h"

namespace moehill {
namespace {

RunConfig ep(RunConfig config, int devices, Spread path) {
  config.num_devices = devices;
  config.spread = path;
  return config;
}

// Returns the first column of the first expert's matrix.
std::vector<float> column_of(const LogicalWeights& w) {
  std::vector<float> values;
  for (int64_t r = 0; r < w.rows(); ++r) values.push_back(w.at(0, r, 0));
  return values;
}

// Some numbers have the other sign, some have not, and nothing else is different.
void expect_some_flipped(const std::vector<float>& before, const std::vector<float>& after) {
  ASSERT_EQ(before.size(), after.size());
  size_t num_flipped = 0;
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(std::abs(after[i]), std::abs(before[i]));
    num_flipped += after[i] != before[i];
  }
  EXPECT_GT(num_flipped, 0u);
  EXPECT_LT(num_flipped, before.size());
}

class OperandsTest : public testing::Test {
 protected:
  RunFactory factory_{{}, 5, {}};
  std::unique_ptr<moehill::Run> run_;
};

// A step that takes something of an earlier step is noticed: for other tokens and weights the right results
// are different ones. A router in the step gets other logits.
TEST_F(OperandsTest, OtherOperandsAreAnotherProblemAndTheOldOnesComeBack) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, ep({.shape = kOdd}, 2, Spread::dp)};
  for (Spread path : kEpPaths) configs.push_back(ep({.shape = kOdd}, 2, path));
  for (const bool product : {false, true}) {
    RunConfig config{.shape = kOdd};
    config.block.route_in_step = true;
    config.block.router_product = product;
    configs.push_back(config);
    configs.push_back(ep(config, 2, Spread::ragged_a2a));
  }
  for (const char* form : {kLatentForms[0], kLatentForms[1], "silu,biases,shared-gate"}) {
    configs.push_back({.shape = kOdd});
    configs.back().shape.form = parse_expert_form(form);
  }
  for (RunConfig config : configs) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      config.shape.dtype = dtype;
      run_ = factory_.make(config);
      run_->poison();  // as before every measured step; the padding of results is filled, too
      run_->step({});
      const auto results = run_->result_hashes();
      const uint64_t operands = run_->operand_hash();
      const BlockTensors t = run_->tensors();
      const float value = t.x.at(36, 44);
      const std::vector<int32_t> choices = t.routing->expert;
      const std::vector<float> w1 = column_of(t.weights.w1), w2 = column_of(t.weights.w2);
      run_->use_other_operands(true);
      EXPECT_EQ(t.x.at(36, 44), -value / 2);
      expect_some_flipped(w1, column_of(t.weights.w1));
      expect_some_flipped(w2, column_of(t.weights.w2));
      EXPECT_EQ(run_->routing().expert != choices, config.block.route_in_step);
      run_->poison();
      run_->step({});
      run_->collect();
      ThreadTeam team(1);
      const CheckResult check = check_block(run_->check_share(), config.block.pass, CheckMode::full, 0, team);
      EXPECT_TRUE(check.numbers_ok) << name_of(config.spread) << " " << check.reason;
      const auto others = run_->result_hashes();
      for (size_t i = 0; i < results.size(); ++i) {
        const bool is_one = results[i].tensor.ends_with("device 0");  // others may have no part of a result
        EXPECT_TRUE(!is_one || others[i].hash != results[i].hash) << results[i].tensor;
      }
      run_->use_other_operands(false);
      EXPECT_EQ(run_->operand_hash(), operands);
      run_->step({});
      EXPECT_EQ(run_->result_hashes(), results);
    }
  }
}

// The step and the reference use the same memory, so both agree on weights that nobody filled, on those of
// another expert, and on a token of zeros.
TEST_F(OperandsTest, OperandsThatWereNotFilledFailTheCheck) {
  std::vector<RunConfig> configs = {{.shape = kOdd}, ep({.shape = kOdd}, 2, Spread::ragged_a2a)};
  configs[1].block.impl = Impl::baseline;
  for (const RunConfig& config : configs) {
    run_ = factory_.make(config);
    const BlockTensors t = run_->tensors();
    const auto check = [&] {
      run_->step({});
      run_->collect();
      ThreadTeam team(2);
      return check_block(run_->check_share(), config.block.pass, CheckMode::sample, 3, team);
    };
    EXPECT_EQ(check().status, CheckStatus::passed) << check().reason;
    const auto expect_seen = [&](const LogicalWeights& w, int64_t group, int64_t like, const char* name) {
      std::vector<float> kept;
      for (int64_t r = 0; r < w.rows(); ++r) {
        for (int64_t n = 0; n < w.num_columns; ++n) {
          kept.push_back(w.at(group, r, n));
          w.set(group, r, n, like < 0 ? 0 : w.at(like, r, n));
        }
      }
      const CheckResult result = check();
      EXPECT_EQ(result.status, CheckStatus::failed) << name;
      EXPECT_NE(result.reason.find(name), std::string::npos) << result.reason;
      for (int64_t r = 0; r < w.rows(); ++r) {
        for (int64_t n = 0; n < w.num_columns; ++n)
          w.set(group, r, n, kept[static_cast<size_t>(r * w.num_columns + n)]);
      }
    };
    expect_seen(t.weights.w1, 6, -1, "w1 of expert 6");
    expect_seen(t.weights.w2, 3, 0, "w2 of expert 3");
    expect_seen(t.weights.w3, 0, -1, "w3 of expert 0");
    expect_seen(t.weights.s2, 0, -1, "s2 is not");
    const float value = t.x.at(11, 44);
    t.x.set(11, 44, 0);
    EXPECT_NE(check().reason.find("token 11 column 44"), std::string::npos);
    t.x.set(11, 44, value);
    EXPECT_EQ(check().status, CheckStatus::passed) << check().reason;
  }
}

// Every kind of weight is compared with its own numbers.
TEST_F(OperandsTest, AllOperandsAreWhatTheyWereFilledWith) {
  ThreadTeam team(2);
  for (const char* form : {"silu", "relu2,ungated,biases,shared-gate", kLatentForms[1], kLatentForms[2]}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      for (const Impl impl : {Impl::baseline, Impl::fast}) {
        RunConfig config{.shape = kOdd};
        config.shape.dtype = dtype;
        config.shape.form = parse_expert_form(form);
        config.block.impl = impl;
        config.block.route_in_step = config.block.router_product = true;
        run_ = factory_.make(config);
        for (const bool others : {true, false}) {
          run_->use_other_operands(others);
          const CheckShare share = run_->check_share();
          for (uint32_t draw = 0; draw < 5; ++draw)
            EXPECT_EQ(share.operands_fault(draw, team), "") << form << " " << name_of(impl);
        }
      }
    }
  }
}

// Choices that were kept of an earlier step do not outlive poison().
TEST_F(OperandsTest, PoisonTakesTheChoicesOfARouterInTheStep) {
  RunConfig config{.shape = kOdd};
  config.block.route_in_step = true;
  run_ = factory_.make(config);
  run_->step({});
  const BlockTensors t = run_->tensors();
  ASSERT_NE(t.step_routing, nullptr);
  EXPECT_EQ(t.step_routing->expert, run_->routing().expert);
  run_->poison();
  for (const int32_t expert : t.step_routing->expert) EXPECT_TRUE(expert < 0 && expert != kNoExpert);
  run_->step({});
  EXPECT_EQ(t.step_routing->expert, run_->routing().expert);
}

// The step's own routing is checked, and not only the one that was made before the clock started.
TEST_F(OperandsTest, TheCheckLooksAtTheRoutingOfTheStep) {
  RunConfig config{.shape = kOdd};
  config.block.route_in_step = true;
  run_ = factory_.make(config);
  run_->step({});
  BlockTensors t = run_->tensors();
  Routing wrong = *t.step_routing;
  std::swap(wrong.expert[3], wrong.expert[4]);
  t.step_routing = &wrong;
  ThreadTeam team(1);
  const CheckResult check = check_block(t, config.block.pass, CheckMode::sample, 0, team);
  EXPECT_EQ(check.status, CheckStatus::failed);
  EXPECT_NE(check.reason.find("the router's token 1"), std::string::npos) << check.reason;
}

}  // namespace
}  // namespace moehill
