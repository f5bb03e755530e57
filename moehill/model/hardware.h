// Hardware: what the model must know of a machine, read from a TOML file or made from a probe of this one.
//
// A device is made of units (cores of a CPU, or one chip); rates of compute are those of a unit. A file in
// hardware/ gives the source of each of its figures in a comment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/mesh/collective.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

enum class GemmDirection { forward, input_grad, weight_grad };
inline constexpr int kNumGemmDirections = 3;
const char* name_of(GemmDirection);

// Measured or assumed speed of a grouped GEMM with matrices [k, n] by mean rows of a group: the fraction of
// the unit's peak, one curve a direction, with rows rising. Between two sizes the model interpolates.
struct GemmCurve {
  DType dtype = DType::bf16;
  int64_t k = 0, n = 0;
  std::vector<double> rows;
  std::vector<double> fraction[kNumGemmDirections];
  int units = 0;           // of each device where it was measured; 0: of any
  bool one_group = false;  // measured with a single group, whose rows or columns a device's units share
};

// One level of the network. levels[0] joins the devices of a node, and its bandwidth is one device's, each
// way; levels[1] and above join nodes, and their bandwidth is that of a node's whole connection, each way.
struct LinkLevel {
  std::string name;
  double latency_s = 0;
  double bytes_per_s = 0;
};

enum class TopologyKind { node, fat_tree, torus, dragonfly };
const char* name_of(TopologyKind);  // as in the file: "fat-tree"

struct ClusterTopology {
  TopologyKind kind = TopologyKind::node;
  int devices_per_node = 1;
  int max_devices = 0;  // 0: no limit
  // torus: extents. fat-tree: nodes under a leaf switch, then uplinks of a leaf. dragonfly: groups, routers
  // of a group, nodes of a router. node: empty.
  std::vector<int> dims;
  std::vector<LinkLevel> levels;
};

// Measured time of a collective among the devices of a node by the bytes that a device sends (or receives,
// whichever is more), rising. Where there is none, the levels' latency and bandwidth stand in.
struct CollectiveCurve {
  Collective op = Collective::all_reduce;
  int devices = 1;
  std::vector<double> bytes, seconds;
  DType dtype = DType::f32;  // of the values that are summed
};

// Rates of what is not a GEMM, of one unit: bytes read and written. 0: bound by memory bandwidth alone.
struct RowRates {
  double gather = 0, combine = 0, swiglu = 0, zero = 0;  // B/s
};

struct CacheLevel {
  std::string name;
  double bytes = 0;
  int units = 1;  // that share it
};

enum class HardwareUnit { core, chip };
constexpr auto words(HardwareUnit) { return std::array{"core", "chip"}; }

struct Hardware {
  std::string name, source;
  HardwareUnit unit = HardwareUnit::core;
  int units_per_device = 1;                       // unless the run says otherwise
  double peak_f32 = 0, peak_bf16 = 0;             // FLOP/s of a unit
  std::string f32_instruction, bf16_instruction;  // that reach them; empty: not named
  double memory_bytes_per_s = 0;                  // of one unit alone, reading
  double node_memory_bytes_per_s = 0;             // of all units of a node at once
  double memory_bytes = 0;                        // of a node
  std::vector<CacheLevel> caches;
  ClusterTopology topology;
  std::vector<GemmCurve> gemm;
  std::vector<CollectiveCurve> collectives;
  std::string efficiency_source;
  RowRates rows;
  double plan_s_per_assignment = 0;  // of one unit
  double barrier_s = 0;              // of all devices of a node
  double start_s = 0;                // of a step: waking the threads that slept since the last one
  double stage_s = 0;                // fixed cost of a stage: starting and joining its threads

  double peak(DType dtype) const { return dtype == DType::f32 ? peak_f32 : peak_bf16; }
  const std::string& instruction(DType dtype) const {
    return dtype == DType::f32 ? f32_instruction : bf16_instruction;
  }
  bool is_chip() const { return unit == HardwareUnit::chip; }
};

// Throws InputError with file, line and the key for what is missing, unknown or out of range.
Hardware read_hardware_text(const std::string& toml, const std::string& name_of_source);
// A name: of a file in the folder MOEHILL_HARDWARE, where that is set, else of one that comes with the
// program; or a path. What lies in the current folder has no say in what a name means, so that a program is
// predicted alike wherever it is started.
Hardware load_hardware(const std::string& name_or_path, const char* what = "--hardware");
// TOML that read_hardware_text() reads back as the same; `comments` stand at the top, one a line.
std::string hardware_toml(const Hardware& hardware, const std::vector<std::string>& comments);

}  // namespace moehill
