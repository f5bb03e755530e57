// Environment: the machine and the build that a record was made with.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/machine/topology.h"

namespace moehill {

struct Environment {
  Topology topology;
  std::string build, compiler, flags;
  std::string kernels_id;   // of the grouped GEMM's sources, compiler and flags: what tuned blocks hold for
  std::string kernel;       // SIMD target that the kernels run on
  std::string mpi;          // the library, in a job of several processes; else empty
  int num_nodes = 1;        // of the job
  std::string system;       // operating system and its release
  std::string host;         // the machine's name in its network
  double load_average = 0;  // of the last minute, before the command ran anything
};

Environment detect_environment();

std::string build_name();  // version, build type, revision

// The time as "2026-02-09T13:40:00Z".
std::string utc_now();
double unix_seconds();

// A number drawn by the system, so that no two processes anywhere have the same.
uint64_t random_id();

}  // namespace moehill
