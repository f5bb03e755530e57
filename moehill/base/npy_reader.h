// NpyReader reads .npy files that somebody else wrote, such as the expert ids of a trace. It trusts nothing
// in the header before it has checked it. It does not write; base/npy.h does.
//
//   NpyReader reader("--distribution trace", path);   // throws InputError for a bad file
//   std::vector<int64_t> ids(num_rows * topk);
//   reader.read(first_row * topk, ids);
#pragma once

#include <cstdint>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace moehill {

// NpyReader is an open .npy file. It accepts NumPy's formats 1.0 to 3.0, in C order, whose elements are
// little-endian numbers: integers of 1, 2, 4 or 8 bytes, or floats of 4 or 8 bytes. The file must have
// exactly the size that its header says.
class NpyReader {
 public:
  // `what` names the option in errors. Throws InputError for any other file.
  NpyReader(const std::string& what, const std::string& path);

  const std::vector<int64_t>& shape() const { return shape_; }
  const std::string& descr() const { return descr_; }  // the type as NumPy writes it, such as "<i4"
  bool has_integers() const { return kind_ != 'f'; }

  // Reads elements from number `first` on, counted in C order, until `values` is full. Integers become int64
  // (a u8 above 2^63 - 1 becomes 2^63 - 1); floats of 8 bytes are rounded to float. Integers must be read as
  // integers and floats as floats, see has_integers(). Throws InputError if the file has become shorter since
  // it was opened.
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
  int bytes_ = 0;  // bytes of one element
};

}  // namespace moehill
