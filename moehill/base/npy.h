// .npy files: NumPy's format, version 1.0, C order, little endian.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "moehill/base/output_paths.h"

namespace moehill {

// Writes an array of `shape`; fill(row, values) gives row `row` of the array seen as [product of all but the
// last, last]. Throws std::runtime_error with path and reason when the file cannot be written.
void write_npy(const std::string& path, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill);
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int32_t> values);

// These write into files in the making. Several files that belong together are kept only when all are
// written.
void write_npy(NewFile& file, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill);
void write_npy(NewFile& file, const std::vector<int64_t>& shape, std::span<const int32_t> values);

}  // namespace moehill
