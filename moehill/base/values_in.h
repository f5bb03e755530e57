// This header reads numbers out of the bytes of a message from another process.
//
//   const std::vector<double> values = values_in<double>(message);   // empty if the message is
#pragma once

#include <algorithm>
#include <string_view>
#include <type_traits>
#include <vector>

namespace moehill {

// Returns the values whose bytes the message has. Bytes behind the last whole value are left out.
template <typename T>
std::vector<T> values_in(std::string_view message) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::vector<T> values(message.size() / sizeof(T));
  // An empty vector has no memory, and memcpy() must not be given a null pointer, even for no bytes.
  std::copy_n(message.data(), values.size() * sizeof(T), reinterpret_cast<char*>(values.data()));
  return values;
}

}  // namespace moehill
