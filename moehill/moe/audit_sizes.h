// This header has the sizes of the audit: of its projections, its strips, and the memory that it takes.
#pragma once

#include <algorithm>

#include "moehill/moe/audit.h"
#include "moehill/moe/projection.h"

namespace moehill {

// Returns the projection for rows of n columns.
Projection audit_projection(int64_t n, const AuditOptions& options);

// Returns the columns of a strip of an expert with `rows` rows: whole blocks, and a multiple of a part of a
// panel, as read_part() needs it. With few rows, reading the weights takes most of the time, so a strip must
// stay in a core's cache. With many rows, reading the rows again for each strip takes most of the time, so
// strips are wider. With exact blocks a strip has all columns, because a row's relative error needs the whole
// row.
int64_t strip_columns(const Projection& p, int64_t rows, const AuditOptions& options);

// Returns the number of strips of the shared expert whose sums are kept until all processes have added
// theirs.
inline int64_t strips_at_once(int num_processes) { return std::max(16, num_processes); }

}  // namespace moehill
