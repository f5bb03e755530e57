// Implementation of experiments/experiment_file.h: Reader reads one table after the other, and refuses, with
// its place in the file, what later steps could not use.
#include "moehill/experiments/experiment_file.h"

#include <algorithm>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/suggest.h"
#include "moehill/base/table.h"
#include "moehill/experiments/toml_reader.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

constexpr double kLongestTimeout = 7 * 86400;

// Files may not name these options: the driver sets them, or they would make a point depend on more than its
// options.
const std::vector<std::string> kDriversOptions = {
    "json", "export_csv", "export_json", "export_markdown", "filter", "parameter_list",
    "dump", "trace_dir",  "trace_steps", "explain_blocks",  "checked"};

// Reader reads one file. The order of its steps matters: conditions and expectations name axes, so the axes
// are read before them.
class Reader {
 public:
  Reader(const std::string& path, const std::string& toml, OptionNames options_of) : toml_(path, toml) {
    file_.path = path;
    file_.toml = toml;
    file_.name = std::filesystem::path(path).stem().string();
    read_top(toml_.root(), options_of);
    read_fixed();
    read_groups();
    read_exclusions();
    read_baseline();
    read_expectations();
  }

  ExperimentFile take() { return std::move(file_); }

 private:
  void read_top(const toml::table& root, OptionNames options_of) {
    toml_.allow_keys(root, "the file",
                     {"title", "hypothesis", "expect", "next_action", "baseline", "launcher", "command",
                      "exclude", "fixed", "axes", "zip", "measure", "reference"});
    toml_.read(root, "title", &file_.title);
    if (file_.title.empty())
      throw input_error(file_.path, "no title", "title = \"...\"", "say in a few words what is compared");
    toml_.read(root, "hypothesis", &file_.hypothesis);
    toml_.read(root, "next_action", &file_.next_action);
    toml_.read(root, "launcher", &file_.launcher);
    std::string command = name_of(file_.command);
    toml_.read(root, "command", &command);
    const auto known = value_named<SweptCommand>(command);
    if (!known) {
      toml_.refuse(root.get("command")->source(), "command is '" + command + "'",
                   "a command that a sweep can run: bench, profile", "leave it out for bench");
    }
    file_.command = *known;
    // The known options are the command's options without those that a sweep sets itself.
    options_ = options_of(*known);
    for (const std::string& name : kDriversOptions) std::erase(options_, name);
    if (const toml::table* measure = toml_.subtable(root, "measure")) {
      toml_.allow_keys(*measure, "[measure]", {"rounds", "timeout_s", "retries", "interleave", "process"});
      toml_.read(*measure, "rounds", &file_.rounds, 1, kMostRounds);
      toml_.read(*measure, "retries", &file_.retries, 0, 100);
      toml_.read(*measure, "timeout_s", &file_.timeout_s, 0.001, kLongestTimeout);
      toml_.read(*measure, "interleave", &file_.interleave);
      read_process(*measure);
    }
    if (const toml::table* reference = toml_.subtable(root, "reference")) {
      toml_.allow_keys(*reference, "[reference]", {"section", "defect"});
      toml_.read(*reference, "section", &file_.reference_section);
      toml_.read(*reference, "defect", &file_.reference_defect);
    }
  }

  void read_process(const toml::table& measure) {
    std::string process = name_of(file_.process);
    toml_.read(measure, "process", &process);
    const auto known = value_named<RunProcess>(process);
    if (!known)
      toml_.refuse(measure.get("process")->source(), "process is '" + process + "'", "point, round",
                   "leave it out for a process of its own for each point");
    file_.process = *known;
    if (file_.process == RunProcess::point) return;
    const auto refuse = [&](const std::string& what) {
      throw error_at(toml_.place(measure.get("process")->source()),
                     usage_error(fmt::format("process = \"round\" cannot be used with {}", what),
                                 "leave one of the two out")
                         .what());
    };
    if (file_.command != SweptCommand::bench) refuse("command profile");
    if (!file_.launcher.empty()) refuse("a launcher");
    if (!file_.interleave) refuse("interleave = false");
  }

  // Remembers where an option stands, for messages about it that come later.
  void add_place(const toml::key& key) {
    file_.places.emplace_back(std::string(key.str()), toml_.place(key.source()));
  }

  void read_fixed() {
    const toml::table* fixed = toml_.subtable(toml_.root(), "fixed");
    if (fixed == nullptr) return;
    toml_.allow_keys(*fixed, "[fixed]", options_);
    for (const toml::key& key : toml_.ordered_keys(*fixed)) {
      file_.fixed[std::string(key.str())] = toml_.scalar_or_array(*fixed->get(key));
      add_place(key);
    }
  }

  // Refuses an option that stands twice: an option may be either fixed or in one group.
  void claim_axis(const toml::key& key) {
    const std::string name(key.str());
    const std::vector<std::string> axes = file_.axis_names();
    if (file_.fixed.contains(name) || std::find(axes.begin(), axes.end(), name) != axes.end())
      toml_.refuse(key.source(), "'" + name + "' again", "every option once", "leave it out here or there");
    add_place(key);
  }

  // Returns the values of an axis. Throws if one is listed twice.
  std::vector<StoredJson> axis_values(const toml::table& table, const toml::key& key) const {
    std::vector<StoredJson> values;
    for (const toml::node& node : *toml_.array(table, std::string(key.str()))) {
      const StoredJson value = toml_.scalar(node);
      // In a zip a value may be repeated, since only the combinations have to differ.
      if (std::find(values.begin(), values.end(), value) != values.end() &&
          &table == toml_.subtable(toml_.root(), "axes"))
        toml_.refuse(node.source(), value_text(value) + " again", "every value once", "leave it out");
      values.push_back(value);
    }
    return values;
  }

  // Reads [axes], each of them a group, and [[zip]], whose axes move together as one group.
  void read_groups() {
    if (const toml::table* axes = toml_.subtable(toml_.root(), "axes")) {
      toml_.allow_keys(*axes, "[axes]", options_);
      for (const toml::key& key : toml_.ordered_keys(*axes)) {
        claim_axis(key);
        AxisGroup group{{std::string(key.str())}, {}};
        for (const StoredJson& value : axis_values(*axes, key)) group.values.push_back({value});
        file_.groups.push_back(group);
      }
    }
    const toml::array* zips = toml_.array(toml_.root(), "zip");
    if (zips == nullptr) return;
    for (const toml::node& node : *zips) {
      if (!node.is_table()) toml_.refuse(node.source(), "zip is no table", "[[zip]] tables", "write [[zip]]");
      read_zip(*node.as_table());
    }
  }

  void read_zip(const toml::table& zip) {
    toml_.allow_keys(zip, "[[zip]]", options_);
    AxisGroup group;
    for (const toml::key& key : toml_.ordered_keys(zip)) {
      claim_axis(key);
      const std::vector<StoredJson> values = axis_values(zip, key);
      if (group.names.empty()) group.values.resize(values.size());
      if (group.values.size() != values.size()) {
        toml_.refuse(key.source(),
                     fmt::format("{} of {}", count_text(std::ssize(values), "value"), std::string(key.str())),
                     fmt::format("{} as for {}", group.values.size(), group.names[0]),
                     "axes of a zip move together: give all the same number of values");
      }
      group.names.emplace_back(key.str());
      for (size_t i = 0; i < values.size(); ++i) group.values[i].push_back(values[i]);
    }
    if (!group.names.empty()) file_.groups.push_back(group);
  }

  void read_exclusions() {
    const toml::array* list = toml_.array(toml_.root(), "exclude");
    if (list == nullptr) return;
    for (const toml::node& node : *list) {
      if (!node.is_table() || node.as_table()->empty())
        toml_.refuse(node.source(), "an exclusion that is no table", "{ axis = value }",
                     "write such as exclude = [{ topk = 8 }]");
      file_.exclude.push_back(axis_conditions(*node.as_table(), "exclude"));
    }
  }

  void read_baseline() {
    if (const toml::table* table = toml_.subtable(toml_.root(), "baseline"))
      file_.baseline = axis_conditions(*table, "baseline");
  }

  // Reads conditions such as { topk = 8, parallel_mode = "ep" } and checks that the axes have these values.
  StoredJson axis_conditions(const toml::table& table, const std::string& what) const {
    toml_.allow_keys(table, what, file_.axis_names());
    StoredJson conditions = StoredJson::object();
    for (const toml::key& key : toml_.ordered_keys(table)) {
      const std::string axis(key.str());
      const StoredJson values = toml_.scalar_or_array(*table.get(key));
      for (const StoredJson& value : values.is_array() ? values : StoredJson::array({values}))
        require_value(axis, value_text(value), toml_.place(table.get(key)->source()));
      conditions[axis] = values;
    }
    return conditions;
  }

  // A condition on a value that no point has would never be met, which is usually a typing error.
  void require_value(const std::string& axis, const std::string& value, const std::string& place) const {
    std::vector<std::string> known;
    for (const AxisGroup& group : file_.groups) {
      const auto name = std::find(group.names.begin(), group.names.end(), axis);
      if (name == group.names.end()) continue;
      for (const std::vector<StoredJson>& step : group.values) {
        const StoredJson& step_value = step[static_cast<size_t>(name - group.names.begin())];
        if (matches({{axis, value}}, {{axis, step_value}})) return;
        known.push_back(value_text(step_value));
      }
    }
    throw input_error(place, fmt::format("{} = {}", axis, value),
                      fmt::format("{} = {}", axis, fmt::join(known, ", ")), "name a value of the axis");
  }

  void read_expectations() {
    const toml::node* node = toml_.root().get("expect");
    if (node == nullptr) return;
    const StoredJson list = toml_.scalar_or_array(*node);
    for (const StoredJson& text : list.is_array() ? list : StoredJson::array({list})) {
      if (!text.is_string())
        toml_.refuse(node->source(), "expect holds no string", "strings", "put them in quotes");
      file_.expect.push_back(text.get<std::string>());
      require_axes(file_.expect.back(), toml_.place(node->source()));
    }
  }

  // Throws unless every axis that the expectation names exists and has the value.
  void require_axes(const std::string& text, const std::string& place) const {
    const Expectation expectation = parse_expectation(text);
    const std::vector<std::string> axes = file_.axis_names();
    for (const auto* list : {&expectation.numerator, &expectation.denominator, &expectation.at}) {
      for (const AxisValue& condition : *list) {
        // `path` is no axis, but profile runs several paths at each point.
        if (condition.axis == "path" && file_.command == SweptCommand::profile) continue;
        if (std::find(axes.begin(), axes.end(), condition.axis) == axes.end()) {
          const std::string nearest = nearest_name(condition.axis, axes);
          throw input_error(place, "expect names '" + condition.axis + "'",
                            fmt::format("an axis: {}", fmt::join(axes, ", ")),
                            nearest.empty() ? "name one of these" : "did you mean " + nearest + "?");
        }
        require_value(condition.axis, condition.value, place);
      }
    }
  }

  TomlReader toml_;
  ExperimentFile file_;
  std::vector<std::string> options_;
};

}  // namespace

std::vector<std::string> ExperimentFile::axis_names() const {
  std::vector<std::string> names;
  for (const AxisGroup& group : groups) names.insert(names.end(), group.names.begin(), group.names.end());
  return names;
}

std::string ExperimentFile::place_of(const std::string& option) const {
  const auto found =
      std::find_if(places.begin(), places.end(), [&](const auto& place) { return place.first == option; });
  return found == places.end() ? path : found->second;
}

ExperimentFile parse_experiment(const std::string& path, const std::string& toml, OptionNames options_of) {
  return Reader(path, toml, options_of).take();
}

ExperimentFile read_experiment(const std::string& path, OptionNames options_of) {
  const std::string text = read_input_file(
      {"sweep", path, "an experiment file (TOML)", "see moehill sweep --help for the form of one"});
  return parse_experiment(path, text, options_of);
}

std::string experiment_template() {
  constexpr std::pair<const char*, const char*> kShipped[] = {
#include "shipped_template.inc"
  };
  return kShipped[0].second;
}

}  // namespace moehill
