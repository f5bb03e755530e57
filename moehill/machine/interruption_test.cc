#include "moehill/machine/interruption.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(Interruption, TheFirstSignalIsNotedAndTheActionBeforeComesBack) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before = {}, after = {};
    sigaction(number, nullptr, &before);
    {
      const Interruption interruption;
      EXPECT_EQ(interruption.signal(), 0);
      raise(number);
      EXPECT_EQ(interruption.signal(), number);
    }
    sigaction(number, nullptr, &after);
    EXPECT_EQ(before.sa_handler, after.sa_handler);
    EXPECT_EQ(Interruption().signal(), 0) << "a signal of an earlier one";
  }
}

// The system sends it again after each second of CPU time, also while results are written.
TEST(Interruption, TheSignalOfTheCpuLimitIsNotedOnceAndThenIgnored) {
  struct sigaction before = {};
  sigaction(SIGXCPU, nullptr, &before);
  {
    const Interruption interruption;
    raise(SIGXCPU);
    raise(SIGXCPU);
    EXPECT_EQ(interruption.signal(), SIGXCPU);
    EXPECT_STREQ(signal_name(interruption.signal()), "SIGXCPU");
  }
  raise(SIGXCPU);
  sigaction(SIGXCPU, &before, nullptr);
}

TEST(Interruption, TheSignalSaysAtOnceWhatEndsWhen) {
  testing::internal::CaptureStderr();
  {
    const Interruption interruption("stopping after this shape");
    raise(SIGTERM);
    EXPECT_EQ(interruption.signal(), SIGTERM);
  }
  {
    const Interruption silent;
    raise(SIGTERM);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "\nmoehill: SIGTERM: stopping after this shape\n");
}

TEST(InterruptionDeathTest, TheSecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        const Interruption interruption;
        raise(SIGINT);
        raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(InterruptionDeathTest, ASignalOutsideEndsTheProcessWithALine) {
  for (const int number : {SIGTERM, SIGXCPU}) {
    EXPECT_EXIT(
        {
          say_what_interrupts();
          raise(number);
        },
        testing::KilledBySignal(number),
        std::string("moehill: interrupted by ") + signal_name(number) + "; what was not written yet is lost");
  }
}

TEST(Interruption, AnIgnoredSignalStaysIgnored) {
  struct sigaction ignored = {}, before = {};
  ignored.sa_handler = SIG_IGN;
  sigaction(SIGHUP, &ignored, &before);
  {
    const Interruption interruption;
    raise(SIGHUP);
    EXPECT_EQ(interruption.signal(), 0);
  }
  sigaction(SIGHUP, &before, nullptr);
}

}  // namespace
}  // namespace moehill
