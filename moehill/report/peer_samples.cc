// Implementation of report/peer_samples.h: it reads the samples that peers/compare wrote, one line for each
// run of a program, and makes the curves of a picture. A curve shows the median of each case and program, as
// a share of the peak.
#include "moehill/report/peer_samples.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/strict_json.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/peers/1";
// Nobody sees more points in one picture, and to sort in many more would take hours.
constexpr size_t kMostPoints = 10000;

// Place is where a case stands: its panel and its x. Cases are `step/bf16/forward/512/top8` and
// `gemm/bf16/34/forward`.
struct Place {
  bool is_step = false;
  std::string panel;
  double x = 0;
};

struct Sample {
  std::string case_name, contender;
  double gflops = 0;
  std::optional<double> peak_gflops;
};

std::optional<double> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value > 0 ? std::optional<double>(value)
                                                                               : std::nullopt;
}

std::optional<Place> place_of(const std::string& name) {
  std::vector<std::string> words(1);
  for (const char letter : name) letter == '/' ? words.emplace_back() : words.back() += letter;
  const bool is_step = words.size() == 5 && words[0] == "step" && words[4].rfind("top", 0) == 0;
  if (!is_step && (words.size() != 4 || words[0] != "gemm")) return std::nullopt;
  const std::optional<double> x = whole_number(is_step ? words[4].substr(3) : words[2]);
  if (!x) return std::nullopt;
  if (is_step)
    return Place{
        true, fmt::format("{} {}, {} {}", words[1], words[2], words[3], words[3] == "1" ? "token" : "tokens"),
        *x};
  return Place{false, fmt::format("{} grouped product, {}", words[1], words[3]), *x};
}

InputError bad_sample(const std::string& path, size_t line, const std::string& got) {
  return input_error("plot", fmt::format("{} in line {} of {}", got, line, path),
                     "samples of peers/compare --json", "measure them again");
}

double positive(const nlohmann::json& line, const char* key, const std::string& path, size_t number) {
  const auto found = line.find(key);
  const double value = found != line.end() && found->is_number() ? found->get<double>() : 0;
  if (!(value > 0) || !std::isfinite(value))
    throw bad_sample(path, number, std::string(key) + " is no positive number");
  return value;
}

std::vector<Sample> read_samples(const std::string& path) {
  const InputFile file{"plot", path, "samples of peers/compare --json", "measure them again"};
  std::ifstream stream = open_input_file(file);
  std::vector<Sample> samples;
  std::string text;
  for (size_t number = 1; read_input_line(stream, text, file); ++number) {
    const nlohmann::json line =
        parse_strict_json(text, {fmt::format("plot: line {} of {}", number, path), file.remedy});
    const auto word = [&](const char* key) {
      const auto found = line.find(key);
      if (found == line.end() || !found->is_string())
        throw bad_sample(path, number, std::string(key) + " is no text");
      return found->get<std::string>();
    };
    if (word("schema") != kSchema) throw bad_sample(path, number, "another schema");
    Sample sample{word("case"), word("contender"), 0, {}};
    if (!place_of(sample.case_name)) throw bad_sample(path, number, "an unknown case");
    sample.gflops = positive(line, "flops", path, number) / positive(line, "seconds", path, number) / 1e9;
    if (line.contains("peak_gflops") && !line["peak_gflops"].is_null())
      sample.peak_gflops = positive(line, "peak_gflops", path, number);
    samples.push_back(sample);
  }
  return samples;
}

Curve& curve_named(CurvePanel& panel, const std::string& name) {
  const auto found = std::find_if(panel.curves.begin(), panel.curves.end(),
                                  [&](const Curve& curve) { return curve.name == name; });
  return found != panel.curves.end() ? *found : panel.curves.emplace_back(Curve{name, {}});
}

CurvePanel& panel_titled(std::vector<CurvePanel>& panels, const std::string& title) {
  const auto found = std::find_if(panels.begin(), panels.end(),
                                  [&](const CurvePanel& panel) { return panel.title == title; });
  return found != panels.end() ? *found : panels.emplace_back(CurvePanel{title, {}});
}

}  // namespace

bool has_peer_samples(const std::string& path) {
  if (!is_there(path)) return false;
  const InputFile file{"plot", path, "a file of records", "name one"};
  std::ifstream stream = open_input_file(file);
  std::string line;
  return read_input_line(stream, line, file) && line.find(kSchema) != std::string::npos;
}

PeerPanels peer_panels(const std::string& path) {
  const std::vector<Sample> samples = read_samples(path);
  std::map<std::string, std::vector<double>> peaks;                          // by case
  std::map<std::pair<std::string, std::string>, std::vector<double>> rates;  // by case and contender
  std::vector<std::pair<std::string, std::string>> order;                    // of first appearance
  for (const Sample& sample : samples) {
    if (sample.peak_gflops) peaks[sample.case_name].push_back(*sample.peak_gflops);
    const std::pair key(sample.case_name, sample.contender);
    if (rates.find(key) == rates.end()) order.push_back(key);
    rates[key].push_back(sample.gflops);
  }
  if (order.size() > kMostPoints)
    throw input_error("plot", fmt::format("{} cases of programs in {}", order.size(), path),
                      fmt::format("at most {}", kMostPoints), "split the file");
  PeerPanels made;
  const bool are_steps = !samples.empty() && place_of(samples[0].case_name)->is_step;
  made.x_title = are_steps ? "top-k" : "rows of a group";
  for (const auto& key : order) {
    const Place place = *place_of(key.first);
    if (place.is_step != are_steps)
      throw input_error("plot", "steps and products in " + path,
                        "one of them, since they have no common axis", "measure them into two files");
    if (peaks[key.first].empty())
      throw input_error("plot", "no measured peak for " + key.first + " in " + path,
                        "samples of moehill in every case", "measure them again");
    std::vector<double> shares = rates[key];
    const double peak = median_of(peaks[key.first]);
    for (double& share : shares) share *= 100 / peak;
    const Summary summary = summarize(shares);
    Curve& curve = curve_named(panel_titled(made.panels, place.panel), key.second);
    const auto behind = std::find_if(curve.points.begin(), curve.points.end(),
                                     [&](const CurvePoint& point) { return point.x > place.x; });
    curve.points.insert(behind, {place.x, summary.median, summary.interval});
  }
  return made;
}

}  // namespace moehill
