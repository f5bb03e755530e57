// This header writes arrays as .npy files: NumPy's format, version 1.0, C order, little endian, elements
// float32 or int32. It does not read them; NpyReader (base/npy_reader.h) does.
//
//   write_npy("y.npy", {num_tokens, hidden}, [&](int64_t t, std::span<float> row) {
//     std::copy_n(y.row(t), hidden, row.begin());
//   });
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "moehill/base/output_paths.h"

namespace moehill {

// Writes an array of `shape` to `path`. The first form takes the array as a matrix [product of all dimensions
// but the last, last], and calls fill(row, values) for one row at a time, so the whole array need not be in
// memory as floats. Throws std::runtime_error with path and reason if the file cannot be written.
void write_npy(const std::string& path, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill);
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int32_t> values);

// These two write into a file that the caller has opened and will keep() itself. Use them for several files
// that belong together: write all of them before you keep any.
void write_npy(NewFile& file, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill);
void write_npy(NewFile& file, const std::vector<int64_t>& shape, std::span<const int32_t> values);

}  // namespace moehill
