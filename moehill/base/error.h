// This header has the errors. There are two kinds, and they end differently:
//
// - Bad input (an option, a file, an argument of the library) throws InputError. The program's top level
//   prints its one sentence and exits with status 2; the library turns it into a status.
// - A broken invariant is a bug of this program. MOEHILL_CHECK prints where it happened and aborts.
//
// Do not use MOEHILL_CHECK for anything that a user can cause.
//
//   if (topk > num_experts)
//     throw input_error("--topk", "9", "1 to 8 (the number of experts)", "use --topk 8 or more experts");
//   MOEHILL_CHECK(begin <= end, "rows {} to {}", begin, end);
#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace moehill {

// InputError is bad usage or bad input. what() is the whole sentence for the user: what was wrong, what was
// got, what is allowed, and the remedy.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Returns the error whose text is "WHAT: got GOT, allowed: ALLOWED; REMEDY". The caller throws it. `what` and
// `got` are cut so that the text has at most 500 bytes, unless a long list of what is allowed needs more.
InputError input_error(const std::string& what, const std::string& got, const std::string& allowed,
                       const std::string& remedy);

// Returns the error for options that exclude each other or need each other: "--router-grad needs a backward
// pass; use --bench-pass forward_backward".
InputError usage_error(const std::string& sentence, const std::string& remedy);

// Returns the error "PLACE: MESSAGE" for an error that was thrown with `message` about something in a file or
// of another process. The place is cut after 120 bytes.
InputError error_at(const std::string& place, const std::string& message);

// Returns the value for a message, which says "nan" and never "-nan": the sign of a NaN is an accident of the
// operation that made it.
template <typename Float>
Float unsigned_nan(Float value) {
  return std::isnan(value) ? std::numeric_limits<Float>::quiet_NaN() : value;
}

// Prints "FILE:LINE: invariant 'CONDITION' broken: MESSAGE" on standard error and aborts. MOEHILL_CHECK calls
// it; nothing else should.
[[noreturn]] void check_failed(const char* condition, const char* file, int line, const std::string& message);

}  // namespace moehill

// Aborts with a message if an invariant of the program does not hold. The check stays in release builds. The
// arguments after the condition are a format of fmt and its values; they are evaluated only on failure.
#define MOEHILL_CHECK(condition, ...)                                                                    \
  do {                                                                                                   \
    if (!(condition)) ::moehill::check_failed(#condition, __FILE__, __LINE__, fmt::format(__VA_ARGS__)); \
  } while (false)
