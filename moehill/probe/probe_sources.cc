// Implementation of probe/probe_sources.h: a table of all keys.
#include "moehill/probe/probe_sources.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <sstream>
#include <string_view>

#include "moehill/base/error.h"

namespace moehill {
namespace {

struct Source {
  const char *section, *key, *source;
};

constexpr Source kSources[] = {
    {"", "units_per_device", "a device is one core"},
    {"peak_flops", "f32", "in registers, all cores at once, by core; the best of three"},
    {"peak_flops", "bf16", "the same by the fastest instruction for bf16"},
    {"memory", "bytes_per_s", "one core reading; the best of three medians of five passes"},
    {"memory", "node_bytes_per_s", "all cores reading; the best of three medians of five passes"},
    {"memory", "bytes", "physical memory, by the operating system"},
    {"cache", "bytes", "hwloc"},
    {"cache", "units", "hwloc: cores that share it"},
    {"topology", "devices_per_node", "one a core, or as the job had"},
    {"topology", "dims", "nodes of the job at one switch, with as many uplinks"},
    {"topology.levels", "latency_s", "the smallest all_to_all, the median of eight"},
    {"topology.levels", "bytes_per_s", "the largest all_to_all, less the smallest"},
    {"costs", "gather_bytes_per_s", "stage combine_grad of a block of 16,384 rows, less its combine; a core"},
    {"costs", "combine_bytes_per_s", "stage combine of a block of 16,384 rows; a core"},
    {"costs", "swiglu_bytes_per_s", "stage act_grad of a block of 16,384 rows; a core"},
    {"costs", "zero_bytes_per_s", "0: memory bandwidth"},
    {"costs", "plan_s_per_assignment", "stage plan of a block of 16,384 assignments; a core"},
    {"costs", "barrier_s", "2000 barriers of all cores"},
    {"costs", "start_s", "a block with next to no work: what its first stage takes beyond stage_s"},
    {"costs", "stage_s",
     "a block with next to no work: the mean of its products' and row operations' stages"},
    {"gemm", "k", "of the calibration block"},
    {"gemm", "n", "of the calibration block"},
    {"gemm", "units", "cores of a device"},
    {"gemm", "groups", "of the calibration block"},
    {"gemm", "rows", "of a group of the calibration block"},
    {"gemm", "forward", "stage up or down, of the peak"},
    {"gemm", "input_grad", "stage up_grad or down_grad, of the peak"},
    {"gemm", "weight_grad", "stage w13_grad or w2_grad, of the peak"},
    {"collective", "devices", "of one core each"},
    {"collective", "bytes", "sent by a device"},
    {"collective", "seconds", "the median of eight calls; on threads the smaller of two such up to 1 MiB"},
};

// Returns the key of a line "key = figure"; empty for other lines.
std::string_view key_of(std::string_view line) {
  const size_t equals = line.find(" = ");
  if (equals == std::string_view::npos) return {};
  const char first = line[equals + 3];
  return std::isdigit(static_cast<unsigned char>(first)) != 0 || first == '[' ? line.substr(0, equals)
                                                                              : std::string_view();
}

}  // namespace

std::string with_sources(const std::string& toml) {
  std::istringstream lines(toml);
  std::string text, section;
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line[0] == '[')
      section = line.substr(line.rfind('[') + 1, line.find(']') - line.rfind('[') - 1);
    const bool comment = !line.empty() && line[0] == '#';
    const std::string_view key = comment ? std::string_view() : key_of(line);
    if (!key.empty()) {
      const auto found = std::find_if(std::begin(kSources), std::end(kSources), [&](const Source& source) {
        return source.section == section && source.key == key;
      });
      MOEHILL_CHECK(found != std::end(kSources), "no source of {} in [{}]", key, section);
      line += std::string("  # ") + found->source;
    }
    text += line + "\n";
  }
  return text;
}

}  // namespace moehill
