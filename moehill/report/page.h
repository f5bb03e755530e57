// Page is the HTML report as one file that needs nothing else. report/page_data.h says what it shows, and
// web/ how it looks.
//
//     file << html_page(page_data(store, read_published("")));
#pragma once

#include <string>
#include <string_view>

#include "moehill/store/results.h"

namespace moehill {

std::string html_page(const StoredJson& data);

// Returns JSON that may stand inside of a script element: `<`, `>`, `&`, U+2028 and U+2029 are escaped.
std::string script_safe(const StoredJson& json);

// Returns the page with style, scripts and content policy, and with kDataMark where the data go. The build
// puts it together from web/.
std::string_view page_shell();
inline constexpr std::string_view kDataMark = "@MOEHILL_DATA@";

}  // namespace moehill
