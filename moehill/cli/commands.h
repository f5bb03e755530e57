// The subcommands: each takes the arguments after its name and returns the exit status.
#pragma once

#include <string>
#include <vector>

namespace moehill {

inline constexpr int kExitDone = 0;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitCheckFailed = 3;
inline constexpr int kExitRunFailed = 5;

int bench_command(const std::vector<std::string>& args);
int check_command(const std::vector<std::string>& args);
int kernels_command(const std::vector<std::string>& args);
int mesh_command(const std::vector<std::string>& args);

// Finds the subcommand and runs it. Errors end in one line on standard error and the exit status of their
// kind.
int run_command_line(const std::vector<std::string>& args);

}  // namespace moehill
