// The list of subcommands, and the way from main() to one of them: streams, launcher, dispatch, and the exit
// status of every kind of error. A new command is declared in commands.h and gets a line in kSubcommands.
#include "moehill/cli/commands.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <new>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/base/terminal.h"
#include "moehill/base/words.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/kernels/simd.h"
#include "moehill/machine/interruption.h"
#include "moehill/measure/memory_check.h"
#include "moehill/mesh/launcher.h"
#include "moehill/quiet/environment.h"

namespace moehill {
namespace {

// Subcommand is a name of the command line with the function that runs it; exactly one of the two pointers is
// set.
struct Subcommand {
  const char* name;
  const char* help;
  int (*run)(const std::vector<std::string>& args);  // in one process; nullptr if run_in_job is set
  int (*run_in_job)(const std::vector<std::string>& args, const Job& job) = nullptr;  // in each process
};

constexpr Subcommand kSubcommands[] = {
    {"bench", "check a Mixture-of-Experts block, then time it", nullptr, bench_command},
    {"check", "check every form of the block on this CPU", nullptr, check_command},
    {"kernels", "time the grouped GEMM alone, beside reference rates", kernels_command},
    {"models", "list the blocks of known models, or of one config.json", models_command},
    {"mesh", "check and time the collectives, by size", nullptr, mesh_command},
    {"profile", "time a plain, a staged and a pipelined way to spread a block", nullptr, profile_command},
    {"tune", "measure block sizes for a shape, and keep the best", tune_command},
    {"probe", "measure what this machine can do, for predictions", nullptr, probe_command},
    {"roofline", "say what bounds each stage of a step", roofline_command},
    {"predict", "predict a step, stage by stage, without running it", predict_command},
    {"advise", "say whether expert parallelism is worth it on your nodes", advise_command},
    {"simulate", "simulate a step on a cluster that is not here", simulate_command},
    {"replay", "show published tables of expert parallelism beside the model", replay_command},
    {"balance", "say what placing experts by their load gains and costs", balance_command},
    {"climb", "search for the fastest configuration on this machine", climb_command},
    {"sweep", "run the points of an experiment file, and keep every result", sweep_command},
    {"compare", "compare two sets of results, or two builds", compare_command},
    {"report", "write results as a page, or for other programs", report_command},
    {"plot", "draw one picture of results, as SVG", plot_command},
    {"logbook", "write the book of experiments, in Markdown", logbook_command},
};

std::vector<std::string> available_names() {
  std::vector<std::string> names;
  for (const Subcommand& command : kSubcommands) names.push_back(command.name);
  return names;
}

std::string usage() {
  std::string text =
      "moehill: Mixture-of-Experts blocks under expert parallelism, verified and timed\n"
      "Usage: moehill COMMAND [OPTIONS] [--color auto|always|never]\n"
      "       moehill help COMMAND; moehill COMMAND --help-all; moehill --version\n\n";
  for (const Subcommand& command : kSubcommands) {
    text += fmt::format("  {:<9} {}\n", command.name, command.help);
  }
  return text +
         "\nExamples:\n"
         "  moehill check --quick\n"
         "  moehill bench --tokens 256 --topk-list 2,8 --parallel-mode both\n"
         "  moehill bench --help\n";
}

// Returns how the program was built, and on what it runs.
std::string version() {
  const Environment environment = detect_environment();
  std::vector<std::string> targets;
  for (const std::string& target : simd_targets()) targets.push_back(instruction_words(target));
  return fmt::format(
      "moehill {}\ncompiler: {}\nflags: {}\nMPI: {}\nSimGrid: {}\nSIMD targets of this CPU: {}\nkernels: "
      "{}\n",
      environment.build, environment.compiler, environment.flags, mpi_library(), MOEHILL_HAS_SIMGRID,
      fmt::join(targets, ", "), environment.kernels_id);
}

// Runs a subcommand in this process. Under a launcher it refuses commands that know only one process.
int run(const Subcommand& command, const std::vector<std::string>& args, const Job& job) {
  if (job.is_root() && !asks_for_help(args)) show_that_it_works();
  if (command.run_in_job == nullptr) {
    if (job.session() == nullptr) return command.run(args);
    // All processes refuse in the same way, so one line is printed and not one for each process.
    throw AgreedInputError(
        input_error("launcher", fmt::format("moehill {} under it", command.name),
                    "bench, check, mesh, probe and profile, which run on several processes",
                    "start it by itself")
            .what());
  }
  // Only one process prints help; the other processes must not wait for it.
  if (asks_for_help(args)) return job.is_root() ? command.run_in_job(args, Job()) : kExitDone;
  return command.run_in_job(args, job);
}

// Takes --color out of the arguments, wherever it stands, and obeys it.
std::vector<std::string> without_color(std::vector<std::string> args) {
  const std::string name = "--color";
  const auto own = [&](const std::string& arg) { return arg == name || arg.rfind(name + "=", 0) == 0; };
  const auto found = std::find_if(args.begin(), args.end(), own);
  if (found == args.end()) return args;
  const bool joined = *found != name;
  if (!joined && found + 1 == args.end())
    throw input_error(name, "no value", "auto, always, never", "write one of them after it");
  const auto all = words(Colour{});
  const std::string value = joined ? found->substr(name.size() + 1) : found[1];
  choose_colour(static_cast<Colour>(parse_choice(name, value, {all.begin(), all.end()})));
  args.erase(found, found + (joined ? 1 : 2));
  if (std::any_of(args.begin(), args.end(), own))
    throw usage_error(name + " is given twice", "leave one of them out");
  return args;
}

int dispatch(const std::vector<std::string>& args, const Job& job) {
  if (args.empty()) {
    throw AgreedInputError(input_error("command", "none",
                                       fmt::format("{}", fmt::join(available_names(), ", ")),
                                       "see moehill --help")
                               .what());
  }
  if (args[0] == "help" && args.size() == 2) return dispatch({args[1], "--help"}, job);
  if (args[0] == "--help" || args[0] == "-h" || args[0] == "--help-all" ||
      (args[0] == "help" && args.size() == 1)) {
    if (job.is_root()) std::fputs(usage().c_str(), stdout);
    return kExitDone;
  }
  if (args[0] == "--version" && args.size() == 1) {
    if (job.is_root()) std::fputs(version().c_str(), stdout);
    return kExitDone;
  }
  if (args[0] == "help" || args[0] == "--version")
    throw AgreedInputError(input_error(args[0], count_text(std::ssize(args) - 1, "word") + " behind it",
                                       args[0] == "help" ? "one command" : "none", "leave the others out")
                               .what());
  for (const Subcommand& command : kSubcommands) {
    if (args[0] == command.name) return run(command, {args.begin() + 1, args.end()}, job);
  }
  return job.together([&] {
    parse_choice("command", args[0], available_names());
    return kExitBadInput;  // not reached: parse_choice throws
  });
}

// Prints a message in one line. tell() removes control characters, because a message may quote files and
// options.
void print_error(const std::string& message) {
  std::string line = message;
  std::replace(line.begin(), line.end(), '\n', ' ');
  tell(fmt::format("moehill: {}", line));
}

// Prints the message and returns the status. In a job it ends all processes, since the others may wait for
// this one.
int fail(int status, const std::string& message, const Job& job) {
  if (job.num_processes() > 1) job.session()->fail(printable(message, '?', "\n"), status);
  print_error(message);
  return status;
}

// Runs the command and turns every exception into one line and an exit status. AgreedInputError is thrown by
// all processes alike, so only the first one prints it.
int run_in(const Job& job, const std::vector<std::string>& args) {
  try {
    // This comes before any process may end, even with --help: the other processes would wait for it.
    if (job.session() != nullptr)
      job.require_same(args, fmt::format("{}\nMOEHILL_SIMD {}", build_name(), simd_target()));
    // Launchers give a process a terminal whose lines may end in a file.
    if (job.session() != nullptr) choose_colour(Colour::never);
    return dispatch(job.together([&] { return without_color(args); }), job);
  } catch (const AgreedInputError& error) {
    if (job.is_root()) print_error(error.what());
    return kExitBadInput;
  } catch (const InputError& error) {
    return fail(kExitBadInput, error.what(), job);
  } catch (const std::filesystem::filesystem_error& error) {
    if (error.code() != std::errc::filename_too_long)
      return fail(kExitRunFailed,
                  fmt::format("{}: {}", moehill::quoted(error.path1().string(), 200), error.code().message()),
                  job);
    return fail(kExitBadInput,
                input_error("a path", quoted(error.path1().string()), "names that the system takes",
                            "choose a shorter one")
                    .what(),
                job);
  } catch (const Interrupted& error) {
    return fail(kExitSignal + error.signal, error.what(), job);
  } catch (const nlohmann::json::exception& error) {
    // Readers check what they use. If a check is missing, the file is still at fault.
    return fail(
        kExitBadInput,
        input_error("a file or database that the command reads", moehill::quoted(words_of(error), 120),
                    "JSON as moehill writes it", "write it again, or take the copy of a backup")
            .what(),
        job);
  } catch (const std::bad_alloc&) {
    return fail(kExitRunFailed, memory_refusal(), job);
  } catch (const std::exception& error) {
    return fail(kExitRunFailed, error.what(), job);
  }
}

// Opens /dev/null for each standard stream that the caller closed. Otherwise the next file opened would get
// its number, and tables would end up in the records. It is opened for reading only, so that printing there
// fails visibly.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0) static_cast<void>(open("/dev/null", O_RDONLY));  // takes the lowest free
  }
}

// Returns the status after the output was flushed, since a full disk is only noticed then. A status that is
// an error already stays. A reader that has gone knows it, so nothing is said; the status is the one that
// shells give to a program that SIGPIPE ended.
int status_after_output(int status) {
  const bool written = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
  if (written) return status;
  const bool has_gone = reader_has_gone();
  if (!has_gone)
    print_error("cannot write to standard output: the disk is full or the stream closed; send it elsewhere");
  if (status != kExitDone) return status;
  return has_gone ? kExitSignal + SIGPIPE : kExitRunFailed;
}

int run_as_process(const std::vector<std::string>& args) {
  occupy_closed_streams();
  // A file that may not grow, and a pipe whose reader has gone, then fail the write and do not end the
  // process, which may have other files to write.
  signal(SIGXFSZ, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<Session> session;
  try {
    const char* simd = std::getenv("MOEHILL_SIMD");  // a target by name, for tests and comparisons
    select_simd_target(simd == nullptr ? "" : simd);
    session = join_launched(args);
    if (session == nullptr) say_what_interrupts();  // in a job every process would say it
  } catch (const InputError& error) {
    print_error(error.what());
    return kExitBadInput;
  } catch (const std::exception& error) {
    print_error(error.what());
    return kExitRunFailed;
  }
  return status_after_output(run_in(Job(session.get()), args));
}

constexpr const char* kNoMemoryAtAll =
    "moehill: the system refuses even the memory of an error's message; end other programs\n";

std::terminate_handler usual_end = nullptr;

// Ends the process if memory is refused in a destructor. The destructor of a JSON value allocates (nlohmann
// 3.11, basic_json::destroy) and no exception may leave it, so the process would otherwise end by
// std::terminate without a message.
void end_without_memory() {
  try {
    if (std::current_exception()) std::rethrow_exception(std::current_exception());
  } catch (const std::bad_alloc&) {
    std::fputs(kNoMemoryAtAll, stderr);
    std::_Exit(kExitRunFailed);
  } catch (...) {
  }
  usual_end();
}

}  // namespace

int run_command_line(const std::vector<std::string>& args) {
  usual_end = std::set_terminate(end_without_memory);
  try {
    return run_as_process(args);
  } catch (const std::bad_alloc&) {  // thrown while another error was being reported
    std::fputs(kNoMemoryAtAll, stderr);
    return kExitRunFailed;
  }
}

}  // namespace moehill
