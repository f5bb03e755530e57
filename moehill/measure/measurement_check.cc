// The checks of measure/measurement.h: of the first step, of the step on other operands, and that each timed
// step left the bits of the checked one. measurement.cc decides when each of them is made.
#include "moehill/measure/measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "moehill/base/hash.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/replicas.h"
#include "moehill/mesh/wait_limit.h"
#include "moehill/routing/trace.h"
#include "moehill/verify/dump.h"

namespace moehill {
namespace {

// Returns true if a step leaves results: it is whole, and no stage was left out of it.
bool leaves_results(const RunConfig& config) {
  return config.block.part == StepPart::whole && config.block.ablation.empty();
}

bool has_gradients(const RunConfig& config) { return config.block.pass == Pass::forward_backward; }

// Returns one hash of all results of this process.
uint64_t joined(const std::vector<Run::ResultHash>& hashes) {
  uint64_t joined = kFnvStart;
  for (const Run::ResultHash& one : hashes) joined = fnv1a(joined, one.hash);
  return joined;
}

}  // namespace

// Fails the point if a step changed x, a weight or the routing. Without this, the check would compute its
// reference from the changed operands.
void Measurement::hold_operands(LivePoint& live) {
  if (job_.largest(live.run->operand_hash() != live.operands ? 1 : 0) == 0 ||
      live.result.check.status == CheckStatus::off)
    return;
  live.result.check.status = CheckStatus::failed;
  live.result.check.reason = "a step changed x, a weight or the routing";
}

// Compares every bit of every result after a timed step with what the checked step left, by hash.
void Measurement::hold_to_checked(LivePoint& live) {
  const std::vector<Run::ResultHash> hashes = live.run->result_hashes();
  const auto [other, checked] = std::mismatch(hashes.begin(), hashes.end(), live.checked.begin());
  if (job_.largest(other != hashes.end() ? 1 : 0) == 0 || live.result.check.status == CheckStatus::off)
    return;
  live.result.check.status = CheckStatus::failed;
  live.result.check.reason = fmt::format("a timed step left other bits than the checked one{}",
                                         other == hashes.end() ? "" : ", first in " + other->tensor);
}

// Returns one hash of the hashes of all processes, as text. It is right on the first process only.
// Collective.
std::string Measurement::hash_of_processes(uint64_t own) const {
  // A double holds 32 bits exactly.
  const double high = static_cast<double>(own >> 32), low = static_cast<double>(own & 0xffffffffu);
  uint64_t hash = kFnvStart;
  for (const std::vector<double>& halves : job_.gather({high, low}))
    hash = fnv1a(hash, static_cast<uint64_t>(halves[0]) << 32 | static_cast<uint64_t>(halves[1]));
  return fmt::format("{:016x}", hash);
}

// Every process checks its own part, unless the results are known to be right. The first process gives the
// verdict.
CheckResult Measurement::check_results(LivePoint& live, CheckMode mode, bool known) {
  Run& run = *live.run;
  const RunConfig& config = run.config();
  CheckResult result;
  if (mode == CheckMode::off) return result;
  // One process may have more to check than another, or may check everything alone, so waits are longer.
  const LongerWaits longer;
  if (known) {
    if (job_.is_root()) result = live.known->check;
  } else if (takes_part(run)) {
    const CheckShare share = run.check_share();
    result =
        check_block(share, config.block.pass, mode, check_seed_, yardstick_.team(threads_of(config, job_)));
  }
  job_.wait_quietly();
  if (has_gradients(config) && run.copies_differ()) {
    result.status = CheckStatus::failed;
    result.reason = kCopiesDiffer;
  }
  return result;
}

void Measurement::check(LivePoint& live) {
  const Point& point = live.result.point;
  const bool has_results = leaves_results(point.config), dumps = has_results && !options_.dump.empty();
  const CheckMode mode = has_results ? options_.check : CheckMode::off;
  PointResult& result = live.result;
  if (mode != CheckMode::off) {
    result.operands_hash = hash_of_processes(live.operands);
    result.results_hash = hash_of_processes(joined(live.checked));
    if (job_.is_root() && options_.checked_results != nullptr)
      live.known = options_.checked_results->find(json_of(recorded_config(options_, point)), mode,
                                                  result.operands_hash, result.results_hash);
  }
  live.is_known = job_.largest(live.known != nullptr ? 1 : 0) > 0;
  result.check = check_results(live, mode, live.is_known);
  if (!point.config.block.ablation.empty()) result.check.reason = kAblated;
  if (takes_part(*live.run) && dumps) dump(live, live.run->check_share());
  result.losses = losses_of(*live.run);
  // Only the root describes the point, since the root has the figures of all devices.
  job_.on_root([&] {
    describe(live);
    if (!options_.save_routing.empty()) write_trace(options_.save_routing, live.run->routing());
  });
}

void Measurement::dump(const LivePoint& live, const CheckShare& share) const {
  const Point& point = live.result.point;
  const LongerWaits longer;
  const auto num_dumped = std::count_if(points_.begin(), points_.end(), [](const LivePoint& other) {
    return leaves_results(other.result.point.config);
  });
  const std::string folder = num_dumped == 1 ? options_.dump : options_.dump + "/" + point.folder;
  dump_block(share, point.config.block.pass, folder);
}

// Makes a step on other tokens, other weights and, if it routes, other logits, and restores them afterwards.
// All other steps have the same input, so without this one a step could take results from an earlier step
// unnoticed. The results are checked, and the point keeps the worse of the two verdicts.
void Measurement::step_on_other_operands(LivePoint& live) {
  if (live.result.check.status == CheckStatus::off) return;
  live.run->use_other_operands(true);
  step_untimed(live);
  const std::string& hash = live.result.other_results_hash =
      hash_of_processes(joined(live.run->result_hashes()));
  const bool same = live.known != nullptr && live.known->hashes.other_results == hash;
  const bool known = job_.largest(same ? 1 : 0) > 0;
  CheckResult check = check_results(live, CheckMode::sample, known);
  check.status = job_.from_root(check.status);
  check.reason = job_.from_root(check.reason);
  if (replicas_differ(*live.run, job_) && check.status != CheckStatus::failed) {
    check.status = CheckStatus::failed;
    check.reason = kReplicasDiffer;
  }
  live.run->use_other_operands(false);
  if (live.is_known && !known) check_after_all(live);
  CheckResult& result = live.result.check;
  if (badness(check.status) <= badness(result.status)) return;
  result.status = check.status;
  result.reason = "a step on other tokens and weights, among the timed ones: " + check.reason;
}

void Measurement::step_untimed(LivePoint& live) {
  make_ready(live);
  live.step();
  job_.wait_quietly();
  live.stages->restart();
}

// Checks a point whose check was taken over from a record. Its step on other operands left other bits than
// the record says, so one of the two runs may be wrong, and the record no longer stands for the check.
void Measurement::check_after_all(LivePoint& live) {
  live.is_known = false;
  step_untimed(live);
  hold_to_checked(live);
  CheckResult check = check_results(live, options_.check, false);
  check.status = job_.from_root(check.status);
  check.reason = job_.from_root(check.reason);
  if (badness(check.status) >= badness(live.result.check.status)) live.result.check = std::move(check);
}

}  // namespace moehill
