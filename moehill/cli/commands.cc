#include "moehill/cli/commands.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>

#include "moehill/base/error.h"
#include "moehill/base/suggest.h"
#include "moehill/cli/parse.h"
#include "moehill/kernels/simd.h"
#include "moehill/mesh/launcher.h"

namespace moehill {
namespace {

struct Subcommand {
  const char* name;
  const char* help;
  int (*run)(const std::vector<std::string>& args);  // null: not there yet
};

constexpr Subcommand kSubcommands[] = {
    {"bench", "check, then time a Mixture-of-Experts block", bench_command},
    {"check", "the correctness grid", check_command},
    {"kernels", "the grouped GEMM alone, beside its yardsticks", kernels_command},
    {"mesh", "the collectives by size, beside a streaming copy", mesh_command},
    {"profile", "overlap paths ref_dp, staged_dp, fused_ep", nullptr},
    {"tune", "block sizes", nullptr},
    {"probe", "peaks of this machine", nullptr},
    {"roofline", "bounds of a shape", nullptr},
    {"predict", "what the model expects", nullptr},
    {"simulate", "scale beyond this machine", nullptr},
    {"sweep", "an experiment file", nullptr},
    {"compare", "two records", nullptr},
    {"report", "tables and pages of stored records", nullptr},
    {"logbook", "the book of experiments", nullptr},
};

std::vector<std::string> available_names() {
  std::vector<std::string> names;
  for (const Subcommand& command : kSubcommands) {
    if (command.run != nullptr) names.push_back(command.name);
  }
  return names;
}

std::string usage() {
  std::string text =
      "moehill: Mixture-of-Experts blocks under expert parallelism, verified and timed\n"
      "Usage: moehill COMMAND [OPTIONS]; moehill COMMAND --help\n";
  for (const Subcommand& command : kSubcommands) {
    text += fmt::format("  {:<9} {}{}\n", command.name, command.help,
                        command.run == nullptr ? " (not there yet)" : "");
  }
  return text +
         "Examples:\n"
         "  moehill check --quick\n"
         "  moehill bench --tokens 256 --topk-list 2,8 --parallel-mode both\n"
         "  moehill bench --help\n";
}

// Under a launcher every process would run the whole command alone.
void refuse_launchers() {
  switch (launched_by()) {
    case Launcher::none:
      return;
    case Launcher::other_mpi:
      throw InputError(kOtherMpi);
    case Launcher::mpi:
      throw input_error("launcher", "mpirun or srun", "none: --mesh mpi is not there yet",
                        "start it by itself; --devices makes several devices in one process");
  }
}

int dispatch(const std::vector<std::string>& args) {
  if (args.empty()) {
    throw input_error("moehill", "no command", fmt::format("{}", fmt::join(available_names(), ", ")),
                      "see moehill --help");
  }
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    std::fputs(usage().c_str(), stdout);
    return kExitDone;
  }
  for (const Subcommand& command : kSubcommands) {
    if (args[0] != command.name) continue;
    if (command.run == nullptr) continue;
    refuse_launchers();
    return command.run({args.begin() + 1, args.end()});
  }
  const auto named = [&](const Subcommand& command) { return args[0] == command.name; };
  const bool planned = std::any_of(std::begin(kSubcommands), std::end(kSubcommands), named);
  parse_choice("moehill", args[0], available_names(),
               planned ? std::vector<std::string>{args[0]} : std::vector<std::string>{});
  return kExitBadInput;  // not reached: parse_choice throws
}

int fail(int status, const std::string& message) {
  std::string line = message;
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::fprintf(stderr, "moehill: %s\n", line.c_str());
  return status;
}

}  // namespace

int run_command_line(const std::vector<std::string>& args) {
  try {
    const char* simd = std::getenv("MOEHILL_SIMD");  // a target by name, for tests and comparisons
    select_simd_target(simd == nullptr ? "" : simd);
    return dispatch(args);
  } catch (const InputError& error) {
    return fail(kExitBadInput, error.what());
  } catch (const std::bad_alloc&) {
    return fail(kExitRunFailed,
                "the system refused memory that was predicted to be there; choose fewer --tokens");
  } catch (const std::exception& error) {
    return fail(kExitRunFailed, error.what());
  }
}

}  // namespace moehill
