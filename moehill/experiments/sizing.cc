// Implementation of experiments/sizing.h.
#include "moehill/experiments/sizing.h"

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

StoredJson asked_json(const SizingRequest& request, const SweepHost& host) {
  return {{"budget", request.budget}, {"build", host.build}, {"machine", host.machine}};
}

std::optional<StoredExperiment> stored_experiment(const std::string& database, const std::string& name) {
  if (!is_there(database)) return std::nullopt;
  return Store::open_existing(database).find_experiment(name);
}

// Returns the sizes that an earlier start has chosen. A database may have been edited by hand, so they are
// checked like options.
Sizing stored_sizing(const StoredExperiment& stored, const std::string& database) {
  const auto number = [&](const char* name, double lowest, double highest) {
    const StoredJson json = stored.sizing.value(name, StoredJson());
    const double value = json.is_number() ? json.get<double>() : 0;  // which is below the lowest of both
    if (value < lowest || value > highest)
      throw input_error(fmt::format("--db {}, {} of a sizing", moehill::quoted(database, 200), name),
                        moehill::quoted(json_text(json)), fmt::format("{:g} to {:g}", lowest, highest),
                        kDamagedRemedy);
    return value;
  };
  return {number("factor", 1e-12, 1),
          static_cast<int64_t>(number("rounds", 1, static_cast<double>(kMostRounds))), stored.options_note};
}

}  // namespace

void SizingRequest::require_sense() const {
  const char* other = !scale.empty() ? "--scale" : rounds > 0 ? "--rounds" : nullptr;
  if (budget.empty() || other == nullptr) return;
  throw usage_error(fmt::format("{} cannot be used with --budget, which chooses the sizes", other),
                    fmt::format("leave {} out", other));
}

Sizing choose_sizing(const SizingRequest& request, const std::string& database, const ExperimentFile& file,
                     const SweepHost& host) {
  if (!request.budget.empty()) {
    // A resumed sweep keeps its sizes, since with other sizes its points would be other points.
    const std::optional<StoredExperiment> stored = stored_experiment(database, file.name);
    const StoredJson asked = asked_json(request, host);
    if (stored && stored->toml == file.toml && stored->sizing.value("request", StoredJson()) == asked)
      return stored_sizing(*stored, database);
    return fit_budget(file, host, parse_duration("--budget", request.budget));
  }
  Sizing sizing{1, request.rounds, ""};
  if (!request.scale.empty() && request.scale != "full") {
    sizing.factor = parse_number("--scale", request.scale, 1e-6, 1);
    sizing.note = fmt::format("--scale {}: that share of the file's tokens", request.scale);
  }
  if (request.rounds > 0 && request.rounds != file.rounds)
    sizing.note += fmt::format("{}--rounds {}: the file has {}", sizing.note.empty() ? "" : "; ",
                               request.rounds, file.rounds);
  return sizing;
}

StoredJson kept_sizing(const SizingRequest& request, const SweepHost& host, const SweepPlan& plan,
                       const Sizing& sizing) {
  return {
      {"request", asked_json(request, host)}, {"factor", sizing.factor}, {"rounds", plan.experiment.rounds}};
}

std::string sizing_options(const SizingRequest& request) {
  std::string text;
  if (!request.budget.empty()) text += " --budget " + shell_word(request.budget);
  if (!request.scale.empty()) text += " --scale " + shell_word(request.scale);
  if (request.rounds > 0) text += fmt::format(" --rounds {}", request.rounds);
  return text;
}

}  // namespace moehill
