// The subcommands: each takes the arguments after its name and returns the exit status.
#pragma once

#include <string>
#include <vector>

#include "moehill/mesh/job.h"

namespace moehill {

inline constexpr int kExitDone = 0;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitCheckFailed = 3;
inline constexpr int kExitRegression = 4;
inline constexpr int kExitRunFailed = 5;
inline constexpr int kExitInterrupted = 75;  // and can be resumed
inline constexpr int kExitSignal = 128;      // + the signal that ended a measurement before its time

// These run on all processes of a job, which return the same status.
int bench_command(const std::vector<std::string>& args, const Job& job);
int check_command(const std::vector<std::string>& args, const Job& job);
int profile_command(const std::vector<std::string>& args, const Job& job);
int mesh_command(const std::vector<std::string>& args, const Job& job);
int probe_command(const std::vector<std::string>& args, const Job& job);

int advise_command(const std::vector<std::string>& args);
int climb_command(const std::vector<std::string>& args);
int compare_command(const std::vector<std::string>& args);
int logbook_command(const std::vector<std::string>& args);
int simulate_command(const std::vector<std::string>& args);
int models_command(const std::vector<std::string>& args);
int kernels_command(const std::vector<std::string>& args);
int tune_command(const std::vector<std::string>& args);
int sweep_command(const std::vector<std::string>& args);
int report_command(const std::vector<std::string>& args);
int predict_command(const std::vector<std::string>& args);
int balance_command(const std::vector<std::string>& args);
int replay_command(const std::vector<std::string>& args);
int roofline_command(const std::vector<std::string>& args);

// Finds the subcommand and runs it. Errors end in one line on standard error and the exit status of their
// kind.
int run_command_line(const std::vector<std::string>& args);

}  // namespace moehill
