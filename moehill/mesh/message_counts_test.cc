// Counts the steps and messages by which nodes learn each other's numbers, and compares them with the
// manual's table.
#include "moehill/mesh/message_counts.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <deque>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "moehill/mesh/message_formulas_fixture.h"

namespace moehill {
namespace {

// Runs the parts of all nodes until none can continue. A node knows from whom it has heard, directly or not.
struct Simulated {
  explicit Simulated(int num_nodes) {
    std::vector<std::vector<AgreementStep>> steps;
    for (int node = 0; node < num_nodes; ++node) {
      steps.push_back(agreement_steps(num_nodes, node));
      knows.push_back({node});
      depth = std::max(depth, steps.back().size());
    }
    std::vector<size_t> at(steps.size(), 0);
    std::vector<bool> has_sent(steps.size(), false);
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t node = 0; node < steps.size(); ++node) {
        if (at[node] == steps[node].size()) continue;
        const AgreementStep& step = steps[node][at[node]];
        if (step.send_to >= 0 && !has_sent[node]) {
          under_way[{static_cast<int>(node), step.send_to}].push_back(knows[node]);
          ++messages;
        }
        has_sent[node] = true;
        if (step.receive_from >= 0) {
          std::deque<std::set<int>>& coming = under_way[{step.receive_from, static_cast<int>(node)}];
          if (coming.empty()) continue;
          knows[node].insert(coming.front().begin(), coming.front().end());
          coming.pop_front();
        }
        ++at[node];
        has_sent[node] = false;
        moved = true;
      }
    }
    for (size_t node = 0; node < steps.size(); ++node) finished += at[node] == steps[node].size() ? 1 : 0;
    for (const auto& [pair, left] : under_way) unheard += left.size();
  }

  std::map<std::pair<int, int>, std::deque<std::set<int>>> under_way;
  std::vector<std::set<int>> knows;
  int64_t messages = 0;
  size_t depth = 0, finished = 0, unheard = 0;
};

TEST(MessageCounts, EveryNodeHearsOfEveryOtherInLogarithmicallyManySteps) {
  for (const int num_nodes : {1, 2, 3, 4, 5, 6, 7, 8, 13, 64, 100, 512}) {
    const Simulated run(num_nodes);
    EXPECT_EQ(run.finished, static_cast<size_t>(num_nodes));
    EXPECT_EQ(run.unheard, 0u) << num_nodes;
    EXPECT_EQ(run.messages, agreement_messages(num_nodes).messages) << num_nodes;
    EXPECT_LE(run.depth, static_cast<size_t>(std::bit_width(static_cast<unsigned>(num_nodes))) + 1)
        << num_nodes;
    for (const std::set<int>& known : run.knows) EXPECT_EQ(known.size(), static_cast<size_t>(num_nodes));
  }
}

TEST(MessageCounts, PairsOfDifferentNodes) {
  for (int num_ranks = 1; num_ranks < 12; ++num_ranks) {
    for (int ranks_per_node = 1; ranks_per_node < 12; ++ranks_per_node) {
      int64_t pairs = 0;
      for (int a = 0; a < num_ranks; ++a) {
        for (int b = 0; b < num_ranks; ++b) pairs += a / ranks_per_node != b / ranks_per_node ? 1 : 0;
      }
      EXPECT_EQ((RanksOfNodes{num_ranks, ranks_per_node}.pairs_across()), pairs);
    }
  }
}

// Carries the numbers of all ranks from step to step.
TEST(MessageCounts, NumbersGoToTheirNodesInLogarithmicallyManySteps) {
  for (const RanksOfNodes ranks : {RanksOfNodes{1, 1}, {2, 1}, {5, 2}, {9, 3}, {26, 2}, {64, 8}, {200, 2}}) {
    const int nodes = ranks.num_nodes();
    const auto node_of = [&](int rank) { return rank / ranks.ranks_per_node; };
    std::vector<std::vector<CarriedCount>> held(static_cast<size_t>(nodes));
    for (int from = 0; from < ranks.num_ranks; ++from) {
      for (int to = 0; to < ranks.num_ranks; ++to) {
        if (node_of(from) != node_of(to)) held[static_cast<size_t>(node_of(from))].push_back({from, to, 1});
      }
    }
    MessageCount sent;
    for (int step = 1; step < nodes; step *= 2) {
      std::vector<std::vector<CarriedCount>> next(held.size());
      for (int node = 0; node < nodes; ++node) {
        ++sent.messages;
        for (const CarriedCount& c : held[static_cast<size_t>(node)]) {
          const bool goes_on = (way_of_count(nodes, node, node_of(c.to)) & step) != 0;
          next[static_cast<size_t>(goes_on ? (node + step) % nodes : node)].push_back(c);
          sent.bytes += goes_on ? sizeof c : 0;
        }
      }
      held = next;
    }
    EXPECT_EQ(sent, count_messages(ranks)) << ranks.num_ranks;
    int64_t arrived = 0;
    for (int node = 0; node < nodes; ++node) {
      for (const CarriedCount& c : held[static_cast<size_t>(node)]) arrived += node_of(c.to) == node ? 1 : 0;
    }
    EXPECT_EQ(arrived, ranks.pairs_across()) << ranks.num_ranks;
  }
}

TEST(MessageCounts, RowsGoInPieces) {
  EXPECT_EQ(row_messages(Collective::all_to_all, {4, 2}, 1000, 300), (MessageCount{8 * 4, 8 * 1000}));
  EXPECT_EQ(row_messages(Collective::all_reduce, {4, 2}, 1000, 1000), (MessageCount{2 * 8, 2 * 8 * 1000}));
  EXPECT_EQ(row_messages(Collective::all_gather, {4, 2}, 0, 1000), (MessageCount{0, 0}));
  EXPECT_EQ(row_messages(Collective::reduce_scatter, {4, 4}, 1000, 1000), (MessageCount{0, 0}));
}

// Returns the manual's table in Markdown: 8 to 4096 ranks, 8 on a node, 1 KiB for each other rank.
std::string message_table() {
  constexpr uint64_t kBytes = 1024;
  constexpr int kRanksPerNode = 8;
  constexpr size_t kPieceBytes = size_t{1} << 30;
  std::string text =
      "| ranks | nodes | to agree: messages, bytes | a plan's counts: messages, bytes | all_to_all, "
      "all_gather, reduce_scatter: messages, bytes of rows | all_reduce: messages, bytes of rows "
      "|\n|---|---|---|---|---|---|\n";
  const auto figures = [](const MessageCount& count) {
    return fmt::format("{}, {}", count.messages, count.bytes);
  };
  for (const int num_ranks : {8, 64, 512, 4096}) {
    const RanksOfNodes ranks{num_ranks, kRanksPerNode};
    text += fmt::format("| {} | {} | {} | {} | {} | {} |\n", num_ranks, ranks.num_nodes(),
                        figures(agreement_messages(ranks.num_nodes())), figures(count_messages(ranks)),
                        figures(row_messages(Collective::all_to_all, ranks, kBytes, kPieceBytes)),
                        figures(row_messages(Collective::all_reduce, ranks, kBytes, kPieceBytes)));
  }
  return text;
}

TEST(MessageCounts, TheTableIsThatOfTheManual) {
  std::ifstream in(MOEHILL_SOURCE_DIR "/docs/clusters.md");
  std::ostringstream manual;
  manual << in.rdbuf();
  EXPECT_NE(manual.str().find(message_table()), std::string::npos)
      << "docs/clusters.md has to have this table:\n"
      << message_table();
}

}  // namespace
}  // namespace moehill
