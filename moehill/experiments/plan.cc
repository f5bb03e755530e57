// Implementation of experiments/plan.h: points are resolved by the host, identified by a hash, and sized for
// a budget.
#include "moehill/experiments/plan.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/hash.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/experiments/matrix.h"

namespace moehill {
namespace {

// A point with kEnoughTokens still resembles the full one; --budget never goes below kFewTokens.
constexpr double kEnoughTokens = 256, kFewTokens = 64;
constexpr int64_t kEnoughRounds = 3;

// Two hashes with different starts make 128 bits.
uint64_t hash_text(const std::string& text, uint64_t start) {
  uint64_t hash = start;
  for (const char c : text) hash = fnv1a(hash, static_cast<unsigned char>(c));
  return hash;
}

// Returns whole multiples of 64 from 128 tokens on, so that sizes stay even over devices.
int64_t scaled_tokens(int64_t tokens, double factor) {
  const double wanted = static_cast<double>(tokens) * factor;
  if (wanted >= 128) return static_cast<int64_t>(wanted / 64) * 64;
  return std::max<int64_t>(1, static_cast<int64_t>(wanted));
}

// Refuses with the message and the option's place in the file. A message such as "--topk: got ..." is about
// the option topk.
[[noreturn]] void refuse_at_its_place(const ExperimentFile& file, const MatrixPoint& point,
                                      const std::string& message) {
  std::string place = file.path;
  if (message.rfind("--", 0) == 0) {
    std::string option = message.substr(2, message.find_first_of(": ") - 2);
    std::replace(option.begin(), option.end(), '-', '_');
    place = file.place_of(option);
  }
  throw error_at(fmt::format("{}: point {}", place, point.label), message);
}

// Resolves a point by the host. With a factor it is resolved twice, because only the first result says how
// many tokens a preset or default means.
ResolvedPoint resolve(const ExperimentFile& file, const SweepHost& host, MatrixPoint& point, double factor) {
  try {
    const bool is_launched = !file.launcher.empty();
    ResolvedPoint resolved = host.resolve(file.command, is_launched, arguments_of(point.options));
    if (factor == 1) return resolved;
    point.options["tokens"] = scaled_tokens(resolved.tokens, factor);
    return host.resolve(file.command, is_launched, arguments_of(point.options));
  } catch (const InputError& error) {
    refuse_at_its_place(file, point, error.what());
  }
}

StoredExperiment experiment_of(const ExperimentFile& file, const Sizing& sizing) {
  StoredExperiment e;
  e.name = file.name;
  e.title = file.title;
  e.hypothesis = file.hypothesis;
  e.expect = file.expect;
  e.next_action = file.next_action;
  e.baseline = file.baseline;
  e.command = name_of(file.command);
  e.launcher = file.launcher;
  e.reference_section = file.reference_section;
  e.reference_defect = file.reference_defect;
  e.rounds = sizing.rounds > 0 ? sizing.rounds : file.rounds;
  e.retries = file.retries;
  e.timeout_s = file.timeout_s;
  e.toml = file.toml;
  e.options_note = sizing.note;
  return e;
}

// Refuses two points that resolve to the same run, because they would share their results.
void refuse_twins(const ExperimentFile& file, const SweepPlan& plan) {
  for (size_t i = 0; i < plan.points.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (plan.points[i].identity != plan.points[j].identity) continue;
      throw input_error(file.path,
                        fmt::format("points {} and {}, which resolve to the same run", plan.points[j].label,
                                    plan.points[i].label),
                        "points that differ", "exclude one of them, or choose a larger --scale or --budget");
    }
  }
}

// Candidate is a size of the sweep that fit_budget() may choose.
struct Candidate {
  double factor;
  int64_t rounds;
};

// Returns the candidates of fit_budget(), the best first and the cheapest last.
std::vector<Candidate> candidates(double most_tokens, int64_t rounds) {
  std::vector<double> factors;
  for (double factor = 1; most_tokens * factor >= kFewTokens || factor == 1; factor /= 2) {
    factors.push_back(factor);
    if (most_tokens * factor * 0.75 >= kFewTokens) factors.push_back(0.75 * factor);
  }
  // The candidates have fewer tokens first, as long as points stay similar to the full ones; then fewer
  // rounds, down to a number that still allows a verdict; then still fewer tokens; at last fewer rounds than
  // that, down to one.
  std::vector<Candidate> list;
  size_t f = 0;
  for (; f < factors.size() && (f == 0 || most_tokens * factors[f] >= kEnoughTokens); ++f)
    list.push_back({factors[f], rounds});
  const int64_t enough = std::min(rounds, kEnoughRounds);
  for (int64_t r = rounds - 1; r >= enough; --r) list.push_back({factors[f - 1], r});
  for (; f < factors.size(); ++f) list.push_back({factors[f], enough});
  for (int64_t r = enough - 1; r >= 1; --r) list.push_back({factors.back(), r});
  return list;
}

// Returns the options that all points have with the same value.
StoredJson common_options(const std::vector<StoredJson>& options) {
  StoredJson common = options.front();
  for (const StoredJson& own : options) {
    const StoredJson before = common;  // the loop erases from `common`
    for (const auto& [name, value] : before.items())
      if (!own.contains(name) || own[name] != value) common.erase(name);
  }
  return common;
}

// Returns the error for what the process of a round cannot do.
InputError refused_with_round(const std::string& place, const std::string& what, const std::string& remedy) {
  const std::string sentence = fmt::format("process = \"round\" cannot be used with {}", what);
  return error_at(place, usage_error(sentence, remedy).what());
}

// Refuses values that -L point would cut at their blanks.
void refuse_blanks(const ExperimentFile& file, const std::vector<StoredJson>& options) {
  const StoredJson common = common_options(options);
  for (const StoredJson& own : options) {
    for (const auto& [name, value] : own.items()) {
      if (common.contains(name) || option_text(name, value).find_first_of(" \t\n\v\f\r") == std::string::npos)
        continue;
      throw refused_with_round(file.place_of(name), fmt::format("blanks in values of {}", name),
                               "leave process out");
    }
  }
}

ResolvedPoint resolve_round(const ExperimentFile& file, const SweepHost& host,
                            const std::vector<std::string>& arguments) {
  try {
    return host.resolve(file.command, false, arguments);
  } catch (const InputError& error) {
    throw error_at(fmt::format("{}: process = \"round\"", file.path), error.what());
  }
}

// Plans one process for all points of a round. Points that together need more memory than this machine has
// keep a process each.
void share_process(const ExperimentFile& file, const SweepHost& host, const std::vector<MatrixPoint>& points,
                   SweepPlan& plan) {
  if (file.process != RunProcess::round || points.size() == 1) return;
  if (points[0].options.contains("ablate"))
    throw refused_with_round(file.place_of("ablate"), "ablate, which has several results a point",
                             "leave one of the two out");
  std::vector<StoredJson> options;
  for (const MatrixPoint& point : points) options.push_back(point.options);
  refuse_blanks(file, options);
  const SharedCommand command = shared_command(options);
  const ResolvedPoint all = resolve_round(file, host, command.of_all());
  if (all.options.value("points", StoredJson::array()).size() != points.size())
    throw refused_with_round(file.path, "points of several results",
                             "name one impl, parallel_mode and topk, or leave process out");
  if (all.bytes.value_or(0) <= host.usable_bytes) {
    plan.shared = command;
    return;
  }
  const std::string why =
      fmt::format("a process for each point: together they need {} of memory", gib(*all.bytes));
  std::string& note = plan.experiment.options_note;
  // A sweep that goes on under --budget has the note of its start already.
  if (note.find(why) == std::string::npos) note += (note.empty() ? "" : "; ") + why;
}

}  // namespace

std::vector<std::string> SharedCommand::of(const std::vector<size_t>& chosen) const {
  std::vector<std::string> line = arguments;
  for (const size_t i : chosen) line.insert(line.end(), {"-L", "point", points[i]});
  return line;
}

std::vector<std::string> SharedCommand::of_all() const {
  std::vector<size_t> all(points.size());
  std::iota(all.begin(), all.end(), size_t{0});
  return of(all);
}

SharedCommand shared_command(const std::vector<StoredJson>& options) {
  const StoredJson common = common_options(options);
  SharedCommand command{arguments_of(common), {}};
  for (const StoredJson& own : options) {
    std::vector<std::string> words;
    for (const auto& [name, value] : own.items())
      if (!common.contains(name)) words.push_back(option_text(name, value));
    command.points.push_back(fmt::format("{}", fmt::join(words, " ")));
  }
  return command;
}

// Returns the identity by which a sweep finds the results of an earlier one. It covers everything that
// decides the result of the run.
std::string identity_of(const ExperimentFile& file, const SweepHost& host, const StoredJson& options) {
  StoredJson parts =
      StoredJson::array({name_of(file.command), file.launcher, host.build, host.machine, options});
  if (file.process == RunProcess::round) parts.push_back(name_of(file.process));
  const std::string text = json_text(parts);
  return fmt::format("{:016x}{:016x}", hash_text(text, kFnvStart), hash_text(text, 0x84222325cbf29ce4u));
}

double SweepPlan::predicted_seconds(int64_t rounds) const {
  double first = 0, later = 0;
  for (const StoredPoint& point : points) first += point.predicted_seconds.value_or(0);
  for (const double seconds : repeat_seconds) later += seconds;
  return first + later * static_cast<double>(rounds - 1);
}

SweepPlan make_plan(const ExperimentFile& file, const SweepHost& host, const Sizing& sizing) {
  SweepPlan plan;
  plan.experiment = experiment_of(file, sizing);
  plan.interleave = file.interleave;
  std::vector<MatrixPoint> matrix = expand_matrix(file);
  for (MatrixPoint& matrix_point : matrix) {
    const ResolvedPoint resolved = resolve(file, host, matrix_point, sizing.factor);
    StoredPoint point;
    point.identity = identity_of(file, host, resolved.options);
    point.position = static_cast<int64_t>(plan.points.size());
    point.label = matrix_point.label;
    point.options = resolved.options;
    point.axes = matrix_point.axes;
    point.arguments = arguments_of(matrix_point.options);
    point.is_baseline = matrix_point.is_baseline;
    point.predicted_seconds = resolved.seconds;
    point.predicted_bytes = resolved.bytes;
    plan.points.push_back(point);
    const double seconds = resolved.seconds.value_or(0);
    const bool takes_checks_over = file.command == SweptCommand::bench && file.launcher.empty();
    plan.repeat_seconds.push_back(takes_checks_over ? resolved.repeat_seconds.value_or(seconds) : seconds);
    plan.devices.push_back(resolved.devices);
    plan.tokens.push_back(resolved.tokens);
  }
  refuse_twins(file, plan);
  share_process(file, host, matrix, plan);
  return plan;
}

std::string plan_table(const SweepPlan& plan) {
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < plan.points.size(); ++i) {
    const StoredPoint& point = plan.points[i];
    rows.push_back({printable(point.label) + (point.is_baseline ? " (baseline)" : ""),
                    std::to_string(plan.tokens[i]), std::to_string(plan.devices[i]),
                    fmt::format("{:.1f} s", point.predicted_seconds.value_or(0)),
                    gib(point.predicted_bytes.value_or(0))});
  }
  return fmt::format("{}{}{}, {}: about {} in all\n",
                     format_table({"point", "tokens", "devices", "predicted time of a run", "memory"}, rows),
                     plan.shared.empty() ? "" : "all points of a round share a process\n",
                     count_text(std::ssize(plan.points), "point"),
                     count_text(plan.experiment.rounds, "round"), duration_text(plan.predicted_seconds()));
}

Sizing fit_budget(const ExperimentFile& file, const SweepHost& host, double budget_seconds) {
  const SweepPlan full = make_plan(file, host, {});
  const int64_t most_tokens = *std::max_element(full.tokens.begin(), full.tokens.end());
  Sizing sizing;
  double predicted = 0;
  std::optional<SweepPlan> plan;
  // Plans differ only in the factor, so one is made for each factor.
  for (const Candidate& candidate : candidates(static_cast<double>(most_tokens), file.rounds)) {
    if (!plan || candidate.factor != sizing.factor) plan = make_plan(file, host, {candidate.factor, 0, ""});
    sizing.factor = candidate.factor;
    sizing.rounds = candidate.rounds;
    predicted = plan->predicted_seconds(candidate.rounds);
    if (predicted <= budget_seconds) break;
  }
  const auto [least, most] = std::minmax_element(plan->tokens.begin(), plan->tokens.end());
  const std::string tokens =
      *least == *most ? count_text(*least, "token") : fmt::format("{} to {} tokens", *least, *most);
  sizing.note = fmt::format(
      "--budget {}: {} ({:.3g} of the file's), {} of {}; predicted {}{}{}", duration_text(budget_seconds),
      tokens, sizing.factor, sizing.rounds, count_text(file.rounds, "round"), duration_text(predicted),
      predicted > budget_seconds ? ", which is over the budget and cannot be made smaller" : "",
      host.prediction_source.empty() ? "" : ", " + host.prediction_source);
  return sizing;
}

double parse_duration(const std::string& option, const std::string& text) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  // The unit must be the last character.
  const double unit = stop + 1 != end ? 0 : *stop == 's' ? 1 : *stop == 'm' ? 60 : *stop == 'h' ? 3600 : 0;
  const double seconds = value * unit;
  if (error != std::errc() || !(seconds >= 1 && seconds <= 30 * 86400.0))
    throw input_error(option, quoted(text), "a time from 1s to 720h",
                      "write such as " + option + " 90s, 10m or 2h");
  return seconds;
}

std::string duration_text(double seconds) {
  // The predicted time of a huge point may have more seconds than 64 bits can count.
  if (!(seconds < 1e15)) return fmt::format("{:.3g}h", seconds / 3600);
  const int64_t whole = static_cast<int64_t>(std::lround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600)
    return whole % 60 == 0 ? fmt::format("{}m", whole / 60)
                           : fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

}  // namespace moehill
