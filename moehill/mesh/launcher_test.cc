// Recognizes launchers (mpirun, srun, none) by their environment variables, the number of processes, bindings
// and time limits.
#include "moehill/mesh/launcher.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace moehill {
namespace {

EnvironmentReader reader_of(const std::map<std::string, std::string>& environment) {
  return [&environment](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
}

Launcher launched_with(const std::map<std::string, std::string>& environment) {
  return launched_by(reader_of(environment));
}

TEST(Launcher, ByHand) {
  EXPECT_EQ(launched_with({}), Launcher::none);
  EXPECT_EQ(launched_with({{"HOME", "/"}, {"PMI_RANK", "0"}}), Launcher::none);
  EXPECT_EQ(launched_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}), Launcher::none);
}

TEST(Launcher, MpirunOfOpenMpi) {
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "4"}}), Launcher::open_mpi);
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "1"}}), Launcher::open_mpi);
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}),
            Launcher::open_mpi);
}

TEST(Launcher, Srun) {
  EXPECT_EQ(launched_with({{"PMIX_RANK", "0"}}), Launcher::open_mpi);
  const std::map<std::string, std::string> task = {
      {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}};
  EXPECT_EQ(launched_with(task), Launcher::open_mpi);
  std::map<std::string, std::string> with_pmi = {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}};
  with_pmi.insert(task.begin(), task.end());
  EXPECT_EQ(launched_with(with_pmi), Launcher::open_mpi);
  with_pmi.emplace("MPI_LOCALNRANKS", "2");
  EXPECT_EQ(launched_with(with_pmi), Launcher::hydra);
}

// The script of a batch job is no step; the shell of an interactive job is a step of one task.
TEST(Launcher, InsideAJobOfSlurmButNotByItsLauncher) {
  EXPECT_EQ(launched_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}), Launcher::none);
  EXPECT_EQ(launched_with({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}),
            Launcher::none);
}

TEST(Launcher, HowManyProcesses) {
  const auto processes_with = [](const std::map<std::string, std::string>& environment) {
    return launched_processes(reader_of(environment));
  };
  EXPECT_EQ(processes_with({}), 0);
  EXPECT_EQ(processes_with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"SLURM_NTASKS", "8"}}), 4);
  EXPECT_EQ(processes_with({{"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "2"}}), 2);
  EXPECT_EQ(processes_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}), 4);
  EXPECT_EQ(processes_with({{"PMI_RANK", "0"},
                            {"PMI_SIZE", "3"},
                            {"MPI_LOCALNRANKS", "3"},
                            {"SLURM_STEP_ID", "0"},
                            {"SLURM_PROCID", "0"},
                            {"SLURM_NTASKS", "8"}}),
            3);
}

TEST(Launcher, LauncherOfMpich) {
  EXPECT_EQ(launched_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}), Launcher::hydra);
}

TEST(Launcher, ABindingThatTheUserAskedForIsKnown) {
  const auto is_unasked = [](const std::map<std::string, std::string>& environment) {
    return is_bound_unasked(reader_of(environment));
  };
  EXPECT_FALSE(is_unasked({}));
  const std::pair<const std::string, std::string> bound = {"OMPI_MCA_orte_bound_at_launch", "1"};
  EXPECT_TRUE(is_unasked({bound}));
  EXPECT_TRUE(is_unasked({bound, {"OMPI_MCA_rmaps_base_mapping_policy", "socket"}}));
  EXPECT_FALSE(is_unasked({bound, {"OMPI_MCA_rmaps_base_mapping_policy", "ppr:1:socket:pe=4"}}));
  EXPECT_FALSE(is_unasked({bound, {"OMPI_MCA_hwloc_base_binding_policy", "core"}}));
  EXPECT_FALSE(is_unasked({bound, {"OMPI_MCA_hwloc_base_cpu_set", "0-3"}}));
}

TEST(Launcher, TheLimitOfTheStartIsThatOfTheCommandLine) {
  EXPECT_EQ(start_limit({"bench", "--timeout", "7", "--tokens", "5"}), 7);
  EXPECT_EQ(start_limit({"bench", "--timeout=8.5"}), 8.5);
  EXPECT_EQ(start_limit({"bench"}), 600);
  EXPECT_EQ(start_limit({"bench", "--timeout"}), 600);
  EXPECT_EQ(start_limit({"bench", "--timeout", "nonsense"}), 600);  // it is refused later
}

TEST(Launcher, WhoIsAloneIsToldWhatHisLauncherNeeds) {
  const std::map<std::string, std::string> srun = {
      {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "4"}};
  const std::string by_srun = lonely_message(4, 1, "Open MPI v4.1.4", reader_of(srun));
  EXPECT_TRUE(lacks_pmix(reader_of(srun)));
  EXPECT_NE(by_srun.find("launcher: got one that started 4 processes, while this one is in a job of 1"),
            std::string::npos)
      << by_srun;
  EXPECT_NE(by_srun.find("srun --mpi=pmix"), std::string::npos) << by_srun;
  const std::map<std::string, std::string> mpirun = {{"OMPI_COMM_WORLD_SIZE", "4"}};
  const std::string by_mpirun = lonely_message(4, 1, "MPICH 4.0.2", reader_of(mpirun));
  EXPECT_FALSE(lacks_pmix(reader_of(mpirun)));
  EXPECT_NE(by_mpirun.find("allowed: one that speaks to MPICH 4.0.2; start it with the mpirun"),
            std::string::npos)
      << by_mpirun;
  EXPECT_EQ(by_mpirun.find("srun"), std::string::npos) << by_mpirun;
}

}  // namespace
}  // namespace moehill
