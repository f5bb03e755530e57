// The simulator is a module of its own, libmoehill_simgrid.so, which a process loads when it simulates.
// SimGrid and the libraries that it brings take 0.1 s to load, and most commands need none of them.
//
//     void* module = dlopen("libmoehill_simgrid.so", RTLD_NOW | RTLD_LOCAL);
//     const auto simulate = reinterpret_cast<decltype(&moehill_simulate)>(dlsym(module, "moehill_simulate"));
//     simulate(cluster, program, {}, bytes);   // in a child process, since a process can simulate once
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/simulation/engine.h"

// The module's only function. It simulates in this process, which it can do once, and writes the Simulation
// as CBOR to `result`. Program and module have to be of one build, since C++ types pass between them.
extern "C" __attribute__((visibility("default"))) void moehill_simulate(
    const moehill::Cluster& cluster, const moehill::StepProgram& program,
    const moehill::SimulationProgress& progress, std::vector<uint8_t>& result);
