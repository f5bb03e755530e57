// Errors of collectives. Both leave the mesh usable for its next run.
#pragma once

#include <stdexcept>

namespace moehill {

// Another device of this run has failed, so the collective cannot complete. The mesh reports the failure
// itself.
class PeerFailed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Devices called different collectives or passed arguments that do not fit together; thrown on every device,
// before any device leaves the collective.
class CollectiveError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace moehill
