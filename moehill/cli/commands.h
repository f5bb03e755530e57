// These functions are the subcommands. Each takes the arguments that follow its name and returns the exit
// status of the process. A subcommand prints its own output. Its errors are exceptions, of which
// run_command_line() makes a line.
//
//     bench_command({"--tokens", "256", "--topk", "2"}, Job());   // as `moehill bench --tokens 256 --topk 2`
#pragma once

#include <string>
#include <vector>

#include "moehill/mesh/job.h"

namespace moehill {

// These are the exit statuses, on which scripts rely.
inline constexpr int kExitDone = 0;
inline constexpr int kExitBadInput = 2;
inline constexpr int kExitCheckFailed = 3;
inline constexpr int kExitRegression = 4;
inline constexpr int kExitRunFailed = 5;
inline constexpr int kExitInterrupted = 75;  // stopped by a signal, and can be resumed
inline constexpr int kExitSignal = 128;      // + the number of the signal that ended a measurement early

// These run on all processes of a job and return the same status in each.
int bench_command(const std::vector<std::string>& args, const Job& job);
int check_command(const std::vector<std::string>& args, const Job& job);
int profile_command(const std::vector<std::string>& args, const Job& job);
int mesh_command(const std::vector<std::string>& args, const Job& job);
int probe_command(const std::vector<std::string>& args, const Job& job);

int advise_command(const std::vector<std::string>& args);
int climb_command(const std::vector<std::string>& args);
int compare_command(const std::vector<std::string>& args);
int plot_command(const std::vector<std::string>& args);
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

// Finds the subcommand and runs it. An error becomes one line on standard error and the exit status of its
// kind.
int run_command_line(const std::vector<std::string>& args);

}  // namespace moehill
