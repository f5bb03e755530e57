#include "moehill/base/kept_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "moehill/base/output_paths.h"

namespace moehill {
namespace {

// FolderLock is a lock on a folder, held until the object is destroyed. The operating system releases it if
// the process dies. The folder itself is locked, so that no lock file stays behind. Some network file systems
// cannot lock folders. There the file is still replaced whole, but if two processes replace it at the same
// moment, the change of one of them is lost.
class FolderLock {
 public:
  explicit FolderLock(const std::filesystem::path& folder)
      : file_(open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (file_ < 0 || (flock(file_, LOCK_EX) != 0 && errno != EBADF && errno != ENOLCK && errno != EOPNOTSUPP))
      throw std::runtime_error(fmt::format("cannot lock {}: {}", folder.string(), std::strerror(errno)));
  }
  ~FolderLock() { close(file_); }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

}  // namespace

void replace_file(const std::string& path, const std::function<std::string()>& text) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  make_folder_of("file", path);
  const FolderLock lock(folder);
  write_text_file(path, text());
}

}  // namespace moehill
