// suggest: the path that the model predicts to be the fastest.
#pragma once

#include "moehill/api/description.h"

namespace moehill {

// hardware null: as moehill.h has it.
moehill_suggestion suggest(const Context& context, const moehill_block_desc& desc, int64_t tokens,
                           const char* hardware);

}  // namespace moehill
