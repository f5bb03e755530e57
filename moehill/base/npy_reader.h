// Reads .npy files that somebody else wrote: nothing in the header is believed before it is checked.
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace moehill {

// A file of NumPy's format 1.0 to 3.0, in C order, whose elements are little-endian numbers: integers of 1,
// 2, 4 or 8 bytes, or floats of 4 or 8. Its size is exactly that of its header and its elements.
class NpyReader {
 public:
  // `what` names the option in errors. Throws InputError for a file that is not as said above.
  NpyReader(const std::string& what, const std::string& path);

  const std::vector<int64_t>& shape() const { return shape_; }
  const std::string& descr() const { return descr_; }  // "<i4"
  bool has_integers() const { return kind_ != 'f'; }

  // Elements from `first` on, counted in C order. Integers are read as int64 (u8 above 2^63 - 1 becomes
  // negative), floats of 8 bytes are rounded to float. Throws InputError where the file ends before, which is
  // so only if it has changed.
  void read(int64_t first, std::span<int64_t> values);
  void read(int64_t first, std::span<float> values);

 private:
  void parse_header(const std::string& header);
  template <typename Element, typename Value>
  void read_as(int64_t first, std::span<Value> values);
  [[noreturn]] void refuse(const std::string& got, const std::string& allowed,
                           const std::string& remedy) const;

  std::string what_, descr_;
  std::vector<int64_t> shape_;
  std::ifstream file_;
  int64_t data_begin_ = 0;
  char kind_ = 'i';
  int bytes_ = 0;  // of an element
};

}  // namespace moehill
