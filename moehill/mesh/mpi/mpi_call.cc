#include "moehill/mesh/mpi/mpi_call.h"

#include <fmt/format.h>

#include <string>

namespace moehill {

void check_mpi(const char* call, int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, rank = -1;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) length = 0;
  (void)MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw MpiError(
      fmt::format("{} failed on rank {}: {}", call, rank, std::string(text, static_cast<size_t>(length))));
}

}  // namespace moehill
