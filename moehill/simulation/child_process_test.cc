// Tests of work in a process of its own: what comes back, and that a child which dies is never taken for one
// that has a result.
#include "moehill/simulation/child_process.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
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
