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

Launcher launched_by() {
  return launched_by([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace moehill
