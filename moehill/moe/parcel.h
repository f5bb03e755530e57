// This header has Parcel, which turns values into bytes for another process, and back into values there.
#pragma once

#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "moehill/base/error.h"

namespace moehill {

// The sender and the receiver call a Parcel with each value, in the same order, so one function serves both
// directions. A new parcel appends the value. A parcel that has arrived overwrites the value with the next
// one in it. Both processes must have the same byte order.
//
//   void pass(Parcel& parcel) { parcel(count), parcel(names); }    // a member of `findings`
//   Parcel own;
//   findings.pass(own);             // send own.bytes()
//   Parcel came(message);
//   findings.pass(came);            // at the receiver
class Parcel {
 public:
  Parcel() = default;
  explicit Parcel(std::string came) : bytes_(std::move(came)), has_come_(true) {}

  template <typename T>
  void operator()(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    pass(&value, sizeof(T));
  }
  template <typename T>
  void operator()(std::vector<T>& values) {
    static_assert(std::is_trivially_copyable_v<T>);
    pass_size(values);
    pass(values.data(), values.size() * sizeof(T));
  }
  void operator()(std::string& text) {
    pass_size(text);
    pass(text.data(), text.size());
  }
  const std::string& bytes() const { return bytes_; }

 private:
  template <typename Container>
  void pass_size(Container& container) {
    size_t size = container.size();
    pass(&size, sizeof(size));
    container.resize(size);
  }
  void pass(void* data, size_t bytes) {
    if (bytes == 0) return;
    if (!has_come_) {
      bytes_.append(static_cast<const char*>(data), bytes);
      return;
    }
    MOEHILL_CHECK(at_ + bytes <= bytes_.size(), "{} bytes at {} of a parcel of {}", bytes, at_,
                  bytes_.size());
    std::memcpy(data, bytes_.data() + at_, bytes);
    at_ += bytes;
  }

  std::string bytes_;
  bool has_come_ = false;
  size_t at_ = 0;
};

}  // namespace moehill
