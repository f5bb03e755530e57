// This file has the formulas of message_counts.h. A test compares them with counts of real messages.
#include "moehill/mesh/message_counts.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "moehill/base/words.h"

namespace moehill {

std::vector<AgreementStep> agreement_steps(int num_nodes, int node) {
  const int num_doubling = static_cast<int>(std::bit_floor(static_cast<unsigned>(num_nodes)));
  constexpr int kNobody = AgreementStep::kNobody;
  if (node >= num_doubling) return {{node - num_doubling, kNobody}, {kNobody, node - num_doubling}};
  const int other = node + num_doubling < num_nodes ? node + num_doubling : kNobody;
  std::vector<AgreementStep> steps = {{kNobody, other}};
  for (int digit = 1; digit < num_doubling; digit *= 2) steps.push_back({node ^ digit, node ^ digit});
  steps.push_back({other, kNobody});
  return steps;
}

MessageCount agreement_messages(int num_nodes) {
  const unsigned nodes = static_cast<unsigned>(num_nodes), num_doubling = std::bit_floor(nodes);
  const int64_t messages = static_cast<int64_t>(num_doubling) * (std::bit_width(num_doubling) - 1) +
                           2 * static_cast<int64_t>(nodes - num_doubling);
  return {messages, static_cast<uint64_t>(messages) * kAgreementBytes};
}

int64_t RanksOfNodes::pairs_across() const {
  int64_t pairs = static_cast<int64_t>(num_ranks) * num_ranks;
  for (int node = 0; node < num_nodes(); ++node) pairs -= int64_t{on_node(node)} * on_node(node);
  return pairs;
}

int num_count_steps(int num_nodes) { return std::bit_width(static_cast<unsigned>(num_nodes - 1)); }

MessageCount count_messages(const RanksOfNodes& ranks) {
  const int nodes = ranks.num_nodes();
  int64_t hops = 0;
  for (int from = 0; from < nodes; ++from) {
    for (int to = 0; to < nodes; ++to) {
      const int digits = std::popcount(static_cast<unsigned>(way_of_count(nodes, from, to)));
      hops += int64_t{ranks.on_node(from)} * ranks.on_node(to) * digits;
    }
  }
  return {int64_t{nodes} * num_count_steps(nodes), static_cast<uint64_t>(hops) * sizeof(CarriedCount)};
}

MessageCount row_messages(Collective collective, const RanksOfNodes& ranks, uint64_t bytes,
                          size_t piece_bytes) {
  const int64_t ways = collective == Collective::all_reduce ? 2 : 1;
  const int64_t pieces = static_cast<int64_t>((bytes + piece_bytes - 1) / piece_bytes);
  const int64_t messages = ways * ranks.pairs_across();
  return {messages * pieces, static_cast<uint64_t>(messages) * bytes};
}

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

}  // namespace moehill
