// Implementation of experiments/other_results.h.
#include "moehill/experiments/other_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>

#include "moehill/base/table.h"

namespace moehill {
namespace {

// These members of an attempt's provenance are the build and the machine of a point's identity.
constexpr const char* kOfBuild[] = {"build", "compiler", "flags"};
constexpr const char* kOfMachine[] = {"cpu", "cores", "kernel"};

// Returns a member as text; "unknown" if there is none.
std::string provenance_text(const StoredJson& provenance, const char* member) {
  const auto found = provenance.find(member);
  if (found == provenance.end()) return "unknown";
  return found->is_string() ? found->get<std::string>() : json_text(*found);
}

bool agree(const StoredJson& a, const StoredJson& b, std::span<const char* const> members) {
  return std::all_of(members.begin(), members.end(), [&](const char* member) {
    return provenance_text(a, member) == provenance_text(b, member);
  });
}

// Returns the provenance of each attempt that counts, of present points and of earlier ones.
std::vector<StoredJson> provenances_of(Store& store, const std::vector<StoredExperiment>& experiments) {
  std::map<int64_t, StoredJson> known;  // by id
  std::vector<StoredJson> all;
  for (const StoredExperiment& experiment : experiments) {
    std::vector<StoredPoint> points = store.old_points(experiment.id);
    for (const StoredPoint& point : store.points(experiment.id)) points.push_back(point);
    for (const StoredPoint& point : points) {
      for (const StoredAttempt& attempt : store.attempts(point.id)) {
        if (!attempt.counts) continue;
        auto found = known.find(attempt.provenance_id);
        if (found == known.end())
          found = known.emplace(attempt.provenance_id, store.provenance(attempt.provenance_id)).first;
        all.push_back(found->second);
      }
    }
  }
  return all;
}

}  // namespace

std::string other_results_note(Store& store, const std::vector<StoredExperiment>& experiments,
                               const SweepHost& host) {
  const std::vector<StoredJson> all = provenances_of(store, experiments);
  const auto is_own = [&](const StoredJson& provenance) {
    return agree(provenance, host.provenance, kOfBuild) && agree(provenance, host.provenance, kOfMachine);
  };
  if (all.empty() || std::any_of(all.begin(), all.end(), is_own)) return "";
  const StoredJson& newest = all.back();
  const bool rebuilt = !agree(newest, host.provenance, kOfBuild);
  return fmt::format(
      "{} in the database {} of another {} ({}) and {} not count for this one, which measures all points "
      "anew",
      count_text(std::ssize(all), "result"), all.size() == 1 ? "is" : "are", rebuilt ? "build" : "machine",
      provenance_text(newest, rebuilt ? "build" : "cpu"), all.size() == 1 ? "does" : "do");
}

std::vector<StoredExperiment> experiments_named(Store& store, const std::string& name) {
  const std::optional<StoredExperiment> found = store.find_experiment(name);
  return found ? std::vector<StoredExperiment>{*found} : std::vector<StoredExperiment>{};
}

std::vector<StoredExperiment> experiments_by(Store& store, const std::string& command) {
  std::vector<StoredExperiment> found = store.experiments();
  std::erase_if(found, [&](const StoredExperiment& experiment) {
    return experiment.sizing.value("command", StoredJson()) != StoredJson(command);
  });
  return found;
}

}  // namespace moehill
