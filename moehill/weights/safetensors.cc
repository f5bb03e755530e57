// Implements safetensors.h. Every number of the header is checked before it is used.
#include "moehill/weights/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian, and read in place");

using nlohmann::json;

constexpr uint64_t kMaxHeader = 100'000'000;
constexpr size_t kMaxRank = 8;
constexpr char kRemedy[] = "download or write the file anew";

// Returns the bits of an element of this type. Types that no block uses are known too, because their lengths
// are checked.
std::optional<uint64_t> bits_of(const std::string& dtype) {
  static const std::map<std::string, uint64_t> bits = {
      {"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
      {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
      {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
      {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};
  const auto found = bits.find(dtype);
  return found == bits.end() ? std::nullopt : std::optional(found->second);
}

// Entry is one tensor of a header. Each function checks its part and throws InputError.
class Entry {
 public:
  Entry(const std::string& path, const std::string& name, const json& value)
      : where_(fmt::format("--weights {}: {}", path, quoted(name))), value_(value) {
    if (!value.is_object()) refuse("no object", "an object with dtype, shape and data_offsets");
    for (const auto& [key, part] : value.items()) {
      if (key != "dtype" && key != "shape" && key != "data_offsets")
        refuse(quoted(key), "dtype, shape and data_offsets alone");
    }
  }

  std::string dtype() const {
    const auto found = value_.find("dtype");
    if (found == value_.end() || !found->is_string()) refuse("no dtype", "its name in text");
    if (!bits_of(found->get<std::string>()))
      refuse("dtype " + quoted(found->get<std::string>()),
             "the types of safetensors, such as BF16 or F8_E4M3");
    return found->get<std::string>();
  }

  std::vector<int64_t> shape() const {
    const std::vector<uint64_t> numbers = numbers_of("shape");
    if (numbers.size() > kMaxRank)
      refuse(fmt::format("a shape of {} dimensions", numbers.size()), fmt::format("at most {}", kMaxRank));
    // The tensor's length does not bound the other dimensions if one of them is 0.
    for (const uint64_t n : numbers) {
      if (n > INT64_MAX) refuse(fmt::format("a dimension of {}", n), fmt::format("at most {}", INT64_MAX));
    }
    return {numbers.begin(), numbers.end()};
  }

  // Returns begin and end of the tensor, counted behind the header. It throws unless both lie within the file
  // and in order, and the length follows from type and shape.
  std::pair<uint64_t, uint64_t> range(const StoredTensor& tensor, uint64_t num_bytes) const {
    const std::vector<uint64_t> ends = numbers_of("data_offsets");
    if (ends.size() != 2) refuse(fmt::format("{} data_offsets", ends.size()), "two, begin and end");
    if (ends[0] > ends[1] || ends[1] > num_bytes)
      refuse(fmt::format("data_offsets {} to {}", ends[0], ends[1]),
             fmt::format("an ordered range of the {} bytes behind the header", num_bytes));
    uint64_t bits = *bits_of(tensor.dtype);
    for (const int64_t n : tensor.shape) {
      if (__builtin_mul_overflow(bits, static_cast<uint64_t>(n), &bits))
        refuse("shape " + shape_text(tensor.shape), "a product below 2^64 bits");
    }
    const std::string needed = bits % 8 == 0 ? count_text(static_cast<int64_t>(bits / 8), "byte")
                                             : fmt::format("{:.2f} bytes", 0.125 * static_cast<double>(bits));
    if (bits % 8 != 0 || bits / 8 != ends[1] - ends[0])
      refuse(count_text(static_cast<int64_t>(ends[1] - ends[0]), "byte"),
             fmt::format("{}, of {} {}", needed, tensor.dtype, shape_text(tensor.shape)));
    return {ends[0], ends[1]};
  }

  [[noreturn]] void refuse(const std::string& got, const std::string& allowed) const {
    throw input_error(where_, got, allowed, kRemedy);
  }

 private:
  std::vector<uint64_t> numbers_of(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end() || !found->is_array()) refuse(fmt::format("no {}", key), "a list of integers");
    std::vector<uint64_t> numbers;
    for (const json& number : *found) {
      if (!number.is_number_unsigned())
        refuse(fmt::format("{} in {}", quoted(number.dump()), key), "integers from 0 to 2^64 - 1");
      numbers.push_back(number.get<uint64_t>());
    }
    return numbers;
  }

  std::string where_;
  const json& value_;
};

std::string_view header_of(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  const std::string what = "--weights " + file.path();
  if (bytes.size() < sizeof(uint64_t))
    throw input_error(what, count_text(std::ssize(bytes), "byte"), "8 bytes at least, the length of a header",
                      kRemedy);
  uint64_t length;
  std::memcpy(&length, bytes.data(), sizeof(length));
  const uint64_t most = std::min<uint64_t>(kMaxHeader, bytes.size() - sizeof(length));
  if (length > most)
    throw input_error(
        what, fmt::format("a header of {} bytes", length),
        fmt::format("at most {}, since the file has {} and a header 100 MB", most, bytes.size()), kRemedy);
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + sizeof(length), length);
  if (header.empty() || header.front() != '{')
    throw input_error(what + ": header",
                      header.empty() ? "nothing" : quoted(std::string(header.substr(0, 8))),
                      "a JSON object, which begins with {", kRemedy);
  return header;
}

void refuse_other_metadata(const std::string& path, const json& metadata) {
  const bool texts = metadata.is_object() && std::all_of(metadata.begin(), metadata.end(),
                                                         [](const json& value) { return value.is_string(); });
  if (!texts)
    throw input_error(fmt::format("--weights {}: __metadata__", path), "something else", "an object of texts",
                      kRemedy);
}

// Placed is a tensor's range, for the check that ranges fill the file.
struct Placed {
  uint64_t begin, end;
  const std::string* name;
};

// Throws unless each tensor, in the order of memory, begins where the one before it ends. Empty tensors may
// share a place.
void refuse_gaps(const std::string& path, std::vector<Placed> placed, uint64_t num_bytes) {
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Placed& tensor : placed) {
    if (tensor.begin != end)
      throw input_error(fmt::format("--weights {}: {}", path, quoted(*tensor.name)),
                        fmt::format("data_offsets from {}", tensor.begin),
                        fmt::format("from {}, where the tensor before it ends", end), kRemedy);
    end = tensor.end;
  }
  if (end != num_bytes)
    throw input_error("--weights " + path,
                      count_text(static_cast<int64_t>(num_bytes - end), "byte") + " behind the last tensor",
                      "none", kRemedy);
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::string& path) : file_(path) {
  const std::string_view header = header_of(file_);
  const std::span<const std::byte> data = file_.bytes().subspan(sizeof(uint64_t) + header.size());
  const json entries = parse_strict_json(header, {fmt::format("--weights {}: header", path), kRemedy});
  std::vector<Placed> placed;
  for (const auto& [name, value] : entries.items()) {
    if (name == "__metadata__") {
      refuse_other_metadata(path, value);
      continue;
    }
    const Entry entry(path, name, value);
    StoredTensor tensor{entry.dtype(), entry.shape(), {}};
    const auto [begin, end] = entry.range(tensor, data.size());
    tensor.bytes = data.subspan(begin, end - begin);
    placed.push_back({begin, end, &tensors_.emplace(name, std::move(tensor)).first->first});
  }
  refuse_gaps(path, std::move(placed), data.size());
}

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

}  // namespace moehill
