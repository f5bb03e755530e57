// Environment describes the machine and the build with which a record was made. Some of its fields decide
// whether earlier findings still hold. Tuned block sizes hold for one CPU model, kernel and kernels_id.
// Climbed options also need the same number of cores. A probe holds for one CPU model, number of cores,
// kernel and build.
//
//     Environment environment = detect_environment();
//     environment.kernel;   // "AVX512_BF16"
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
  int num_nodes = 1;  // of the job
  // [processes] the node of each if nodes are irregular (mesh/nodes.h); otherwise empty. The model has no
  // such nodes.
  std::vector<int> node_of;
  std::string system;       // operating system and its release
  std::string host;         // the machine's name in its network
  double load_average = 0;  // of the last minute, before the command ran anything
};

Environment detect_environment();

std::string build_name();  // version, build type, and the sources' revision when this program was built

// Returns the XXH3 of the file, piece by piece, as 16 hexadecimal digits; "unknown" if it cannot be read.
std::string file_hash(const std::string& path);
// Returns the hash of the running program's file, in which the whole library is. It is computed once.
const std::string& program_hash();
// Returns "0.2.0 Release 1234abc-dirty, program 0123456789abcdef". The name alone would be the same for two
// builds of an edited tree, so results are told apart by the hash.
std::string build_identity(const Environment& environment);

// Returns the time as "2026-02-09T13:40:00Z".
std::string utc_now();
double unix_seconds();

// Returns a number drawn by the system, so that no two processes anywhere have the same one.
uint64_t random_id();

}  // namespace moehill
