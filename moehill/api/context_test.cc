// Tests of a context after a failure in the middle of a call over processes, when a peer may be waiting for
// this process.
#include "moehill/api/context.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "moehill/mesh/threads/thread_mesh.h"

namespace moehill {
namespace {

moehill_status status_of(Context& context, FunctionRef<void(Group&)> on_device) {
  try {
    context.collective({.entry = Entry::forward, .check = [] { return int64_t{0}; }, .on_device = on_device});
  } catch (const Failure& failure) {
    return failure.status();
  }
  return MOEHILL_OK;
}

TEST(Context, IsBrokenByAFailureInTheMiddleOfACall) {
  const auto works = [](Group&) {};
  const auto fails = [](Group&) { throw std::runtime_error("the devices disagree"); };
  Context context(std::make_unique<ThreadMesh>(1, 1), true);
  EXPECT_EQ(status_of(context, works), MOEHILL_OK);
  EXPECT_EQ(status_of(context, fails), MOEHILL_BROKEN);
  EXPECT_EQ(status_of(context, works), MOEHILL_BROKEN);
}

TEST(Context, OfOneProcessGoesOnAfterAFailure) {
  const auto works = [](Group&) {};
  const auto fails = [](Group&) { throw Failure(MOEHILL_INTERNAL, "planted"); };
  Context context(std::make_unique<ThreadMesh>(2, 1), false);
  EXPECT_EQ(status_of(context, fails), MOEHILL_INTERNAL);
  EXPECT_EQ(status_of(context, works), MOEHILL_OK);
}

template <typename Body>
bool says_forked(const Body& body) {
  try {
    body();
  } catch (const Failure& failure) {
    return failure.status() == MOEHILL_FORKED;
  }
  return false;
}

// A call holds the context's lock while the process forks, so in the child nobody will ever unlock it.
TEST(Context, TellsAForkedChildWhileAnotherThreadIsInACall) {
  Context context(std::make_unique<ThreadMesh>(2, 1), false);
  std::promise<void> begun, over;
  std::thread worker([&] {
    context.on_first([&](ThreadTeam&) {
      begun.set_value();
      over.get_future().wait();
    });
  });
  begun.get_future().wait();
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);  // ends a child that waits for the lock
    const bool all = status_of(context, [](Group&) {}) == MOEHILL_FORKED &&
                     says_forked([&] { context.local([](int, ThreadTeam&) {}); }) &&
                     says_forked([&] { context.on_devices([](Group&) {}); }) &&
                     says_forked([&] { context.on_first([](ThreadTeam&) {}); });
    _exit(all ? 0 : 1);
  }
  int ended = 0;
  const pid_t waited = waitpid(child, &ended, 0);
  over.set_value();
  worker.join();
  ASSERT_GT(child, 0);
  ASSERT_EQ(waited, child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
}

}  // namespace
}  // namespace moehill
