// Tests of advice: the ways that are compared can exist, a way that does not fit into memory says so, and the
// answer agrees with the table.
#include "moehill/predict/advice.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

AdviceQuestion question(int nodes) {
  AdviceQuestion q;
  q.shape = {0, 256, 128, 32, 4, 0};
  q.tokens_per_device = 64;
  q.nodes = nodes;
  return q;
}

TEST(Advice, OneProcessNeverSpansNodesAndAllDevicesAreUsed) {
  const Hardware hardware = load_hardware("epyc-cluster");
  const Advice advice = advise(question(2), hardware);
  for (const AdviceLine& line : advice.lines) {
    const int per_process = line.spread == Spread::none ? hardware.topology.devices_per_node : 1;
    EXPECT_EQ(line.groups * line.devices * per_process, 16) << name_of(line.spread);
    EXPECT_EQ(line.units, 16 * per_process);
    EXPECT_EQ(line.gradients_s > 0, line.groups > 1) << "in training groups add up their gradients";
    EXPECT_NEAR(line.tokens_per_s * line.step_s(), 64 * 16, 1e-6);
  }
  ASSERT_TRUE(advice.best() != nullptr && advice.baseline() != nullptr);
  EXPECT_TRUE(is_ep(advice.best()->spread));
  EXPECT_FALSE(is_ep(advice.baseline()->spread));
  const std::string text = advice_text(advice, question(2), hardware, "Nothing is known of its error.");
  const double gain = advice.best()->tokens_per_s / advice.baseline()->tokens_per_s;
  EXPECT_EQ(text.rfind(gain > 1 ? "Yes" : "No", 0), 0u) << text;
  for (const char* part : {"layout", "2 nodes x 8 devices x 16 cores", "a rank", "to verify:", "mpirun"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

// Nine devices are not two nodes of four.
TEST(Advice, ALayoutHasAllDevices) {
  const Hardware h = load_hardware("epyc-cluster");
  EXPECT_EQ(layout_text(h, 16, 16), "2 nodes x 8 devices x 16 cores");
  EXPECT_EQ(layout_text(h, 9, 16), "9 devices x 16 cores on 2 nodes");
  EXPECT_EQ(layout_text(h, 1, 1), "1 node x 1 device x 1 core");
  EXPECT_EQ(layout_text(load_hardware("epyc-2-core"), 8, 1), "1 node x 8 devices x 1 core")
      << "they share the cores of one node";
}

TEST(Advice, MoreChoicesThanAnIntegerCountsAreRefused) {
  AdviceQuestion q = question(2);
  q.shape.topk = q.shape.experts;
  q.tokens_per_device = 1 << 24;
  EXPECT_THROW(advise(q, load_hardware("epyc-cluster")), InputError);
}

// Three nodes of eight: six or three devices would lie on two nodes, but the model takes them for one.
TEST(Advice, NoGroupStraddlesNodes) {
  int in_a_node = 0, over_all = 0;
  for (const AdviceLine& line : advise(question(3), load_hardware("epyc-cluster")).lines) {
    EXPECT_TRUE(line.devices % 8 == 0 || 8 % line.devices == 0) << line.devices;
    in_a_node += is_ep(line.spread) && line.groups == 3 && line.devices == 8 ? 1 : 0;
    over_all += is_ep(line.spread) && line.groups == 1 && line.devices == 24 ? 1 : 0;
  }
  EXPECT_GT(in_a_node, 0);
  EXPECT_GT(over_all, 0);
}

// However the devices are grouped, the gradients of all experts have to leave each node, once for each group
// that lies within it. dp is the case in which a group has one device.
TEST(Advice, GradientsBetweenGroupsAreThoseOfAllExperts) {
  const Hardware h = load_hardware("h100-node");
  AdviceQuestion q = question(8);
  q.shape = {0, 4096, 2048, 64, 4, 0};
  const double weights = static_cast<double>(q.shape.weights()) * 2, rate = h.topology.levels[1].bytes_per_s;
  double of_dp = 0;
  int seen = 0;
  for (const AdviceLine& line : advise(q, h).lines) {
    EXPECT_NE(line.spread, Spread::none) << "on chips that is dp";
    if (line.spread == Spread::dp) of_dp = line.prediction.time_s;
    if (line.groups == 1) continue;
    ++seen;
    const double nodes_of_group = std::max(1.0, line.devices / 8.0);
    const double leaving = 2.0 * (line.groups - 1) / line.groups * weights / nodes_of_group;
    EXPECT_NEAR(line.gradients_s, leaving / rate, 0.02 * leaving / rate) << line.groups;
  }
  EXPECT_GE(seen, 5);
  EXPECT_NEAR(of_dp, 2.0 * 63 / 64 * weights / rate, 0.3 * of_dp) << "the model's own, with the step";
}

// With few tokens a step reads weights. Groups that lie in one node read them from the same memory.
TEST(Advice, GroupsOfANodeShareItsMemory) {
  const Hardware h = load_hardware("epyc-cluster");
  AdviceQuestion q = question(1);
  q.shape = {0, 2048, 1408, 64, 2, 0};
  q.tokens_per_device = 4;
  q.pass = Pass::forward;
  int in_groups = 0;
  for (const AdviceLine& line : advise(q, h).lines) {
    const int of_node = line.spread == Spread::none ? 1 : h.topology.devices_per_node;
    in_groups += line.groups > 1 ? 1 : 0;
    for (const StagePrediction& stage : line.prediction.stages)
      EXPECT_LE(stage.memory_bytes * of_node,
                1.001 * h.node_memory_bytes_per_s * (stage.gemm_s + stage.rows_s))
          << name_of(line.spread) << " in " << line.groups << ": " << name_of(stage.stage);
  }
  EXPECT_GT(in_groups, 0);
}

TEST(Advice, InInferenceGroupsAddUpNothing) {
  AdviceQuestion q = question(1);
  q.pass = Pass::forward;
  for (const AdviceLine& line : advise(q, load_hardware("h100-node")).lines) EXPECT_EQ(line.gradients_s, 0);
}

TEST(Advice, WhatDoesNotFitIsNoBaseline) {
  Hardware hardware = load_hardware("epyc-cluster");
  AdviceQuestion q = question(2);
  q.shape.hidden = 2048;
  q.shape.mlp_dim = 2048;
  const double weights = static_cast<double>(q.shape.weights()) * 2;
  hardware.memory_bytes =
      3 * weights;  // of a node: weights and gradients of all experts once, but not eight times
  const Advice advice = advise(q, hardware);
  for (const AdviceLine& line : advice.lines) {
    if (line.spread == Spread::dp) {
      EXPECT_FALSE(line.fits);
    }
  }
  hardware.memory_bytes = weights / 8;
  const Advice none = advise(q, hardware);
  EXPECT_EQ(none.best(), nullptr);
  EXPECT_EQ(none.baseline(), nullptr);
  EXPECT_EQ(advice_text(none, q, hardware, "").rfind("Neither", 0), 0u);
}

TEST(Advice, ExpertsOfAnotherWidthHaveNoDataParallelLine) {
  AdviceQuestion q = question(2);
  q.shape.form = parse_expert_form("silu,latent:128");
  const Hardware hardware = load_hardware("epyc-cluster");
  const Advice advice = advise(q, hardware);
  for (const AdviceLine& line : advice.lines)
    EXPECT_TRUE(line.spread != Spread::dp && !is_psum(line.spread)) << name_of(line.spread);
  ASSERT_TRUE(advice.best() != nullptr && advice.baseline() != nullptr);
  EXPECT_EQ(advice_text(advice, q, hardware, "").find("--parallel-mode dp"), std::string::npos);
}

// A single device has every token in any case, so as the only device it could not be hot.
TEST(Advice, AHotDeviceIsOneOfAllDevicesInEveryLine) {
  AdviceQuestion q = question(1);
  const Hardware hardware = load_hardware("epyc-cluster");
  const auto waits = [](const Advice& advice) {
    double sum = 0;
    for (const AdviceLine& line : advice.lines)
      for (const StagePrediction& stage : line.prediction.stages) sum += stage.wait_s;
    return sum;
  };
  const Advice even = advise(q, hardware);
  q.distribution = parse_distributions("hot-device:0.5").front();
  const Advice hot = advise(q, hardware);
  ASSERT_EQ(hot.lines.size(), even.lines.size());
  ASSERT_TRUE(hot.best() != nullptr && hot.baseline() != nullptr);
  EXPECT_GT(waits(hot), waits(even));
}

// The load of a command that verifies the advice is that of the advice, or the text says that it is not.
TEST(Advice, CommandsHaveTheSameHotDeviceOrSaySo) {
  const Hardware hardware = load_hardware("epyc-cluster");
  const auto text_of = [&](int nodes, const char* distribution) {
    AdviceQuestion q = question(nodes);
    q.distribution = parse_distributions(distribution).front();
    q.hardware = "my hardware.toml";
    Advice advice = advise(q, hardware);
    // One group over all devices, beside `none`.
    std::erase_if(advice.lines, [&](const AdviceLine& line) {
      return line.spread == Spread::dp || (is_ep(line.spread) && line.groups > 1);
    });
    return advice_text(advice, q, hardware, "");
  };
  const std::string of_one = text_of(1, "hot-device:0.5");
  EXPECT_NE(of_one.find("--devices 8 --threads-per-device 16 --parallel-mode none"), std::string::npos)
      << of_one;
  EXPECT_EQ(of_one.find("other experts are hot"), std::string::npos) << of_one;
  EXPECT_NE(of_one.find("simulate --hardware 'my hardware.toml' "), std::string::npos) << of_one;
  EXPECT_NE(text_of(2, "hot-device:0.5").find("other experts are hot"), std::string::npos);
  EXPECT_EQ(text_of(2, "random").find("other experts are hot"), std::string::npos);
}

TEST(Advice, ALoneDeviceIsNotSaidToHaveNoMemory) {
  AdviceQuestion q = question(1);
  q.shape.experts = q.shape.topk = 1;
  const Hardware hardware = load_hardware("epyc-2-core");
  const Advice advice = advise(q, hardware);
  ASSERT_EQ(advice.best(), nullptr);
  const std::string text = advice_text(advice, q, hardware, "");
  EXPECT_EQ(text.rfind("No: expert parallelism needs two devices and two experts at least; ", 0), 0u) << text;
}

TEST(Advice, TheSimulationTakesTheProbeOfTheAdvice) {
  AdviceQuestion q = question(1);
  q.hardware = "probe";
  const Hardware hardware = load_hardware("epyc-2-core");
  const auto text_of = [&] { return advice_text(advise(q, hardware), q, hardware, ""); };
  EXPECT_EQ(text_of().find("MOEHILL_PROBE"), std::string::npos) << text_of();
  q.probe = "my probe.json";
  const std::string text = text_of();
  if (text.find("without SimGrid") != std::string::npos) GTEST_SKIP() << "this build has no simulator";
  EXPECT_NE(text.find("  MOEHILL_PROBE='my probe.json' moehill simulate --hardware probe "),
            std::string::npos)
      << text;
}

// 128 processes have more threads than one process may have. Of a step that bench would refuse there is a
// sentence, and no command.
TEST(Advice, WhatBenchCannotRunIsNoCommand) {
  Hardware hardware = load_hardware("epyc-cluster");
  hardware.memory_bytes = 0;  // not known, so everything fits
  AdviceQuestion q = question(16);
  q.shape.experts = 128;
  const auto text_of_all_devices = [&] {
    Advice advice = advise(q, hardware);
    std::erase_if(advice.lines, [](const AdviceLine& line) { return is_ep(line.spread) && line.groups > 1; });
    return advice_text(advice, q, hardware, "");
  };
  const std::string many = text_of_all_devices();
  EXPECT_NE(many.find("  mpirun -n 128 --map-by ppr:8:node moehill bench "), std::string::npos) << many;
  EXPECT_EQ(many.find("bench has no such run"), std::string::npos) << many;
  q.shape.hidden = 1 << 22;
  q.tokens_per_device = 1024;
  const std::string large = text_of_all_devices();
  EXPECT_EQ(large.find("mpirun"), std::string::npos) << large;
  EXPECT_NE(large.find("  bench has no such run of "), std::string::npos) << large;
  EXPECT_NE(large.find("tokens * topk * max(hidden, mlp-dim): got"), std::string::npos) << large;
}

TEST(Advice, NodesNeedANetwork) {
  EXPECT_THROW(advise(question(2), load_hardware("epyc-2-core")), InputError);
}

}  // namespace
}  // namespace moehill
