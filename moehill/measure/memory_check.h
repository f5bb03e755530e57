// The memory check predicts a command's memory before anything is allocated. A command that does not fit is
// refused with the parts of the prediction, so that the user sees what to make smaller.
//
//     require_memory(points, job, options.check);   // InputError on all processes, or bytes by rank
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/measure/points.h"
#include "moehill/mesh/job.h"
#include "moehill/parallel/memory_model.h"

namespace moehill {

// Predicts the memory of a process for all points, which are in memory together. Each distribution has
// operands of its own. The check's work space counts once, for the largest point.
std::vector<MemoryPart> predict_points_memory(const std::vector<Point>& points,
                                              const ProcessPlace& process = {},
                                              CheckMode check = CheckMode::sample);
double total_bytes(const std::vector<MemoryPart>& parts);
ProcessPlace place_of(const Job& job);

// Throws InputError that names the parts if they need more than 90 % of `available_bytes`.
void refuse_too_much_memory(
    const std::vector<MemoryPart>& parts, int64_t available_bytes,
    const std::string& remedy = "choose fewer --tokens, fewer --experts or fewer points at once");

// MemoryNeed is the memory that a process needs, and the memory that is there for it.
struct MemoryNeed {
  std::string node, parts;  // its host; the parts of its need in words
  double bytes = 0;
  double blas_bytes = 0;                      // addresses only, hardly touched
  int64_t node_bytes = 0, process_bytes = 0;  // available on the node, and below the process's own limits
};
// Says which process, by rank, or which node does not have enough; empty if all do.
std::string memory_fault(const std::vector<MemoryNeed>& needs);

// Returns the sentence for an allocation that the system refused although the memory was predicted to be
// there.
std::string memory_refusal();

// Gathers `value` of each process on the first one, by rank. Collective.
std::vector<double> by_rank(const Job& job, double value);
// Returns in words the bytes of all processes together, and the least and the most that one process has.
std::string memory_text(const std::vector<double>& bytes);

// Returns what the points need, by rank. Throws InputError unless the needs fit into 90 % of what each node
// has for its processes and of what the limits of each process leave. Collective, and it throws on all
// processes.
std::vector<double> require_memory(const std::vector<Point>& points, const Job& job, CheckMode check);

// Returns all points if they fit. If they do not, but fit without the points of the modes `none` and `dp`, it
// returns the points without these, because these modes need the whole block in one process; `note` then says
// so. Collective, the same on all processes.
std::vector<Point> without_large_references(const std::vector<Point>& points, const Job& job, CheckMode check,
                                            std::string& note);

}  // namespace moehill
