// The memory that points need, by part: the same lay-out code that allocates, asked for its size.
#pragma once

#include <string>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/block/run_config.h"

namespace moehill {

// The operands that a process has of a run: rows of tokens and places of experts.
struct HeldOperands {
  Range tokens, experts;
};

// A process among those of a job, each of which is a device; all devices are in one where it is alone. A
// point without parallelism is in the first one.
struct ProcessPlace {
  int num_processes = 1;
  int processes_of_a_node = 1;
  int rank = 0;
};
HeldOperands held_operands(const RunConfig& config, const ProcessPlace& process);

// Bytes that a process needs for its part of the runs, by part; the printed parts of a refusal.
struct MemoryPart {
  std::string name;
  double bytes;
};
// `runs`: all points that are resident at once; equal operands are counted once.
std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& runs, const ProcessPlace& process = {});

}  // namespace moehill
