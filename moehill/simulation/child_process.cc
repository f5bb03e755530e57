// Implementation of simulation/child_process.h. The child writes one byte of status and then its result, or
// the text of its error, into a pipe.
#include "moehill/simulation/child_process.h"

#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>
#include <string>

namespace moehill {
namespace {

constexpr uint8_t kDone = 0, kFailed = 1;  // the first byte that the child writes

void write_all(int file, const uint8_t* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(file, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(1);
    data += written;
    size -= static_cast<size_t>(written);
  }
}

// `parent` is the process that waits. If a signal ends it, a simulation of minutes must not go on for nobody.
[[noreturn]] void be_child(int file, pid_t parent, const std::function<std::vector<uint8_t>()>& work) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // it ended before that took effect
  uint8_t status = kDone;
  std::vector<uint8_t> bytes;
  try {
    bytes = work();
  } catch (const std::exception& error) {
    status = kFailed;
    const std::string reason = error.what();
    bytes.assign(reason.begin(), reason.end());
  }
  write_all(file, &status, 1);
  write_all(file, bytes.data(), bytes.size());
  // _exit() runs no destructors and flushes no streams, which belong to the parent as well.
  _exit(0);
}

std::vector<uint8_t> read_all(int file) {
  std::vector<uint8_t> bytes;
  uint8_t block[1 << 16];
  for (;;) {
    const ssize_t got = read(file, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return bytes;
    bytes.insert(bytes.end(), block, block + got);
  }
}

// Throws unless the child has ended as be_child() does, with its whole result in the pipe.
void require_whole(int wait_status) {
  if (WIFSIGNALED(wait_status))
    throw std::runtime_error(fmt::format("the simulation was ended by signal {} before its result was there",
                                         WTERMSIG(wait_status)));
  if (WEXITSTATUS(wait_status) != 0)
    throw std::runtime_error(fmt::format("the simulation ended with status {} before its result was there",
                                         WEXITSTATUS(wait_status)));
}

}  // namespace

std::vector<uint8_t> run_in_child(const std::function<std::vector<uint8_t>()>& work) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error(fmt::format("pipe: {}", std::strerror(errno)));
  const pid_t parent = getpid(), child = fork();
  if (child < 0) throw std::runtime_error(fmt::format("fork: {}", std::strerror(errno)));
  if (child == 0) {
    close(ends[0]);
    be_child(ends[1], parent, work);
  }
  close(ends[1]);
  // The pipe is read to its end before waiting, since a child with more bytes than the pipe holds would wait
  // for us.
  std::vector<uint8_t> bytes = read_all(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  require_whole(status);
  if (bytes.empty()) throw std::runtime_error("the simulation ended without a result");
  const bool failed = bytes.front() == kFailed;
  bytes.erase(bytes.begin());
  if (failed) throw std::runtime_error(std::string(bytes.begin(), bytes.end()));
  return bytes;
}

}  // namespace moehill
