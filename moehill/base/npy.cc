#include "moehill/base/npy.h"
#include "moehill/base/error.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <stdexcept>

namespace moehill {
namespace {

static_assert(std::endian::native == std::endian::little, "values are written as they lie in memory");

// Returns the header of the file: the magic bytes, version 1.0, the length of the dictionary, and the
// dictionary. The dictionary is padded with blanks, so that the data begin at a multiple of 64 bytes.
// (numpy.lib.format describes it.)
std::string npy_header(const std::string& type, const std::vector<int64_t>& shape) {
  std::string dims;
  for (const int64_t n : shape) dims += fmt::format("{}{}", dims.empty() ? "" : ", ", n);
  if (shape.size() == 1) dims += ",";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, dims);
  constexpr size_t kPrefix = 10;
  text.append(63 - (kPrefix + text.size()) % 64, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace

void write_npy(NewFile& file, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill) {
  int64_t num_rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) num_rows *= shape[i];
  const std::string header = npy_header("<f4", shape);
  file.write(header.data(), header.size());
  std::vector<float> row(shape.back());
  for (int64_t r = 0; r < num_rows; ++r) {
    fill(r, row);
    file.write(row.data(), row.size() * sizeof(float));
  }
}

void write_npy(NewFile& file, const std::vector<int64_t>& shape, std::span<const int32_t> values) {
  int64_t size = 1;
  for (const int64_t n : shape) size *= n;
  MOEHILL_CHECK(size == static_cast<int64_t>(values.size()), "{} values for {} places", values.size(), size);
  const std::string header = npy_header("<i4", shape);
  file.write(header.data(), header.size());
  file.write(values.data(), values.size_bytes());
}

void write_npy(const std::string& path, const std::vector<int64_t>& shape,
               const std::function<void(int64_t row, std::span<float> values)>& fill) {
  NewFile file(path);
  write_npy(file, shape, fill);
  file.keep();
}

void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int32_t> values) {
  NewFile file(path);
  write_npy(file, shape, values);
  file.keep();
}

}  // namespace moehill
