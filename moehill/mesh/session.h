// Session: this process's place in a job of several processes, and what the command line needs to speak as
// one. mesh/mpi/ implements it; a build without MPI has mesh/no_mpi/ instead, which refuses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moehill/machine/naps.h"
#include "moehill/mesh/clock_reading.h"
#include "moehill/mesh/mesh.h"

namespace moehill {

// A mesh with one device a process.
struct MpiMeshOptions {
  int threads_per_device = 1;  // 0: as many as there are CPUs, shared out
  // Logical CPUs of this node in the order of use (machine/topology.h). The processes of a node share them
  // (mesh/node_cpus.h); of a session's, each has those that its launcher bound it to. Threads are unpinned if
  // there are not enough.
  std::vector<int> node_cpus = {};
  bool pins_threads = true;
  // Tests set this: nodes are taken to hold so many ranks at most. 0: the nodes as they are.
  int ranks_per_node = 0;
  // Longer messages are cut into pieces of this size; 0: what a short trial between two nodes finds quicker.
  size_t piece_bytes = 0;
};

// Methods are collective over all processes of the job unless they say otherwise. Who waits in one sleeps,
// and notices up to 10 ms late: others may be measuring on these cores. A failure of the library is a
// std::runtime_error with its text, the call and the rank. After an exception on one rank only fail() is of
// use.
class Session {
 public:
  virtual ~Session() = default;
  virtual int rank() const = 0;            // not collective
  virtual int size() const = 0;            // not collective
  virtual const Nodes& nodes() const = 0;  // of the processes; not collective
  int num_nodes() const { return nodes().num(); }
  // mpi_library(); not collective.
  virtual std::string library() const = 0;

  // The CPUs of so many threads of this process, as its meshes have them; empty: they are unpinned. Not
  // collective.
  virtual std::vector<int> own_cpus(int num_threads) const = 0;
  // The most threads that every process of the job can have on cores of its own; 1 at least. Not collective.
  virtual int fair_threads() const = 0;

  // The mesh of all processes, device r on rank r. It must go before the session does.
  virtual std::unique_ptr<Mesh> make_mesh(const MpiMeshOptions& options) = 0;

  // A group whose collectives are the library's own calls, to compare ours with; it refuses what they cannot
  // do (sums in bf16, counts past int). It must go before the session; `team` must outlive it.
  virtual std::unique_ptr<Group> make_library_group(ThreadTeam& team) = 0;

  // Rank 0's text on every rank.
  virtual std::string broadcast(const std::string& text) = 0;
  // Returns the texts of all ranks by rank on rank 0, and nothing on the others.
  virtual std::vector<std::string> gather(const std::string& text) = 0;
  // The values of all ranks by rank, on every rank.
  virtual std::vector<double> share(double value) = 0;
  // Sends messages[r] to rank r, any length and none too, and returns by rank what each sent to this one. By
  // the library's own messages: what is checked has no part in them.
  virtual std::vector<std::string> exchange(const std::vector<std::string_view>& messages) = 0;

  // Returns the readings of all ranks by rank on rank 0 (its own is exact), and nothing on the others. Each
  // is the best of many messages there and back: half of its time is the uncertainty.
  virtual std::vector<ClockReading> read_clocks() = 0;

  // A barrier, which the ranks leave some naps of at most `longest_nap` apart.
  virtual void wait_quietly(Naps::Duration longest_nap = Naps::kLongest) = 0;
  // A barrier that spins, for those who are to begin at one moment; after a wait_quietly(), so that nobody
  // spins for long.
  virtual void start_together() = 0;

  // Ends the whole job (not collective) within seconds, with `message`, the rank and its host on standard
  // error. The exit status of the launcher is `exit_status` as far as it passes that on, and never 0.
  [[noreturn]] virtual void fail(const std::string& message, int exit_status) noexcept = 0;
};

// Name and version of this build's MPI library: "Open MPI v4.1.4", "MPICH 4.0.2"; "none" in a build without
// MPI. May be asked for before a job is joined.
std::string mpi_library();

// Joins the job (collective); once a process. From here on this process places its threads itself: it may run
// on all CPUs that its launcher bound it or others of its node to, so that detect_topology() shows the cores
// of the job on this node. A binding that nobody asked for, Open MPI's own, is undone as far as mpirun's own
// CPUs go. A session that goes while an exception unwinds ends the job, since the others may wait for this
// rank. Throws InputError in a build without MPI.
std::unique_ptr<Session> open_mpi_session();

// A mesh over a communicator of a program that has started MPI itself: `comm` is the address of its MPI_Comm
// of `comm_bytes` bytes. Collective over it, as is the destructor, which leaves everything to the end of the
// process once MPI is finalized. Throws InputError in a build without MPI, for what is no communicator of
// this build's MPI, and where MPI has not been started with the threads that the mesh needs.
std::unique_ptr<Mesh> make_mesh_of(const void* comm, size_t comm_bytes, const MpiMeshOptions& options);

}  // namespace moehill
