// Implementation of experiments/matrix.h: a point is a number whose digits are the steps of the axis groups.
#include "moehill/experiments/matrix.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

constexpr size_t kMostPoints = 10000;

// Returns true if `axes` has, for every key of `conditions`, its value or one of its values.
bool meets(const StoredJson& conditions, const StoredJson& axes) {
  return std::all_of(conditions.items().begin(), conditions.items().end(), [&](const auto& item) {
    const StoredJson values = item.value().is_array() ? item.value() : StoredJson::array({item.value()});
    return std::any_of(values.begin(), values.end(), [&](const StoredJson& value) {
      return matches({{item.key(), value_text(value)}}, axes);
    });
  });
}

// Returns the values of point number `index`; the last group changes fastest.
StoredJson axes_of(const ExperimentFile& file, size_t index) {
  std::vector<size_t> steps(file.groups.size());
  for (size_t g = file.groups.size(); g-- > 0;) {
    steps[g] = index % file.groups[g].values.size();
    index /= file.groups[g].values.size();
  }
  StoredJson axes = StoredJson::object();
  for (size_t g = 0; g < steps.size(); ++g) {
    const AxisGroup& group = file.groups[g];
    for (size_t i = 0; i < group.names.size(); ++i) axes[group.names[i]] = group.values[steps[g]][i];
  }
  return axes;
}

// Returns the point with these axis values: its options, its label, and whether it is the baseline.
MatrixPoint point_of(const ExperimentFile& file, const StoredJson& axes) {
  MatrixPoint point;
  point.axes = axes;
  point.options = file.fixed;
  for (const auto& [name, value] : axes.items()) {
    point.options[name] = value;
    point.label += fmt::format("{}{}={}", point.label.empty() ? "" : " ", name, value_text(value));
  }
  if (point.label.empty()) point.label = "point";
  point.is_baseline = !file.baseline.empty() && meets(file.baseline, axes);
  return point;
}

}  // namespace

std::vector<MatrixPoint> expand_matrix(const ExperimentFile& file) {
  // The product is checked before any point is made, since it may be astronomically large.
  size_t product = 1;
  for (const AxisGroup& group : file.groups) {
    product *= group.values.size();
    if (product > kMostPoints) {
      throw input_error(file.path, fmt::format("more than {} points", kMostPoints),
                        fmt::format("at most {} points", kMostPoints),
                        "split the question over several files");
    }
  }
  std::vector<MatrixPoint> points;
  for (size_t i = 0; i < product; ++i) {
    const StoredJson axes = axes_of(file, i);
    const auto excludes = [&](const StoredJson& conditions) { return meets(conditions, axes); };
    if (std::none_of(file.exclude.begin(), file.exclude.end(), excludes))
      points.push_back(point_of(file, axes));
  }
  if (points.empty())
    throw input_error(file.path, "every point excluded", "at least one point", "exclude fewer");
  const auto is_baseline = [](const MatrixPoint& point) { return point.is_baseline; };
  if (!file.baseline.empty() && std::none_of(points.begin(), points.end(), is_baseline)) {
    throw input_error(file.path, "a baseline that is no point", "a point of the matrix",
                      "name another one, or do not exclude it");
  }
  return points;
}

namespace {
// Returns the value, or the values of an array with commas between them.
std::string values_text(const StoredJson& value) {
  std::vector<std::string> texts;
  for (const StoredJson& one : value.is_array() ? value : StoredJson::array({value}))
    texts.push_back(value_text(one));
  return fmt::format("{}", fmt::join(texts, ","));
}
}  // namespace

std::string option_text(const std::string& name, const StoredJson& value) {
  return fmt::format("{}={}", name, values_text(value));
}

// Returns options as arguments of the command line. A flag that is false is left out.
std::vector<std::string> arguments_of(const StoredJson& options) {
  std::vector<std::string> arguments;
  for (const auto& [name, value] : options.items()) {
    std::string flag = fmt::format("--{}", name);
    std::replace(flag.begin(), flag.end(), '_', '-');
    if (value == StoredJson(false)) continue;
    arguments.push_back(flag);
    if (!value.is_boolean()) arguments.push_back(values_text(value));
  }
  return arguments;
}

}  // namespace moehill
