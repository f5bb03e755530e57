#include "moehill/mesh/launcher.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace moehill {
namespace {

Launcher launched_with(const std::map<std::string, std::string>& environment) {
  return launched_by([&](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  });
}

TEST(Launcher, ByHand) {
  EXPECT_EQ(launched_with({}), Launcher::none);
  EXPECT_EQ(launched_with({{"HOME", "/"}, {"PMI_RANK", "0"}}), Launcher::none);
  EXPECT_EQ(launched_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "1"}}), Launcher::none);
}

TEST(Launcher, MpirunOfOpenMpi) {
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "4"}}), Launcher::mpi);
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "1"}}), Launcher::mpi);
  EXPECT_EQ(launched_with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}),
            Launcher::mpi);
}

TEST(Launcher, Srun) {
  EXPECT_EQ(launched_with({{"PMIX_RANK", "0"}}), Launcher::mpi);
  const std::map<std::string, std::string> task = {
      {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}};
  EXPECT_EQ(launched_with(task), Launcher::mpi);
  std::map<std::string, std::string> with_pmi = {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}};
  with_pmi.insert(task.begin(), task.end());
  EXPECT_EQ(launched_with(with_pmi), Launcher::mpi);
  with_pmi.emplace("MPI_LOCALNRANKS", "2");
  EXPECT_EQ(launched_with(with_pmi), Launcher::other_mpi);
}

// The script of a batch job has no step; the shell of an interactive one is a step of one task.
TEST(Launcher, InsideAJobOfSlurmButNotByItsLauncher) {
  EXPECT_EQ(launched_with({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}}), Launcher::none);
  EXPECT_EQ(launched_with({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}}),
            Launcher::none);
}

TEST(Launcher, HowManyProcesses) {
  const auto processes_with = [](const std::map<std::string, std::string>& environment) {
    return launched_processes([&](const char* name) -> const char* {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    });
  };
  EXPECT_EQ(processes_with({}), 0);
  EXPECT_EQ(processes_with({{"OMPI_COMM_WORLD_SIZE", "4"}, {"SLURM_NTASKS", "8"}}), 4);
  EXPECT_EQ(processes_with({{"SLURM_NTASKS", "8"}, {"SLURM_STEP_NUM_TASKS", "2"}}), 2);
}

TEST(Launcher, AnotherMpi) {
  EXPECT_EQ(launched_with({{"PMI_RANK", "0"}, {"PMI_SIZE", "4"}}), Launcher::other_mpi);
  EXPECT_NE(std::string(kOtherMpi).find("another MPI's launcher; this build is for Open MPI"),
            std::string::npos);
}

}  // namespace
}  // namespace moehill
