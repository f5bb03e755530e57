// Implementation of predict/binding.h.
#include "moehill/predict/binding.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace moehill {
namespace {

constexpr const char* kLevelMeanings[] = {"compute: products at the units' speed",
                                          "memory: bytes of weights and rows",
                                          "a rank: the fullest one, for which the others wait",
                                          "the links of a node: rows between its devices",
                                          "the network: rows between nodes",
                                          "overhead: starting and joining threads"};

// Returns true if the network of the fullest node takes longer for a stage's messages than the link of the
// fullest device.
bool is_on_network(const Cluster& cluster, const ProgramStage& stage) {
  double network = 0, own = 0;
  for (const Exchange& exchange : stage.exchanges) {
    network += static_cast<double>(exchange.sums.fullest_node);
    own += static_cast<double>(exchange.sums.fullest_device);
  }
  return network > 0 && network / cluster.network.bytes_per_s >= own / cluster.inside.bytes_per_s;
}

}  // namespace

LevelSeconds level_seconds(const StagePrediction& s) {
  LevelSeconds seconds{};
  at(seconds, s.memory_bound ? Level::memory : Level::compute) += s.gemm_s;
  at(seconds, Level::memory) += s.rows_s;
  at(seconds, Level::rank) += s.wait_s;
  // Rows in flight are rows between nodes, so the hidden time is subtracted from the network first.
  const double network = std::max(0.0, s.network_s - s.hidden_s);
  at(seconds, Level::network) += network;
  at(seconds, Level::node) += s.link_s - s.hidden_s - network;
  at(seconds, Level::overhead) += s.overhead_s;
  return seconds;
}

LevelSeconds level_seconds(const Prediction& prediction) {
  LevelSeconds seconds{};
  for (const StagePrediction& stage : prediction.stages) {
    const LevelSeconds of_stage = level_seconds(stage);
    for (size_t i = 0; i < seconds.size(); ++i) seconds[i] += of_stage[i];
  }
  return seconds;
}

// On the critical path, work beyond the mean of all devices counts as waiting for a fuller rank.
LevelSeconds level_seconds(const SimulatedStep& step) {
  LevelSeconds seconds{};
  for (const PathPiece& piece : step.critical) {
    const ProgramStage& stage = step.program.stages[piece.stage];
    const double length = piece.end - piece.begin;
    double work = 0, mean = 0;
    if (stage.is_work()) {
      work = std::min(length, stage.seconds[static_cast<size_t>(piece.device)]);
      mean = std::accumulate(stage.seconds.begin(), stage.seconds.end(), 0.0) / step.num_devices;
    }
    if (!stage.is_exchange()) work = length;
    const double surplus = std::max(0.0, work - mean);
    at(seconds, Level::rank) += surplus;
    at(seconds, Level::memory) += stage.memory_part * (work - surplus);
    at(seconds, Level::compute) += (1 - stage.memory_part) * (work - surplus);
    if (stage.is_exchange())
      at(seconds, is_on_network(step.cluster, stage) ? Level::network : Level::node) += length - work;
  }
  return seconds;
}

Level binding_level(const LevelSeconds& seconds) {
  return static_cast<Level>(std::max_element(seconds.begin(), seconds.end()) - seconds.begin());
}

std::string binding_text(const LevelSeconds& seconds) {
  auto levels = all_values<Level>();
  const auto of = [&](Level level) { return seconds[static_cast<size_t>(level)]; };
  std::stable_sort(levels.begin(), levels.end(), [&](Level a, Level b) { return of(a) > of(b); });
  const double total = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  std::string rest;
  for (size_t i = 1; i < levels.size() && of(levels[i]) >= 0.01 * total; ++i)
    rest +=
        fmt::format("{} {} {:.3f}", rest.empty() ? "; then" : ",", name_of(levels[i]), 1e3 * of(levels[i]));
  return fmt::format("bound by {}: {:.3f} of {:.3f} ms{}",
                     kLevelMeanings[static_cast<size_t>(levels.front())], 1e3 * of(levels.front()),
                     1e3 * total, rest);
}

}  // namespace moehill
