// Implementation of measure/timeline.h: a device of the trace has tracks for the step, for computing stages,
// for communicating stages and for waits. Arrows show which device's rows another device receives.
#include "moehill/measure/timeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "moehill/machine/clock.h"
#include "moehill/measure/stage_listener.h"

namespace moehill {
namespace {

// Tracks are the rows of a device in the viewer.
enum Track { step_track, compute_track, communication_track, wait_track };

constexpr Stage kExchanges[] = {Stage::dispatch, Stage::reduce, Stage::dispatch_grad, Stage::reduce_grad};

bool exchanges(Stage stage) {
  return std::find(std::begin(kExchanges), std::end(kExchanges), stage) != std::end(kExchanges);
}

const StageWork* work_of(const PointResult& result, size_t device, Stage stage) {
  for (const StageWork& work : result.work[device].stages) {
    if (work.stage == stage) return &work;
  }
  return nullptr;
}

// Returns the experts at these places. With a placement they need not be neighbours.
std::string experts_at(const std::vector<int32_t>& placement, Range places) {
  if (places.size() == 0) return "none";
  if (placement.empty()) return fmt::format("{}-{}", places.begin, places.end - 1);
  std::string text;
  for (int64_t p = places.begin; p < places.end; ++p)
    text += fmt::format("{}{}", text.empty() ? "" : ",", placement[static_cast<size_t>(p)]);
  return text;
}

void add_experts(const PointResult& result, size_t device, const StageWork& work, TraceFacts& facts) {
  const RunConfig& config = result.point.config;
  const DeviceWork& all = result.work[device];
  if (work.gemms.front().of_tokens) {
    if (work.stage != Stage::latent && work.stage != Stage::latent_grad)
      facts.emplace_back("expert", std::string("shared"));
    facts.emplace_back("rows", all.token_rows);
    return;
  }
  PlanCounts counts;
  counts.experts = over_places(config).shape.experts;
  counts.num_devices = config.num_devices;
  const Range places = own_experts(config.spread, counts, static_cast<int>(device));
  facts.emplace_back("expert", experts_at(config.placement, places));
  facts.emplace_back("rows", std::accumulate(all.group_rows.begin(), all.group_rows.end(), int64_t{0}));
}

// Returns the figures of a stage whose slices last `seconds` together.
TraceFacts arguments_of(const PointResult& result, size_t device, Stage stage, double seconds,
                        int64_t num_slices) {
  TraceFacts facts;
  const StageWork* work = work_of(result, device, stage);
  if (work == nullptr) return facts;
  if (!work->gemms.empty()) add_experts(result, device, *work, facts);
  if (work->flops > 0) {
    const double peak = result.peak().best / result.point.config.num_devices;
    facts.emplace_back("flops", work->flops);
    if (peak > 0 && seconds > 0) facts.emplace_back("peak_fraction", work->flops / seconds / peak);
  }
  if (work->memory_bytes() > 0) facts.emplace_back("memory_bytes", work->memory_bytes());
  if (!work->links.empty()) {
    facts.emplace_back("sent_bytes", work->sent_bytes());
    facts.emplace_back("received_bytes", work->received_bytes());
  }
  if (num_slices > 1) facts.emplace_back("slices_together", num_slices);
  return facts;
}

// A stage may be entered several times, in waves for example. Its FLOPs are for all slices together, so the
// rate needs their sum.
void add_stages(const PointResult& result, size_t device, const DeviceEvents& events, TraceDevice& out) {
  std::vector<double> seconds(kNumStages);
  std::vector<int64_t> visits(kNumStages);
  for (const StageInterval& s : events.stages) {
    seconds[static_cast<size_t>(s.stage)] += s.end - s.begin;
    ++visits[static_cast<size_t>(s.stage)];
  }
  for (const StageInterval& s : events.stages) {
    const Stage stage = static_cast<Stage>(s.stage);
    const size_t i = static_cast<size_t>(s.stage);
    out.slices.push_back({exchanges(stage) ? communication_track : compute_track, name_of(stage), s.begin,
                          s.end, arguments_of(result, device, stage, seconds[i], visits[i])});
  }
}

void add_step(const PointResult& result, size_t device, size_t step, const DeviceEvents& events,
              TraceDevice& out) {
  if (events.stages.empty()) return;
  out.slices.push_back(
      {step_track, fmt::format("step {}", step), events.stages.front().begin, events.stages.back().end});
  add_stages(result, device, events, out);
  for (const Wait& w : events.waits) out.slices.push_back({wait_track, "wait for peers", w.begin, w.end});
}

// StageSlices are the slices of one stage in a step.
struct StageSlices {
  size_t first = 0, last = 0;
};
std::optional<StageSlices> find(const TraceDevice& device, size_t from, Stage stage) {
  std::optional<StageSlices> found;
  for (size_t i = from; i < device.slices.size(); ++i) {
    if (device.slices[i].name != name_of(stage)) continue;
    if (!found) found = {i, i};
    found->last = i;
  }
  return found;
}

bool only_all_to_all(const StageWork& work) {
  return std::all_of(work.links.begin(), work.links.end(),
                     [](const LinkWork& link) { return link.op == Collective::all_to_all; });
}

// Returns the rows that `from` sends to `to` in a stage in which rows travel to their experts, or back from
// them.
int64_t pair_rows(const PointResult& result, Stage stage, size_t from, size_t to) {
  const bool back = stage == Stage::reduce || stage == Stage::reduce_grad;
  const size_t num_devices = result.work.size();
  return result.pair_rows[back ? to * num_devices + from : from * num_devices + to];
}

// Adds an arrow for each pair of devices between which the stage moves something.
void add_flows(const PointResult& result, Stage stage, const std::vector<size_t>& step_begins, Trace& trace) {
  for (size_t from = 0; from < result.work.size(); ++from) {
    const StageWork* const work = work_of(result, from, stage);
    const auto sender = find(trace.devices[from], step_begins[from], stage);
    if (work == nullptr || !sender || work->sent_bytes() == 0) continue;
    for (size_t to = 0; to < result.work.size(); ++to) {
      const auto receiver = find(trace.devices[to], step_begins[to], stage);
      if (to == from || !receiver) continue;
      // A receiver that ended this stage before the sender began it waits for the rows in a later stage.
      if (trace.devices[to].slices[receiver->last].end <= trace.devices[from].slices[sender->first].begin)
        continue;
      TraceFacts facts;
      if (only_all_to_all(*work)) {
        const int64_t rows = pair_rows(result, stage, from, to);
        if (rows == 0) continue;
        facts.emplace_back("rows", rows);
      }
      trace.flows.push_back({name_of(stage), {from, sender->first}, {to, receiver->last}, facts});
    }
  }
}

// Returns the seconds that one event costs: the best of several batches of stages and waits. The cost of a
// wait includes its two readings of the clock.
double event_seconds() {
  constexpr int kBatches = 20, kPairs = 500;
  ClockedStages stages(seconds);
  double best = std::numeric_limits<double>::infinity();
  for (int batch = 0; batch < kBatches; ++batch) {
    stages.restart();
    const double begin = seconds();
    for (int i = 0; i < kPairs; ++i) {
      stages.enter(Stage::up);
      const double wait_begin = seconds();
      stages.waited({.begin = wait_begin, .end = seconds(), .came = wait_begin});
    }
    best = std::min(best, (seconds() - begin) / (2 * kPairs));
  }
  return best;
}

}  // namespace

TimelineCost timeline_cost(const PointResult& result) {
  TimelineCost cost;
  if (result.events.empty()) return cost;
  for (const DeviceEvents& device : result.events.back())
    cost.num_events = std::max(cost.num_events, device.stages.size() + device.waits.size());
  cost.seconds = static_cast<double>(cost.num_events) * event_seconds();
  return cost;
}

Trace make_timeline(const PointResult& result, double clock_uncertainty) {
  Trace trace;
  trace.tracks = {"step", "compute", "communication", "waiting"};
  int64_t num_dropped = 0;
  for (size_t step = 0; step < result.events.size(); ++step) {
    const StepEvents& events = result.events[step];
    trace.devices.resize(events.size());
    std::vector<size_t> begins;
    for (size_t device = 0; device < events.size(); ++device) {
      trace.devices[device].name = fmt::format("device {}", device);
      begins.push_back(trace.devices[device].slices.size());
      add_step(result, device, step, events[device], trace.devices[device]);
      num_dropped += events[device].num_dropped;
    }
    for (const Stage stage : kExchanges) add_flows(result, stage, begins, trace);
  }
  trace.facts = {{"point", result.point.label},
                 {"clock_uncertainty_us", 1e6 * clock_uncertainty},
                 {"dropped_events", num_dropped},
                 {"peak_flops", result.peak().best},
                 {"peak_instruction", result.peak().instruction}};
  return trace;
}

}  // namespace moehill
