// Launcher: what started this process, read from its environment before any library is asked.
#pragma once

#include <functional>

namespace moehill {

enum class Launcher {
  none,      // one process, started by hand
  mpi,       // mpirun of Open MPI, or srun: join the others by open_mpi_session()
  other_mpi  // mpiexec of another MPI, under which Open MPI's processes would each run alone
};

using EnvironmentReader = std::function<const char*(const char* name)>;

// Variables: OMPI_COMM_WORLD_SIZE (mpirun of Open MPI), PMIX_RANK (mpirun, srun --mpi=pmix), SLURM_STEP_ID
// with SLURM_PROCID and SLURM_NTASKS > 1 (srun; the steps of sbatch and salloc themselves have one task),
// PMI_RANK with PMI_SIZE > 1 (Hydra, the launcher of MPICH and Intel MPI; MPI_LOCALNRANKS is its own, inside
// a job of Slurm too). `variable`: std::getenv unless a test says otherwise.
Launcher launched_by(const EnvironmentReader& variable);
Launcher launched_by();

// The number of processes that the launcher says it started; 0 where it does not say.
int launched_processes(const EnvironmentReader& variable);
int launched_processes();

// The message to the user under Launcher::other_mpi.
inline constexpr const char* kOtherMpi =
    "started by another MPI's launcher; this build is for Open MPI: start it with Open MPI's mpirun";

}  // namespace moehill
