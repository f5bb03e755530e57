// Input files: whatever a path names, reading it ends soon and takes little memory. A folder, a pipe, a
// device or a file of a terabyte is an error in one sentence.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace moehill {

// The parts of an error's sentence.
struct InputFile {
  std::string what;  // the option or command that names the file: "--hardware"
  std::string path;
  std::string allowed;  // "a hardware file (TOML)"
  std::string remedy;   // "write one by moehill probe"
};

inline constexpr int64_t kMostTextBytes = 16 << 20;  // of a file that people or programs write as text

// The whole file. Throws InputError where it is no regular file, cannot be read, or has more bytes.
std::string read_input_file(const InputFile& file, int64_t most_bytes = kMostTextBytes);

// Opened for reading in pieces. Throws InputError where it is no regular file or cannot be read.
std::ifstream open_input_file(const InputFile& file);

bool is_there(const std::string& path);  // a file or folder of whatever kind
// Returns true for a regular file on a disk, which is no folder, pipe, device or file of the kernel such as
// /proc/kmsg.
bool is_plain_file(const std::string& path);

// Reads a line without its end; false at the end of the stream. Throws InputError for a line that is longer
// than `most` bytes, of which it keeps no more.
bool read_input_line(std::istream& stream, std::string& line, const InputFile& file,
                     int64_t most = kMostTextBytes);

}  // namespace moehill
