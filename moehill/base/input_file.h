// This header reads files that a user names. Whatever the path leads to, reading it ends soon and takes
// little memory: a folder, a pipe, a device or a file of a terabyte gives an error of one sentence. It does
// not parse; base/strict_json.h, base/strict_toml.h and base/npy_reader.h do.
//
//   const InputFile file{"--hardware", path, "a hardware file (TOML)", "write one by moehill probe"};
//   const std::string text = read_input_file(file);
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace moehill {

// InputFile is a file to read, and the words of the error if it cannot be read.
struct InputFile {
  std::string what;  // the option or command that names the file: "--hardware"
  std::string path;
  std::string allowed;  // "a hardware file (TOML)"
  std::string remedy;   // "write one by moehill probe"
};

// 16 MiB; no text file that people or programs write for this program is larger.
inline constexpr int64_t kMostTextBytes = 16 << 20;

// Returns the whole file. Throws InputError if it is not a regular file, cannot be read, or has more than
// `most_bytes` bytes.
std::string read_input_file(const InputFile& file, int64_t most_bytes = kMostTextBytes);

// Opens a file that the caller reads in pieces. Throws InputError if it is not a regular file or cannot be
// read.
std::ifstream open_input_file(const InputFile& file);

bool is_there(const std::string& path);  // a file or folder of whatever kind
// Returns true for a regular file on a disk, and false for a folder, a pipe, a device or a file of the kernel
// such as /proc/kmsg.
bool is_plain_file(const std::string& path);

// Returns the folder that the environment's variable `name` names; "" if it is unset or empty. Throws
// InputError if it names no folder: a mistyped one must not make the program take other files unnoticed.
std::string folder_of_variable(const char* name, const std::string& allowed);

// Reads one line, without its end, into `line`. Returns false at the end of the stream. Throws InputError if
// the line is longer than `most` bytes; it never holds more than that in memory.
bool read_input_line(std::istream& stream, std::string& line, const InputFile& file,
                     int64_t most = kMostTextBytes);

}  // namespace moehill
