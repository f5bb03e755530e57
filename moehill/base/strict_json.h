// This header parses JSON from files that somebody else wrote, such as a model's config.json or a record. It
// is strict, so that nothing in them can harm the program or pass unnoticed.
//
//   const JsonSource source{"--weights a/model.safetensors: header", "download the file again"};
//   const nlohmann::json header = parse_strict_json(text, source);   // throws InputError
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace moehill {

// JsonSource has the words of the error: which text it is, and what the user can do.
struct JsonSource {
  std::string what;    // "--weights a/model.safetensors: header"
  std::string remedy;  // "download the file again"
};

// JsonForm is what a text must be: an object, as most files are, or any value.
enum class JsonForm { object, any };

// Parses `text`, which must be one object, or any value if the form allows it. Objects and arrays may be
// nested at most 32 deep, no name may occur twice in one object, the text must be UTF-8, and only blanks may
// stand before or after the value. The JSON library would silently take the last of two equal names and stop
// at a NUL. It also copies and prints by recursion, so that deep nesting would overflow the stack, and it
// takes hours for an ordered object of a million names. Throws InputError.
template <typename Json = nlohmann::json>  // or nlohmann::ordered_json
Json parse_strict_json(std::string_view text, const JsonSource& source, JsonForm form = JsonForm::object);

// Returns the library's sentence about an error without its number ("[json.exception.parse_error.101] ").
std::string words_of(const nlohmann::json::exception& error);

}  // namespace moehill
