// Tests of work in a process of its own: what comes back, and that a child which dies is never taken for one
// that has a result.
#include "moehill/simulation/child_process.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <stdexcept>
#include <string>

namespace moehill {
namespace {

using ChildBytes = std::vector<uint8_t>;

std::string error_of(const std::function<ChildBytes()>& work) {
  try {
    run_in_child(work);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "no error";
}

TEST(RunInChild, BringsMoreThanAPipeHolds) {
  const ChildBytes bytes = run_in_child([] { return ChildBytes(1 << 20, 7); });
  EXPECT_EQ(bytes, ChildBytes(1 << 20, 7));
  EXPECT_TRUE(run_in_child([] { return ChildBytes(); }).empty());
}

TEST(RunInChild, BringsTheReasonOfAnError) {
  EXPECT_EQ(error_of([]() -> ChildBytes { throw std::runtime_error("no such link"); }), "no such link");
}

TEST(RunInChild, SaysWhichSignalEndedTheChild) {
  const std::string error = error_of([] {
    raise(SIGKILL);
    return ChildBytes();
  });
  EXPECT_NE(error.find("signal 9"), std::string::npos) << error;
}

TEST(RunInChild, TheChildEndsWithTheProcessThatWaitsForIt) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    close(ends[0]);
    error_of([&]() -> ChildBytes {
      const pid_t own = getpid();
      if (write(ends[1], &own, sizeof own) != static_cast<ssize_t>(sizeof own)) _exit(1);
      for (;;) pause();
    });
    _exit(0);
  }
  close(ends[1]);
  pid_t child = 0;
  ASSERT_EQ(read(ends[0], &child, sizeof child), static_cast<ssize_t>(sizeof child));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  // The pipe has an end once nobody can write to it.
  pollfd file = {ends[0], POLLIN, 0};
  EXPECT_EQ(poll(&file, 1, 10'000), 1) << "the child goes on";
  kill(child, SIGKILL);
  close(ends[0]);
}

// The system cannot read the last page of the result, so the child ends when a part of it is in the pipe.
TEST(RunInChild, AChildThatEndsInTheMiddleOfItsResultHasNone) {
  const std::string error = error_of([] {
    ChildBytes bytes(1 << 20, 7);
    const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    const uintptr_t last = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page - page;
    if (mprotect(reinterpret_cast<void*>(last), page, PROT_NONE) != 0) raise(SIGKILL);
    return bytes;
  });
  EXPECT_EQ(error, "the simulation ended with status 1 before its result was there");
}

}  // namespace
}  // namespace moehill
