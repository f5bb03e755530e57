// Prediction: seconds of every stage and of the step, from the exact work of a plan and a description of the
// hardware. Formulas are in docs/metrics.md.
#pragma once

#include <string>
#include <vector>

#include "moehill/model/work.h"

namespace moehill {

// The cause that holds a stage, or a step, back.
enum class Bound { compute, memory, link, imbalance, overhead };
inline constexpr int kNumBounds = 5;
const char* name_of(Bound);

// Seconds of a stage on the slowest device, by what they are spent on.
struct StagePrediction {
  Stage stage = Stage::plan;
  double gemm_s = 0;      // products
  double rows_s = 0;      // row operations and the plan
  double link_s = 0;      // collectives
  double network_s = 0;   // of link_s, what the network between nodes takes
  double wait_s = 0;      // for the slowest device, before a collective
  double overhead_s = 0;  // starting and joining threads
  double hidden_s = 0;    // of link_s, under work that goes on meanwhile; not in seconds()
  double flops = 0, memory_bytes = 0, link_bytes = 0;  // of that device
  bool memory_bound = false;                           // its products wait for memory

  double seconds() const { return gemm_s + rows_s + link_s + wait_s + overhead_s - hidden_s; }
};

struct Prediction {
  double time_s = 0;
  double hidden_s = 0;  // of links under work
  std::vector<StagePrediction> stages;
  double memory_bytes = 0;  // of the device that needs the most
  double sent_bytes = 0;    // all devices
  double flops = 0;         // all devices
};

// units: of each device (cores, or chips). Takes all P devices as at work at once.
Prediction predict(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units);

// A grouped product on a device of so many units.
struct GemmQuery {
  DType dtype;
  GemmDirection direction;
  double rows;   // of a group
  int64_t k, n;  // of the matrices
  int units = 1;
  bool one_group = false;
};

// Fraction of a unit's peak that the product has: between the curves' points on logarithms, between curves by
// inverse squared distance in (log k, log n). Curves count that were measured on devices of the nearest
// number of units, and of those the ones of a single group for a product of one group, if there are any.
double gemm_fraction(const Hardware& hardware, const GemmQuery& query);

// Seconds of one collective among num_devices devices; dtype: of values that are summed.
double link_seconds(const Hardware& hardware, Collective op, double bytes, int num_devices,
                    DType dtype = DType::f32);

// B/s that link_seconds() never exceeds: of the level that joins the devices or, if that is more, of the
// measured collective.
double link_rate(const Hardware& hardware, Collective op, int num_devices, DType dtype = DType::f32);

// True if a stage's products take longer for their bytes than for their FLOPs, at the hardware's peaks.
bool is_memory_bound(const WorkProblem& problem, const Hardware& hardware, const StageWork& stage, int units,
                     int num_devices);
// True if the network between nodes, not the links of one, takes the time of a link's bytes.
bool is_on_network(const Hardware& hardware, const LinkWork& link, int num_devices);
// B/s that a link's bytes never exceed on a device, by link_rate() or the level of an exchange in two.
double rate_of(const Hardware& hardware, const LinkWork& link, int num_devices);
// Bytes that a device sends and receives in a link. If its rows have one form inside of a node and another
// between nodes, they are those of an exchange of uniform rows with the same bytes between nodes, because
// rates are of such exchanges.
struct LinkBytes {
  double sent = 0, received = 0;
  double larger() const { return std::max(sent, received); }
};
LinkBytes bytes_of(const Hardware& hardware, const LinkWork& link, int num_devices);

// B/s that one of `busy_units` units at work in a node has from memory.
double memory_rate(const Hardware& hardware, int busy_units);

// Seconds of a stage on one of `num_devices` devices with so many units, but for its collectives: by measured
// efficiencies and rates, and never below its FLOPs at the peak and its bytes at the memory's bandwidth.
struct WorkSeconds {
  double gemm = 0, rows = 0, overhead = 0;
  double total() const { return gemm + rows + overhead; }
};
WorkSeconds work_seconds(const WorkProblem& problem, const Hardware& hardware, const DeviceWork& device,
                         const StageWork& stage, int units, int num_devices);

}  // namespace moehill
