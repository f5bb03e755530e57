// Implementation of bench/trace.h. The letters "M", "X", "s" and "f" are phases of the Trace Event Format:
// metadata, a complete slice, the start of a flow and its end.
#include "moehill/bench/trace.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

namespace moehill {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMicro = 1e6;

Json object_of(const TraceFacts& facts) {
  Json object = Json::object();
  for (const auto& [name, value] : facts) {
    std::visit([&, &key = name](const auto& v) { object[key] = v; }, value);
  }
  return object;
}

// Times in the file count from the earliest slice, so that the viewer does not begin with hours of nothing.
double earliest(const Trace& trace) {
  double start = std::numeric_limits<double>::max();
  for (const TraceDevice& device : trace.devices) {
    for (const TraceSlice& slice : device.slices) start = std::min(start, slice.begin);
  }
  return start;
}

Json name_event(const char* what, size_t pid, int tid, const std::string& name) {
  return {{"ph", "M"}, {"name", what}, {"pid", pid}, {"tid", tid}, {"args", {{"name", name}}}};
}

Json order_event(const char* what, size_t pid, int tid, size_t order) {
  return {{"ph", "M"}, {"name", what}, {"pid", pid}, {"tid", tid}, {"args", {{"sort_index", order}}}};
}

void add_device(const Trace& trace, size_t pid, double start, Json& events) {
  const TraceDevice& device = trace.devices[pid];
  events.push_back(name_event("process_name", pid, 0, device.name));
  events.push_back(order_event("process_sort_index", pid, 0, pid));
  std::set<int> tracks;
  for (const TraceSlice& slice : device.slices) tracks.insert(slice.track);
  for (const int tid : tracks) {
    events.push_back(name_event("thread_name", pid, tid, trace.tracks[static_cast<size_t>(tid)]));
    events.push_back(order_event("thread_sort_index", pid, tid, static_cast<size_t>(tid)));
  }
  for (const TraceSlice& slice : device.slices) {
    Json event = {{"ph", "X"},
                  {"name", slice.name},
                  {"cat", trace.tracks[static_cast<size_t>(slice.track)]},
                  {"pid", pid},
                  {"tid", slice.track},
                  {"ts", (slice.begin - start) * kMicro},
                  {"dur", (slice.end - slice.begin) * kMicro}};
    if (!slice.arguments.empty()) event["args"] = object_of(slice.arguments);
    events.push_back(std::move(event));
  }
}

// The viewer attaches an arrow to the slice that encloses its time. So the arrow's end lies just inside the
// slice to which it points.
void add_flow(const Trace& trace, size_t id, double start, Json& events) {
  const TraceFlow& flow = trace.flows[id];
  const TraceSlice& from = trace.devices[flow.from.device].slices[flow.from.slice];
  const TraceSlice& to = trace.devices[flow.to.device].slices[flow.to.slice];
  const double begin = from.begin;
  const double end = std::max(begin, to.begin + 0.999 * (to.end - to.begin));
  Json event = {{"ph", "s"},
                {"name", flow.name},
                {"cat", "rows"},
                {"id", id},
                {"pid", flow.from.device},
                {"tid", from.track},
                {"ts", (begin - start) * kMicro}};
  if (!flow.arguments.empty()) event["args"] = object_of(flow.arguments);
  events.push_back(event);
  event["ph"] = "f";
  // "e" binds the arrow to the slice around it, and not to the next one that begins.
  event["bp"] = "e";
  event["pid"] = flow.to.device;
  event["tid"] = to.track;
  event["ts"] = (end - start) * kMicro;
  events.push_back(std::move(event));
}

}  // namespace

std::string chrome_trace(const Trace& trace) {
  const double start = earliest(trace);
  Json events = Json::array();
  for (size_t pid = 0; pid < trace.devices.size(); ++pid) add_device(trace, pid, start, events);
  for (size_t id = 0; id < trace.flows.size(); ++id) add_flow(trace, id, start, events);
  return Json{{"traceEvents", events}, {"displayTimeUnit", "ms"}, {"otherData", object_of(trace.facts)}}.dump(
             1) +
         "\n";
}

}  // namespace moehill
