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
      return {stored->sizing["factor"].get<double>(), stored->sizing["rounds"].get<int64_t>(),
              stored->options_note};
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
