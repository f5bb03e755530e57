// This file is for a build without MPI: every function that would need MPI throws InputError that says what
// to install.
#include "moehill/mesh/session.h"

#include "moehill/base/error.h"

namespace moehill {

namespace {

constexpr const char* kNoMpi =
    "MPI: this moehill was built without MPI; use the threads mesh, or install an MPI and configure with "
    "-DMOEHILL_MPI=ON";

}  // namespace

std::string mpi_library() { return "none"; }

std::unique_ptr<Session> open_mpi_session() { throw InputError(kNoMpi); }

std::unique_ptr<Mesh> make_mesh_of(const void*, size_t, const MpiMeshOptions&) { throw InputError(kNoMpi); }

}  // namespace moehill
