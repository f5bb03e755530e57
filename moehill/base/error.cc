#include "moehill/base/error.h"

#include <cstdio>
#include <cstdlib>

namespace moehill {
namespace {

// A file or an option may hold a very long text. The message quotes only its beginning, so that it stays
// readable.
std::string shortened(const std::string& text, size_t most) {
  return text.size() <= most ? text : text.substr(0, most) + "...";
}

}  // namespace

InputError input_error(const std::string& what, const std::string& got, const std::string& allowed,
                       const std::string& remedy) {
  constexpr size_t kMost = 300;
  return InputError(fmt::format("{}: got {}, allowed: {}; {}", shortened(what, kMost), shortened(got, kMost),
                                allowed, remedy));
}

InputError usage_error(const std::string& sentence, const std::string& remedy) {
  return InputError(fmt::format("{}; {}", shortened(sentence, 600), remedy));
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::fprintf(stderr, "%s:%d: invariant '%s' broken: %s\n", file, line, condition, message.c_str());
  std::abort();
}

}  // namespace moehill
