// Errors of collectives. Both leave the mesh usable for its next run.
//
//   try { mesh.run(program); } catch (const CollectiveError& e) { report(e.what()); }
#pragma once

#include <stdexcept>

namespace moehill {

// Another device of this run has failed, so the collective cannot complete. Callers need not report it: the
// mesh reports the failure of the other device.
class PeerFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Devices called different collectives, or passed arguments that do not fit together. It is thrown on every
// device before any device leaves the collective.
class CollectiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace moehill
