// The memory model predicts the bytes that points need, by part. It asks the code that allocates for its
// sizes instead of keeping formulas of its own, so the two cannot drift apart. Commands use it to refuse a
// run that does not fit, before they allocate anything, and records keep it. It does not measure: the peak of
// a run is in RecordedMemory.
//
//     for (const MemoryPart& part : predict_memory(configs, {.num_processes = 8, .rank = 3}))
//       fmt::print("{}: {:.0f} bytes\n", part.name, part.bytes);   // weights, gradients, x y dx, ...
#pragma once

#include <string>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/block/run_config.h"

namespace moehill {

// HeldOperands says which operands of a run one process has: rows of these tokens, and these places of
// experts.
struct HeldOperands {
  Range tokens, experts;
};

// ProcessPlace is one process of a job. In a job of several processes each process is a device; a single
// process has all devices. A point without parallelism runs in the first process.
struct ProcessPlace {
  int num_processes = 1;
  int processes_of_a_node = 1;
  int rank = 0;
};
HeldOperands held_operands(const RunConfig& config, const ProcessPlace& process);

// MemoryPart is one part of the bytes that a process needs. A refusal prints all parts.
struct MemoryPart {
  std::string name;
  double bytes;
};
// Returns the parts for `runs`, all points that are in memory at once. Operands that several of them share
// count once.
std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& runs, const ProcessPlace& process = {});

}  // namespace moehill
