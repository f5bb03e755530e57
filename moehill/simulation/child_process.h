// run_in_child() runs a function in a process of its own, whose memory and global state end with it. It is
// for libraries that can be started only once in a process, such as SimGrid.
//
//     const std::vector<uint8_t> bytes = run_in_child([&] { return serialize(simulate()); });
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace moehill {

// Forks, runs `work` in the child and returns its bytes. No other thread may run meanwhile, because fork()
// copies only the calling one. Throws std::runtime_error with the child's reason if the child throws or dies.
std::vector<uint8_t> run_in_child(const std::function<std::vector<uint8_t>()>& work);

}  // namespace moehill
