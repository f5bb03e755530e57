// Implementation of simulation/engine.h: the process loads SimGrid once, and a child process simulates and
// sends the result back.
#include "moehill/simulation/engine.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "moehill/simulation/child_process.h"
#include "moehill/simulation/simgrid/module.h"

namespace moehill {
namespace {

using Json = nlohmann::json;

Simulation from_json(const Json& json) {
  Simulation s;
  s.seconds = json["seconds"];
  s.delivered_bytes = json["delivered"];
  s.num_flows = json["flows"];
  s.peak_rss_bytes = json["peak_rss"];
  for (const Json& stage : json.value("stages", Json::array())) {
    s.stages.emplace_back();
    for (const Json& i : stage) s.stages.back().push_back({i[0], i[1]});
  }
  for (const Json& l : json.value("links", Json::array())) s.links.push_back({l[0], l[1], l[2]});
  return s;
}

decltype(&moehill_simulate) load_simulator() {
  // Programs look for it in their own folder and, when installed, in ../lib/moehill (their RUNPATH says so).
  void* module = dlopen("libmoehill_simgrid.so", RTLD_NOW | RTLD_LOCAL);
  void* function = module == nullptr ? nullptr : dlsym(module, "moehill_simulate");
  if (function == nullptr)
    throw std::runtime_error(
        fmt::format("cannot load the simulator ({}); build or install moehill again", dlerror()));
  return reinterpret_cast<decltype(&moehill_simulate)>(function);
}

// Loads the module at the first call. Children inherit it, so that not each of them loads it again.
decltype(&moehill_simulate) simulator() {
  static const auto function = load_simulator();
  return function;
}

}  // namespace

void require_simulator() { simulator(); }

Simulation simulate(const Cluster& cluster, const StepProgram& program, const SimulationProgress& progress) {
  const auto simulate_here = simulator();
  const std::vector<uint8_t> bytes = run_in_child([&] {
    std::vector<uint8_t> result;
    simulate_here(cluster, program, progress, result);
    return result;
  });
  return from_json(Json::from_cbor(bytes));
}

}  // namespace moehill
