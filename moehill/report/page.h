// Page: the HTML report as one self-contained file.
#pragma once

#include <string>
#include <string_view>

#include "moehill/store/results.h"

namespace moehill {

std::string html_page(const StoredJson& data);

// JSON that may stand inside a script element: `<`, `>`, `&`, U+2028 and U+2029 are escaped.
std::string script_safe(const StoredJson& json);

// The page with style, scripts and content policy, and kDataMark where the data go; put together from web/ by
// the build.
std::string_view page_shell();
inline constexpr std::string_view kDataMark = "@MOEHILL_DATA@";

}  // namespace moehill
