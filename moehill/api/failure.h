// Failure: an error of the interface, with its status. The text is for the caller of a function: arguments,
// not flags.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "moehill/moehill.h"

namespace moehill {

class Failure : public std::runtime_error {
 public:
  Failure(moehill_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  moehill_status status() const { return status_; }

 private:
  moehill_status status_;
};

// "topk: got 9, allowed: 1 to 8, the number of experts; ..."
Failure invalid(const std::string& what, const std::string& got, const std::string& allowed,
                const std::string& remedy);
// Throws `invalid` for a number outside [lo, hi].
template <typename Number>
void require_between(const char* what, Number got, std::type_identity_t<Number> lo, std::type_identity_t<Number> hi,
                     const char* remedy) {
  if (got >= lo && got <= hi) return;
  throw invalid(what, fmt::format("{}", got), fmt::format("{} to {}", lo, hi), remedy);
}
Failure null_argument(const char* what);
Failure out_of_memory();

// The failure that stands for whatever was thrown. Call it in a catch block.
Failure current_failure();

// The status of whatever was thrown, whose text becomes the message of this thread. Call it in a catch block.
moehill_status report_current_failure() noexcept;
// Runs an entry of the C interface.
template <typename Body>
moehill_status guard(const Body& body) noexcept {
  try {
    body();
    return MOEHILL_OK;
  } catch (...) {
    return report_current_failure();
  }
}
const char* last_error();

}  // namespace moehill
