// Implementation of model/predict.h: products by measured efficiency, rows by bytes, collectives by their
// size, and the waits between devices. docs/metrics.md has the formulas.
#include "moehill/model/predict.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "moehill/model/flight.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

// Interpolates y(x) linearly in the logarithms of both. Below the first point it continues with
// `slope_below`, above the last with `slope_above`.
double interpolate(const std::vector<double>& xs, const std::vector<double>& ys, double x, double slope_below,
                   double slope_above) {
  const size_t i = static_cast<size_t>(std::lower_bound(xs.begin(), xs.end(), x) - xs.begin());
  if (i == 0) return ys.front() * std::pow(x / xs.front(), slope_below);
  if (i == xs.size()) return ys.back() * std::pow(x / xs.back(), slope_above);
  const double part = std::log(x / xs[i - 1]) / std::log(xs[i] / xs[i - 1]);
  return ys[i - 1] * std::pow(ys[i] / ys[i - 1], part);
}

// Returns the measured curve of a collective, with this dtype if there is one; null if there is no curve.
const CollectiveCurve* measured_curve(const Hardware& hardware, Collective op, int num_devices, DType dtype) {
  const CollectiveCurve* measured = nullptr;
  for (const CollectiveCurve& curve : hardware.collectives) {
    if (curve.op != op || curve.devices != num_devices) continue;
    if (measured == nullptr || curve.dtype == dtype) measured = &curve;
  }
  return measured;
}

// DeviceTime is the seconds of a device, stage by stage, and the part of the link seconds for which rows are
// in flight.
struct DeviceTime {
  std::vector<StagePrediction> stages;
  std::vector<double> flight_s;
  double own_part = 1;
  double experts_of_row = 1;
  double busy_s(size_t begin, size_t end) const {
    double sum = 0;
    for (size_t i = begin; i < end; ++i) sum += stages[i].seconds() - stages[i].link_s;
    return sum;
  }
};

// Returns the seconds of row operations and of making the plan. For a rate that was not measured it takes the
// memory's rate.
double row_seconds(const Hardware& h, const StageWork& stage, int units, int busy_units) {
  const double memory = memory_rate(h, busy_units);
  const auto seconds = [&](double bytes, double rate) { return bytes / (rate > 0 ? rate : memory); };
  const double rows = seconds(stage.rows.gather, h.rows.gather) +
                      seconds(stage.rows.combine, h.rows.combine) +
                      seconds(stage.rows.swiglu, h.rows.swiglu) + seconds(stage.rows.zero, h.rows.zero);
  return (rows + to_double(stage.assignments) * h.plan_s_per_assignment) / units;
}

// Returns the seconds of a stage's products on a device with so many units, by measured efficiency.
double gemm_seconds(const Hardware& hardware, DType dtype, const DeviceWork& device, const StageWork& stage,
                    int units, int busy_units) {
  double seconds = 0;
  // If only one group has rows, the units of the device share that group; curves of a single group fit
  // better.
  const int64_t busy =
      std::count_if(device.group_rows.begin(), device.group_rows.end(), [](int64_t r) { return r > 0; });
  for (const GemmWork& gemm : stage.gemms) {
    const bool one_group = gemm.of_tokens || busy == 1;
    const double peak = hardware.peak(dtype) * units;
    const bool writes = gemm.direction == GemmDirection::weight_grad;
    const auto add = [&](int64_t rows) {
      if (rows == 0) {  // the gradient of an empty group is written as zeros
        const double bytes = to_double(gemm.k * gemm.n) * to_double(static_cast<int64_t>(dtype_bytes(dtype)));
        if (writes) seconds += bytes / (memory_rate(hardware, busy_units) * units);
        return;
      }
      const double flops = 2 * to_double(rows) * to_double(gemm.k) * to_double(gemm.n);
      const double fraction =
          gemm_fraction(hardware, {dtype, gemm.direction, to_double(rows), gemm.k, gemm.n, units, one_group});
      seconds += flops / (peak * fraction);
    };
    if (gemm.of_tokens) {
      add(device.token_rows);
    } else {
      for (const int64_t rows : device.group_rows) add(rows);
    }
  }
  return seconds;
}

bool spans_nodes(const Hardware& h, int num_devices) {
  return num_devices > h.topology.devices_per_node && h.topology.levels.size() > 1;
}

// Returns the seconds of one level of an exchange in two levels. Rows between nodes do not load the links
// within a node, and rows within a node do not load the network.
double level_seconds(const Hardware& h, const LinkWork& link, int num_devices) {
  const int in_node = std::min(num_devices, h.topology.devices_per_node);
  const double bytes = to_double(std::max(link.sent_bytes, link.received_bytes));
  if (link.way == RowWay::inside) return link_seconds(h, link.op, bytes, in_node, link.dtype);
  if (!spans_nodes(h, num_devices)) return link_seconds(h, link.op, bytes, num_devices, link.dtype);
  return std::ceil(std::log2(num_devices)) * h.topology.levels[1].latency_s +
         bytes / rate_of(h, link, num_devices);
}

// Returns the seconds of a link. Rows that are read in place cost only a barrier.
double seconds_of(const Hardware& h, const LinkWork& link, int num_devices) {
  if (link.in_place) return h.barrier_s;
  if (link.way != RowWay::direct) return level_seconds(h, link, num_devices);
  const double seconds =
      link_seconds(h, link.op, bytes_of(h, link, num_devices).larger(), num_devices, link.dtype);
  if (!link.is_mixed()) return seconds;
  const double inside = to_double(std::max(link.sent_bytes, link.received_bytes));
  return std::max(seconds, inside / h.topology.levels.front().bytes_per_s);
}

// Returns the time of those links of a stage whose rows are in flight while it computes.
double flight_seconds(const Hardware& h, const StageWork& stage, int num_devices) {
  double seconds = 0;
  for (const LinkWork& link : stage.links) seconds += link.in_flight ? seconds_of(h, link, num_devices) : 0;
  return seconds;
}

// Returns the seconds of one stage on one device, without waits.
StagePrediction stage_time(const WorkProblem& p, const Hardware& h, const DeviceWork& device,
                           const StageWork& stage, int units, int num_devices) {
  StagePrediction t;
  t.stage = stage.stage;
  t.flops = stage.flops;
  t.memory_bytes = stage.memory_bytes();
  t.memory_bound = is_memory_bound(p, h, stage, units, num_devices);
  const WorkSeconds work = work_seconds(p, h, device, stage, units, num_devices);
  t.gemm_s = work.gemm;
  t.rows_s = work.rows;
  t.overhead_s = work.overhead;
  for (const LinkWork& link : stage.links) {
    t.link_bytes += to_double(std::max(link.sent_bytes, link.received_bytes));
    const double seconds = seconds_of(h, link, num_devices);
    t.link_s += seconds;
    t.network_s += is_on_network(h, link, num_devices) ? seconds : 0;
  }
  return t;
}

// Returns the device that has the most work.
size_t slowest_of(const std::vector<DeviceTime>& devices) {
  const size_t num_stages = devices.front().stages.size();
  size_t slowest = 0;
  for (size_t d = 1; d < devices.size(); ++d) {
    if (devices[d].busy_s(0, num_stages) > devices[slowest].busy_s(0, num_stages)) slowest = d;
  }
  return slowest;
}

// Devices meet in every stage that has a collective. There the faster devices wait for the device that took
// longest since the last meeting. Returns device `slowest` with its waits. In each stage the time of its rows
// in flight is limited to the difference of two maxima over the devices: of the link time, and of the link
// time without rows in flight.
DeviceTime merge(const std::vector<DeviceTime>& devices, size_t slowest) {
  const size_t num_stages = devices.front().stages.size();
  DeviceTime merged = devices[slowest];
  size_t begin = 0;
  for (size_t i = 0; i < num_stages; ++i) {
    // The meeting stage has work before and after its collective; all of it counts as work before the
    // meeting.
    double longest = 0, link = 0, other_link = 0, network = 0;
    for (const DeviceTime& device : devices) {
      longest = std::max(longest, device.busy_s(begin, i + 1));
      link = std::max(link, device.stages[i].link_s);
      network = std::max(network, device.stages[i].network_s);
      other_link = std::max(other_link, device.stages[i].link_s - device.flight_s[i]);
    }
    // Without a collective there is no meeting, and the times go on adding up.
    if (link == 0 && i + 1 < num_stages) continue;
    merged.stages[i].wait_s = longest - devices[slowest].busy_s(begin, i + 1);
    merged.stages[i].link_s = link;
    merged.stages[i].network_s = network;
    merged.flight_s[i] = std::min(merged.flight_s[i], link - other_link);
    begin = i + 1;
  }
  return merged;
}

// Subtracts the hidden time for a pass of `fused`, whose rows and sums travel in waves.
void hide_waves(const WorkProblem& problem, bool backward, DeviceTime& device) {
  std::vector<StagePrediction>& stages = device.stages;
  const auto index = [&](Stage name) {
    const auto at = [&](const StagePrediction& stage) { return stage.stage == name; };
    return static_cast<size_t>(std::find_if(stages.begin(), stages.end(), at) - stages.begin());
  };
  const size_t out = index(backward ? Stage::dispatch_grad : Stage::dispatch),
               back = index(backward ? Stage::reduce_grad : Stage::reduce);
  const double rows_s = device.flight_s[out], sums_s = device.flight_s[back];
  const WavePass pass = wave_pass(problem, backward, device.own_part, [&](Stage name) {
    const size_t i = index(name);
    // Stages that this step does not have take no time.
    return i < stages.size() ? stages[i].gemm_s : 0;
  });
  const FlightWaits waits =
      waits_of(pass, shares_of_waves(problem.num_waves, device.experts_of_row), rows_s, sums_s);
  stages[out].hidden_s = std::max(0.0, rows_s - waits.rows);
  stages[back].hidden_s = std::max(0.0, sums_s - waits.sums);
}

// Finds for each stage how much of its flight is hidden by products that run meanwhile.
void hide_flights(const WorkProblem& problem, DeviceTime& device) {
  std::vector<StagePrediction>& stages = device.stages;
  if (goes_in_waves(problem)) {
    hide_waves(problem, false, device);
    if (problem.backward) hide_waves(problem, true, device);
    return;
  }
  for (size_t i = 0; i < stages.size(); ++i) {
    double products = 0;
    for (const Meanwhile& part : work_meanwhile(problem, stages[i].stage)) {
      for (const StagePrediction& stage : stages) {
        if (stage.stage == part.stage) products += stage.gemm_s * (part.own_rows ? device.own_part : 1);
      }
    }
    stages[i].hidden_s = std::min(device.flight_s[i], products);
  }
}

}  // namespace

const char* name_of(Bound bound) {
  constexpr const char* kNames[kNumBounds] = {"compute", "memory", "link", "imbalance", "overhead"};
  return kNames[static_cast<int>(bound)];
}

double gemm_fraction(const Hardware& hardware, const GemmQuery& query) {
  // If no curve has the data type, curves of the other type are used.
  const bool any = std::any_of(hardware.gemm.begin(), hardware.gemm.end(),
                               [&](const GemmCurve& curve) { return curve.dtype == query.dtype; });
  // A Layout is the distance of a curve from the layout that was asked for: first by units, then by groups.
  using Layout = std::pair<double, bool>;
  const auto other_layout = [&](const GemmCurve& curve) -> Layout {
    return {curve.units == 0 ? 0 : std::abs(std::log(to_double(query.units) / to_double(curve.units))),
            curve.one_group != query.one_group};
  };
  Layout nearest{std::numeric_limits<double>::infinity(), true};
  for (const GemmCurve& curve : hardware.gemm) {
    if (!any || curve.dtype == query.dtype) nearest = std::min(nearest, other_layout(curve));
  }
  // Takes the mean of the nearest curves, in logarithms, weighted by the inverse squared distance of the
  // matrix's size.
  double sum = 0, weights = 0;
  for (const GemmCurve& curve : hardware.gemm) {
    if ((any && curve.dtype != query.dtype) || other_layout(curve) > nearest) continue;
    const double dk = std::log(to_double(query.k) / to_double(curve.k));
    const double dn = std::log(to_double(query.n) / to_double(curve.n));
    const double weight = 1 / (dk * dk + dn * dn + 1e-3);
    const std::vector<double>& fraction = curve.fraction[static_cast<int>(query.direction)];
    sum += weight * std::log(interpolate(curve.rows, fraction, query.rows, 1, 0));
    weights += weight;
  }
  return std::exp(sum / weights);
}

double memory_rate(const Hardware& hardware, int busy_units) {
  return std::min(hardware.memory_bytes_per_s, hardware.node_memory_bytes_per_s / std::max(1, busy_units));
}

double link_seconds(const Hardware& hardware, Collective op, double bytes, int num_devices, DType dtype) {
  const ClusterTopology& topology = hardware.topology;
  if (num_devices == 1) return 0;
  if (const CollectiveCurve* measured = measured_curve(hardware, op, num_devices, dtype)) {
    return bytes <= 0 ? measured->seconds.front()
                      : interpolate(measured->bytes, measured->seconds, bytes, 0, 1);
  }
  const int in_node = std::min(num_devices, topology.devices_per_node);
  // A collective by a tree takes log2(P) steps, an all-reduce twice as many, each with a latency.
  const double steps = (op == Collective::all_reduce ? 2 : 1) * std::ceil(std::log2(num_devices));
  const LinkLevel& inner = topology.levels.front();
  if (num_devices <= topology.devices_per_node || topology.levels.size() == 1)
    return steps * inner.latency_s + bytes / inner.bytes_per_s;
  const LinkLevel& outer = topology.levels[1];
  // Ring collectives leave a node once; rows by the routing go to all devices alike.
  const double leaving =
      op == Collective::all_to_all ? bytes * in_node * (num_devices - in_node) / (num_devices - 1) : bytes;
  return steps * outer.latency_s + std::max(bytes / inner.bytes_per_s, leaving / outer.bytes_per_s);
}

bool is_memory_bound(const WorkProblem& p, const Hardware& h, const StageWork& stage, int units,
                     int num_devices) {
  const int busy_units = units * std::min(num_devices, h.topology.devices_per_node);
  return stage.gemm_bytes / memory_rate(h, busy_units) > stage.flops / h.peak(p.dtype);
}

bool is_on_network(const Hardware& h, const LinkWork& link, int num_devices) {
  if (link.in_place || link.way == RowWay::inside || !spans_nodes(h, num_devices)) return false;
  if (link.way == RowWay::across || link.op != Collective::all_to_all) return true;
  const double in_node = h.topology.devices_per_node;
  // Leaving and inside are the bytes of a node's connection and of a device's own link. They are counted only
  // for rows of two forms. For other rows the same share of every row leaves the node, so any unit will do.
  double leaving = in_node * (num_devices - in_node) / (num_devices - 1), inside = 1;
  if (link.is_mixed()) {
    leaving = in_node * to_double(std::max(link.network_sent_bytes, link.network_received_bytes));
    inside = to_double(std::max(link.sent_bytes, link.received_bytes));
  }
  return leaving / h.topology.levels[1].bytes_per_s >= inside / h.topology.levels[0].bytes_per_s;
}

double network_sent_bytes(const Hardware& h, const LinkWork& link, int num_devices) {
  if (link.in_place || link.way == RowWay::inside || !spans_nodes(h, num_devices)) return 0;
  const double in_node = h.topology.devices_per_node, sent = to_double(link.sent_bytes);
  const bool is_counted = link.way == RowWay::across || link.is_mixed();
  if (is_counted && !link.is_even) return to_double(link.network_sent_bytes);
  // Rows go to all devices alike; the other collectives leave a node once, for all of its devices.
  return link.op == Collective::all_to_all ? sent * (num_devices - in_node) / (num_devices - 1)
                                           : sent / in_node;
}

LinkBytes bytes_of(const Hardware& h, const LinkWork& link, int num_devices) {
  if (link.way != RowWay::direct || !link.is_mixed() || !spans_nodes(h, num_devices))
    return {to_double(link.sent_bytes), to_double(link.received_bytes)};
  const double share = to_double(num_devices - 1) / (num_devices - h.topology.devices_per_node);
  return {share * to_double(link.network_sent_bytes), share * to_double(link.network_received_bytes)};
}

double rate_of(const Hardware& h, const LinkWork& link, int num_devices) {
  const int in_node = std::min(num_devices, h.topology.devices_per_node);
  if (link.way == RowWay::inside) return link_rate(h, link.op, in_node, link.dtype);
  if (link.way == RowWay::across && spans_nodes(h, num_devices))
    return h.topology.levels[1].bytes_per_s / in_node;
  return link_rate(h, link.op, num_devices, link.dtype);
}

double link_rate(const Hardware& hardware, Collective op, int num_devices, DType dtype) {
  const ClusterTopology& topology = hardware.topology;
  const bool far = num_devices > topology.devices_per_node && topology.levels.size() > 1;
  double rate = topology.levels[far ? 1 : 0].bytes_per_s;
  if (const CollectiveCurve* measured = measured_curve(hardware, op, num_devices, dtype)) {
    for (size_t i = 0; i < measured->bytes.size(); ++i)
      rate = std::max(rate, measured->bytes[i] / measured->seconds[i]);
  }
  return rate;
}

WorkSeconds work_seconds(const WorkProblem& problem, const Hardware& h, const DeviceWork& device,
                         const StageWork& stage, int units, int num_devices) {
  const int busy_units = units * std::min(num_devices, h.topology.devices_per_node);
  const double memory = memory_rate(h, busy_units) * units, peak = h.peak(problem.dtype) * units;
  const double products = gemm_seconds(h, problem.dtype, device, stage, units, busy_units);
  return {std::max({products, stage.flops / peak, stage.gemm_bytes / memory}),
          std::max(row_seconds(h, stage, units, busy_units), stage.rows.total() / memory),
          h.stage_s * to_double(std::max<int64_t>(1, static_cast<int64_t>(stage.gemms.size())))};
}

Prediction predict(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware,
                   int units) {
  std::vector<DeviceTime> devices;
  Prediction prediction;
  for (int d = 0; d < counts.num_devices; ++d) {
    const DeviceWork work = device_work(problem, counts, d);
    DeviceTime time;
    time.own_part = work.own_part;
    time.experts_of_row = experts_of_row(counts, d);
    for (const StageWork& stage : work.stages) {
      time.stages.push_back(stage_time(problem, hardware, work, stage, units, counts.num_devices));
      time.flight_s.push_back(flight_seconds(hardware, stage, counts.num_devices));
    }
    const double weights = work.weight_bytes * (problem.backward ? 2 : 1);
    prediction.memory_bytes = std::max(prediction.memory_bytes, weights + work.activation_bytes);
    prediction.sent_bytes += to_double(work.sent_bytes());
    prediction.flops += work.flops();
    devices.push_back(std::move(time));
  }
  // The slowest device decides the time of the step, and it waits where others are slower in a stage.
  DeviceTime slowest = merge(devices, slowest_of(devices));
  if (rows_fly(problem, hardware.topology, hardware.is_chip(), counts.num_devices))
    hide_flights(problem, slowest);
  prediction.stages = std::move(slowest.stages);
  if (units * counts.num_devices > 1) prediction.stages.front().overhead_s += hardware.start_s;
  for (const StagePrediction& stage : prediction.stages) {
    prediction.time_s += stage.seconds();
    prediction.hidden_s += stage.hidden_s;
  }
  return prediction;
}

}  // namespace moehill
