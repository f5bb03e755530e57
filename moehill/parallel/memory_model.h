// The memory that points need, by part: the same lay-out code that allocates, asked for its size.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/run_config.h"

namespace moehill {

// Bytes that a run needs, by part; the printed parts of a refusal.
struct MemoryPart {
  std::string name;
  double bytes;
};
// `runs`: all points that are resident at once; equal operands are counted once. With num_processes > 1 each
// device is a process, which holds what its device needs of the operands; the first one holds all of them.
std::vector<MemoryPart> predict_memory(const std::vector<RunConfig>& runs, int num_processes = 1);

}  // namespace moehill
