// This header shares the CPUs of a node among its processes. The launcher or the user may allow each process
// other CPUs, or allow several processes the same ones.
//
//   share_cpus({{0, 1, 2, 3}, {0, 1, 2, 3}}, 2);   // {{0, 1}, {2, 3}}
#pragma once

#include <vector>

namespace moehill {

// Returns num_threads CPUs for each process, so that no CPU is given twice; nothing if there are not enough.
// allowed[l] has the CPUs of the node's l-th process, one for each core, in the order of use. Processes that
// are allowed the same CPUs get neighbouring CPUs, in the order of the processes. kAnyCpu stands for a core
// to which no thread is pinned.
std::vector<std::vector<int>> share_cpus(const std::vector<std::vector<int>>& allowed, int num_threads);

// Returns the largest number of threads with which share_cpus() succeeds, but at least 1.
int fair_threads(const std::vector<std::vector<int>>& allowed);

}  // namespace moehill
