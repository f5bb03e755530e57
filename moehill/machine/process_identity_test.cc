#include "moehill/machine/process_identity.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace moehill {
namespace {

TEST(ProcessIdentity, KnowsTheLivingFromTheDead) {
  const ProcessIdentity self = this_process();
  EXPECT_GT(self.start_ticks, 0);
  EXPECT_EQ(liveness_of(self), Liveness::alive);

  ProcessIdentity successor = self;  // the same number given out again
  successor.start_ticks += 1;
  EXPECT_EQ(liveness_of(successor), Liveness::dead);
  ProcessIdentity before_reboot = self;
  before_reboot.boot = "another";
  EXPECT_EQ(liveness_of(before_reboot), Liveness::dead);
  ProcessIdentity elsewhere = self;
  elsewhere.host += "-not";
  EXPECT_EQ(liveness_of(elsewhere), Liveness::unknown);
}

TEST(ProcessIdentity, AChildThatNobodyWaitedForIsDead) {
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const ProcessIdentity self = this_process();
    const ssize_t written = ::write(pipe_ends[1], &self.start_ticks, sizeof self.start_ticks);
    _exit(written == sizeof self.start_ticks ? 0 : 1);
  }
  ProcessIdentity identity = this_process();
  identity.pid = child;
  ASSERT_EQ(read(pipe_ends[0], &identity.start_ticks, sizeof identity.start_ticks),
            static_cast<ssize_t>(sizeof identity.start_ticks));
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(liveness_of(identity), Liveness::dead);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(liveness_of(identity), Liveness::dead);
}

}  // namespace
}  // namespace moehill
