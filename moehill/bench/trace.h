// Trace: what devices did when, as Chrome trace JSON (the "Trace Event Format"), which ui.perfetto.dev opens.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace moehill {

using TraceValue = std::variant<int64_t, double, std::string>;
using TraceFacts = std::vector<std::pair<std::string, TraceValue>>;

// Times in seconds of one clock. Slices of one track of a device must not overlap.
struct TraceSlice {
  int track = 0;
  std::string name;
  double begin = 0, end = 0;
  TraceFacts arguments = {};
};

struct TraceDevice {
  std::string name;
  std::vector<TraceSlice> slices;
};

// An arrow from the start of one slice to the end of another.
struct TraceFlow {
  struct Place {
    size_t device = 0, slice = 0;
  };
  std::string name;
  Place from, to;
  TraceFacts arguments = {};
};

struct Trace {
  std::vector<std::string> tracks;
  std::vector<TraceDevice> devices;
  std::vector<TraceFlow> flows;
  TraceFacts facts;  // of the file as a whole
};

// A process per device and a thread per track that has slices; microseconds from the earliest slice. An arrow
// that would end before it begins, by the error of two clocks, ends where it begins.
std::string chrome_trace(const Trace& trace);

}  // namespace moehill
