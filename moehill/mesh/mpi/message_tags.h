// The tags of a group's messages, and how one that nobody waits for any more is left.
#pragma once

#include "moehill/mesh/mpi/mpi_call.h"

namespace moehill {

inline constexpr int kHeaderTag = 0;
inline constexpr int kFirstRowsTag = 1;     // of messages that belong to no announced call
inline constexpr int kNumRowsTags = 32766;  // MPI allows 32767 tags at least

// Gives up a message that the other side never matches. Errors are not looked at: this follows one.
inline void abandon_request(MPI_Request& request, bool is_receive) {
  if (request == MPI_REQUEST_NULL) return;
  if (!is_receive) {
    (void)MPI_Request_free(&request);
    return;
  }
  (void)MPI_Cancel(&request);
  (void)MPI_Wait(&request, MPI_STATUS_IGNORE);
}

}  // namespace moehill
