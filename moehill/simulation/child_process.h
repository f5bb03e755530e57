// A function in a process of its own, whose memory and global state end with it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace moehill {

// Forks, runs `work` in the child and returns its bytes. No other thread may run meanwhile. Throws
// std::runtime_error with the child's reason if it throws or dies.
std::vector<uint8_t> run_in_child(const std::function<std::vector<uint8_t>()>& work);

}  // namespace moehill
