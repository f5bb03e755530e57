// Errors: bad input ends in one sentence for the user, a broken invariant ends the program.
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace moehill {

// Bad usage or bad input (exit status 2). The message says what was wrong, what was got, what is allowed, and
// the remedy.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// "--topk: got 9, allowed 1 to 8 (the number of experts); use --topk 8 or more experts".
InputError input_error(const std::string& what, const std::string& got, const std::string& allowed,
                       const std::string& remedy);

// For options that do not go together: "--router-grad needs a backward pass; use --bench-pass
// forward_backward".
InputError usage_error(const std::string& sentence, const std::string& remedy);

// For messages, which say "nan" and never "-nan": the sign of a NaN is an accident of the operation that made
// it.
template <typename Float>
Float unsigned_nan(Float value) {
  return std::isnan(value) ? std::numeric_limits<Float>::quiet_NaN() : value;
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace moehill

// An invariant of the program, checked in release builds too: prints the message with its place and aborts.
#define MOEHILL_CHECK(condition, ...)                                                                    \
  do {                                                                                                   \
    if (!(condition)) ::moehill::check_failed(#condition, __FILE__, __LINE__, fmt::format(__VA_ARGS__)); \
  } while (false)
