#include "moehill/base/error.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "moehill/base/table.h"

namespace moehill {
namespace {

// A message has this many bytes at most. It has more only if the program's own list of what is allowed needs
// them.
constexpr size_t kMostBytes = 500;
constexpr size_t kMostAllowed = 800, kMostRemedy = 300;
constexpr size_t kLeastGiven = 120;  // for what was given, however long the rest is
constexpr size_t kBetween = 12;      // bytes of ": got " and of two "..."

// A file or an option may hold a very long text. The message quotes only its beginning, so that it stays
// readable.
std::string shortened(const std::string& text, size_t most) {
  return text.size() <= most ? text : beginning_of(text, most) + "...";
}

// Returns the bytes that are left for what was given, beside `used` bytes of the message.
size_t room_beside(size_t used) {
  return std::max(kLeastGiven, kMostBytes - std::min(kMostBytes, used + kBetween));
}

}  // namespace

// Both `what` and `got` may quote what somebody gave. Each has half of the room, and what the other leaves.
InputError input_error(const std::string& what, const std::string& got, const std::string& allowed,
                       const std::string& remedy) {
  const std::string rest =
      fmt::format(", allowed: {}; {}", shortened(allowed, kMostAllowed), shortened(remedy, kMostRemedy));
  const size_t room = room_beside(rest.size());
  const std::string begin = shortened(what, room - std::min(got.size(), room / 2));
  return InputError(
      fmt::format("{}: got {}{}", begin, shortened(got, room - std::min(room, begin.size())), rest));
}

InputError usage_error(const std::string& sentence, const std::string& remedy) {
  const std::string rest = fmt::format("; {}", shortened(remedy, kMostRemedy));
  return InputError(shortened(sentence, room_beside(rest.size())) + rest);
}

InputError error_at(const std::string& place, const std::string& message) {
  return InputError(shortened(place, kLeastGiven) + ": " + shortened(message, 2 * kMostBytes));
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::fprintf(stderr, "%s:%d: invariant '%s' broken: %s\n", file, line, condition, message.c_str());
  std::abort();
}

}  // namespace moehill
