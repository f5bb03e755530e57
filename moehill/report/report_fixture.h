// A database with one experiment of four points, which replays a section of the published logbook. The tests
// of this room use it.
//
//     fill_replayed(store, replayed_experiment(), {.ep = 1.3});   // ep takes 1.3 times as long as none
#pragma once

#include <string>
#include <vector>

#include "moehill/report/published.h"
#include "moehill/store/store_fixture.h"

namespace moehill {

inline StoredJson block_config(const std::string& mode, int64_t topk) {
  return {{"tokens", 256},
          {"hidden", 2048},
          {"mlp_dim", 1408},
          {"experts", 60},
          {"topk", topk},
          {"shared_expert_dim", 5632},
          {"bench_pass", "forward_backward"},
          {"distribution", "random"},
          {"backend", "gmm"},
          {"routing_pack_strategy", "argsort"},
          {"parallel_mode", mode},
          {"ep_path", mode == "ep" ? StoredJson("dense_masked") : StoredJson(nullptr)}};
}

inline StoredJson block_record(const std::string& mode, int64_t topk, double seconds) {
  return {
      {"schema", "moehill/1"},
      {"config", block_config(mode, topk)},
      {"layout", {{"devices", mode == "ep" ? 2 : 1}, {"cores", 2}}},
      {"time_s", {{"median", seconds}, {"ci_lo", seconds}, {"ci_hi", seconds}, {"samples", {seconds}}}},
      {"tflops", static_cast<double>(topk) / seconds},
      {"tokens_per_s", 256 / seconds},
      {"check", {{"status", "passed"}}},
      {"hash", {{"plan", mode + std::to_string(topk)}}},
      {"env", {{"cpu", "a CPU"}, {"cores", 2}, {"kernel", "AVX2"}, {"build", "b"}, {"load_average", 0.1}}}};
}

inline StoredExperiment replayed_experiment() {
  StoredExperiment e;
  e.name = "ep_vs_none";
  e.title = "EP against none";
  e.hypothesis = "masked EP is slower";
  e.expect = {"ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 2",
              "ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 8", "not an expectation"};
  e.next_action = "look at stages";
  e.baseline = {{"parallel_mode", "none"}};
  e.reference_section = "13:40 EP vs Non-EP";
  e.reference_defect = "one chip against four";
  e.rounds = 8;
  e.toml = "title = \"EP against none\"\n";
  e.options_note = "256 tokens";
  return e;
}

// Planted is the effect that the made-up results have.
struct Planted {
  double ep = 1.3, noise = 0.001;  // time of ep over that of none; how far rounds differ
  bool last_fails = true;
  int64_t rounds = 0;        // rounds that are measured; 0: all
  std::string ep_host = "";  // of ep's records; the others then have the host "one"; empty: no record has one
  // In this many of the first rounds, one process measured all points; 0: no record names its process.
  int64_t rounds_together = 0;
};

inline void fill_replayed(Store& store, const StoredExperiment& experiment, Planted planted = {}) {
  Journal journal(store, this_process(), {{"build", "b"}});
  std::vector<StoredPoint> points;
  for (const int64_t topk : {2, 8}) {
    for (const std::string mode : {"none", "ep"}) {
      StoredPoint p;
      p.label = "parallel_mode=" + mode + " topk=" + std::to_string(topk);
      p.identity = p.label;
      p.position = static_cast<int64_t>(points.size());
      p.options = block_config(mode, topk);
      p.axes = {{"parallel_mode", mode}, {"topk", topk}};
      p.arguments = {"--parallel-mode", mode, "--topk", std::to_string(topk)};
      p.is_baseline = mode == "none";
      points.push_back(p);
    }
  }
  journal.save_plan(experiment, points);
  const int64_t rounds = planted.rounds > 0 ? planted.rounds : experiment.rounds;
  for (int64_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < points.size(); ++i) {
      AttemptResult result;
      const bool fails = planted.last_fails && i + 1 == points.size();
      result.state = fails ? RunState::failed : RunState::done;
      result.output_tail = result.state == RunState::failed ? "it <broke>" : "";
      if (result.state == RunState::done) {
        const std::string mode = points[i].axes["parallel_mode"];
        const double seconds = (mode == "ep" ? planted.ep : 1.0) *
                               (1 + planted.noise * static_cast<double>((round + 3 * i) % 4));
        result.records = {block_record(mode, points[i].axes["topk"], seconds)};
        if (!planted.ep_host.empty())
          result.records[0]["env"]["host"] = mode == "ep" ? planted.ep_host : "one";
        if (planted.rounds_together > 0)
          result.records[0]["process"]["id"] =
              std::to_string(round) + (round < planted.rounds_together ? "" : points[i].label);
      }
      const ClaimAnswer answer = journal.claim(points[i].id, round, 60);
      if (answer.state == ClaimState::claimed) journal.finish(answer.claim, result);
    }
  }
}

inline StoredExperiment hostile_experiment() {
  StoredExperiment e = replayed_experiment();
  e.name = e.title = e.hypothesis = e.next_action = e.reference_defect = e.options_note = kHostileTitle;
  e.expect = {kHostileTitle};
  return e;
}

}  // namespace moehill
