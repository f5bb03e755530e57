// Writes a results database with made-up figures, for the tests of the HTML report in a browser. Nothing is
// measured; the figures follow formulas, so that every run writes equal rows.
//
//     report_fixture results.sqlite
//     moehill report --db results.sqlite -o report.html
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "moehill/store/store_fixture.h"

namespace {

using moehill::StoredJson;

// Story is one experiment with its points.
struct Story {
  std::string name, title, command;
  StoredJson baseline = StoredJson::object();
  std::vector<StoredJson> axes;  // [point]
};

double number_of(const StoredJson& axes, const char* name, double otherwise) {
  return axes.contains(name) ? axes.at(name).get<double>() : otherwise;
}

// Returns a plausible speed in TF/s: it grows with the rows of an expert, and wobbles by 1 % from round to
// round.
double speed_of(const StoredJson& axes, const std::string& path, int64_t round) {
  const double topk = number_of(axes, "topk", 2), width = number_of(axes, "mlp_dim", 1408),
               experts = number_of(axes, "experts", 60);
  const double mode = axes.value("parallel_mode", "ep") == "ep" ? 1.06 : 1.0;
  const double of_path = path == "ref_dp" ? 0.7 : path == "fused_ep" ? 1.2 : 1.0;
  const double wobble = 1 + 0.01 * std::sin(static_cast<double>(round) * 7.3 + topk + width);
  return 0.06 * mode * of_path * wobble * (1 - std::exp(-topk * width / 3000)) * (1 - experts / 4000);
}

StoredJson stages_of(double seconds) {
  return {{"forward",
           {{"pack", 0.05 * seconds},
            {"up", 0.2 * seconds},
            {"down", 0.1 * seconds},
            {"combine", 0.05 * seconds}}},
          {"backward", {{"combine", 0.1 * seconds}, {"down", 0.2 * seconds}, {"up", 0.28 * seconds}}},
          {"unaccounted_s", 0.02 * seconds},
          {"waited_for", "Device 1 is waited for most."},
          {"waits",
           {{{"stage", "reduce"}, {"device", 0}, {"for", 1}, {"busy_in", "down"}, {"wait_s", 0.01 * seconds}},
            {{"stage", "plan"}, {"device", 2}, {"for", 1}, {"busy_in", "up"}, {"wait_s", 0.004 * seconds}}}}};
}

StoredJson record_of(const StoredJson& axes, const std::string& path, int64_t round) {
  const double tokens = 1024, topk = number_of(axes, "topk", 2), width = number_of(axes, "mlp_dim", 1408),
               experts = number_of(axes, "experts", 60);
  const bool none = axes.value("parallel_mode", "ep") == "none";
  const double tflops = speed_of(axes, path, round);
  const double seconds = 18 * tokens * 2048 * (topk * width + 5632) / (tflops * 1e12);
  StoredJson json = {{"schema", "moehill/1"}, {"command", path.empty() ? "bench" : "profile"}};
  if (!path.empty()) json["path"] = path;
  json["config"] = {{"tokens", static_cast<int64_t>(tokens)},
                    {"hidden", 2048},
                    {"mlp_dim", static_cast<int64_t>(width)},
                    {"experts", static_cast<int64_t>(experts)},
                    {"topk", static_cast<int64_t>(topk)},
                    {"shared_expert_dim", 5632},
                    {"dtype", "bf16"},
                    {"distribution", "random"},
                    {"backend", "gmm"},
                    {"impl", "fused_w13"},
                    {"routing_pack_strategy", "argsort"},
                    {"queue_mode", "full"},
                    {"bench_pass", "forward_backward"},
                    {"parallel_mode", none ? "none" : "ep"},
                    {"ep_path", none ? StoredJson(nullptr) : StoredJson("compact_psum")}};
  json["layout"] = {{"devices", none ? 1 : 2}, {"cores", 2}};
  json["time_s"] = {
      {"median", seconds}, {"ci_lo", 0.98 * seconds}, {"ci_hi", 1.02 * seconds}, {"samples", {seconds}}};
  json["tflops"] = tflops;
  json["tokens_per_s"] = tokens / seconds;
  json["peak"] = {{"tflops_measured", 0.09},
                  {"fraction", tflops / 0.09},
                  {"read_gbps", {{"median", 21.5}, {"min", 20.0}, {"max", 22.0}}}};
  json["stages"] = axes.contains("distribution") ? stages_of(seconds) : StoredJson::object();
  json["balance"] = {{"expert_max_over_mean", 1.4}, {"device_max_over_mean", 1 + 0.02 * topk}};
  json["check"] = {{"status", "passed"}};
  json["env"] = {{"cpu", "An imagined CPU"}, {"cores", 2}, {"build", "fixture"}, {"compiler", "none"}};
  json["prediction"] = {{"time_s", seconds * (1 + 0.05 * std::cos(topk))}};
  return json;
}

std::vector<moehill::StoredPoint> points_of(const Story& story) {
  std::vector<moehill::StoredPoint> points;
  for (const StoredJson& axes : story.axes) {
    moehill::StoredPoint point;
    point.axes = axes;
    point.position = static_cast<int64_t>(points.size());
    point.identity = story.name + std::to_string(points.size());
    for (const auto& [axis, value] : axes.items())
      point.label += (point.label.empty() ? "" : " ") + axis + "=" +
                     (value.is_string() ? value.get<std::string>() : value.dump());
    point.is_baseline = !story.baseline.empty();
    for (const auto& [axis, value] : story.baseline.items())
      point.is_baseline = point.is_baseline && axes.at(axis) == value;
    points.push_back(point);
  }
  return points;
}

moehill::AttemptResult result_of(const Story& story, const StoredJson& axes, int64_t round) {
  moehill::AttemptResult result;
  if (axes.value("distribution", "") == "hopeless") {
    result.state = moehill::RunState::failed;
    result.exit_status = 3;
    result.output_tail = "check failed: <b>worst row</b> of dw1";
    return result;
  }
  result.state = moehill::RunState::done;
  const std::vector<std::string> paths = story.command == "profile"
                                             ? std::vector<std::string>{"ref_dp", "staged_dp", "fused_ep"}
                                             : std::vector<std::string>{""};
  for (const std::string& path : paths) result.records.push_back(record_of(axes, path, round));
  return result;
}

void write_story(moehill::Journal& journal, const Story& story) {
  moehill::StoredExperiment experiment;
  experiment.name = story.name;
  experiment.title = story.title;
  experiment.command = story.command;
  experiment.baseline = story.baseline;
  experiment.hypothesis = "Made-up figures show the page as measured ones do";
  experiment.next_action = "look at the page";
  experiment.rounds = 5;
  experiment.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 1.0"};
  experiment.reference_section = "14:22 EP compact local dispatch";
  experiment.reference_defect = "One chip against four";
  std::vector<moehill::StoredPoint> points = points_of(story);
  journal.save_plan(experiment, points);
  for (int64_t round = 0; round < experiment.rounds; ++round) {
    for (const moehill::StoredPoint& point : points) {
      const moehill::ClaimAnswer answer = journal.claim(point.id, round, 60);
      if (answer.state == moehill::ClaimState::claimed)
        journal.finish(answer.claim, result_of(story, point.axes, round));
    }
  }
}

std::vector<StoredJson> values(const char* axis, const std::vector<double>& numbers) {
  std::vector<StoredJson> all;
  for (const double number : numbers) all.push_back({{axis, static_cast<int64_t>(number)}});
  return all;
}

std::vector<Story> stories() {
  Story modes{"ep_vs_none", moehill::kHostileTitle, "bench", {{"parallel_mode", "none"}}, {}};
  for (const char* mode : {"none", "ep"}) {
    for (const int topk : {1, 2, 4, 8})
      modes.axes.push_back({{"parallel_mode", mode}, {"topk", static_cast<int64_t>(topk)}});
  }
  return {modes,
          {"width",
           "Width of the routed experts",
           "bench",
           {{"mlp_dim", 1408}},
           values("mlp_dim", {1408, 1536, 1792, 2048})},
          {"experts", "Number of experts", "bench", {{"experts", 32}}, values("experts", {32, 64, 128, 256})},
          {"stages",
           "Where a step spends its time",
           "bench",
           {{"distribution", "random"}},
           {{{"distribution", "random"}}, {{"distribution", "runs"}}, {{"distribution", "hopeless"}}}},
          {"overlap", "Overlap by top-k", "profile", {{"topk", 2}}, values("topk", {1, 2, 4, 6, 8})}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: report_fixture FILE\n", stderr);
    return 2;
  }
  moehill::Store store = moehill::Store::open_or_create(argv[1]);
  moehill::Journal journal(store, moehill::this_process(), {{"host", "fixture"}});
  for (const Story& story : stories()) write_story(journal, story);
}
