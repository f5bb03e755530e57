// Sizes of the audit: its projections, its strips, and the memory that it takes.
#pragma once

#include <algorithm>

#include "moehill/moe/audit.h"
#include "moehill/moe/projection.h"

namespace moehill {

// Returns the projection for rows of n columns.
Projection audit_projection(int64_t n, const AuditOptions& options);

// Columns of a strip of an expert with `rows` rows: whole blocks, and a multiple of a panel's part, as
// read_part() wants. Of few rows the weights' stream is the time, so a strip stays in a core's cache; with
// many rows reading them again for each strip is. With exact blocks a row's relative error needs the whole
// row.
int64_t strip_columns(const Projection& p, int64_t rows, const AuditOptions& options);

// Strips of the shared expert whose sums are in memory until all processes have added theirs.
inline int64_t strips_at_once(int num_processes) { return std::max(16, num_processes); }

}  // namespace moehill
