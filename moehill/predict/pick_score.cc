// Implementation of predict/pick_score.h: a file of lines, one for each run, and what they say together about
// the model. A pick is judged only if all paths of its problem were measured.
#include "moehill/predict/pick_score.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/hash.h"
#include "moehill/base/input_file.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/predict/prediction.h"
#include "moehill/probe/probe_file.h"
#include "moehill/report/results_view.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/score-2";
constexpr double kClose = 1.03;  // a pick within 3 % of the best is good

// Returns the problem as a text: everything that decides the time, except for the path and for what goes with
// a path. Block sizes go with a path, because a tuning table may have them for that path. The places of
// experts may be many, so only their hash is kept.
std::string problem_of(const BenchOptions& options, const Point& point) {
  const RunConfig& c = point.config;
  Json problem;
  write_fields(problem, c.shape);
  write_fields(problem, c.block);
  write_fields(problem, point.distribution);
  write_fields(problem, c);
  for (const char* name : {"ep_path", "blocks", "placement"}) problem.erase(std::string(name));
  for (const char* name : kPathOptions) problem.erase(std::string(name));
  uint64_t places = kFnvStart;
  for (const int32_t expert : c.placement) places = fnv1a(places, static_cast<uint64_t>(expert));
  if (!c.placement.empty()) problem["placement"] = fmt::format("{:016x}", places);
  if (c.shared_placement == SharedPlacement::replicated) problem["replicated"] = true;
  if (own_options(options, point).split_rows == Switch::on) problem["ring_split"] = true;
  if (c.num_waves > 0) problem["waves"] = c.num_waves;
  if (options.mesh == MeshKind::mpi) problem["mpi"] = true;
  problem["seed"] = options.seed;
  return problem.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string line_of(const ScoredRun& run) {
  return json_line({{"schema", kSchema},
                    {"time_utc", run.time_utc},
                    {"build", run.build},
                    {"cpu", run.cpu},
                    {"problem", run.problem},
                    {"path", run.path},
                    {"taken", run.taken},
                    {"candidates", run.num_candidates},
                    {"predicted_s", run.predicted_s},
                    {"measured_s", run.measured_s},
                    {"machine", run.machine}});
}

// Reads one run. Throws a JSON exception if a field is missing.
ScoredRun run_of(const Json& json) {
  return {json.at("time_utc"),   json.at("build"),
          json.at("cpu"),        json.at("problem"),
          json.at("path"),       json.at("taken"),
          json.at("candidates"), json.at("predicted_s"),
          json.at("measured_s"), json.value("machine", std::string())};
}

// Returns whether the figures can be those of a run. A time of 0 would give an error that cannot be sorted.
bool has_figures(const Json& json) {
  return is_integer_of<int>(json.at("candidates")) && json.at("predicted_s").get<double>() > 0 &&
         json.at("measured_s").get<double>() > 0;
}

double error_of(const ScoredRun& run) { return run.predicted_s / run.measured_s - 1; }

// Returns the cores and the SIMD target of a machine.
std::string machine_of(const Environment& environment) {
  return fmt::format("{} cores, {}", environment.topology.num_cores, environment.kernel);
}

// Returns whether the prediction is of the whole step. The model has no stage of a router in the step.
bool is_of_whole_step(const ScoredRun& run) {
  return run.problem.find("\"route_in_step\":true") == std::string::npos;
}

// Returns what measured and predicted a run, in words.
std::string maker_of(const ScoredRun& run) {
  return fmt::format(
      "{}, {}, by {}", run.cpu,
      run.machine.empty() ? "of an older program that wrote down no cores" : machine_words(run.machine),
      run.build);
}

// Returns the runs by their makers, in the order in which makers first appear.
std::vector<std::pair<std::string, std::vector<ScoredRun>>> by_maker(const std::vector<ScoredRun>& runs) {
  std::vector<std::pair<std::string, std::vector<ScoredRun>>> makers;
  std::map<std::string, size_t> places;  // in `makers`; a search through them would take hours for many
  for (const ScoredRun& run : runs) {
    const auto [place, is_new] = places.emplace(maker_of(run), makers.size());
    if (is_new) makers.push_back({place->first, {}});
    makers[place->second].second.push_back(run);
  }
  return makers;
}

// Problem is one problem on one machine by one build: the times of each path, and how many paths there are to
// choose from. A path that an older build ran slowly says nothing of a choice that this build makes, and
// neither do other cores or another SIMD target (MOEHILL_SIMD).
struct Problem {
  std::map<std::string, std::vector<double>> seconds;
  std::vector<std::string> taken;
  size_t num_candidates = 0;

  bool all_measured() const { return num_candidates > 1 && seconds.size() >= num_candidates; }
  double best() const {
    double best = median_of(seconds.begin()->second);
    for (const auto& [path, samples] : seconds) best = std::min(best, median_of(samples));
    return best;
  }
};

std::map<std::string, Problem> by_problem(const std::vector<ScoredRun>& runs) {
  std::map<std::string, Problem> problems;
  for (const ScoredRun& run : runs) {
    Problem& problem = problems[fmt::format("{} {}", maker_of(run), run.problem)];
    problem.seconds[run.path].push_back(run.measured_s);
    if (run.taken) problem.taken.push_back(run.path);
    problem.num_candidates = std::max(problem.num_candidates, static_cast<size_t>(run.num_candidates));
  }
  return problems;
}

std::string path_table(const std::vector<ScoredRun>& runs) {
  std::map<std::string, std::vector<ScoredRun>> by_path;
  for (const ScoredRun& run : runs)
    if (is_of_whole_step(run)) by_path[run.path].push_back(run);
  std::vector<std::vector<std::string>> rows;
  for (const auto& [path, own] : by_path) {
    std::vector<double> errors;
    for (const ScoredRun& run : own) errors.push_back(error_of(run));
    const auto taken = std::count_if(own.begin(), own.end(), [](const ScoredRun& run) { return run.taken; });
    rows.push_back({path, std::to_string(own.size()), std::to_string(taken),
                    fmt::format("{:+.1f}", 100 * median_of(errors)),
                    fmt::format("{:.1f}", 100 * score_of(own).median_error)});
  }
  return format_table({"path", "runs", "taken by auto", "median error %", "median size %"}, rows);
}

// Appends all of `text` to a regular file, or nothing. Returns the reason if it failed.
std::string append(const std::string& path, const std::string& text) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0644);
  struct stat before {};
  if (file < 0 || fstat(file, &before) != 0) return std::strerror(errno);
  std::string reason = S_ISREG(before.st_mode) ? "" : "no regular file";
  // While the lock is held no other process appends, so the bytes that are cut off below are this process's.
  flock(file, LOCK_EX);
  if (reason.empty() && fstat(file, &before) == 0 &&
      write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    reason = std::strerror(errno);
    if (ftruncate(file, before.st_size) != 0) reason += ", and a part of it stays";
  }
  if (close(file) != 0) reason = std::strerror(errno);
  return reason;
}

}  // namespace

std::string default_score_file() {
  const char* file = std::getenv("MOEHILL_SCORE");
  return file != nullptr ? file : data_file("score.jsonl");
}

std::vector<ScoredRun> scored_runs(const BenchOptions& options, const CommandResult& command) {
  std::vector<ScoredRun> runs;
  const Environment& environment = command.environment;
  const Topology& topology = environment.topology;
  for (const PointResult& point : command.points) {
    const RunConfig& config = point.point.config;
    if (!is_ep(config.spread) || config.num_devices == 1 || !point.prediction || !point.timed() ||
        point.check.status == CheckStatus::failed)
      continue;
    runs.push_back({command.time_utc, environment.build, topology.cpu_model, problem_of(options, point.point),
                    name_of(config.spread), point.point.path_is_auto,
                    static_cast<int>(candidate_paths(config).size()), point.prediction->time_s,
                    median_of(point.samples), machine_of(environment)});
  }
  return runs;
}

std::string append_scores(const std::vector<ScoredRun>& runs, const std::string& file) {
  if (runs.empty() || file.empty()) return "";
  std::string lines;
  for (const ScoredRun& run : runs) lines += line_of(run);
  std::error_code failure;
  const std::filesystem::path folder = std::filesystem::path(file).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, failure);
  const std::string reason = append(file, lines);
  return reason.empty() ? "" : fmt::format("the score of --ep-path auto is not kept: {}: {}", file, reason);
}

std::vector<ScoredRun> read_scores(const std::string& file) {
  std::vector<ScoredRun> runs;
  if (!is_there(file)) return runs;
  const InputFile source{"--score", file, "lines written by moehill bench", "move the file away"};
  const auto bad_line = [&] {
    return input_error("--score", fmt::format("{}, line {}", file, runs.size() + 1), source.allowed,
                       source.remedy);
  };
  std::ifstream lines = open_input_file(source);
  for (std::string line; read_input_line(lines, line, source);) {
    try {
      const auto json = parse_strict_json<Json>(
          line, {fmt::format("--score {}, line {}", quoted(file, 200), runs.size() + 1), source.remedy});
      if (json.at("schema") != kSchema) continue;
      if (!has_figures(json)) throw bad_line();
      runs.push_back(run_of(json));
    } catch (const nlohmann::json::exception&) {
      throw bad_line();
    }
  }
  return runs;
}

Score score_of(const std::vector<ScoredRun>& runs) {
  Score score;
  std::vector<double> errors;
  for (const ScoredRun& run : runs) {
    if (!is_of_whole_step(run)) continue;
    errors.push_back(std::abs(error_of(run)));
    score.num_taken += run.taken ? 1 : 0;
  }
  score.num_runs = static_cast<int>(errors.size());
  if (!errors.empty()) {
    std::sort(errors.begin(), errors.end());
    score.median_error = median_of(errors);
    score.p90_error = errors[(9 * errors.size() + 9) / 10 - 1];  // nearest rank
  }
  for (const auto& [name, problem] : by_problem(runs)) {
    if (problem.taken.empty() || !problem.all_measured()) continue;
    ++score.num_judged;
    // The newest pick counts, since the model may have been improved since.
    const double taken = median_of(problem.seconds.at(problem.taken.back()));
    score.num_within += taken <= kClose * problem.best() ? 1 : 0;
  }
  return score;
}

std::string error_of_model(std::vector<ScoredRun> runs, const Environment& here) {
  std::erase_if(runs, [&](const ScoredRun& run) {
    return run.cpu != here.topology.cpu_model || run.machine != machine_of(here) || run.build != here.build;
  });
  const Score score = score_of(runs);
  if (score.num_runs == 0)
    return "How far the model is off here is not known: this build has predicted and measured no run yet.";
  return fmt::format("In {} here the model was off by {:.0f} % in the median, by {:.0f} % in one of ten.",
                     count_text(score.num_runs, "run"), 100 * score.median_error, 100 * score.p90_error);
}

std::string score_report(const std::vector<ScoredRun>& runs) {
  if (runs.empty()) return "no run of expert parallelism has been predicted and measured yet\n";
  std::string text;
  for (const auto& [maker, own] : by_maker(runs)) {
    const Score s = score_of(own);
    text += fmt::format("{}{}\n", text.empty() ? "" : "\n", printable(maker));
    if (s.num_runs > 0)
      text += path_table(own) + fmt::format(
                                    "{}, {} of them on a path that auto took: median error {:.1f} %, "
                                    "90th percentile {:.1f} %\n",
                                    count_text(s.num_runs, "run"), s.num_taken, 100 * s.median_error,
                                    100 * s.p90_error);
    else
      text += "all steps have the router in them, which the model lacks, so there is no error\n";
    if (s.num_judged == 0)
      text += "no problem that auto chose for has been run on all of its paths, so no pick is judged\n";
    else
      text += fmt::format("the path taken is within 3 % of the best in {} of {} run on all paths\n",
                          s.num_within, count_text(s.num_judged, "problem"));
  }
  return text;
}

}  // namespace moehill
