// This header makes the record of `moehill models`: a model's block, its size, and which parts of the model
// are left out.
#pragma once

#include <string>

#include "moehill/base/json_fields.h"
#include "moehill/catalog/model_block.h"

namespace moehill {

inline constexpr double kBf16Bytes = 2;

// Returns the record. source says where the block's configuration comes from.
Json model_record(const std::string& name, const std::string& source, const ModelBlock& block);

}  // namespace moehill
