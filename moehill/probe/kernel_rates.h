// Kernel rates measure the grouped GEMM alone, by rows in a group, direction and type, beside ragged_dot and
// a dense product with the same FLOPs, all interleaved (`moehill kernels`). probe/probe_blocks.h measures the
// products inside a step, as stages.
//
//     const auto results = measure_kernels(options, DType::bf16, /*mean_rows=*/137, team, yardstick);
//     results[0].gmm / results[0].dense;   // forward: 1 is as fast as a dense product
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/base/streamed_table.h"
#include "moehill/parallel/memory_model.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// KernelOptions are the options of `moehill kernels`.
struct KernelOptions {
  std::vector<int64_t> rows{1, 2, 4, 8, 16, 34, 68, 137, 273, 546, 1092, 4369};
  int64_t hidden = 2048, mlp_dim = 1408, groups = 60, max_rows = 16384, threads = 0, iters = 5, seed = 0;
  std::vector<DType> dtypes{DType::bf16};
  std::string json;
};

// KernelResult is one line of the table; rates are in FLOP/s.
struct KernelResult {
  DType dtype;
  int64_t mean_rows, groups, total_rows, hidden, columns;
  const char* direction;
  double gmm, ragged_dot, dense;
};

// Returns the parts of memory that a case takes. One case is in memory at a time.
std::vector<MemoryPart> kernel_memory(const KernelOptions& options, DType dtype, int64_t mean_rows);

// Measures the three directions of one case. `stop` is asked after each sample; if it returns true, the case
// ends without results.
std::vector<KernelResult> measure_kernels(const KernelOptions& options, DType dtype, int64_t mean_rows,
                                          ThreadTeam& team, Yardstick& yardstick,
                                          const std::function<bool()>& stop = {});

// Returns the table, whose rows are printed as they are measured, one row of it, and the records of all
// results.
StreamedTable kernel_table(const KernelOptions& options);
std::vector<std::string> kernel_row(const KernelResult& result, const Peaks& peaks);
// Returns the answer in one sentence: the range of the shares of the peak, and of the rates beside dense.
std::string kernel_answer(const std::vector<KernelResult>& results, const Peaks& peaks);
std::string kernel_records(const KernelOptions& options, int threads,
                           const std::vector<KernelResult>& results, const Peaks& peaks);

}  // namespace moehill
