// Launcher: what started this process, read from its environment before any library is asked; and the job
// that it started this process for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moehill/mesh/session.h"

namespace moehill {

enum class Launcher {
  none,      // one process, started by hand
  open_mpi,  // mpirun of Open MPI, or srun
  hydra      // mpiexec of MPICH or Intel MPI, under which Open MPI's processes would each run alone
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

// True if Open MPI's mpirun bound this process and nobody asked it to: one core a process, however many
// threads it has.
bool is_bound_unasked(const EnvironmentReader& variable);
bool is_bound_unasked();

// Under Hydra: the system kills this process when the one that started it ends, by a signal too. Its proxies
// do not: a rank whose proxy was killed would go on, or wait for others for ever. Open MPI's ranks end with
// their daemon, and those of Slurm with its step.
void end_with_hydra();

// Seconds that the processes may wait for each other until they know better: for one that never starts, or
// that makes a large block. --timeout says so before the command line is read.
double start_limit(const std::vector<std::string>& args);

// The session of the processes that a launcher started, or null for one process by itself. Under a launcher
// of MPICH a program of Open MPI becomes the program of MPICH that lies beside it, with the same arguments.
// Throws InputError where processes of one job cannot find each other, with what the launcher needs.
std::unique_ptr<Session> join_launched(const std::vector<std::string>& args);

// True if srun started this process without PMIx, by which alone the processes of most builds of Open MPI
// find each other.
bool lacks_pmix(const EnvironmentReader& variable);

// The message where a launcher started `expected` processes and this one finds itself among `found`.
std::string lonely_message(int expected, int found, const std::string& library,
                           const EnvironmentReader& variable);

}  // namespace moehill
