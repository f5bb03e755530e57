// Implements jobs.h. Sums are made block by block in L1; the team's threads share the elements at cache
// lines.
#include "moehill/mesh/jobs.h"

#include <algorithm>
#include <cstring>

#include "moehill/machine/past_caches.h"
#include "moehill/mesh/line_share.h"

namespace moehill {
namespace {

// The sums of a block (8 KiB) and the same block of one input fit in any L1, so partial sums never go to
// memory.
constexpr int64_t kBlock = 2048;

template <typename In>
void add_pair(const In* __restrict a, const In* __restrict b, float* __restrict sums, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] = to_f32(a[i]) + to_f32(b[i]);
}

template <typename In>
void add(const In* __restrict input, float* __restrict sums, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] += to_f32(input[i]);
}

template <typename In>
void widen(const In* __restrict input, float* __restrict sums, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sums[i] = to_f32(input[i]);
}

template <typename Out>
void narrow(const float* __restrict sums, Out* __restrict output, int64_t n) {
  for (int64_t i = 0; i < n; ++i) output[i] = from_f32<Out>(sums[i]);
}

// Sums n elements of all inputs. It reads all inputs of a block before it writes any output, so an output may
// be an input.
template <typename In, typename Out>
void sum_block(const SumJob& job, bool past_caches, int64_t begin, int64_t n) {
  alignas(64) float sums[kBlock];
  alignas(64) Out rounded[kBlock];
  const auto input = [&](size_t r) {
    return static_cast<const In*>(job.inputs[r]) + job.input_begin + begin;
  };
  if (job.inputs.size() == 1) {
    widen(input(0), sums, n);
  } else {
    add_pair(input(0), input(1), sums, n);
  }
  for (size_t r = 2; r < job.inputs.size(); ++r) add(input(r), sums, n);
  narrow(sums, rounded, n);
  const size_t bytes = static_cast<size_t>(n) * sizeof(Out);
  for (void* const output : job.outputs) {
    Out* const to = static_cast<Out*>(output) + job.output_begin + begin;
    past_caches ? copy_past_caches(to, rounded, bytes) : void(std::memcpy(to, rounded, bytes));
  }
}

template <typename In, typename Out>
void sum_all(ThreadTeam& team, const SumJob& job) {
  const size_t element_bytes = sizeof(In) * job.inputs.size() + sizeof(Out) * job.outputs.size();
  const bool past_caches = job.n * static_cast<int64_t>(element_bytes) >= kPastCachesBytes;
  team.run([&](int i) {
    const Range range = line_share({0, job.n}, i, team.size(), kLineElements);
    for (int64_t begin = range.begin; begin < range.end; begin += kBlock) {
      sum_block<In, Out>(job, past_caches, begin, std::min(kBlock, range.end - begin));
    }
  });
}

// Every thread takes its share of every segment. So no thread is idle if one segment is already in place or
// is much longer than the others.
void copy_share(const CopyJob& job, bool past_caches, int64_t i, int64_t num_shares) {
  const int64_t element_bytes = static_cast<int64_t>(job.element_bytes);
  for (size_t r = 0; r < job.sources.size(); ++r) {
    const Range segment{job.offsets[r] * element_bytes, job.offsets[r + 1] * element_bytes};
    const Range part = line_share(segment, i, num_shares, kLineBytes);
    if (part.size() == 0) continue;
    char* const to = static_cast<char*>(job.output) + part.begin;
    const char* const from = static_cast<const char*>(job.sources[r]) + (part.begin - segment.begin);
    if (from == to) continue;
    const size_t bytes = static_cast<size_t>(part.size());
    past_caches ? copy_past_caches(to, from, bytes) : void(std::memcpy(to, from, bytes));
  }
}

}  // namespace

void team_sum(ThreadTeam& team, const SumJob& job) {
  if (job.n == 0) return;
  const bool to_f32_output = job.output_dtype == DType::f32;
  if (job.input_dtype == DType::f32) {
    to_f32_output ? sum_all<float, float>(team, job) : sum_all<float, bf16>(team, job);
  } else {
    to_f32_output ? sum_all<bf16, float>(team, job) : sum_all<bf16, bf16>(team, job);
  }
}

void team_copy(ThreadTeam& team, const CopyJob& job) {
  if (job.offsets.back() == job.offsets.front()) return;
  const int64_t bytes = (job.offsets.back() - job.offsets.front()) * static_cast<int64_t>(job.element_bytes);
  const bool past_caches = 2 * bytes >= kPastCachesBytes;
  team.run([&](int i) { copy_share(job, past_caches, i, team.size()); });
}

}  // namespace moehill
