// CallersMesh is the mesh on a communicator of a program that has started MPI itself and will finalize it. It
// is for the library's users.
#include <cstring>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/mesh/mpi/mpi_mesh.h"

namespace moehill {
namespace {

void require_started_mpi(int threads_per_device) {
  int started = 0, finalized = 0;
  check_mpi("MPI_Initialized", MPI_Initialized(&started));
  check_mpi("MPI_Finalized", MPI_Finalized(&finalized));
  if (started == 0 || finalized != 0) {
    throw input_error("the MPI of the communicator", started == 0 ? "not initialized" : "finalized",
                      "initialized by MPI_Init_thread", "make the context between the two");
  }
  int level = MPI_THREAD_SINGLE;
  check_mpi("MPI_Query_thread", MPI_Query_thread(&level));
  if (level >= MPI_THREAD_FUNNELED || threads_per_device == 1) return;
  throw input_error("the thread level of MPI", "MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED or above",
                    "call MPI_Init_thread, or take one thread a device");
}

// Returns a copy of the communicator whose errors return codes. The caller's communicator keeps its own error
// handler.
Communicator copy_of(const void* comm, size_t comm_bytes) {
  MPI_Comm given = MPI_COMM_NULL;
  if (comm == nullptr || comm_bytes != sizeof given) {
    throw input_error("the size of the communicator", count_text(static_cast<int64_t>(comm_bytes), "byte"),
                      fmt::format("{} bytes, those of this build's MPI_Comm", sizeof given),
                      "build moehill with the MPI of the program");
  }
  std::memcpy(&given, comm, sizeof given);
  if (given == MPI_COMM_NULL) {
    throw input_error("the communicator", "MPI_COMM_NULL", "a communicator that this process is part of",
                      "make the context in its processes alone");
  }
  Communicator copy = Communicator::duplicate_of(given);
  check_mpi("MPI_Comm_set_errhandler", MPI_Comm_set_errhandler(copy.get(), MPI_ERRORS_RETURN));
  return copy;
}

class CallersMesh final : public Mesh {
 public:
  CallersMesh(Communicator comm, const MpiMeshOptions& options)
      : comm_(std::make_unique<Communicator>(std::move(comm))),
        mesh_(std::make_unique<MpiMesh>(comm_->get(), options)) {}

  // If MPI is finalized already, communicators and windows must not be freed any more, so the destructor
  // leaves them.
  ~CallersMesh() override {
    int finalized = 0;
    if (MPI_Finalized(&finalized) == MPI_SUCCESS && finalized == 0) return;
    (void)mesh_.release();
    (void)comm_.release();
  }

  int num_devices() const override { return mesh_->num_devices(); }
  int threads_per_device() const override { return mesh_->threads_per_device(); }
  Range local_devices() const override { return mesh_->local_devices(); }
  std::vector<int> local_cpus() const override { return mesh_->local_cpus(); }
  ThreadTeam& team(int device) override { return mesh_->team(device); }
  void run(const std::function<void(Group&)>& device_main) override { mesh_->run(device_main); }

 private:
  std::unique_ptr<Communicator> comm_;
  std::unique_ptr<MpiMesh> mesh_;
};

}  // namespace

std::unique_ptr<Mesh> make_mesh_of(const void* comm, size_t comm_bytes, const MpiMeshOptions& options) {
  require_started_mpi(options.threads_per_device);
  return std::make_unique<CallersMesh>(copy_of(comm, comm_bytes), options);
}

}  // namespace moehill
