#include "moehill/base/input_file.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

[[noreturn]] void refuse(const InputFile& file, const std::string& reason) {
  throw input_error(file.what, quoted(file.path, 200) + " (" + reason + ")", file.allowed, file.remedy);
}

// Returns true for a file of the kernel. It calls itself regular, but a read may wait or go on for ever.
bool is_of_kernel(const std::string& path) {
  struct statfs system {};
  return statfs(path.c_str(), &system) == 0 &&
         (system.f_type == PROC_SUPER_MAGIC || system.f_type == TRACEFS_MAGIC ||
          system.f_type == DEBUGFS_MAGIC);
}

}  // namespace

bool is_plain_file(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && !is_of_kernel(path);
}

// Looks at the kind of file before opening it: opening a pipe would wait for a writer, and reading a device
// may never end.
std::ifstream open_input_file(const InputFile& file) {
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::file_status status = fs::status(file.path, error);
  if (error == std::errc::no_such_file_or_directory) refuse(file, "no such file");
  if (error) refuse(file, error.message());
  if (status.type() == fs::file_type::directory) refuse(file, "a folder");
  if (!is_plain_file(file.path)) refuse(file, "no regular file");
  errno = 0;
  std::ifstream stream(file.path, std::ios::binary);
  if (!stream) refuse(file, std::strerror(errno));
  return stream;
}

bool is_there(const std::string& path) {
  std::error_code ignored;  // exists() reports an error for a path that is too long or whose links form a
                            // circle; such a path names no file
  return std::filesystem::exists(path, ignored);
}

std::string folder_of_variable(const char* name, const std::string& allowed) {
  const char* folder = std::getenv(name);
  if (folder == nullptr || *folder == '\0') return "";
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) return folder;
  throw input_error(name, quoted(folder, 200) + " (" + (error ? error.message() : "no folder") + ")", allowed,
                    fmt::format("name such a folder, or unset {}", name));
}

std::string read_input_file(const InputFile& file, int64_t most_bytes) {
  std::ifstream stream = open_input_file(file);
  std::string text;
  char piece[1 << 16];
  do {
    stream.read(piece, sizeof piece);
    text.append(piece, static_cast<size_t>(stream.gcount()));
    if (std::ssize(text) > most_bytes) refuse(file, fmt::format("more than {} bytes", most_bytes));
  } while (stream);
  if (stream.bad()) refuse(file, "reading it failed");
  return text;
}

bool read_input_line(std::istream& stream, std::string& line, const InputFile& file, int64_t most) {
  line.clear();
  // Reads from the stream's buffer byte by byte, since std::getline() would take a line of any length into
  // memory.
  std::streambuf& bytes = *stream.rdbuf();
  constexpr int kEnd = std::char_traits<char>::eof();
  try {
    for (int c = bytes.sbumpc(); c != kEnd; c = bytes.sbumpc()) {
      if (c == '\n') return true;
      line += static_cast<char>(c);
      if (std::ssize(line) > most) refuse(file, fmt::format("a line of more than {} bytes", most));
    }
  } catch (const std::ios_base::failure&) {  // the buffer throws such errors, while the stream would only
                                             // note them
    refuse(file, "reading it failed");
  }
  stream.setstate(std::ios::eofbit);
  return !line.empty();
}

}  // namespace moehill
