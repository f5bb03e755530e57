#include "moehill/base/output_paths.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

[[noreturn]] void refuse(const std::string& option, const std::string& path, const std::string& reason,
                         const std::string& allowed) {
  throw input_error(option, quoted(path) + " (" + reason + ")", allowed,
                    "name another place or make its folder first");
}

// Opens for writing without touching what is there; what was not there is removed again. Returns 0 or an
// errno.
int try_writing(const std::string& path) {
  const bool existed = std::filesystem::exists(path);
  const int flags = O_WRONLY | O_CLOEXEC | O_NONBLOCK | (existed ? 0 : O_CREAT | O_EXCL);
  const int file = open(path.c_str(), flags, 0666);
  if (file < 0) return errno;
  close(file);
  if (!existed) unlink(path.c_str());
  return 0;
}

// The place that writing to `path` would write to: a link may lead to what is not there yet.
std::filesystem::path place_of(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as the system follows them
  namespace fs = std::filesystem;
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, error); ++i) {
    const fs::path target = fs::read_symlink(path, error);
    path = target.is_absolute() ? target : path.parent_path() / target;
  }
  const fs::path place = fs::weakly_canonical(fs::absolute(path, error), error);
  if (error) return path;
  return place.has_filename() ? place : place.parent_path();
}

bool is_same_place(const std::string& a, const std::string& b) {
  std::error_code ignored;
  return place_of(a) == place_of(b) || std::filesystem::equivalent(a, b, ignored);
}

}  // namespace

void require_distinct_outputs(const std::vector<NamedPath>& paths) {
  const auto is_file = [](const NamedPath& p) { return !p.path.empty() && p.path != "-"; };
  for (size_t i = 0; i < paths.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      const NamedPath &a = paths[j], &b = paths[i];
      if (!(a.is_output || b.is_output) || !is_file(a) || !is_file(b) || !is_same_place(a.path, b.path))
        continue;
      throw input_error(a.option == b.option ? a.option : a.option + ", " + b.option,
                        fmt::format("{} and {}, which are one", quoted(a.path), quoted(b.path)),
                        "an output that no other option names", "choose another name for one of them");
    }
  }
}

void require_writable_file(const std::string& option, const std::string& path) {
  const std::string allowed = "a file that can be written";
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) refuse(option, path, "a folder", allowed);
  const int error = try_writing(path);
  if (error != 0) refuse(option, path, std::strerror(error), allowed);
}

void require_writable_folder(const std::string& option, const std::string& path) {
  const std::string allowed = "a folder that can be written, or a new one in such a folder";
  namespace fs = std::filesystem;
  std::error_code ignored;
  if (fs::exists(path, ignored) && !fs::is_directory(path, ignored))
    refuse(option, path, "not a folder", allowed);
  const fs::path absolute = fs::absolute(path).lexically_normal();
  const fs::path trimmed = absolute.has_filename() ? absolute : absolute.parent_path();
  const fs::path place = fs::is_directory(path, ignored) ? trimmed : trimmed.parent_path();
  const int error = try_writing((place / (".moehill-probe-" + std::to_string(getpid()))).string());
  if (error != 0) refuse(option, path, std::strerror(error), allowed);
}

void write_text_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file) return;
  const int error = errno;
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) std::filesystem::remove(path, ignored);
  throw std::runtime_error(fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

}  // namespace moehill
