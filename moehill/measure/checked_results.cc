#include "moehill/measure/checked_results.h"

#include <fmt/format.h>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr size_t kMostResults = 10000;  // they take some tens of MB

// Options that say how a point is measured and do not change its results. The check is compared by itself.
constexpr const char* kOfMeasuring[] = {"iters", "warmup", "min_time", "ci_target", "stage_timing", "check"};

Json question_of(Json config) {
  if (!config.is_object()) return config;
  for (const char* name : kOfMeasuring) config.erase(name);
  return config;
}

// Returns true for the name of a process as records have it. Another text would be no process, or would send
// commands to the terminal that shows it.
bool names_process(const std::string& text) {
  return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Returns a text of the file as a terminal may show it.
std::string calm_words(const Words& text) { return printable(text.value_or("")); }

// Returns the recorded verdict as the check would return it.
CheckResult check_result_of(const RecordedCheck& recorded, const std::string& process) {
  CheckResult check;
  check.status = recorded.status;
  check.numbers_ok = true;
  check.forward_rel_err = recorded.forward_rel_err.value_or(0);
  check.grad_rel_err = {recorded.grad_rel_err.begin(), recorded.grad_rel_err.end()};
  check.worst_row = calm_words(recorded.worst_row);
  check.what = calm_words(recorded.what);
  check.num_rows = recorded.rows.value_or(0);
  check.how = calm_words(recorded.how);
  check.num_sampled_rows = recorded.sampled_rows.value_or(0);
  check.seed = recorded.seed.value_or(0);
  check.worst_number = calm_words(recorded.worst_number);
  check.worst_bounds = recorded.worst_bounds.value_or(0);
  if (const std::optional<RecordedWireError>& wire = recorded.wire_error)
    check.wire = {wire->tokens, wire->y_max, wire->y_rms, wire->dx_max.value_or(0), wire->dx_rms.value_or(0)};
  check.same_bits_as = process;
  return check;
}

// Returns the result of a record; nothing if the record has none that was checked.
std::optional<CheckedResult> result_of(const Json& record) {
  if (!has_checked_bits(record)) return std::nullopt;
  // A part with a field of another type is read as an empty part, whose status is not `passed`.
  const auto check = part_of<RecordedCheck>(record, "check");
  // A record that was itself taken over names the process that made the check.
  const std::string process = check.same_bits_as.value_or(part_of<RecordedProcess>(record, "process").id);
  if (check.status != CheckStatus::passed || !names_process(process)) return std::nullopt;
  return CheckedResult{question_of(part_of<Json>(record, "config")), part_of<RecordedHashes>(record, "hash"),
                       check.mode, check_result_of(check, process)};
}

}  // namespace

CheckedResults::CheckedResults(const std::string& file) {
  const InputFile input{"--checked", file, "records of moehill bench, one on a line",
                        "write them by moehill bench --json FILE"};
  std::ifstream stream = open_input_file(input);
  int64_t number = 0;
  for (std::string line; read_input_line(stream, line, input);) {
    const std::string what = fmt::format("--checked {}, line {}", quoted(file, 200), ++number);
    const Json record = parse_strict_json<Json>(line, {what, input.remedy});
    if (!record.is_object() || part_of<Json>(record, "schema") != Json("moehill/1"))
      throw input_error(what, quoted(line, 100), input.allowed, input.remedy);
    if (std::optional<CheckedResult> result = result_of(record)) results_.push_back(*std::move(result));
    if (results_.size() > kMostResults)
      throw input_error("--checked",
                        fmt::format("more than {} checked results in {}", kMostResults, quoted(file, 200)),
                        fmt::format("at most {}", kMostResults), "leave out those of other points");
  }
}

const CheckedResult* CheckedResults::find(const Json& config, CheckMode mode, const std::string& operands,
                                          const std::string& results) const {
  const nlohmann::json question = question_of(config);  // without an order of its members
  for (const CheckedResult& one : results_) {
    if (one.mode >= mode && one.hashes.operands == operands && one.hashes.results == results &&
        nlohmann::json(one.question) == question)
      return &one;
  }
  return nullptr;
}

}  // namespace moehill
