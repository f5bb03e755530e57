// Implements the checks of output paths, and NewFile. The checks make a file and remove it again, because
// permissions alone do not show a read-only or full file system.
#include "moehill/base/output_paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
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

// Returns true if the place of a path is still a link: links that form a circle lead nowhere.
bool is_circle(const std::filesystem::path& place) {
  std::error_code ignored;
  return std::filesystem::is_symlink(place, ignored);
}

// Only a few options take "-" for standard output. With the others it would become a file of that name.
void refuse_standard_output(const std::string& option, const std::string& path, const std::string& allowed) {
  if (path == "-")
    throw input_error(option, "'-', which means standard output elsewhere", allowed,
                      "name a file or folder; ./- is one");
}

// The name that try_new_file() tries is short, so the length of the own name is checked apart.
void refuse_long_name(const std::string& option, const std::string& path, const std::filesystem::path& place,
                      const std::string& allowed) {
  constexpr size_t kMostName = 255;
  if (place.filename().string().size() > kMostName)
    refuse(option, path, std::strerror(ENAMETOOLONG), allowed);
}

// Makes a file in `folder` and removes it again. Returns 0 on success, otherwise an errno.
int try_new_file(const std::filesystem::path& folder) {
  const std::string path = (folder / fmt::format(".moehill-probe-{}", getpid())).string();
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return errno;
  close(file);
  unlink(path.c_str());
  return 0;
}

// Returns the path that writing to `path` would really write to. It follows links itself, because a link may
// lead to a file that does not exist yet.
std::filesystem::path place_of(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as many as Linux follows
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

// Throws InputError if the file cannot be written. `in_place_of_a_device` is the remedy for a device or a
// pipe.
void require_file(const std::string& option, const std::string& path,
                  const std::string& in_place_of_a_device) {
  namespace fs = std::filesystem;
  const std::string allowed = "a file that can be written";
  refuse_standard_output(option, path, allowed);
  const fs::path place = place_of(path);
  std::error_code ignored;
  if (is_circle(place)) refuse(option, path, std::strerror(ELOOP), allowed);
  if (path.ends_with('/') || fs::is_directory(place, ignored)) refuse(option, path, "a folder", allowed);
  if (fs::exists(path, ignored)) {
    if (!fs::is_regular_file(path, ignored))
      throw input_error(option, quoted(path) + " (no regular file)", allowed, in_place_of_a_device);
    if (access(place.c_str(), W_OK) != 0) refuse(option, path, std::strerror(errno), allowed);
  }
  // A new file in the folder shows whether NewFile will be able to write there.
  const int error = try_new_file(place.parent_path());
  if (error != 0) refuse(option, path, std::strerror(error), allowed);
  refuse_long_name(option, path, place, allowed);
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

void make_folder_of(const std::string& option, const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  std::error_code failure;
  if (!folder.empty()) std::filesystem::create_directories(folder, failure);
  if (failure) refuse(option, path, failure.message(), "a file in a folder that can be made");
}

void make_folder(const std::string& path) {
  std::error_code failure;
  std::filesystem::create_directories(path, failure);
  if (failure)
    throw std::runtime_error(
        fmt::format("cannot make the folder {}: {}", quoted(path, 200), failure.message()));
}

void require_writable_file(const std::string& option, const std::string& path) {
  require_file(option, path, "name a file, and copy it there afterwards");
}

void require_writable_output(const std::string& option, const std::string& path) {
  if (path != "-") require_file(option, path, "write - for standard output, or name a file");
}

void require_writable_folder(const std::string& option, const std::string& path) {
  const std::string allowed = "a folder that can be written, or a new one in such a folder";
  refuse_standard_output(option, path, allowed);
  namespace fs = std::filesystem;
  std::error_code ignored;
  // No folder can be made in the place of a link that leads nowhere.
  const bool is_taken = fs::exists(path, ignored) || fs::is_symlink(path, ignored);
  const bool is_folder = fs::is_directory(path, ignored);
  if (is_taken && !is_folder) refuse(option, path, "not a folder", allowed);
  const fs::path absolute = fs::absolute(path, ignored).lexically_normal();
  const fs::path trimmed = absolute.has_filename() ? absolute : absolute.parent_path();
  const int error = try_new_file(is_folder ? trimmed : trimmed.parent_path());
  if (error != 0) refuse(option, path, std::strerror(error), allowed);
  refuse_long_name(option, path, trimmed, allowed);
}

NewFile::NewFile(const std::string& path) : path_(place_of(path).string()) {
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::path(path_).parent_path();
  const bool is_other = std::filesystem::exists(path_, ignored) &&
                        !std::filesystem::is_regular_file(path_, ignored);  // a folder, a device, a pipe
  if (is_other || is_circle(path_))
    throw std::runtime_error(fmt::format("cannot write {}: no regular file", quoted(path_, 200)));
  static std::atomic<int> number = 0;
  name_ = (folder / fmt::format(".moehill-{}-{}.new", getpid(), ++number)).string();
  // Opens a file that has no name yet (O_TMPFILE). If the process is killed before keep(), the system frees
  // the file and nothing is left behind. keep() gives it its name through /proc, so /proc must be there.
  int file = access("/proc/self/fd", X_OK) == 0
                 ? open(folder.empty() ? "." : folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666)
                 : -1;
  if (file < 0) {  // this file system has no nameless files; use a hidden name instead
    unlink(name_.c_str());
    file = open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0) fail(errno);
    has_name_ = true;
  }
  // A file that is replaced keeps its permissions.
  struct stat old {};
  if (stat(path_.c_str(), &old) == 0) fchmod(file, old.st_mode & 07777);
  file_.reset(fdopen(file, "wb"));
  if (file_ != nullptr) return;
  const int error = errno;  // there is no memory for the buffer
  close(file);
  if (has_name_) unlink(name_.c_str());
  fail(error);
}

NewFile::~NewFile() {
  if (has_name_) unlink(name_.c_str());
}

void NewFile::write(const void* data, size_t bytes) {
  bytes_ += bytes;
  if (bytes == 0) return;  // `data` may be null
  if (std::fwrite(data, 1, bytes, file_.get()) != bytes) fail(errno);
}

void NewFile::keep() {
  // fsync() before rename(): otherwise a crash of the machine could leave the new name with an empty file.
  const int file = fileno(file_.get());
  if (std::fflush(file_.get()) != 0 || fsync(file) != 0) fail(errno);
  if (!has_name_) {
    // linkat() cannot replace a file, so the new file first gets a hidden name and is then renamed.
    unlink(name_.c_str());
    const std::string self = fmt::format("/proc/self/fd/{}", file);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name_.c_str(), AT_SYMLINK_FOLLOW) != 0) fail(errno);
    has_name_ = true;
  }
  if (rename(name_.c_str(), path_.c_str()) != 0) fail(errno);
  has_name_ = false;
}

void NewFile::fail(int error) const {
  throw std::runtime_error(fmt::format("cannot write {}: {}; at least {} bytes are needed there",
                                       quoted(path_, 200), std::strerror(error), bytes_));
}

void write_text_file(const std::string& path, const std::string& text) {
  NewFile file(path);
  file.write(text.data(), text.size());
  file.keep();
}

}  // namespace moehill
