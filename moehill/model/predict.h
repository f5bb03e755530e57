// Prediction is the seconds of every stage and of the step, from the exact work of a plan (model/work.h) and
// a description of the hardware (model/hardware.h). The formulas are in docs/metrics.md. It does not simulate
// networks; simulation/ does.
//
//   const Prediction prediction = predict(problem, count_plan(routing, {}, 8), hardware, 4);
//   prediction.time_s;
#pragma once

#include <string>
#include <vector>

#include "moehill/model/work.h"

namespace moehill {

// Bound is the cause that limits a stage or a step.
enum class Bound { compute, memory, link, imbalance, overhead };
inline constexpr int kNumBounds = 5;
const char* name_of(Bound);

// StagePrediction is the seconds of a stage on the slowest device, by the kind of work or wait.
struct StagePrediction {
  Stage stage = Stage::plan;
  double gemm_s = 0;      // products
  double rows_s = 0;      // row operations, and making the plan
  double link_s = 0;      // collectives
  double network_s = 0;   // the part of link_s on the network between nodes
  double wait_s = 0;      // waiting for the slowest device, before a collective
  double overhead_s = 0;  // starting and joining threads
  double hidden_s = 0;    // the part of link_s that is covered by other work; seconds() subtracts it
  double flops = 0, memory_bytes = 0, link_bytes = 0;  // of that device
  bool memory_bound = false;                           // its products are limited by memory

  double seconds() const { return gemm_s + rows_s + link_s + wait_s + overhead_s - hidden_s; }
};

// Prediction is the prediction of a step.
struct Prediction {
  double time_s = 0;
  double hidden_s = 0;  // time of links that is covered by work
  std::vector<StagePrediction> stages;
  double memory_bytes = 0;  // of the device that needs most
  double sent_bytes = 0;    // of all devices
  double flops = 0;         // of all devices
};

// Predicts a step. units: cores or chips of each device. All P devices are assumed to work at the same time.
Prediction predict(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units);

// GemmQuery is a grouped product on a device with `units` units.
struct GemmQuery {
  DType dtype;
  GemmDirection direction;
  double rows;   // of a group
  int64_t k, n;  // of each matrix
  int units = 1;
  bool one_group = false;
};

// Returns the fraction of a unit's peak that a product reaches. It interpolates on logarithms between the
// points of a curve, and by inverse squared distance in (log k, log n) between curves. It uses only curves
// that were measured with the nearest number of units. For a product of one group it uses the curves of a
// single group among these, if there are any.
double gemm_fraction(const Hardware& hardware, const GemmQuery& query);

// Returns the seconds of one collective among num_devices devices. `dtype` is the type of values that are
// summed.
double link_seconds(const Hardware& hardware, Collective op, double bytes, int num_devices,
                    DType dtype = DType::f32);

// Returns a rate in B/s that link_seconds() never exceeds: the rate of the level that joins the devices, or
// of the measured collective if that is higher.
double link_rate(const Hardware& hardware, Collective op, int num_devices, DType dtype = DType::f32);

// True if, at the hardware's peaks, a stage's products need more time for their bytes than for their FLOPs.
bool is_memory_bound(const WorkProblem& problem, const Hardware& hardware, const StageWork& stage, int units,
                     int num_devices);
// True if the network between nodes, and not the links within a node, determines the time of a link.
bool is_on_network(const Hardware& hardware, const LinkWork& link, int num_devices);
// Returns the bytes of a link that a device sends to other nodes, or its share of what its node sends for it.
double network_sent_bytes(const Hardware& hardware, const LinkWork& link, int num_devices);
// Returns a rate in B/s that the bytes of a link never exceed on a device, by link_rate() or by the level of
// an exchange in two levels.
double rate_of(const Hardware& hardware, const LinkWork& link, int num_devices);
// LinkBytes are the bytes that a device sends and receives in a link. If rows have one form within a node and
// another between nodes, LinkBytes describes an exchange of uniform rows that has the same bytes between
// nodes, because the rates were measured with such exchanges.
struct LinkBytes {
  double sent = 0, received = 0;
  double larger() const { return std::max(sent, received); }
};
LinkBytes bytes_of(const Hardware& hardware, const LinkWork& link, int num_devices);

// Returns the memory bandwidth in B/s that one of `busy_units` working units of a node gets.
double memory_rate(const Hardware& hardware, int busy_units);

// WorkSeconds are the seconds of a stage without its collectives, on one of `num_devices` devices with
// `units` units each. They follow from measured efficiencies and rates. They are never less than the time of
// the FLOPs at peak, nor than the time of the bytes at memory bandwidth.
struct WorkSeconds {
  double gemm = 0, rows = 0, overhead = 0;
  double total() const { return gemm + rows + overhead; }
};
WorkSeconds work_seconds(const WorkProblem& problem, const Hardware& hardware, const DeviceWork& device,
                         const StageWork& stage, int units, int num_devices);

}  // namespace moehill
