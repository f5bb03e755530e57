// Hardware is what the model must know of a machine. It is read from a TOML file, or made by probing this
// machine. It measures nothing itself (probe/probe_measurement.h does).
//
// A device consists of units: cores of a CPU, or one chip. Rates of compute are those of one unit. Files in
// hardware/ give the source of each figure in a comment.
//
//   const Hardware hardware = load_hardware("tpu-v5p");   // or the path of a file
//   hardware.peak(DType::bf16);                           // FLOP/s of a unit
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/mesh/collective.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// GemmDirection is one of the three products that training needs (kernels/grouped_gemm.h).
enum class GemmDirection { forward, input_grad, weight_grad };
inline constexpr int kNumGemmDirections = 3;
const char* name_of(GemmDirection);

// GemmCurve is the speed of a grouped GEMM with matrices [k, n], measured or assumed. It gives the fraction
// of the unit's peak by the mean number of rows of a group, with rising rows and one curve for each
// direction. The model interpolates between sizes.
struct GemmCurve {
  DType dtype = DType::bf16;
  int64_t k = 0, n = 0;
  std::vector<double> rows;
  std::vector<double> fraction[kNumGemmDirections];
  int units = 0;           // units of each device when it was measured; 0: valid for any number
  bool one_group = false;  // measured with a single group, whose rows or columns the units of a device share
};

// LinkLevel is one level of the network. levels[0] joins the devices of a node; its bandwidth is what one
// device gets in each direction. levels[1] and above join nodes; their bandwidth is what a node's whole
// connection gets in each direction.
struct LinkLevel {
  std::string name;
  double latency_s = 0;
  double bytes_per_s = 0;
};

// TopologyKind is the form of the network between nodes. `node`: there is none, all devices are in one node.
enum class TopologyKind { node, fat_tree, torus, dragonfly };
const char* name_of(TopologyKind);  // as in the file, such as "fat-tree"

// ClusterTopology says how devices are joined into nodes, and nodes into a cluster.
struct ClusterTopology {
  TopologyKind kind = TopologyKind::node;
  int devices_per_node = 1;
  int max_devices = 0;  // 0: no limit
  // The sizes of the network, counted in nodes, by kind. torus: extents. fat-tree: nodes under a leaf switch,
  // then uplinks of a leaf. dragonfly: groups, routers of a group, nodes of a router. node: empty. Other
  // kinds may leave them out, and then the number of nodes determines them.
  std::vector<int> dims;
  std::vector<LinkLevel> levels;

  // Without a network all devices are on one node.
  bool has_network() const { return kind != TopologyKind::node && levels.size() > 1; }
  // Returns the most devices that there are: of the node, or as many as max_devices and the extents allow. 0:
  // no limit.
  int most_devices() const;
};

// CollectiveCurve is the measured time of a collective among the devices of a node, by the bytes that a
// device sends or receives (whichever is more), rising. Without a curve, the level's latency and bandwidth
// are used.
struct CollectiveCurve {
  Collective op = Collective::all_reduce;
  int devices = 1;
  std::vector<double> bytes, seconds;
  DType dtype = DType::f32;  // of values that are summed
};

// RowRates are the rates of one unit's row operations, in bytes read and written per second. 0: only memory
// bandwidth limits them.
struct RowRates {
  double gather = 0, combine = 0, swiglu = 0, zero = 0;  // B/s
};

// CacheLevel is one level of cache.
struct CacheLevel {
  std::string name;
  double bytes = 0;
  int units = 1;  // units that share it
};

// HardwareUnit is what a device consists of. The cores of a node can also work as one device; chips cannot.
enum class HardwareUnit { core, chip };
constexpr auto words(HardwareUnit) { return std::array{"core", "chip"}; }

// Hardware is the description of a machine.
struct Hardware {
  std::string name, source;
  HardwareUnit unit = HardwareUnit::core;
  int units_per_device = 1;                       // unless the run has another number
  double peak_f32 = 0, peak_bf16 = 0;             // FLOP/s of a unit
  std::string f32_instruction, bf16_instruction;  // the instructions that reach these peaks; empty: not named
  double memory_bytes_per_s = 0;                  // of one unit that reads alone
  double node_memory_bytes_per_s = 0;             // of all units of a node at once
  double memory_bytes = 0;                        // of a node
  std::vector<CacheLevel> caches;
  ClusterTopology topology;
  std::vector<GemmCurve> gemm;
  std::vector<CollectiveCurve> collectives;
  std::string efficiency_source;
  RowRates rows;
  double plan_s_per_assignment = 0;  // of one unit
  double barrier_s = 0;              // a barrier of all devices of a node
  double start_s = 0;  // for a step: waking the threads that have gone to sleep since the last one
  double stage_s = 0;  // fixed cost of a stage: starting and joining its threads

  double peak(DType dtype) const { return dtype == DType::f32 ? peak_f32 : peak_bf16; }
  const std::string& instruction(DType dtype) const {
    return dtype == DType::f32 ? f32_instruction : bf16_instruction;
  }
  bool is_chip() const { return unit == HardwareUnit::chip; }
};

// Throws InputError if the hardware has fewer devices. `as_nodes`: the message speaks of --nodes, by which
// the devices were asked for.
void require_devices(const Hardware& hardware, int num_devices, bool as_nodes = false);

// Reads a hardware file. Throws InputError with file, line and key for anything missing, unknown or out of
// range.
Hardware read_hardware_text(const std::string& toml, const std::string& name_of_source);
// Loads a file by name or path. A name stands for a file in the folder $MOEHILL_HARDWARE, if that is set, or
// for a file that comes with the program. Files in the current folder do not change what a name means, so the
// same command gives the same prediction in every folder.
Hardware load_hardware(const std::string& name_or_path, const char* what = "--hardware");
// Returns TOML that read_hardware_text() reads back as the same hardware. `comments` are put at the top, one
// on each line.
std::string hardware_toml(const Hardware& hardware, const std::vector<std::string>& comments);

}  // namespace moehill
