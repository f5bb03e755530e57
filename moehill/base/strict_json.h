// JSON from files that somebody else wrote: parsed so that nothing in it can harm whoever reads it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace moehill {

// Names the source of a text in errors.
struct JsonSource {
  std::string what;    // "--weights a/model.safetensors: header"
  std::string remedy;  // "download the file again"
};

enum class JsonForm { object, any };

// An object (or any value, where the form allows it), nested at most 32 deep, no name twice in one object, in
// UTF-8, nothing before or after it but blanks. The library alone takes the last of two equal names, stops at
// a NUL as at the end, and copies and prints by recursion, which deep nesting turns into an overflow of the
// stack. Throws InputError.
template <typename Json = nlohmann::json>  // or nlohmann::ordered_json
Json parse_strict_json(std::string_view text, const JsonSource& source, JsonForm form = JsonForm::object);

// Returns the library's sentence about an error, without its own number of it
// ("[json.exception.parse_error.101] ").
std::string words_of(const nlohmann::json::exception& error);

}  // namespace moehill
