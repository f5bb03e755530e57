// Implements launcher.h. It reads only variables of the environment, because it must find out which MPI is
// the right one before it starts any.
#include "moehill/mesh/launcher.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr const char* kProgramOfMpich = "moehill-mpich";

const char* environment(const char* name) { return std::getenv(name); }

bool is_of_open_mpi(const std::string& library) { return library.starts_with("Open MPI"); }

// Replaces this process by `program`. It returns only if there is no such program.
void become(const std::filesystem::path& program, const std::vector<std::string>& args) {
  std::vector<std::string> words = {program.string()};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  (void)execv(words[0].c_str(), pointers.data());
}

void become_program_of_mpich(const std::vector<std::string>& args) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path other = self.parent_path() / kProgramOfMpich;
  if (!error) become(other, args);
  throw input_error(
      "launcher", fmt::format("one of MPICH, with a program for {} and no {}", mpi_library(), other.string()),
      "Open MPI's mpirun, or that program",
      "start it with Open MPI's mpirun, or install libmpich-dev and build again, which makes it");
}

}  // namespace

Launcher launched_by(const EnvironmentReader& variable) {
  const auto is_set = [&](const char* name) { return variable(name) != nullptr; };
  const auto several = [&](const char* name) { return is_set(name) && std::atoi(variable(name)) > 1; };
  if (is_set("OMPI_COMM_WORLD_SIZE") || is_set("PMIX_RANK")) return Launcher::open_mpi;
  const bool srun = is_set("SLURM_STEP_ID") && is_set("SLURM_PROCID") && several("SLURM_NTASKS");
  const bool hydra = is_set("PMI_RANK") && several("PMI_SIZE");
  if (hydra && (!srun || is_set("MPI_LOCALNRANKS"))) return Launcher::hydra;
  return srun ? Launcher::open_mpi : Launcher::none;
}

int launched_processes(const EnvironmentReader& variable) {
  if (launched_by(variable) == Launcher::hydra) return std::atoi(variable("PMI_SIZE"));
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (variable(name) != nullptr) return std::atoi(variable(name));
  }
  return 0;
}

// mpirun passes its own options on to its processes as variables, which this function reads.
bool is_bound_unasked(const EnvironmentReader& variable) {
  if (variable("OMPI_MCA_orte_bound_at_launch") == nullptr) return false;
  const char* const mapping = variable("OMPI_MCA_rmaps_base_mapping_policy");
  return variable("OMPI_MCA_hwloc_base_binding_policy") == nullptr &&
         variable("OMPI_MCA_hwloc_base_cpu_set") == nullptr &&
         (mapping == nullptr || std::string(mapping).find(":pe=") == std::string::npos);
}

bool is_bound_unasked() { return is_bound_unasked(environment); }

Launcher launched_by() { return launched_by(environment); }

void end_with_hydra() {
  if (launched_by() == Launcher::hydra) (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

bool lacks_pmix(const EnvironmentReader& variable) {
  const auto is_set = [&](const char* name) { return variable(name) != nullptr; };
  return launched_by(variable) == Launcher::open_mpi && !is_set("OMPI_COMM_WORLD_SIZE") &&
         !is_set("PMIX_RANK");
}

std::string lonely_message(int expected, int found, const std::string& library,
                           const EnvironmentReader& variable) {
  const bool srun = lacks_pmix(variable);
  return input_error(
             "launcher",
             fmt::format("one that started {} processes, while this one is in a job of {}", expected, found),
             "one that speaks to " + library,
             srun ? "start it with srun --mpi=pmix, if `srun --mpi=list` names that, or with mpirun "
                    "inside of the allocation"
                  : "start it with the mpirun or mpiexec of that library")
      .what();
}

double start_limit(const std::vector<std::string>& args) {
  constexpr double kStartSeconds = 600;  // enough to make blocks of many GB or to read weights from a disk
  const std::string option = "--timeout";
  for (size_t i = 0; i < args.size(); ++i) {
    double limit = 0;
    if (args[i] == option && i + 1 < args.size()) limit = std::atof(args[i + 1].c_str());
    if (args[i].starts_with(option + "=")) limit = std::atof(args[i].c_str() + option.size() + 1);
    if (limit > 0) return limit;
  }
  return kStartSeconds;
}

std::unique_ptr<Session> join_launched(const std::vector<std::string>& args) {
  const Launcher launcher = launched_by();
  if (launcher == Launcher::none) return nullptr;
  if (launcher == Launcher::hydra && is_of_open_mpi(mpi_library())) become_program_of_mpich(args);
  const int expected = launched_processes(environment);
  // Without PMIx, Open MPI would end the process by itself, without a helpful message.
  if (lacks_pmix(environment) && environment("PMI_RANK") == nullptr)
    throw InputError(lonely_message(expected, 1, mpi_library(), environment));
  set_wait_limit(start_limit(args));
  std::unique_ptr<Session> session = open_mpi_session();
  if (expected <= 1 || session->size() == expected) return session;
  const std::string error = lonely_message(expected, session->size(), session->library(), environment);
  session.reset();  // ended here, because a session that is destroyed while an exception unwinds ends the job
  throw InputError(error);
}

}  // namespace moehill
