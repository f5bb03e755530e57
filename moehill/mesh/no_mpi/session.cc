// A build without MPI: there is no job to join.
#include "moehill/mesh/session.h"

#include "moehill/base/error.h"

namespace moehill {

std::unique_ptr<Session> open_mpi_session() {
  throw InputError(
      "MPI: this moehill was built without MPI; use the threads mesh, or install an MPI and configure with "
      "-DMOEHILL_MPI=ON");
}

}  // namespace moehill
