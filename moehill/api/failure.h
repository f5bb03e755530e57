// Failure is an error of the interface with its status. Its text speaks to the program that calls a function:
// it names arguments, never command-line flags.
//
//     if (topk > experts) throw invalid("topk", "9", "1 to 8, the number of experts", "take fewer");
//     moehill_status moehill_do(...) { return guard([&] { ... }); }   // exceptions become statuses
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <type_traits>

#include "moehill/moehill.h"

namespace moehill {

// Failure carries a status of moehill.h.
class Failure : public std::runtime_error {
 public:
  Failure(moehill_status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  moehill_status status() const { return status_; }

 private:
  moehill_status status_;
};

// Returns a failure with the text "topk: got 9, allowed: 1 to 8, the number of experts; take fewer".
Failure invalid(const std::string& what, const std::string& got, const std::string& allowed,
                const std::string& remedy);
// Throws `invalid` for a number outside [lo, hi].
template <typename Number>
void require_between(const char* what, Number got, std::type_identity_t<Number> lo,
                     std::type_identity_t<Number> hi, const char* remedy) {
  if (got >= lo && got <= hi) return;
  throw invalid(what, fmt::format("{}", got), fmt::format("{} to {}", lo, hi), remedy);
}
Failure null_argument(const char* what);
Failure out_of_memory();

// Returns a failure for the exception that is being handled. Call it in a catch block. If there is no memory
// for its text, the failure is out_of_memory().
Failure current_failure() noexcept;

// Returns the status of the exception that is being handled, and makes its text the last error of this
// thread. Call it in a catch block.
moehill_status report_current_failure() noexcept;
// Runs an entry of the C interface and turns exceptions into a status.
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
