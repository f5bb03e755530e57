// Tests of a context after a failure in the middle of a call over processes, when a peer may be waiting for
// this process.
#include "moehill/api/context.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace moehill
