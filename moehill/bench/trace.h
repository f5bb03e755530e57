// Trace holds what devices did and when. chrome_trace() writes it as Chrome trace JSON (the "Trace Event
// Format"), which ui.perfetto.dev opens.
// It is a picture of one step for a person to look at; results are computed from records and not from traces.
//
//     Trace trace{.tracks = {"compute", "network"},
//                 .devices = {{"device 0", {{0, "experts", 0.001, 0.004}}}}};
//     std::ofstream("step.json") << chrome_trace(trace);
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace moehill {

using TraceValue = std::variant<int64_t, double, std::string>;
using TraceFacts = std::vector<std::pair<std::string, TraceValue>>;

// TraceSlice is one thing done, in seconds of one clock that all devices share. Slices of the same track of a
// device must not overlap.
struct TraceSlice {
  int track = 0;
  std::string name;
  double begin = 0, end = 0;
  TraceFacts arguments = {};
};

// TraceDevice is one device of the trace, which a viewer shows as one process.
struct TraceDevice {
  std::string name;
  std::vector<TraceSlice> slices;
};

// TraceFlow is an arrow from the start of one slice to the end of another, such as a message.
struct TraceFlow {
  struct Place {
    size_t device = 0, slice = 0;
  };
  std::string name;
  Place from, to;
  TraceFacts arguments = {};
};

// `tracks` names the rows of each device; TraceSlice::track is an index into it.
struct Trace {
  std::vector<std::string> tracks;
  std::vector<TraceDevice> devices;
  std::vector<TraceFlow> flows;
  TraceFacts facts;  // about the file as a whole
};

// Returns the JSON: a process for each device and a thread for each track that has slices, in microseconds
// from the earliest slice. Clocks of two hosts differ a little, so an arrow may seem to end before it begins;
// it then ends where it begins.
std::string chrome_trace(const Trace& trace);

}  // namespace moehill
