// This header is for tests: it checks what every refusal has to say.
#pragma once

#include <algorithm>
#include <array>
#include <string>

namespace moehill {

// Returns true if a message says what is allowed, or why options exclude each other, and then a remedy.
inline bool is_refusal(const std::string& message) {
  constexpr std::array kReasons = {"allowed",       " needs ",     " need ",         "cannot be used",
                                   "has no effect", "given twice", "cannot write to"};
  return message.find("; ") != std::string::npos &&
         std::any_of(kReasons.begin(), kReasons.end(),
                     [&](const char* reason) { return message.find(reason) != std::string::npos; });
}

}  // namespace moehill
