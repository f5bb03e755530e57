// Tests of the simulator: no byte is lost, a simulation can be repeated exactly, and times agree with times
// that are computed by hand.
#include "moehill/simulation/engine.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <map>
#include <new>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/mesh/message_formulas_fixture.h"
#include "moehill/simulation/critical_path.h"
#include "moehill/simulation/simulator_fixture.h"

namespace moehill {
namespace {

class EngineTest : public NeedsSimulator {};

Cluster cluster_of(TopologyKind kind, int num_devices, int devices_per_node) {
  Cluster c;
  c.kind = kind;
  c.num_devices = num_devices;
  c.devices_per_node = devices_per_node;
  c.device_flops = 1e12;
  c.inside = {0, 10e9};
  c.network = {0, 20e9};
  c.upper = {0, 20e9};
  return c;
}

ProgramStage exchange(const ByteMatrix& bytes, const Grouping& grouping = {}, int messages = 1) {
  return {"dispatch", false, {}, {make_exchange(bytes, grouping, messages)}};
}
ProgramStage work(std::vector<double> seconds) { return {"up", false, std::move(seconds), {}}; }

ByteMatrix uneven_bytes(int num_devices) {
  ByteMatrix bytes(num_devices);
  for (int from = 0; from < num_devices; ++from) {
    for (int to = 0; to < num_devices; ++to) bytes.at(from, to) = (from * 31 + to * 17) % 11 * 100'003;
  }
  return bytes;
}

StepProgram uneven_program(int num_devices, const Grouping& grouping = {}) {
  std::vector<double> seconds;
  for (int d = 0; d < num_devices; ++d) seconds.push_back(1e-3 * (1 + d * 7 % 5));
  return {num_devices,
          {work(seconds), exchange(uneven_bytes(num_devices), grouping), work(seconds)},
          grouping.size};
}

TEST_F(EngineTest, EveryByteArrivesOnEveryTopologyAggregatedOrNot) {
  for (const TopologyKind kind : {TopologyKind::fat_tree, TopologyKind::torus, TopologyKind::dragonfly}) {
    for (const int group : {1, 4, 8}) {
      const StepProgram program = uneven_program(22, {group, 4});
      EXPECT_EQ(program.total_bytes(), uneven_bytes(22).total());
      EXPECT_EQ(simulate(cluster_of(kind, 22, 4), program).delivered_bytes, program.total_bytes())
          << name_of(kind) << " in groups of " << group;
    }
  }
}

TEST_F(EngineTest, ANetworkMayHaveAnyNumberOfNodes) {
  for (const TopologyKind kind : {TopologyKind::fat_tree, TopologyKind::torus, TopologyKind::dragonfly}) {
    for (const int num_nodes : {1, 2, 3, 5, 7}) {
      const StepProgram program = uneven_program(2 * num_nodes);
      EXPECT_EQ(simulate(cluster_of(kind, 2 * num_nodes, 2), program).delivered_bytes, program.total_bytes())
          << name_of(kind) << " of " << num_nodes << " nodes";
    }
  }
}

// Four devices of a node with room for eight have four links, not eight that are half as busy.
TEST_F(EngineTest, TheInsideOfANodeHasALinkForEachOfItsDevices) {
  const auto rates_of = [](TopologyKind kind, int num_devices, int devices_per_node) {
    std::map<std::string, double> rates;
    const Simulation s =
        simulate(cluster_of(kind, num_devices, devices_per_node), uneven_program(num_devices));
    for (const LinkLoad& link : s.links) rates[link.name] = link.bytes_per_s;
    return rates;
  };
  for (const TopologyKind kind : {TopologyKind::fat_tree, TopologyKind::torus, TopologyKind::dragonfly}) {
    auto rates = rates_of(kind, 6, 4);
    EXPECT_EQ(rates["inside_node0"], 4 * 10e9) << name_of(kind);
    EXPECT_EQ(rates["inside_node1"], 2 * 10e9) << name_of(kind);
  }
  EXPECT_EQ(rates_of(TopologyKind::node, 4, 8)["inside_node0"], 4 * 10e9);
}

TEST_F(EngineTest, TheSameEveryTime) {
  const StepProgram program = uneven_program(12);
  const Cluster cluster = cluster_of(TopologyKind::fat_tree, 12, 2);
  const Simulation a = simulate(cluster, program), b = simulate(cluster, program);
  EXPECT_EQ(a.seconds, b.seconds);
  for (size_t s = 0; s < a.stages.size(); ++s) {
    for (size_t d = 0; d < 12; ++d) EXPECT_EQ(a.stages[s][d].end, b.stages[s][d].end);
  }
}

TEST_F(EngineTest, WorkTakesItsSecondsAndAnExchangeWaitsForTheLast) {
  ByteMatrix bytes(2);
  bytes.at(0, 1) = 10'000'000;  // 1 ms at 10 GB/s
  const StepProgram program{2, {work({2e-3, 5e-3}), exchange(bytes), work({1e-3, 0})}, 1};
  const Simulation s = simulate(cluster_of(TopologyKind::node, 2, 2), program);
  EXPECT_NEAR(s.stages[0][0].end, 2e-3, 1e-6);
  EXPECT_NEAR(s.stages[1][1].end, 6e-3, 1e-6);
  EXPECT_NEAR(s.seconds, 7e-3, 1e-6);
  const std::vector<PathPiece> path = critical_path(program, s);
  ASSERT_EQ(path.size(), 3u);
  EXPECT_EQ(path[0].device, 1);
  EXPECT_EQ(path[1].device, 0);
  EXPECT_EQ(path[1].waits_for, 1);
  double sum = 0;
  for (const PathPiece& piece : path) sum += piece.end - piece.begin;
  EXPECT_NEAR(sum, s.seconds, 1e-12);
}

TEST_F(EngineTest, BothAtOnceHideEachOther) {
  ByteMatrix bytes(2);
  bytes.at(0, 1) = bytes.at(1, 0) = 30'000'000;  // 3 ms
  ProgramStage both = exchange(bytes);
  both.seconds = {4e-3, 1e-3};
  const Simulation s = simulate(cluster_of(TopologyKind::node, 2, 2), {2, {both}, 1});
  EXPECT_NEAR(s.stages[0][0].end, 4e-3, 1e-6);
  EXPECT_NEAR(s.stages[0][1].end, 3e-3, 1e-6);
}

TEST_F(EngineTest, TwiceTheBandwidthIsHalfTheTimeOfALinkBoundStep) {
  const StepProgram program{8, {exchange(uneven_bytes(8))}, 1};
  for (const TopologyKind kind : {TopologyKind::fat_tree, TopologyKind::torus, TopologyKind::dragonfly}) {
    Cluster slow = cluster_of(kind, 8, 1), fast = slow;
    fast.network.bytes_per_s *= 2;
    fast.upper.bytes_per_s *= 2;
    const double ratio = simulate(slow, program).seconds / simulate(fast, program).seconds;
    EXPECT_NEAR(ratio, 2, 1e-3) << name_of(kind);
  }
}

// Four devices of one node send 1 MB each to the four of another: 4 MB over one connection of 20 GB/s.
TEST_F(EngineTest, DevicesOfANodeShareItsConnection) {
  ByteMatrix bytes(8);
  for (int d = 0; d < 4; ++d) bytes.at(d, d + 4) = 1'000'000;
  const Simulation s = simulate(cluster_of(TopologyKind::fat_tree, 8, 4), {8, {exchange(bytes)}, 1});
  EXPECT_NEAR(s.seconds, 200e-6, 1e-6);
  int64_t most = 0;
  for (const LinkLoad& link : s.links) most = std::max(most, link.bytes);
  EXPECT_EQ(most, 4'000'000);
}

// Simulates messages of more ranks than a test can start as processes, to compare them with the formulas
// (mesh/message_formulas_fixture.h). Returns what the stages send.
MessageCount simulated_messages(const RanksOfNodes& ranks, std::vector<ByteMatrix> stages) {
  StepProgram program{ranks.num_ranks, {}, 1};
  for (ByteMatrix& bytes : stages) program.stages.push_back(exchange(bytes));
  const Simulation s =
      simulate(cluster_of(TopologyKind::fat_tree, ranks.num_ranks, ranks.ranks_per_node), program);
  return {s.num_flows, static_cast<uint64_t>(s.delivered_bytes)};
}

// There are 8 ranks on a node: 64 ranks in all, and a number that is no power of two.
constexpr RanksOfNodes kManyRanks[] = {{64, 8}, {104, 8}};

TEST_F(EngineTest, RowsOfManyRanksAreTheMessagesOfTheFormula) {
  for (const RanksOfNodes& ranks : kManyRanks) {
    ByteMatrix bytes(ranks.num_ranks);
    for (int from = 0; from < ranks.num_ranks; ++from) {
      for (int to = 0; to < ranks.num_ranks; ++to)
        bytes.at(from, to) = from / ranks.ranks_per_node == to / ranks.ranks_per_node ? 0 : 1024;
    }
    EXPECT_EQ(simulated_messages(ranks, {bytes}), row_messages(Collective::all_to_all, ranks, 1024, 4096));
    EXPECT_EQ(simulated_messages(ranks, {bytes, bytes}),
              row_messages(Collective::all_reduce, ranks, 1024, 4096));
  }
}

// In an agreement, only the first rank of each node sends messages.
TEST_F(EngineTest, AgreementOfManyRanksIsTheMessagesOfTheFormula) {
  for (const RanksOfNodes& ranks : {RanksOfNodes{64, 8}, {104, 8}, {512, 8}}) {
    std::vector<ByteMatrix> stages;
    for (int node = 0; node < ranks.num_nodes(); ++node) {
      const std::vector<AgreementStep> steps = agreement_steps(ranks.num_nodes(), node);
      for (size_t s = 0; s < steps.size(); ++s) {
        if (s == stages.size()) stages.emplace_back(ranks.num_ranks);
        if (steps[s].send_to != AgreementStep::kNobody)
          stages[s].at(node * ranks.ranks_per_node, steps[s].send_to * ranks.ranks_per_node) =
              kAgreementBytes;
      }
    }
    EXPECT_EQ(simulated_messages(ranks, stages), agreement_messages(ranks.num_nodes()));
  }
}

// Each rank has a number for each rank of other nodes. The numbers are forwarded in steps of 1, 2, 4, ...
// nodes.
TEST_F(EngineTest, CountsOfManyRanksAreTheMessagesOfTheFormula) {
  for (const RanksOfNodes& ranks : {RanksOfNodes{64, 8}, {104, 8}, {512, 8}}) {
    const int nodes = ranks.num_nodes(), lead = ranks.ranks_per_node;
    std::vector<ByteMatrix> stages;
    for (int step = 1; step < nodes; step *= 2) {
      ByteMatrix& bytes = stages.emplace_back(ranks.num_ranks);
      for (int from = 0; from < nodes; ++from) {
        for (int to = 0; to < nodes; ++to) {
          const int way = way_of_count(nodes, from, to), at = (from + way % step) % nodes;
          if ((way & step) != 0)
            bytes.at(at * lead, (at + step) % nodes * lead) += lead * lead * int64_t{sizeof(CarriedCount)};
        }
      }
    }
    EXPECT_EQ(simulated_messages(ranks, stages), count_messages(ranks));
  }
}

// Returns a cluster with the latencies and bandwidths of accelerators.
Cluster large_cluster(int num_devices) {
  Cluster c = cluster_of(TopologyKind::fat_tree, num_devices, 8);
  c.inside = {2e-6, 450e9};
  c.network = {5e-6, 400e9};
  c.upper = {0, 400e9};
  c.dims = {32, 32};
  return c;
}

double seconds_in_groups(int num_devices, int64_t bytes_of_pair, int group) {
  ByteMatrix bytes(num_devices);
  for (int from = 0; from < num_devices; ++from) {
    for (int to = 0; to < num_devices; ++to)
      bytes.at(from, to) = bytes_of_pair * (90 + (from * 31 + to * 17) % 21) / 100;
  }
  return simulate(large_cluster(num_devices), {num_devices, {exchange(bytes, {group, 8})}, group}).seconds;
}

// In the message sizes the latency is the limit (4 KB), or the network (4 MB), or both.
TEST_F(EngineTest, GroupsTakeTheTimeOfTheirMessages) {
  for (const int64_t bytes : {4'000, 200'000, 4'000'000}) {
    const double exact = seconds_in_groups(64, bytes, 1);
    for (const int group : {8, 16})
      EXPECT_NEAR(seconds_in_groups(64, bytes, group) / exact, 1, 0.1) << bytes << " bytes, " << group;
  }
}

// One device in sixteen receives, as with fewer experts than devices: its node takes longer than the others
// of its group.
TEST_F(EngineTest, AGroupOfNodesKeepsItsFullestNode) {
  ByteMatrix bytes(128);
  for (int from = 0; from < 128; ++from) {
    for (int to = 0; to < 128; to += 16) bytes.at(from, to) = from == to ? 0 : 4'000'000;
  }
  const auto seconds = [&](int group) {
    return simulate(large_cluster(128), {128, {exchange(bytes, {group, 8})}, group}).seconds;
  };
  const double network = 120 * 4e6 / 400e9;  // of what arrives at one device from other nodes
  EXPECT_GT(seconds(1), network);
  EXPECT_NEAR(seconds(16) / seconds(1), 1, 0.15);
}

// A simulation costs as much as its flows, so this test bounds the number of flows of many devices. It also
// simulates the smaller of the two sizes.
TEST_F(EngineTest, FlowsOfManyDevicesAreBounded) {
  for (const int num_devices : {1024, 4096}) {
    const int group = group_size(num_devices, 8, 128), groups = num_devices / group, nodes = group / 8;
    ByteMatrix bytes(num_devices);
    for (int from = 0; from < num_devices; ++from) {
      for (int to = 0; to < num_devices; ++to) bytes.at(from, to) = from == to ? 0 : 1000;
    }
    const StepProgram program{num_devices, {exchange(bytes, {group, 8})}, group};
    int64_t num_flows = 0;
    for (const std::vector<Flow>& sends : program.stages[0].exchanges[0].sends)
      num_flows += std::ssize(sends);
    EXPECT_EQ(groups, num_devices == 1024 ? 16 : 32);
    EXPECT_EQ(num_flows, num_devices + num_devices / 8 * (nodes - 1 + groups - 1));
    EXPECT_EQ(program.total_bytes(), bytes.total());
    if (num_devices > 1024) continue;
    const Simulation s = simulate(large_cluster(num_devices), program);
    EXPECT_EQ(s.num_flows, num_flows);
    EXPECT_EQ(s.delivered_bytes, bytes.total());
  }
}

// Nine devices of one node: eight messages of 1 MB around a ring, or four steps of 1, 2, 4 and 1 MB.
TEST_F(EngineTest, ARingPaysEveryMessageAndATreeEveryStep) {
  Cluster cluster = cluster_of(TopologyKind::node, 9, 9);
  cluster.inside.latency_s = 50e-6;
  ByteMatrix ring(9);
  for (int d = 0; d < 9; ++d) ring.at(d, (d + 1) % 9) = 8'000'000;
  EXPECT_NEAR(simulate(cluster, {9, {exchange(ring, {1, 9}, 8)}, 1}).seconds, 8 * (50e-6 + 100e-6), 1e-8);
  ProgramStage tree{"dispatch", false, {}, {}};
  for (const int64_t slices : {1, 2, 4, 1}) {
    ByteMatrix step(9);
    for (int d = 0; d < 9; ++d) step.at(d, (d + static_cast<int>(slices)) % 9) = slices * 1'000'000;
    tree.exchanges.push_back(make_exchange(step, {1, 9}));
  }
  EXPECT_NEAR(simulate(cluster, {9, {tree}, 1}).seconds, 4 * 50e-6 + 800e-6, 1e-8);
}

TEST_F(EngineTest, ProgressRises) {
  // Progress is told in the process that simulates, so this process shares memory with it.
  void* memory = mmap(nullptr, sizeof(double), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  double& last = *new (memory) double(0);
  const StepProgram program{40, {exchange(uneven_bytes(40))}, 1};
  simulate(cluster_of(TopologyKind::fat_tree, 40, 8), program, [&](double part) {
    if (part <= last || part > 1) throw std::runtime_error("progress that does not rise to 1");
    last = part;
  });
  EXPECT_GT(last, 0.8);
  munmap(memory, sizeof(double));
}

}  // namespace
}  // namespace moehill
