// Implements mapped_file.h, with the handler that turns a bus error in a mapped file into a message.
#include "moehill/weights/mapped_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <mutex>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// The handler of SIGBUS reads the mapped files from here. A signal handler must neither lock nor allocate, so
// this is a plain array of atomics.
struct Mapping {
  std::atomic<const std::byte*> begin{nullptr};
  std::atomic<size_t> size{0};
};
constexpr size_t kMaxMappings = 4096;  // models come in a few hundred files at most
std::array<Mapping, kMaxMappings> mappings;
std::mutex mappings_mutex;
int num_mappings = 0;  // guarded by mappings_mutex
struct sigaction action_before;

bool is_mapped(const void* address) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  return std::any_of(mappings.begin(), mappings.end(), [at](const Mapping& mapping) {
    const auto begin = reinterpret_cast<uintptr_t>(mapping.begin.load());
    return begin != 0 && begin <= at && at - begin < mapping.size.load();
  });
}

// A bus error at another address does not belong to a mapped file: the handler restores the former action,
// and the instruction is tried again.
void end_on_bus_error(int, siginfo_t* info, void*) {
  if (!is_mapped(info->si_addr)) {
    sigaction(SIGBUS, &action_before, nullptr);
    return;
  }
  constexpr char kMessage[] =
      "moehill: --weights: got a file that became shorter while it was read, allowed: files that stay as "
      "they are; "
      "wait until they are complete\n";
  static_cast<void>(!write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1));
  _exit(2);
}

void watch(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mappings_mutex);
  const auto free = std::find_if(mappings.begin(), mappings.end(),
                                 [](const Mapping& mapping) { return mapping.begin.load() == nullptr; });
  if (free == mappings.end())
    throw input_error("--weights", fmt::format("more than {} files at once", kMaxMappings), "fewer",
                      "merge them");
  free->size = bytes.size();
  free->begin = bytes.data();
  if (num_mappings++ > 0) return;
  struct sigaction action = {};
  action.sa_sigaction = end_on_bus_error;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, &action_before);
}

void unwatch(std::span<const std::byte> bytes) {
  const std::lock_guard lock(mappings_mutex);
  for (Mapping& mapping : mappings) {
    if (mapping.begin.load() == bytes.data()) mapping.begin = nullptr;
  }
  if (--num_mappings == 0) sigaction(SIGBUS, &action_before, nullptr);
}

[[noreturn]] void refuse(const std::string& path, const std::string& got) {
  throw input_error("--weights " + path, got, "a regular file that can be read", "name a .safetensors file");
}

// Descriptor is a file descriptor that is closed at the end of the scope.
class Descriptor {
 public:
  // O_NONBLOCK: opening a pipe without a writer must not make the process wait.
  explicit Descriptor(const std::string& path)
      : number_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (number_ < 0) refuse(path, std::strerror(errno));
  }
  ~Descriptor() { close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

// Returns the pages that contain at least one of these bytes.
std::span<std::byte> pages_of(std::span<const std::byte> bytes) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<uintptr_t>(bytes.data() + bytes.size());
  return {reinterpret_cast<std::byte*>(begin), end - begin};
}

// Gives the system advice about pages. If it ignores the advice, only speed is lost.
void advise(std::span<const std::byte> bytes, int advice) {
  if (bytes.empty()) return;
  const std::span<std::byte> pages = pages_of(bytes);
  static_cast<void>(madvise(pages.data(), pages.size(), advice));
}

}  // namespace

MappedFile::MappedFile(const std::string& path) : path_(path) {
  const Descriptor file(path);
  struct stat status;
  if (fstat(file.number(), &status) != 0) refuse(path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) refuse(path, "a folder");
  if (!S_ISREG(status.st_mode)) refuse(path, "a pipe or a device");
  if (status.st_size == 0) refuse(path, "an empty file");
  const size_t size = static_cast<size_t>(status.st_size);
  void* data = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.number(), 0);
  if (data == MAP_FAILED) refuse(path, fmt::format("a file of {} bytes: {}", size, std::strerror(errno)));
  bytes_ = {static_cast<const std::byte*>(data), size};
  try {
    watch(bytes_);
  } catch (...) {
    munmap(data, size);
    throw;
  }
}

MappedFile::~MappedFile() {
  unwatch(bytes_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void prefetch_pages(std::span<const std::byte> bytes) { advise(bytes, MADV_WILLNEED); }
void release_pages(std::span<const std::byte> bytes) { advise(bytes, MADV_DONTNEED); }

}  // namespace moehill
