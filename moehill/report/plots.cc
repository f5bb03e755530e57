// Implementation of report/plots.h: which rows become marks or curves, and short labels that tell them apart.
#include "moehill/report/plots.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/block/run_config.h"
#include "moehill/report/peer_samples.h"
#include "moehill/report/picture.h"
#include "moehill/report/replayed.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

// Names an axis with as few letters as are clear.
std::string axis_words(const std::string& axis, const StoredJson& value) {
  if (value.is_string()) return value.get<std::string>();
  const std::string name = axis == "shared_expert_dim" ? "shared" : axis;
  if (value.is_boolean()) return (value.get<bool>() ? "" : "not ") + name;
  return fmt::format("{}={}", name, json_text(value));
}

// Returns true if points that agree in the axes `kept` also agree in `axis`, as in a [[zip]].
bool follows(const ExperimentView& view, const std::string& axis, const std::vector<std::string>& kept) {
  const auto value = [](const StoredPoint& point, const std::string& of) {
    return point.axes.value(of, StoredJson());
  };
  for (const StoredPoint& a : view.points) {
    for (const StoredPoint& b : view.points) {
      const auto agrees = [&](const std::string& of) { return value(a, of) == value(b, of); };
      if (std::all_of(kept.begin(), kept.end(), agrees) && !agrees(axis)) return false;
    }
  }
  return true;
}

// Returns words that tell a row from the other rows of its experiment, without the axis `left_out`.
std::string short_label(const ExperimentView& view, const ResultRow& row, const std::string& left_out = "") {
  const StoredJson& axes = view.points[row.point].axes;
  std::vector<std::string> kept, parts;
  if (!left_out.empty()) kept.push_back(left_out);
  for (const auto& [axis, value] : axes.items()) {
    if (follows(view, axis, kept)) continue;
    kept.push_back(axis);
    parts.push_back(axis_words(axis, value));
  }
  if (row.measured->path != ProfilePath::none) parts.insert(parts.begin(), name_of(row.measured->path));
  if (!row.variant.empty()) parts.push_back(difference_words(row.variant));
  return fmt::format("{}", fmt::join(parts, " "));
}

std::string baseline_words(const ExperimentView& view) {
  if (view.experiment.baseline.empty()) return "over staged_dp of the same point";
  std::vector<std::string> parts;
  for (const auto& [axis, value] : view.experiment.baseline.items())
    parts.push_back(fmt::format("{}={}", axis, value_text(value)));
  return fmt::format("over {}", fmt::join(parts, " "));
}

const char* sign_of(Agreement agreement) {
  constexpr std::array kSigns = {"=", "~", "≠", "±", "?"};  // in the order of Agreement
  return kSigns[static_cast<size_t>(agreement)];
}

RatioMark mark_of(const ExperimentView& view, const ResultRow& row,
                  const std::vector<ReplayedRatio>& replayed) {
  RatioMark mark;
  mark.label = short_label(view, row);
  mark.ratio = row.against->ratio;
  mark.interval = row.against->interval;
  const std::string over = view.label(row), under = view.label(view.rows[*row.baseline]);
  mark.tip = fmt::format("{} over {}: {}", over, under, view.change(row));
  const auto same = std::find_if(replayed.begin(), replayed.end(), [&](const ReplayedRatio& ratio) {
    return ratio.over == over && ratio.under == under;
  });
  if (same == replayed.end()) return mark;
  mark.published = same->published;
  mark.sign = sign_of(same->held.agreement);
  mark.tip += fmt::format("; published {:.3f}: {}, {}", same->published, name_of(same->held.agreement),
                          same->held.why);
  return mark;
}

// Returns a title for each view; those of equal titles are told apart by their names.
std::vector<std::string> titles_of(const std::vector<ExperimentView>& views, bool by_section) {
  std::vector<std::string> titles;
  std::vector<StoredJson> names;
  for (const ExperimentView& view : views) {
    const std::string& section = view.experiment.reference_section;
    titles.push_back(by_section && !section.empty() ? section : view.experiment.title);
    names.push_back({{"experiment", view.experiment.name}});
  }
  return told_apart(titles, names);
}

std::vector<RatioGroup> ratio_groups(const std::vector<ExperimentView>& views) {
  std::vector<RatioGroup> groups;
  const std::vector<std::string> titles = titles_of(views, true);
  for (size_t i = 0; i < views.size(); ++i) {
    const ExperimentView& view = views[i];
    const std::vector<ReplayedRatio> replayed = replayed_ratios({&view, 1});
    RatioGroup group{titles[i], baseline_words(view), {}};
    for (const ResultRow& row : view.rows)
      if (row.against) group.marks.push_back(mark_of(view, row, replayed));
    if (!group.marks.empty()) groups.push_back(group);
  }
  return groups;
}

std::optional<double> topk_of(const StoredJson& record) {
  const StoredJson topk = at_or_null(record, "/config/topk");
  return topk.is_number() ? std::optional(topk.get<double>()) : std::nullopt;
}

// Adds the median of the shares as percent, with its interval.
void add_point(CurvePanel& panel, const std::string& name, double topk, std::vector<double> shares) {
  for (double& share : shares) share *= 100;
  const Summary summary = summarize(shares);
  auto curve = std::find_if(panel.curves.begin(), panel.curves.end(),
                            [&](const Curve& other) { return other.name == name; });
  if (curve == panel.curves.end()) curve = panel.curves.insert(curve, {name, {}});
  const auto behind = std::find_if(curve->points.begin(), curve->points.end(),
                                   [&](const CurvePoint& point) { return point.x > topk; });
  curve->points.insert(behind, {topk, summary.median, summary.interval});
}

// Returns the number of top-k values on the curve with the most.
size_t num_places(const CurvePanel& panel) {
  size_t most = 0;
  for (const Curve& curve : panel.curves) {
    std::set<double> places;
    for (const CurvePoint& point : curve.points) places.insert(point.x);
    most = std::max(most, places.size());
  }
  return most;
}

// Returns the options that may differ between a record and its baseline. They say how the same block is
// spread: over which devices and nodes, by which path, in which form its rows travel, where its experts are.
std::set<std::string> spread_options() {
  std::set<std::string> names = {"mesh", "blocks"};
  const RunConfig any{};
  RunConfig::fields(any, [&](const Field& field, const auto&) { names.insert(field.name); });
  return names;
}

// These members of a record's env say on what it was measured.
constexpr const char* kOfOneMachine[] = {"cpu", "cores", "kernel"};

// Returns the options of a record's problem: what a block computes, and how it is measured.
nlohmann::json problem_of(const StoredJson& record) {
  nlohmann::json config = record["config"];
  for (const std::string& option : spread_options()) config.erase(option);
  return config;
}

// Returns the words that tell a spread from others: "ep ragged_a2a", "ep fused fp8+scales". A wire is always
// among them, since it rounds the rows that travel, and so changes the results.
std::string spread_words(const StoredJson& record) {
  std::vector<std::string> parts;
  for (const char* option : {"parallel_mode", "ep_path", "wire"}) {
    const StoredJson value = at_or_null(record, std::string("/config/") + option);
    if (!value.is_null()) parts.push_back(value_text(value));
  }
  return fmt::format("{}", fmt::join(parts, " "));
}

bool is_undivided(const StoredJson& record) {
  return at_or_null(record, "/config/parallel_mode") == StoredJson("none");
}

// Returns the marks of all records with the baseline's problem that are no baselines themselves.
std::vector<RatioMark> marks_over(const ComparedResult& baseline, const ResultSet& records) {
  const auto alone = [&](const ComparedResult& result) {
    return ResultSet{records.source, "", {result}, {}};
  };
  std::vector<RatioMark> marks;
  std::vector<std::string> labels;
  std::vector<StoredJson> subjects;  // by mark
  for (const ComparedResult& result : records.results) {
    if (is_undivided(result.record) || problem_of(result.record) != problem_of(baseline.record)) continue;
    const Matching matching = match_results(alone(baseline), alone(result));
    if (matching.pairs.empty()) continue;  // one of them has no figure
    const MatchedPair& pair = matching.pairs[0];
    RatioMark mark;
    mark.ratio = pair.ratio.ratio;
    mark.interval = pair.ratio.interval;
    const StoredJson wire = at_or_null(result.record, "/config/wire");
    mark.tip = fmt::format("{}{} over {}: {}, {}", pair.label_b,
                           wire.is_null() ? "" : fmt::format(" with wire={}", value_text(wire)), pair.label_a,
                           change_text(pair.ratio), verdict_words(pair.ratio, pair.floor));
    marks.push_back(mark);
    labels.push_back(spread_words(result.record));
    subjects.push_back(subject_of(result.record));
  }
  labels = told_apart(labels, subjects);
  for (size_t i = 0; i < marks.size(); ++i) marks[i].label = labels[i];
  return marks;
}

// Throws InputError for records of several machines or SIMD targets, which would be one point of the picture.
void refuse_several_machines(const ResultSet& records) {
  for (const char* name : kOfOneMachine) {
    const std::set<std::string> values = environment_values(records, name);
    if (values.size() < 2) continue;
    throw input_error("plot",
                      fmt::format("{}, with records of the {} {}", quoted(records.source, 200),
                                  environment_word(name), fmt::join(values, " and ")),
                      "records of one machine and SIMD target, since a point of a picture names none",
                      "draw those of each by themselves");
  }
}

InputError nothing(const std::string& source, const std::string& lacks) {
  return input_error("plot", quoted(source, 200) + ", which has " + lacks,
                     "a database with ratios, or records with a share of the peak",
                     "measure some, or choose another --picture");
}

std::string peak_picture(const std::vector<CurvePanel>& panels) {
  return curve_picture("Share of the measured peak", "top-k", panels);
}

}  // namespace

std::string ratio_plot(const std::vector<ExperimentView>& views) {
  const std::vector<RatioGroup> groups = ratio_groups(views);
  std::vector<std::string> key = {"● here, with its interval"};
  const auto has_published = [](const RatioGroup& group) {
    return std::any_of(group.marks.begin(), group.marks.end(),
                       [](const RatioMark& mark) { return mark.published.has_value(); });
  };
  if (std::any_of(groups.begin(), groups.end(), has_published)) {
    key[0] += "; ◇ published";
    key.push_back("= agrees   ~ agrees in direction   ≠ differs");
    key.push_back("± within the noise   ? not decided");
  }
  return ratio_picture("Throughput over the baseline", groups, key);
}

std::string ratio_plot(const ResultSet& records) {
  std::vector<RatioGroup> groups;
  std::vector<std::string> titles;
  std::vector<StoredJson> subjects;  // by group
  for (const ComparedResult& result : records.results) {
    if (!is_undivided(result.record)) continue;
    const RatioGroup group{"", "over parallel_mode=none", marks_over(result, records)};
    if (group.marks.empty()) continue;
    groups.push_back(group);
    const std::string tokens = value_text(at_or_null(result.record, "/config/tokens"));
    titles.push_back(fmt::format("top-{}, {} {}", value_text(at_or_null(result.record, "/config/topk")),
                                 tokens, tokens == "1" ? "token" : "tokens"));
    subjects.push_back(subject_of(result.record));
  }
  titles = told_apart(titles, subjects);
  for (size_t i = 0; i < groups.size(); ++i) groups[i].title = titles[i];
  if (groups.empty()) return "";
  return ratio_picture("Throughput over the baseline", groups, {"● here, with its interval"});
}

std::string peak_plot(const std::vector<ExperimentView>& views) {
  std::vector<CurvePanel> panels;
  const std::vector<std::string> titles = titles_of(views, false);
  for (size_t i = 0; i < views.size(); ++i) {
    const ExperimentView& view = views[i];
    CurvePanel panel{titles[i], {}};
    for (const ResultRow& row : view.rows) {
      const std::optional<double> topk = row.timed() ? topk_of(row.measured->first) : std::nullopt;
      if (topk && !row.measured->peak_shares.empty())
        add_point(panel, short_label(view, row, "topk"), *topk, row.measured->peak_shares);
    }
    panels.push_back(panel);
  }
  const auto has_three = [](const CurvePanel& panel) { return num_places(panel) > 2; };
  const size_t least = std::any_of(panels.begin(), panels.end(), has_three) ? 3 : 2;
  std::erase_if(panels, [&](const CurvePanel& panel) { return num_places(panel) < least; });
  return panels.empty() ? "" : peak_picture(panels);
}

std::string peak_plot(const ResultSet& records) {
  CurvePanel panel{records.source, {}};
  // Records that differ in their top-k alone are one curve. Another top-k has another plan.
  std::vector<StoredJson> named;
  for (const ComparedResult& result : records.results) {
    named.push_back(result.record);
    named.back()["config"].erase("topk");
    named.back().erase("hash");
  }
  const std::vector<std::string> names = distinct_labels(named);
  for (size_t r = 0; r < records.results.size(); ++r) {
    const ComparedResult& result = records.results[r];
    const std::optional<double> topk = topk_of(result.record);
    std::vector<double> shares;
    for (const ComparedProcess& process : result.processes) {
      if (!process.peak_cost) continue;
      const bool alone = result.processes.size() == 1;
      for (const double cost : alone ? process.samples : std::vector{median_of(process.samples)})
        shares.push_back(*process.peak_cost / cost);
    }
    if (topk && !shares.empty()) add_point(panel, names[r], *topk, shares);
  }
  return panel.curves.empty() ? "" : peak_picture({panel});
}

std::string plot_of(const std::string& source, Picture picture) {
  if (!is_database(source)) {
    if (has_peer_samples(source)) {
      if (picture == Picture::ratios) throw nothing(source, "samples of peers, which have no baseline");
      const PeerPanels peers = peer_panels(source);
      return curve_picture("Share of the measured peak", peers.x_title, peers.panels);
    }
    const ResultSet records = read_results(source);
    refuse_several_machines(records);
    const std::string ratios = picture == Picture::peak ? "" : ratio_plot(records);
    if (!ratios.empty()) return ratios;
    if (picture == Picture::ratios) throw nothing(source, "no record beside one of parallel_mode=none");
    const std::string plot = peak_plot(records);
    return plot.empty() ? throw nothing(source, "no share of the peak") : plot;
  }
  Store store = Store::open_existing(source);
  const std::vector<ExperimentView> views = load_views(store, read_published(""));
  const bool has_ratios = std::any_of(views.begin(), views.end(), [](const ExperimentView& view) {
    return std::any_of(view.rows.begin(), view.rows.end(),
                       [](const ResultRow& row) { return row.against.has_value(); });
  });
  if (picture == Picture::ratios && !has_ratios) throw nothing(source, "no point beside a baseline");
  if (picture == Picture::ratios || (picture == Picture::automatic && has_ratios)) return ratio_plot(views);
  const std::string plot = peak_plot(views);
  return plot.empty() ? throw nothing(source, "no experiment with several top-k") : plot;
}

}  // namespace moehill
