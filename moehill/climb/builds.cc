// Implementation of climb/builds.h: the commands that take turns, the options that must agree, and the
// comparison of the faster runs.
#include "moehill/climb/builds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/fields.h"
#include "moehill/base/table.h"
#include "moehill/bench/comparison.h"
#include "moehill/block/spread.h"
#include "moehill/report/matching_report.h"

namespace moehill {
namespace {

// These options of a record, and those of a path, say how the block is computed, and not which block. Their
// defaults may change from build to build.
constexpr const char* kChoices[] = {"preset",       "impl",   "backend",          "routing_pack_strategy",
                                    "shared_fused", "blocks", "expert_by_expert", "warmup"};

bool is_choice(const std::string& option) {
  return goes_with_path(option) ||
         std::find(std::begin(kChoices), std::end(kChoices), option) != std::end(kChoices);
}

// Returns the model's FLOPs in a step, in units of 1e12.
double work_of(const StoredJson& record) {
  return record.at("tflops").get<double>() * record.at("time_s").at("median").get<double>();
}

std::vector<std::string> bench_command(const std::string& program,
                                       const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {program, "bench"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(), {"--json", "-"});
  return command;
}

std::string build_of(const StoredJson& record) {
  const StoredJson env = record.value("env", StoredJson::object());
  return env.value("build", "of unknown name");
}

// Compares the problems of both builds, once the first round has their records.
void refuse_other_problems(const Turns& turns) {
  if (turns.rounds() == 0) return;
  const std::vector<StoredJson>&other = turns.records[0][0], &own = turns.records[1][0];
  if (other.size() != own.size())
    throw input_error("--builds",
                      fmt::format("{} of the other build and {} of this one",
                                  count_text(std::ssize(other), "point"), own.size()),
                      "the same points", "name single values, such as --impl fast in place of --impl all");
  for (size_t i = 0; i < own.size(); ++i) refuse_other_problem(other[i], own[i]);
}

}  // namespace

MatchedPair compare_samples(const std::string& label, const BuildSamples& samples) {
  // Other work only slows a run down, so the faster of two runs is nearer to the truth.
  const auto faster = [](std::vector<double> a, const std::vector<double>& b) {
    for (size_t i = 0; i < a.size(); ++i) a[i] = std::min(a[i], b[i]);
    return a;
  };
  const auto joined = [](std::vector<double> a, const std::vector<double>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const int64_t rounds = static_cast<int64_t>(samples.own.size());
  MatchedPair pair{label, label, {}, {}, {}};
  pair.ratio =
      speed_ratio(faster(samples.other, samples.other_again), faster(samples.own, samples.own_again), 0);
  if (rounds >= kMinBuildRounds)
    pair.floor = noise_floor(joined(samples.other, samples.own),
                             joined(samples.other_again, samples.own_again), rounds, 0);
  pair.verdict = judge(pair.ratio, pair.floor);
  return pair;
}

void refuse_other_problem(const StoredJson& record_of_other, const StoredJson& record_of_own) {
  const StoredJson other = record_of_other.value("config", StoredJson::object()),
                   own = record_of_own.value("config", StoredJson::object());
  const auto refuse = [](const std::string& what, const std::string& of_other, const std::string& of_own) {
    throw input_error("--builds",
                      fmt::format("{}: {} in the other build, {} in this one", what, of_other, of_own),
                      "one problem in both", fmt::format("give {}", what));
  };
  for (const auto& [option, value] : own.items()) {
    const auto found = other.find(option);  // an older build may not know it
    if (!is_choice(option) && found != other.end() && *found != value)
      refuse(option_name(option), json_text(*found), json_text(value));
  }
  const double work = work_of(record_of_own);
  if (std::abs(work_of(record_of_other) / work - 1) > 1e-9)
    refuse("the shape, whose FLOPs of the model differ",
           fmt::format("{:.6g}", 1e12 * work_of(record_of_other)), fmt::format("{:.6g}", 1e12 * work));
}

BuildsComparison compare_builds(const std::string& other, const std::vector<std::string>& arguments,
                                const TurnOptions& options) {
  const std::vector<std::string> of_other = bench_command(other, arguments),
                                 of_own = bench_command("/proc/self/exe", arguments);
  TurnOptions checked = options;
  checked.after_round = [&](const Turns& turns) {
    if (turns.rounds() == 1) refuse_other_problems(turns);
  };
  // In the order A B B A a steady drift within the round slows both builds alike.
  const Turns turns = run_in_turn({{"the other build", of_other},
                                   {"this build", of_own},
                                   {"this build again", of_own},
                                   {"the other build again", of_other}},
                                  checked);
  BuildsComparison comparison{"", "", {}, turns.rounds(), turns.repeated, turns.disturbed, turns.interrupted};
  if (turns.rounds() == 0) return comparison;
  const std::vector<StoredJson>& records = turns.records[1][0];
  comparison.other = build_of(turns.records[0][0][0]);
  comparison.own = build_of(records[0]);
  for (size_t i = 0; i < records.size(); ++i)
    comparison.matching.pairs.push_back(compare_samples(
        record_label(records[i]),
        {turns.seconds_of(0, i), turns.seconds_of(3, i), turns.seconds_of(1, i), turns.seconds_of(2, i)}));
  if (comparison.other != comparison.own) {
    for (MatchedPair& pair : comparison.matching.pairs) pair.unlike = {"build"};
  }
  return comparison;
}

std::string builds_table(const BuildsComparison& c) {
  std::string text = fmt::format("A: {}\nB: {}, this one; its speed over that of A, interleaved by process\n",
                                 c.other, c.own);
  text += pair_lines(c.matching);
  for (const MatchedPair& pair : c.matching.pairs) {
    if (pair.floor)
      text += fmt::format(
          "noise floor of {}: a build differs from itself by less than {:.2f} % in 19 of 20 comparisons of "
          "{}\n",
          pair.label_a, 100 * *pair.floor, count_text(c.rounds, "round"));
  }
  text += fmt::format("{} of four processes", count_text(c.rounds, "round"));
  if (c.repeated > 0)
    text += fmt::format("; {} disturbed by other work and left out",
                        count_text(c.repeated, "more was", "more were"));
  if (c.disturbed > 0)
    text += fmt::format("; {} although disturbed by other work", count_text(c.disturbed, "counts", "count"));
  return text + "\n";
}

}  // namespace moehill
