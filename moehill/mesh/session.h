// Session is this process's place in a job of several processes. It has the communication by which the
// processes of a command act as one program. It does not compute and has no collectives for rows; a mesh has
// those (make_mesh()). mesh/mpi/ implements it; a build without MPI has mesh/no_mpi/ instead, which refuses.
// Commands use Job (mesh/job.h), which also works for one process.
//
//   const std::unique_ptr<Session> session = open_mpi_session();
//   const std::unique_ptr<Mesh> mesh = session->make_mesh({.threads_per_device = 2});
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moehill/machine/naps.h"
#include "moehill/mesh/clock_reading.h"
#include "moehill/mesh/mesh.h"

namespace moehill {

// MpiMeshOptions are the options of a mesh with one device in each process.
struct MpiMeshOptions {
  int threads_per_device = 1;  // 0: as many as the CPUs allow, shared out among the processes
  // The logical CPUs of this node in the order of use (machine/topology.h). The processes of a node share
  // them (mesh/node_cpus.h). In a session, each process uses only CPUs to which its launcher bound it. If
  // there are not enough, threads are not pinned.
  std::vector<int> node_cpus = {};
  bool pins_threads = true;
  // For tests: treats a node as several nodes of at most this many ranks. 0: nodes as they are.
  int ranks_per_node = 0;
  // Longer messages are cut into pieces of this size; 0: the size that a short trial between two nodes finds
  // faster.
  size_t piece_bytes = 0;
};

// Functions of Session are collective over all processes unless their comment says otherwise. Waits sleep and
// may end up to 10 ms late, because other processes may be measuring on the same cores. If the MPI library
// fails, they throw a std::runtime_error with its text, the call and the rank. After an exception on one
// rank, only fail() may be called.
class Session {
 public:
  virtual ~Session() = default;
  virtual int rank() const = 0;            // not collective
  virtual int size() const = 0;            // not collective
  virtual const Nodes& nodes() const = 0;  // nodes of the processes; not collective
  int num_nodes() const { return nodes().num(); }
  // Returns the number of processes on the node of this one; not collective.
  int node_size() const {
    return num_nodes() == 1 ? size() : static_cast<int>(nodes().ranks_of(nodes().of(rank())).size());
  }
  // Returns mpi_library(); not collective.
  virtual std::string library() const = 0;

  // Returns the CPUs on which a mesh with `num_threads` threads in this process runs; empty if threads are
  // not pinned. Not collective.
  virtual std::vector<int> own_cpus(int num_threads) const = 0;
  // Returns the largest number of threads for which every process of the job has cores of its own, but at
  // least 1. Not collective.
  virtual int fair_threads() const = 0;

  // Makes the mesh of all processes, with device r on rank r. It must be destroyed before the session.
  virtual std::unique_ptr<Mesh> make_mesh(const MpiMeshOptions& options) = 0;

  // Makes a group whose collectives are the MPI library's own calls, for comparison. It refuses what these
  // calls cannot do (sums in bf16, counts beyond int). It must be destroyed before the session; `team` must
  // outlive it.
  virtual std::unique_ptr<Group> make_library_group(ThreadTeam& team) = 0;

  // Returns rank 0's text on every rank.
  virtual std::string broadcast(const std::string& text) = 0;
  // Returns the texts of all ranks by rank on rank 0, and nothing on the others.
  virtual std::vector<std::string> gather(const std::string& text) = 0;
  // Returns the values of all ranks by rank, on every rank.
  virtual std::vector<double> share(double value) = 0;
  // Sends messages[r], of any length, to rank r, and returns by rank what each rank sent to this one. It uses
  // plain messages of the MPI library, so that a check does not depend on the collectives that it checks.
  virtual std::vector<std::string> exchange(const std::vector<std::string_view>& messages) = 0;

  // Returns the clock readings of all ranks by rank on rank 0 (whose own is exact), and nothing on the
  // others. A reading comes from the fastest of many messages there and back; half of the time of that
  // message is its uncertainty.
  virtual std::vector<ClockReading> read_clocks() = 0;

  // This is a barrier in which ranks sleep. They leave it up to some naps apart; a nap lasts at most
  // `longest_nap`.
  virtual void wait_quietly(Naps::Duration longest_nap = Naps::kLongest) = 0;
  // This is a barrier that spins, for ranks that must begin at the same moment. Call wait_quietly() first, so
  // that no rank spins for long.
  virtual void start_together() = 0;

  // Ends the whole job within seconds, and prints `message`, the rank and its host on standard error. Not
  // collective. The launcher's exit status is never 0; it is `exit_status` if the launcher passes that on.
  [[noreturn]] virtual void fail(const std::string& message, int exit_status) noexcept = 0;
};

// Returns name and version of this build's MPI library: "Open MPI v4.1.4", "MPICH 4.0.2", or "none". It may
// be called before a job is joined.
std::string mpi_library();

// Joins the job (collective, once in a process). From then on this process places its threads itself. It may
// run on all CPUs to which the launcher bound any process of its node, so that detect_topology() shows all
// cores of the job on this node. If Open MPI bound the process without a request of the user, this call
// undoes the binding, as far as mpirun's own CPUs allow. If a session is destroyed while an exception
// unwinds, it ends the job, because others may be waiting for this rank. Throws InputError in a build without
// MPI.
std::unique_ptr<Session> open_mpi_session();

// Makes a mesh on a communicator of a program that has started MPI itself. `comm` is the address of its
// MPI_Comm, which has `comm_bytes` bytes. This function and the mesh's destructor are collective over the
// communicator. If MPI is finalized by then, the destructor frees nothing. Throws InputError in a build
// without MPI, for something that is not a communicator of this build's MPI, and if MPI was not started with
// the thread level that the mesh needs.
std::unique_ptr<Mesh> make_mesh_of(const void* comm, size_t comm_bytes, const MpiMeshOptions& options);

}  // namespace moehill
