// Link work: the bytes of each collective of a step on one device, by path. They equal the bytes that
// mesh/traffic.h counts when the step runs.
//
//   for (const LinkWork& link : forward_links(problem, counts, device)) bytes += link.sent_bytes;
#pragma once

#include "moehill/model/work.h"

namespace moehill {

// Returns the number of rows of tokens that go from one device to another for their experts.
int64_t rows_between(const PlanCounts& counts, RowWay way, int from, int to);

// Returns the bytes of one row of this link between two devices; rows may have another form between nodes.
inline int64_t row_bytes_between(const PlanCounts& counts, const LinkWork& link, int from, int to) {
  return counts.nodes.of(from) == counts.nodes.of(to) ? link.row_bytes : link.network_row_bytes;
}

// Returns the collectives that make the plan.
std::vector<LinkWork> plan_links(const WorkProblem& problem, const PlanCounts& counts, int device);
// Returns the collectives that bring rows of x to their experts. Rows of dy take as many bytes.
std::vector<LinkWork> dispatch_links(const WorkProblem& problem, const PlanCounts& counts, int device);
// These return the collectives that bring results back in the forward pass, and in the backward pass with all
// gradients.
std::vector<LinkWork> forward_links(const WorkProblem& problem, const PlanCounts& counts, int device);
std::vector<LinkWork> backward_links(const WorkProblem& problem, const PlanCounts& counts, int device);
// Returns the collectives that sum gradients of the products around experts of another width than the
// model's.
std::vector<LinkWork> around_links(const WorkProblem& problem, const PlanCounts& counts, int device);

}  // namespace moehill
