// suggest() returns the path that the model (model/predict.h) predicts to be the fastest for a block. It
// measures nothing.
//
//     const moehill_suggestion s = suggest(context, complete(desc), /*tokens=*/4096, /*hardware=*/nullptr);
//     s.path, s.seconds;      // MOEHILL_PATH_FUSED, seconds of a step
#pragma once

#include "moehill/api/description.h"

namespace moehill {

// `hardware` null means the default that moehill.h documents.
moehill_suggestion suggest(const Context& context, const moehill_block_desc& desc, int64_t tokens,
                           const char* hardware);

}  // namespace moehill
