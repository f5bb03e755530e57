// This header finds out what started this process, and joins the job for which it was started. It reads the
// environment only, so that it need not ask an MPI library that may be the wrong one.
//
//   std::unique_ptr<Session> session = join_launched(args);   // null: a process by itself
//   const Job job(session.get());
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "moehill/mesh/session.h"

namespace moehill {

// Launcher is the kind of program that started this process.
enum class Launcher {
  none,      // one process, started by hand
  open_mpi,  // mpirun of Open MPI, or srun
  hydra      // mpiexec of MPICH or Intel MPI, under which each process of Open MPI would run by itself
};

// EnvironmentReader reads a variable of the environment; tests pass their own.
using EnvironmentReader = std::function<const char*(const char* name)>;

// Returns the launcher of this process, by these variables:
//   - OMPI_COMM_WORLD_SIZE: mpirun of Open MPI.
//   - PMIX_RANK: mpirun, srun --mpi=pmix.
//   - SLURM_STEP_ID with SLURM_PROCID and SLURM_NTASKS > 1: srun. Steps of sbatch and salloc have one task.
//   - PMI_RANK with PMI_SIZE > 1: Hydra. Only Hydra sets MPI_LOCALNRANKS, also inside a job of Slurm.
Launcher launched_by(const EnvironmentReader& variable);
Launcher launched_by();

// Returns the number of processes that the launcher says it started, or 0 if it does not say.
int launched_processes(const EnvironmentReader& variable);

// Returns true if Open MPI's mpirun bound this process without a request of the user. It then gives a process
// one core, however many threads the process has.
bool is_bound_unasked(const EnvironmentReader& variable);
bool is_bound_unasked();

// Under Hydra, asks the system to kill this process when the process that started it ends. Hydra does not see
// to that: a rank whose proxy was killed would go on, or wait for others for ever. Open MPI's ranks end with
// their daemon, and Slurm's ranks end with their step.
void end_with_hydra();

// Returns the seconds that processes may wait for each other before the options have been read: the value of
// --timeout if the arguments have it, otherwise enough to make a large block. The limit ends the wait for a
// process that never starts.
double start_limit(const std::vector<std::string>& args);

// Returns the session of the processes that a launcher started, or null for a process by itself. If an MPICH
// launcher started a program built for Open MPI, it becomes the MPICH program that lies beside it, with the
// same arguments. Throws InputError if the processes of a job cannot find each other, and says what the
// launcher needs.
std::unique_ptr<Session> join_launched(const std::vector<std::string>& args);

// Returns true if srun started this process without PMIx, which most builds of Open MPI need to find the
// other processes.
bool lacks_pmix(const EnvironmentReader& variable);

// Returns the message for a process that finds itself in a job of `found` processes although the launcher
// started `expected`.
std::string lonely_message(int expected, int found, const std::string& library,
                           const EnvironmentReader& variable);

}  // namespace moehill
