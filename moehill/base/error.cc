#include "moehill/base/error.h"

#include <cstdio>
#include <cstdlib>

namespace moehill {

InputError input_error(const std::string& what, const std::string& got, const std::string& allowed,
                       const std::string& remedy) {
  return InputError(fmt::format("{}: got {}, allowed: {}; {}", what, got, allowed, remedy));
}

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  std::fprintf(stderr, "%s:%d: invariant '%s' broken: %s\n", file, line, condition, message.c_str());
  std::abort();
}

}  // namespace moehill
