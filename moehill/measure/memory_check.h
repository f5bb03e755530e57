// Memory: predicted before anything is allocated, refused with its parts where it does not fit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/measure/points.h"
#include "moehill/parallel/memory_model.h"

namespace moehill {

// Parts of all points that are resident together, each distribution with operands of its own.
// num_processes as predict_memory() has it. The check's work space is that of the largest point, and the
// memory that empties the caches is that of one node.
std::vector<MemoryPart> predict_points_memory(const std::vector<Point>& points, int num_processes = 1,
                                              CheckMode check = CheckMode::sample);
double total_bytes(const std::vector<MemoryPart>& parts);

// Throws InputError naming the largest parts when they need more than 90 % of `available_bytes`.
void refuse_too_much_memory(
    const std::vector<MemoryPart>& parts, int64_t available_bytes,
    const std::string& remedy = "choose fewer --tokens, fewer --experts or fewer points at once");

}  // namespace moehill
