// Lies about what devices tell each other. They wrap team_sum and team_copy, with which every collective adds
// and moves what its device ends with.
#include <algorithm>
#include <cstring>
#include <vector>

#include "moehill/mesh/jobs.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie peer_partial_missing("peer_partial_missing", "sums over devices leave out the last one");
const Lie stale_reduce("stale_reduce", "the last device's part of a sum is of before the step");
const Lie reduce_left_out("reduce_left_out", "sums over devices are not made");
const Lie sum_loses_row("sum_loses_row", "a sum over devices leaves out its last elements");
const Lie peer_counted_twice("peer_counted_twice", "sums over devices take the last one twice");
const Lie peer_copy_wrong("peer_copy_wrong", "one bit of the last device's copy of a sum that all have");
const Lie copy_loses_row("copy_loses_row", "the last row that comes from the last peer is zero");
const Lie copy_left_out("copy_left_out", "rows from the peers are not copied");

constexpr int64_t kLostElements = 64;  // two rows of a panel, since one may be padding
constexpr size_t kMetadataBytes = 32;  // elements up to this are choices and counts, which are agreed on

bool moves_rows(const CopyJob& job) { return job.sources.size() > 1 && job.element_bytes > kMetadataBytes; }

// A job that sums another array in place of the last device's.
class OtherInput {
 public:
  OtherInput(const SumJob& job, const void* other)
      : inputs_(job.inputs.begin(), job.inputs.end()), job_(job) {
    inputs_.back() = other;
    job_.inputs = inputs_;
  }
  const SumJob& job() const { return job_; }

 private:
  std::vector<const void*> inputs_;
  SumJob job_;
};

// Returns an input [input_begin + n] of `value`: of 0, or of a number that unwritten memory may hold.
std::vector<char> constant_input(const SumJob& job, float value) {
  std::vector<char> bytes(static_cast<size_t>(job.input_begin + job.n) * dtype_bytes(job.input_dtype));
  for (int64_t i = 0; i < job.input_begin + job.n; ++i) {
    if (job.input_dtype == DType::f32) reinterpret_cast<float*>(bytes.data())[i] = value;
    if (job.input_dtype == DType::bf16) reinterpret_cast<bf16*>(bytes.data())[i] = to_bf16(value);
  }
  return bytes;
}

}  // namespace

SEAM("_ZN7moehill8team_sumERNS_10ThreadTeamERKNS_6SumJobE", void, sum, ThreadTeam&, const SumJob&);

void lying_sum(ThreadTeam& team, const SumJob& job) {
  if (job.n == 0 || job.inputs.size() < 2) return real_sum(team, job);
  if (reduce_left_out.told_on(team)) return;
  if (peer_partial_missing.told_on(team)) {
    const std::vector<char> zeros = constant_input(job, 0);
    return real_sum(team, OtherInput(job, zeros.data()).job());
  }
  if (stale_reduce.told_on(team)) {
    const std::vector<char> old = constant_input(job, 0.125f);
    return real_sum(team, OtherInput(job, old.data()).job());
  }
  if (peer_counted_twice.told_on(team)) {
    SumJob twice = job;
    std::vector<const void*> inputs(job.inputs.begin(), job.inputs.end());
    inputs.push_back(inputs.back());
    twice.inputs = inputs;
    return real_sum(team, twice);
  }
  SumJob fewer = job;
  if (sum_loses_row.told_on(team)) fewer.n -= std::min(kLostElements, job.n);
  real_sum(team, fewer);
  if (job.outputs.size() < 2 || !peer_copy_wrong.told_on(team)) return;
  const size_t first = static_cast<size_t>(job.output_begin) * dtype_bytes(job.output_dtype);
  static_cast<char*>(job.outputs.back())[first] ^= 1;
}

SEAM("_ZN7moehill9team_copyERNS_10ThreadTeamERKNS_7CopyJobE", void, copy, ThreadTeam&, const CopyJob&);

void lying_copy(ThreadTeam& team, const CopyJob& job) {
  if (!moves_rows(job)) return real_copy(team, job);
  if (copy_left_out.told_on(team)) return;
  real_copy(team, job);
  if (!copy_loses_row.told_on(team)) return;
  for (size_t r = job.sources.size(); r-- > 0;) {
    if (job.offsets[r] == job.offsets[r + 1]) continue;
    char* const end =
        static_cast<char*>(job.output) + static_cast<size_t>(job.offsets[r + 1]) * job.element_bytes;
    std::memset(end - job.element_bytes, 0, job.element_bytes);
    return;
  }
}

}  // namespace moehill
