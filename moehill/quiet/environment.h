// Environment describes the machine and the build with which a record was made. Nothing is decided by it
// except whether tuned block sizes still hold (kernels_id).
//
//     Environment environment = detect_environment();
//     environment.kernel;   // "AVX3_SPR"
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/machine/topology.h"

namespace moehill {

struct Environment {
  Topology topology;
  std::string build, compiler, flags;
  // A hash of the grouped GEMM's sources, compiler and flags. Tuned block sizes hold for the same id only.
  std::string kernels_id;
  std::string kernel;  // the SIMD target that the kernels run on
  // The MPI library in a job of several processes, otherwise empty.
  std::string mpi;
  int num_nodes = 1;        // of the job
  std::string system;       // operating system and its release
  std::string host;         // the machine's name in its network
  double load_average = 0;  // of the last minute, before the command ran anything
};

Environment detect_environment();

std::string build_name();  // version, build type and revision

// Returns the time as "2026-02-09T13:40:00Z".
std::string utc_now();
double unix_seconds();

// Returns a number drawn by the system, so that no two processes anywhere have the same one.
uint64_t random_id();

}  // namespace moehill
