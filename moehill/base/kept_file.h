// This header replaces a file of the user to which several processes add, such as the table of tuned block
// sizes. The file is replaced as a whole or not at all. For a file with one writer, use NewFile
// (base/output_paths.h).
//
//   replace_file(path, [&] { return merged(read_input_file(file), mine); });
#pragma once

#include <functional>
#include <string>

namespace moehill {

// Replaces the contents of the file `path` by the result of `text`; makes its folder if needed. Processes
// that do so at the same time wait for one another, so `text` may read the file and return it with additions.
// If a process is killed, the file stays as it was. Throws std::runtime_error if the file cannot be written,
// and the exceptions of `text`.
void replace_file(const std::string& path, const std::function<std::string()>& text);

}  // namespace moehill
