#include "moehill/parallel/run.h"

namespace moehill {

const char* name_of(ParallelMode mode) { return mode == ParallelMode::none ? "none" : "ep"; }

const char* name_of(EpPath path) { return path == EpPath::compact_psum ? "compact_psum" : "dense_masked"; }

const char* name_of(SharedPlacement placement) {
  return placement == SharedPlacement::sliced ? "sliced" : "replicated";
}

}  // namespace moehill
