// Implements NpyReader: parses the header, which is a dictionary literal of Python, without Python, and
// checks every number in it against limits and against the size of the file before memory is taken.
#include "moehill/base/npy_reader.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <type_traits>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

constexpr int64_t kMaxHeader = 1 << 16;
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr size_t kMaxDimensions = 8;
const char* const kSaveAgain = "save it again by numpy.save(FILE, numpy.ascontiguousarray(ids, '<i4'))";

// HeaderText reads the header's dictionary, piece by piece. Each take_...() skips blanks and returns false or
// nothing if something else stands there. It knows only the parts that an .npy header may have.
class HeaderText {
 public:
  explicit HeaderText(const std::string& text) : text_(text) {}

  bool take(char c) {
    skip_blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  std::optional<std::string> take_string() {
    skip_blanks();
    if (at_ == text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) return std::nullopt;
    const size_t end = text_.find(text_[at_], at_ + 1);
    if (end == std::string::npos) return std::nullopt;
    const std::string found = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return found;
  }
  bool take_word(const std::string& word) {
    skip_blanks();
    if (text_.compare(at_, word.size(), word) != 0) return false;
    at_ += word.size();
    return true;
  }
  std::optional<int64_t> take_integer() {
    skip_blanks();
    int64_t value = 0;
    const char* end = text_.data() + text_.size();
    const auto [stop, error] = std::from_chars(text_.data() + at_, end, value);
    if (error != std::errc{} || value < 0) return std::nullopt;
    at_ = static_cast<size_t>(stop - text_.data());
    return value;
  }
  bool at_end() {
    skip_blanks();
    return at_ == text_.size();
  }

 private:
  void skip_blanks() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  const std::string& text_;
  size_t at_ = 0;
};

// Header has the three entries of the dictionary. Each must occur exactly once.
struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortran_order;
  std::optional<std::vector<int64_t>> shape;
};

// Reads a tuple of integers in Python's notation: "()", "(3,)" or "(3, 4)".
std::optional<std::vector<int64_t>> take_shape(HeaderText& text) {
  std::vector<int64_t> shape;
  if (!text.take('(')) return std::nullopt;
  while (!text.take(')')) {
    const std::optional<int64_t> n = text.take_integer();
    if (!n || shape.size() == kMaxDimensions) return std::nullopt;
    shape.push_back(*n);
    if (text.take(',')) continue;
    if (!text.take(')')) return std::nullopt;
    break;
  }
  return shape;
}

// Reads one "'name': value". Returns false for an unknown name, a second occurrence, or a value of the wrong
// kind.
bool take_entry(HeaderText& text, Header& header) {
  const std::optional<std::string> name = text.take_string();
  if (!name || !text.take(':')) return false;
  if (*name == "descr" && !header.descr) {
    header.descr = text.take_string();
    return header.descr.has_value();
  }
  if (*name == "fortran_order" && !header.fortran_order) {
    const bool is_true = text.take_word("True");
    header.fortran_order = is_true;
    return is_true || text.take_word("False");
  }
  if (*name == "shape" && !header.shape) {
    header.shape = take_shape(text);
    return header.shape.has_value();
  }
  return false;
}

std::optional<Header> header_of(const std::string& text) {
  HeaderText rest(text);
  Header header;
  if (!rest.take('{')) return std::nullopt;
  while (!rest.take('}')) {
    if (!take_entry(rest, header)) return std::nullopt;
    if (rest.take(',')) continue;
    if (!rest.take('}')) return std::nullopt;
    break;
  }
  const bool complete = header.descr && header.fortran_order && header.shape && rest.at_end();
  return complete ? std::optional(header) : std::nullopt;
}

// Returns the number of elements, or -1 if it is above kMaxElements. The test before the multiplication keeps
// it from overflowing.
int64_t size_of(const std::vector<int64_t>& shape) {
  int64_t size = 1;
  for (const int64_t n : shape) {
    if (n > 0 && size > kMaxElements / n) return -1;
    size *= n;
  }
  return size;
}

// An unsigned number that no int64_t holds becomes the largest one. It would be negative otherwise, and
// readers of ids take -1 for no expert.
template <typename Value, typename Element>
Value converted(Element element) {
  if constexpr (std::is_same_v<Element, uint64_t>) element = std::min<uint64_t>(element, INT64_MAX);
  return static_cast<Value>(element);
}

}  // namespace

void NpyReader::refuse(const std::string& got, const std::string& allowed, const std::string& remedy) const {
  throw input_error(what_, got, allowed, remedy);
}

NpyReader::NpyReader(const std::string& what, const std::string& path)
    : what_(what), file_(open_input_file({what, path, "an .npy file", "name a file that can be read"})) {
  char start[12] = {};
  file_.read(start, 10);
  if (file_.gcount() != 10 || std::memcmp(start, "\x93NUMPY", 6) != 0)
    refuse("a file that does not begin as an .npy file", "an .npy file", kSaveAgain);
  // Version 1 has a length of two bytes, versions 2 and 3 of four bytes, little endian.
  const int version = start[6];
  if (version < 1 || version > 3)
    refuse(fmt::format("an .npy file of version {}", version), "version 1, 2 or 3", kSaveAgain);
  if (version > 1) file_.read(start + 10, 2);
  int64_t length = 0;
  for (int i = version > 1 ? 3 : 1; i >= 0; --i)
    length = length << 8 | static_cast<unsigned char>(start[8 + i]);
  if (!file_ || length > kMaxHeader)
    refuse(fmt::format("a header of {} bytes", length), fmt::format("at most {}", kMaxHeader), kSaveAgain);
  std::string header(static_cast<size_t>(length), ' ');
  file_.read(header.data(), length);
  if (!file_) refuse("a file that ends in its header", "a whole .npy file", "copy or save it again");
  parse_header(header);
  data_begin_ = (version > 1 ? 12 : 10) + length;
  const int64_t size = size_of(shape_);
  if (size < 0)
    refuse(fmt::format("the shape ({})", fmt::join(shape_, ", ")), "at most 2^40 elements", kSaveAgain);
  // The file must have exactly the bytes that its shape asks for. A shorter file would fail in the middle of
  // a read, and a longer one is probably not what its header says.
  file_.seekg(0, std::ios::end);
  const int64_t found = file_.tellg(), expected = data_begin_ + size * bytes_;
  if (found != expected)
    refuse(fmt::format("{} bytes for the shape ({})", found, fmt::join(shape_, ", ")),
           fmt::format("exactly {} of them", expected), "copy or save it again, it is cut or was added to");
}

void NpyReader::parse_header(const std::string& text) {
  const std::optional<Header> header = header_of(text);
  if (!header)
    refuse("the header " + moehill::quoted(text),
           "a dictionary of descr, fortran_order and shape, of one number each element", kSaveAgain);
  if (*header->fortran_order) refuse("an array in Fortran order", "C order", kSaveAgain);
  descr_ = *header->descr;
  shape_ = *header->shape;
  static const std::string kKinds[] = {"i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"};
  // NumPy writes "|" instead of "<" for elements of one byte, which have no byte order.
  for (const std::string& kind : kKinds) {
    const bool one_byte = kind[1] == '1';
    if (descr_ != "<" + kind && !(one_byte && descr_ == "|" + kind)) continue;
    kind_ = kind[0];
    bytes_ = kind[1] - '0';
    return;
  }
  refuse("elements of type " + moehill::quoted(descr_),
         "little-endian i1, u1, i2, u2, i4, u4, i8, u8, f4 or f8", kSaveAgain);
}

template <typename Element, typename Value>
// Converts block by block, so that no second array of the elements' own type is needed.
void NpyReader::read_as(int64_t first, std::span<Value> values) {
  constexpr size_t kBlock = 1 << 12;
  Element block[kBlock];
  file_.clear();
  file_.seekg(data_begin_ + first * static_cast<int64_t>(sizeof(Element)));
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, values.size() - begin);
    file_.read(reinterpret_cast<char*>(block), static_cast<std::streamsize>(count * sizeof(Element)));
    if (!file_) refuse("a file that has become shorter", "one that nobody writes to", "try again");
    for (size_t i = 0; i < count; ++i) values[begin + i] = converted<Value>(block[i]);
  }
}

void NpyReader::read(int64_t first, std::span<int64_t> values) {
  MOEHILL_CHECK(has_integers(), "integers of {}", descr_);
  const bool is_signed = kind_ == 'i';
  if (bytes_ == 1) return is_signed ? read_as<int8_t>(first, values) : read_as<uint8_t>(first, values);
  if (bytes_ == 2) return is_signed ? read_as<int16_t>(first, values) : read_as<uint16_t>(first, values);
  if (bytes_ == 4) return is_signed ? read_as<int32_t>(first, values) : read_as<uint32_t>(first, values);
  return is_signed ? read_as<int64_t>(first, values) : read_as<uint64_t>(first, values);
}

void NpyReader::read(int64_t first, std::span<float> values) {
  MOEHILL_CHECK(!has_integers(), "floats of {}", descr_);
  bytes_ == 4 ? read_as<float>(first, values) : read_as<double>(first, values);
}

}  // namespace moehill
