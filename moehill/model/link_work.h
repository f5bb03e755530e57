// Bytes of each collective of a step on one device, by path: what mesh/traffic.h will count.
#pragma once

#include "moehill/model/work.h"

namespace moehill {

// Rows of tokens from one device to another, out to their experts.
int64_t rows_between(const PlanCounts& counts, RowWay way, int from, int to);

// Returns the bytes of a row of the link on its way from one device to another.
inline int64_t row_bytes_between(const PlanCounts& counts, const LinkWork& link, int from, int to) {
  return counts.nodes.of(from) == counts.nodes.of(to) ? link.row_bytes : link.network_row_bytes;
}

std::vector<LinkWork> plan_links(const WorkProblem& problem, const PlanCounts& counts, int device);
// Rows of x; those of dy are as many.
std::vector<LinkWork> dispatch_links(const WorkProblem& problem, const PlanCounts& counts, int device);
std::vector<LinkWork> forward_links(const WorkProblem& problem, const PlanCounts& counts, int device);
std::vector<LinkWork> backward_links(const WorkProblem& problem, const PlanCounts& counts, int device);
// Gradients that are summed around experts of another width than the model's.
std::vector<LinkWork> around_links(const WorkProblem& problem, const PlanCounts& counts, int device);

}  // namespace moehill
