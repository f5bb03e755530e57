// These are the errors of collectives. Both leave the threads mesh usable for its next run;
// mesh/mpi/mpi_group.h says what holds for MPI.
//
//   try { mesh.run(program); } catch (const CollectiveError& e) { report(e.what()); }
#pragma once

#include <stdexcept>

namespace moehill {

// PeerFailed says that another device of this run has failed, so the collective cannot complete. Callers need
// not report it: the mesh reports the failure of the other device.
class PeerFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// CollectiveError says that devices called different collectives, or passed arguments that do not fit
// together. Every device throws it before any device leaves the collective.
class CollectiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace moehill
