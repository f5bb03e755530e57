#include "moehill/mesh/launcher.h"

#include <cstdlib>

namespace moehill {

Launcher launched_by(const EnvironmentReader& variable) {
  const auto is_set = [&](const char* name) { return variable(name) != nullptr; };
  const auto several = [&](const char* name) { return is_set(name) && std::atoi(variable(name)) > 1; };
  if (is_set("OMPI_COMM_WORLD_SIZE") || is_set("PMIX_RANK")) return Launcher::mpi;
  const bool srun = is_set("SLURM_STEP_ID") && is_set("SLURM_PROCID") && several("SLURM_NTASKS");
  const bool hydra = is_set("PMI_RANK") && several("PMI_SIZE");
  if (hydra && (!srun || is_set("MPI_LOCALNRANKS"))) return Launcher::other_mpi;
  return srun ? Launcher::mpi : Launcher::none;
}

int launched_processes(const EnvironmentReader& variable) {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (variable(name) != nullptr) return std::atoi(variable(name));
  }
  return 0;
}

Launcher launched_by() {
  return launched_by([](const char* name) -> const char* { return std::getenv(name); });
}

int launched_processes() {
  return launched_processes([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace moehill
