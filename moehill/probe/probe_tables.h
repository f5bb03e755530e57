// Probe tables print what a probe has measured. Rows are printed as they come, since a probe takes a while;
// the rest comes at the end.
//
//     ProbeTables tables(print);
//     measure_probe(environment, links, progress, [&](const Probe& probe) { tables.print_new(probe); });
//     print(probe_summary(probe));
#pragma once

#include <functional>
#include <string>

#include "moehill/base/streamed_table.h"
#include "moehill/probe/probe_measurement.h"

namespace moehill {

// ProbeTables prints bandwidths by threads and by NUMA nodes, and the speeds of products.
class ProbeTables {
 public:
  explicit ProbeTables(std::function<void(const std::string&)> print);
  // Prints the rows that came since the last call, and a header before the first row of each table.
  void print_new(const Probe& probe);

 private:
  void print_rows(const StreamedTable& table, const std::vector<std::vector<std::string>>& rows,
                  size_t& num_printed);

  std::function<void(const std::string&)> print_;
  StreamedTable bandwidth_, numa_, gemm_;
  size_t num_bandwidth_ = 0, num_numa_ = 0, num_gemm_ = 0;  // rows that are printed
};

// Returns the peaks, collectives, links and row operations.
std::string probe_summary(const Probe& probe);

}  // namespace moehill
