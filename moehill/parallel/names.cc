#include "moehill/parallel/run.h"

namespace moehill {

const char* name_of(ParallelMode mode) {
  return mode == ParallelMode::none ? "none" : mode == ParallelMode::dp ? "dp" : "ep";
}

const char* name_of(EpPath path) {
  switch (path) {
    case EpPath::compact_psum:
      return "compact_psum";
    case EpPath::dense_masked:
      return "dense_masked";
    case EpPath::ring_ag_rs:
      return "ring_ag_rs";
    case EpPath::ragged_a2a:
      return "ragged_a2a";
    case EpPath::fused:
      return "fused";
  }
  return "?";
}

const char* name_of(SharedPlacement placement) {
  return placement == SharedPlacement::sliced ? "sliced" : "replicated";
}

}  // namespace moehill
