// The CPUs of a node among its processes: each has some that its launcher or its user allows it, the same as
// others have or some of its own.
#pragma once

#include <vector>

namespace moehill {

// allowed[l]: the CPUs of the node's l-th process, one a core, in the order of use. Returns for each process
// num_threads of its own, and no CPU twice; nothing if there are not enough. Processes that are allowed the
// same get neighbouring ones in their order. kAnyCpu is a core that nobody is held on.
std::vector<std::vector<int>> share_cpus(const std::vector<std::vector<int>>& allowed, int num_threads);

// The most threads with which share_cpus() succeeds; 1 at least.
int fair_threads(const std::vector<std::vector<int>>& allowed);

}  // namespace moehill
