#include "moehill/report/page_data.h"

#include "moehill/report/measured.h"

namespace moehill {
namespace {

StoredJson or_null(const std::optional<double>& value) {
  return value ? StoredJson(*value) : StoredJson(nullptr);
}

StoredJson at_or_null(const StoredJson& json, const std::string& pointer) {
  const StoredJson::json_pointer where(pointer);
  return json.contains(where) ? json.at(where) : StoredJson(nullptr);
}

StoredJson ratio_json(const std::optional<Ratio>& ratio, const std::string& with) {
  if (!ratio) return nullptr;
  return {{"value", ratio->ratio},
          {"lo", ratio->ci_lo},
          {"hi", ratio->ci_hi},
          {"verdict", name_of(judge(*ratio))},
          {"with", with}};
}

StoredJson prediction_json(const Measured& m) {
  const auto predicted = number_at(m.first, "/prediction/time_s");
  if (!predicted || m.seconds.empty()) return nullptr;
  return {{"seconds", *predicted}, {"over_measured", *predicted / median_of(m.seconds)}};
}

StoredJson result_json(const Measured& m) {
  const bool timed = !m.tflops.empty();
  const Summary tflops = tflops_summary(m);
  StoredJson json = {{"path", m.path}, {"rounds", m.rounds.size()}, {"disturbed", m.disturbed}};
  json["tflops"] = timed ? StoredJson(tflops.median) : StoredJson(nullptr);
  json["tflops_lo"] = timed ? StoredJson(tflops.ci_lo) : StoredJson(nullptr);
  json["tflops_hi"] = timed ? StoredJson(tflops.ci_hi) : StoredJson(nullptr);
  json["tokens_per_s"] = timed ? StoredJson(median_of(m.tokens_per_s)) : StoredJson(nullptr);
  json["seconds"] = timed ? StoredJson(median_of(m.seconds)) : StoredJson(nullptr);
  json["fraction"] = at_or_null(m.first, "/peak/fraction");
  json["peak_tflops"] = or_null(m.peak_tflops);
  json["read_gbps"] = or_null(m.read_gbps);
  json["intensity"] = least_intensity(at_or_null(m.first, "/config"));
  json["config"] = at_or_null(m.first, "/config");
  json["layout"] = at_or_null(m.first, "/layout");
  json["stages"] = at_or_null(m.first, "/stages");
  json["device_imbalance"] = at_or_null(m.first, "/balance/device_max_over_mean");
  json["expert_imbalance"] = at_or_null(m.first, "/balance/expert_max_over_mean");
  json["check"] = at_or_null(m.first, "/check/status");
  json["prediction"] = prediction_json(m);
  return json;
}

const Measured* of_path(const std::vector<Measured>& all, const std::string& path) {
  for (const Measured& m : all) {
    if (m.path == path) return &m;
  }
  return nullptr;
}

// A path of `profile` is compared with staged_dp of the same point; anything else with the baseline point.
StoredJson comparison_json(const std::vector<Measured>& own, const std::vector<Measured>& baseline,
                           const std::string& baseline_label, const Measured& m) {
  if (!m.path.empty()) {
    const Measured* staged = m.path == "staged_dp" ? nullptr : of_path(own, "staged_dp");
    return staged == nullptr ? StoredJson(nullptr) : ratio_json(throughput_ratio(*staged, m), "staged_dp");
  }
  const Measured* other = of_path(baseline, "");
  return other == nullptr ? StoredJson(nullptr) : ratio_json(throughput_ratio(*other, m), baseline_label);
}

StoredJson point_json(Store& store, const std::vector<StoredPoint>& points, const StoredPoint& point) {
  StoredJson json = {{"label", point.label},
                     {"axes", point.axes},
                     {"state", point.state},
                     {"is_baseline", point.is_baseline},
                     {"results", StoredJson::array()}};
  const std::vector<Measured> own = measure(store.records(point.id));
  const StoredPoint* other = baseline_of(points, point);
  const std::vector<Measured> baseline =
      other == nullptr ? std::vector<Measured>{} : measure(store.records(other->id));
  for (const Measured& m : own) {
    StoredJson result = result_json(m);
    result["ratio"] = comparison_json(own, baseline, other == nullptr ? "" : other->label, m);
    json["results"].push_back(result);
  }
  if (point.state != "done") {
    const std::vector<StoredAttempt> attempts = store.attempts(point.id);
    if (!attempts.empty()) json["output_tail"] = attempts.back().output_tail;
  }
  return json;
}

StoredJson experiment_json(Store& store, const StoredExperiment& e) {
  StoredJson json = {{"name", e.name},
                     {"title", e.title},
                     {"hypothesis", e.hypothesis},
                     {"expect", e.expect},
                     {"next_action", e.next_action},
                     {"command", e.command},
                     {"section", e.reference_section},
                     {"defect", e.reference_defect},
                     {"sizing", e.options_note},
                     {"created_utc", e.created_utc}};
  json["notes"] = StoredJson::array();
  for (const StoredNote& note : store.notes(e.id))
    json["notes"].push_back({{"time_utc", note.time_utc}, {"text", note.text}});
  json["points"] = StoredJson::array();
  const std::vector<StoredPoint> points = store.points(e.id);
  for (const StoredPoint& point : points) json["points"].push_back(point_json(store, points, point));
  return json;
}

// Of the first record that has one: the machine and build of the page's head.
StoredJson first_environment(Store& store, const std::vector<StoredExperiment>& experiments) {
  for (const StoredExperiment& experiment : experiments) {
    for (const StoredPoint& point : store.points(experiment.id)) {
      for (const StoredRecord& record : store.records(point.id)) {
        if (record.json.contains("env")) return record.json.at("env");
      }
    }
  }
  return StoredJson::object();
}

}  // namespace

StoredJson least_intensity(const StoredJson& config) {
  const auto size = [&](const char* name) { return number_at(config, std::string("/") + name); };
  const auto T = size("tokens"), H = size("hidden"), M = size("mlp_dim"), E = size("experts"),
             k = size("topk"), S = size("shared_expert_dim");
  if (!T || !H || !M || !E || !k || !S) return nullptr;
  const bool training = at_or_null(config, "/bench_pass") != "forward";
  const double element_bytes = at_or_null(config, "/dtype") == "f32" ? 4 : 2;
  const double weights = 3 * *H * (*E * *M + *S), rows = *T * *H;
  const double flops = 6 * rows * (*k * *M + *S) * (training ? 3 : 1);
  return flops / (element_bytes * (training ? 3 * weights + 5 * rows : weights + 2 * rows));
}

StoredJson page_data(Store& store) {
  const std::vector<StoredExperiment> experiments = store.experiments();
  StoredJson json = {{"machine", first_environment(store, experiments)},
                     {"experiments", StoredJson::array()}};
  for (const StoredExperiment& experiment : experiments)
    json["experiments"].push_back(experiment_json(store, experiment));
  const std::vector<StoredNoiseFloor> floors = store.noise_floors();
  json["noise_floor"] = floors.empty() ? StoredJson(nullptr) : StoredJson(floors.back().floor);
  return json;
}

}  // namespace moehill
