// Implementation of report/page_data.h: one object for each experiment, point and result, with the values
// that the scripts of the page show. A figure that does not exist is null, never 0.
#include "moehill/report/page_data.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/record/record.h"
#include "moehill/report/hypotheses.h"
#include "moehill/report/replayed.h"
#include "moehill/report/results_view.h"

namespace moehill {
namespace {

StoredJson or_null(const std::optional<double>& value) {
  return value ? StoredJson(*value) : StoredJson(nullptr);
}

// Adds lo, hi and coverage of an interval under names with this prefix.
void add_interval(StoredJson& json, const std::string& name, const std::optional<Interval>& interval) {
  json[name + "lo"] = interval ? StoredJson(interval->lo) : StoredJson(nullptr);
  json[name + "hi"] = interval ? StoredJson(interval->hi) : StoredJson(nullptr);
  json[name + "coverage"] = interval ? StoredJson(interval->coverage) : StoredJson(nullptr);
}

// Returns how a result compares with its baseline; null if there is none.
StoredJson ratio_json(const ExperimentView& view, const ResultRow& row) {
  if (!row.against) return nullptr;
  StoredJson json = {{"value", row.against->ratio},
                     {"verdict", name_of(*row.verdict)},
                     {"words", view.change(row)},
                     {"with", view.label(view.rows[*row.baseline])}};
  add_interval(json, "", row.against->interval);
  return json;
}

// Returns the original's figure and, if it has one for the baseline as well, its ratio.
StoredJson published_json(const ExperimentView& view, const ResultRow& row) {
  if (!row.published || !row.published->tflops) return nullptr;
  StoredJson json = {{"tflops", *row.published->tflops}, {"ratio", nullptr}};
  if (!row.baseline) return json;
  const std::optional<PublishedRow>& other = view.rows[*row.baseline].published;
  if (other) json["ratio"] = or_null(published_ratio(*row.published, *other));
  return json;
}

// Returns the predicted seconds beside the measured ones.
StoredJson prediction_json(const Measured& m) {
  const std::optional<double> predicted = predicted_seconds(m);
  if (!predicted || m.seconds.empty()) return nullptr;
  return {{"seconds", *predicted}, {"over_measured", *predicted / median_of(m.seconds)}};
}

// Returns what the page shows of one result.
StoredJson result_json(const Measured& m) {
  const bool timed = !m.tflops.empty();
  const Summary tflops = tflops_summary(m);
  StoredJson json = {{"path", name_of(m.path)}, {"rounds", m.rounds.size()}, {"disturbed", m.disturbed}};
  json["tflops"] = timed ? StoredJson(tflops.median) : StoredJson(nullptr);
  add_interval(json, "tflops_", tflops.interval);
  json["tokens_per_s"] = timed ? StoredJson(median_of(m.tokens_per_s)) : StoredJson(nullptr);
  const auto capacity = part_of<RecordedCapacity>(m.first, "capacity");
  json["drop_adjusted_tokens_per_s"] =
      timed && capacity.num_dropped > 0 ? StoredJson(median_of(m.tokens_per_s) * (1 - capacity.drop_fraction))
                                        : StoredJson(nullptr);
  json["seconds"] = timed ? StoredJson(median_of(m.seconds)) : StoredJson(nullptr);
  json["fraction"] = at_or_null(m.first, "/peak/fraction");
  json["peak_tflops"] = or_null(m.peak_tflops);
  json["read_gbps"] = or_null(m.read_gbps);
  const double left_out = static_cast<double>(capacity.num_dropped) +
                          static_cast<double>(capacity.num_unassigned) +
                          static_cast<double>(capacity.num_zero);
  json["intensity"] = least_intensity(at_or_null(m.first, "/config"), left_out);
  json["config"] = at_or_null(m.first, "/config");
  json["layout"] = at_or_null(m.first, "/layout");
  json["stages"] = at_or_null(m.first, "/stages");
  json["device_imbalance"] = at_or_null(m.first, "/balance/device_max_over_mean");
  json["expert_imbalance"] = at_or_null(m.first, "/balance/expert_max_over_mean");
  json["check"] = at_or_null(m.first, "/check/status");
  json["load_average"] = at_or_null(m.first, "/env/load_average");
  json["prediction"] = prediction_json(m);
  return json;
}

StoredJson point_json(Store& store, const ExperimentView& view, size_t index) {
  const StoredPoint& point = view.points[index];
  StoredJson json = {{"label", point.label},
                     {"axes", point.axes},
                     {"state", name_of(point.state)},
                     {"is_baseline", point.is_baseline},
                     {"repro", repro_of(view.experiment, point)},
                     {"results", StoredJson::array()}};
  for (const ResultRow& row : view.rows) {
    if (row.point != index || !row.measured) continue;
    StoredJson result = result_json(*row.measured);
    if (!row.variant.empty()) result["apart"] = difference_words(row.variant);
    result["ratio"] = ratio_json(view, row);
    result["published"] = published_json(view, row);
    json["results"].push_back(result);
  }
  // The end of the output says why a point failed.
  if (point.state != RunState::done) {
    const std::vector<StoredAttempt> attempts = store.attempts(point.id);
    if (!attempts.empty()) json["output_tail"] = attempts.back().output_tail;
  }
  return json;
}

// Returns an expectation with its verdict: "not met" if a pair is clearly not as expected, "met" if all pairs
// clearly are, and otherwise "undecided".
StoredJson expectation_json(const ExperimentView& view, const std::string& text, bool fixed) {
  const JudgedExpectation judged = judge_expectation(view, text);
  bool not_met = false, met = !judged.pairs.empty();
  StoredJson pairs = StoredJson::array();
  for (const JudgedPair& pair : judged.pairs) {
    not_met = not_met || (pair.clear && !pair.met);
    met = met && pair.clear && pair.met;
    pairs.push_back({{"over", view.label(view.rows[pair.over])},
                     {"under", view.label(view.rows[pair.under])},
                     {"value", pair.ratio.ratio}});
    add_interval(pairs.back(), "", pair.ratio.interval);
  }
  return {{"text", text},
          {"fixed", fixed},
          {"verdict", not_met ? "not met"
                      : met   ? "met"
                              : "undecided"},
          {"pairs", pairs}};
}

// Returns the environment of an experiment's first record that has one, else an empty object.
StoredJson environment_of(const ExperimentView& view) {
  for (const ResultRow& row : view.rows) {
    if (row.measured && row.measured->first.contains("env")) return row.measured->first.at("env");
  }
  return StoredJson::object();
}

StoredJson experiment_json(Store& store, const ExperimentView& view) {
  const StoredExperiment& e = view.experiment;
  StoredJson json = {{"name", e.name},
                     {"title", e.title},
                     {"hypothesis", e.hypothesis},
                     {"expectations", StoredJson::array()},
                     {"next_action", e.next_action},
                     {"command", e.command},
                     {"section", e.reference_section},
                     {"defect", e.reference_defect},
                     {"sizing", e.options_note},
                     {"begun_utc", view.begun_utc}};
  const StoredJson environment = environment_of(view);
  json["machine"] =
      environment.empty() ? StoredJson(nullptr) : StoredJson(machine_words(machine_name(environment)));
  for (const StatedExpectation& stated : stated_expectations(e))
    json["expectations"].push_back(expectation_json(view, stated.text, stated.counts));
  json["notes"] = StoredJson::array();
  for (const StoredNote& note : view.notes)
    json["notes"].push_back({{"time_utc", note.time_utc}, {"text", note.text}});
  json["points"] = StoredJson::array();
  for (size_t i = 0; i < view.points.size(); ++i) json["points"].push_back(point_json(store, view, i));
  return json;
}

// Returns the environment of the first record that has one: machine and build for the head of the page.
StoredJson first_environment(const std::vector<ExperimentView>& views) {
  for (const ExperimentView& view : views) {
    if (const StoredJson environment = environment_of(view); !environment.empty()) return environment;
  }
  return StoredJson::object();
}

// Returns whether a run can have these sizes. A record may claim any, whose products would overflow 64 bits.
bool is_possible(const MoeShape& shape) {
  try {
    MoeShape::fields(shape, RangeCheck{});
  } catch (const InputError&) {
    return false;
  }
  const double row = static_cast<double>(std::max(shape.hidden, shape.form.latent));
  const double width = static_cast<double>(std::max({shape.mlp_dim, shape.shared_dim, shape.form.latent}));
  return shape.experts * row * width <= 0x1p56;
}

}  // namespace

StoredJson least_intensity(const StoredJson& config, double num_left_out) {
  const auto shape = part_from<MoeShape>(config);
  const auto block = part_from<BlockOptions>(config);
  if (!is_possible(shape)) return nullptr;
  const bool training = block.pass != Pass::forward;
  // The least traffic reads each weight once and each row of x once, and writes y. Training also reads
  // weights again, writes their gradients, and moves dy and dx and x again.
  const double elements = static_cast<double>(shape.weights());
  const double rows = static_cast<double>(shape.tokens * shape.hidden);
  const double bytes = static_cast<double>(dtype_bytes(shape.dtype)) *
                       (training ? 3 * elements + 5 * rows : elements + 2 * rows);
  // A record may claim any number.
  const double all = static_cast<double>(shape.assignments()),
               computed = all - std::clamp(num_left_out, 0.0, all);
  return model_flops(shape, block.pass, static_cast<int64_t>(computed)) / bytes;
}

StoredJson page_data(Store& store, const std::vector<PublishedRow>& published) {
  const std::vector<ExperimentView> views = load_views(store, published);
  const StoredJson machine = first_environment(views);
  StoredJson json = {{"machine", machine},
                     {"noise_floor", or_null(floor_of(store.noise_floors(), machine, 0, false))},
                     {"experiments", StoredJson::array()}};
  const std::vector<ReplayedRatio> replayed = replayed_ratios(views);
  json["replayed"] = replayed.empty() ? StoredJson(nullptr) : StoredJson(replayed_sentence(replayed));
  const std::vector<Hypothesis> hypotheses = hypotheses_of(views);
  for (size_t i = 0; i < views.size(); ++i) {
    json["experiments"].push_back(experiment_json(store, views[i]));
    json["experiments"].back()["id"] = hypotheses[i].id;
    json["experiments"].back()["state"] = name_of(hypotheses[i].state);
  }
  return json;
}

}  // namespace moehill
