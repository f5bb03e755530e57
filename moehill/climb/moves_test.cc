// Tests of the moves of a climb: they keep what was asked for, arms of another routing are left out, and the
// key of a problem names what held the climb back.
#include "moehill/climb/moves.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "moehill/climb/climber.h"

namespace moehill {
namespace {

constexpr size_t kSeveral = 7;  // spreads over several devices: dp, and ep by six paths

ClimbSpace space_of(int cores) {
  return {cores, [](const StoredJson&) { return std::vector<std::string>{}; }};
}

// Returns the configurations that a climb on 8 cores can spread to, for what was asked for. It stands on four
// devices with two threads, where these are its own to choose.
std::vector<StoredJson> spreads_on_eight(const StoredJson& asked) {
  StoredJson stands = {{"parallel_mode", "dp"}, {"devices", 4}, {"threads_per_device", 2}};
  stands.update(asked);
  std::vector<StoredJson> spreads;
  for (const StoredJson& change : changes_along(ClimbAxis::spread, asked, stands, stands, space_of(8)))
    spreads.push_back(changed(stands, change));
  return spreads;
}

TEST(Moves, OneDeviceAndSeveralKeepTheDevicesAndThreadsAskedFor) {
  const std::vector<StoredJson> both = spreads_on_eight({{"devices", "2"}, {"threads_per_device", "1"}});
  ASSERT_EQ(both.size(), 1 + kSeveral);
  EXPECT_EQ(both[0]["parallel_mode"], "none");
  for (const StoredJson& spread : both) {
    EXPECT_EQ(spread["devices"], "2") << spread;
    EXPECT_EQ(spread["threads_per_device"], "1") << spread;
  }
  const std::vector<StoredJson> one = spreads_on_eight({{"devices", "1"}, {"threads_per_device", "1"}});
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0]["threads_per_device"], "1");
}

TEST(Moves, WhatIsAskedForInPartIsCompletedByTheCores) {
  const std::vector<StoredJson> devices = spreads_on_eight({{"devices", "3"}, {"impl", "fast"}});
  ASSERT_EQ(devices.size(), 1 + kSeveral);
  EXPECT_EQ(devices[0]["devices"], "3");
  EXPECT_FALSE(devices[0].contains("threads_per_device"));
  EXPECT_EQ(devices[1]["threads_per_device"], 2);
  const std::vector<StoredJson> threads = spreads_on_eight({{"threads_per_device", "2"}, {"impl", "fast"}});
  ASSERT_EQ(threads.size(), 1 + kSeveral);
  EXPECT_FALSE(threads[0].contains("devices"));
  EXPECT_EQ(threads[1]["devices"], 4);
  const std::vector<StoredJson> unasked = spreads_on_eight(StoredJson::object());
  EXPECT_EQ(unasked.size(), 1 + 3 * kSeveral) << "2 x 4, 4 x 2 and 8 x 1";
  EXPECT_FALSE(unasked[0].contains("devices")) << "one device takes all cores";
}

// Resolves as bench does on four cores, where the hot device is one of the devices of the layout.
ResolvedPoint resolve_hot_device(SweptCommand, bool, const std::vector<std::string>& arguments) {
  ResolvedPoint point;
  point.options = {{"distribution", "hot-device:0.5"},
                   {"bench_pass", "forward"},
                   {"parallel_mode", "none"},
                   {"ep_path", nullptr},
                   {"devices", "4"},
                   {"threads_per_device", "1"},
                   {"impl", "baseline"},
                   {"backend", "gmm"},
                   {"remat_mode", "none"},
                   {"shared_expert_dim", "0"},
                   {"distribution_devices", "4"}};
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
    std::string name = arguments[i].substr(2);
    std::replace(name.begin(), name.end(), '-', '_');
    point.options[name] = arguments[i + 1];
  }
  const std::string devices = point.options["devices"];
  point.options["distribution_devices"] = devices;
  return point;
}

TEST(Moves, ArmsOfAnotherRoutingAreLeftOut) {
  SweepHost host;
  host.build = host.machine = "test";
  host.resolve = resolve_hot_device;
  const ClimbSpace space = space_of(4);
  ClimbOptions options;
  options.base = {{"distribution", "hot-device:0.5"}, {"tokens", "64"}};
  const std::vector<ClimbMove> moves = Climber(host, space, options).plan();
  const auto spread = std::find_if(moves.begin(), moves.end(),
                                   [](const ClimbMove& move) { return move.axis == ClimbAxis::spread; });
  ASSERT_NE(spread, moves.end());
  EXPECT_EQ(spread->arms.size(), 1 + kSeveral);
  for (const MoveArm& arm : spread->arms)
    EXPECT_EQ(arm.resolved.options["distribution_devices"], "4") << arm.label;
  ASSERT_EQ(spread->left_out.size(), kSeveral) << "2 devices x 2 threads";
  EXPECT_NE(spread->left_out[0].find("2 devices is another routing than over 4"), std::string::npos)
      << spread->left_out[0];
}

TEST(Moves, WavesAreAnAxisOfFused) {
  const auto waves_on = [](const char* path) {
    const StoredJson stands = {{"parallel_mode", "ep"}, {"ep_path", path}, {"waves", 2}};
    return changes_along(ClimbAxis::waves, StoredJson::object(), stands, stands, space_of(2));
  };
  EXPECT_TRUE(waves_on("ragged_a2a").empty());
  const std::vector<StoredJson> changes = waves_on("fused");
  ASSERT_EQ(changes.size(), 5u);
  EXPECT_FALSE(changed({{"waves", 2}}, changes[0]).contains("waves"));
  EXPECT_EQ(changed(StoredJson::object(), changes[3])["waves"], 4);
  EXPECT_EQ(place_on(ClimbAxis::waves, {{"waves", 4}}), "waves=4");
  EXPECT_EQ(place_on(ClimbAxis::waves, StoredJson::object()), "rows in place");
  const StoredJson asked = {{"waves", 2}}, fused = {{"ep_path", "fused"}};
  EXPECT_TRUE(changes_along(ClimbAxis::waves, asked, fused, fused, space_of(2)).empty());
}

TEST(Moves, WhatOtherAxesHaveSetIsLeftOutOneByOneAndThenTogether) {
  const StoredJson options = {{"backend", "ragged_dot"}, {"blocks", "bt=8"}, {"ring_split", "on"}};
  const std::vector<StoredJson> all = with_fallbacks(options, StoredJson::object());
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0], options);
  EXPECT_FALSE(all[1].contains("ring_split"));
  EXPECT_TRUE(all[1].contains("blocks"));
  EXPECT_FALSE(all[2].contains("blocks"));
  EXPECT_TRUE(all[2].contains("ring_split"));
  const StoredJson rest = {{"backend", "ragged_dot"}};
  EXPECT_EQ(all[3], rest);
  EXPECT_EQ(with_fallbacks(options, {{"blocks", "bt=8"}, {"ring_split", "on"}}).size(), 1u) << "asked for";
}

TEST(Moves, TheKeyOfAProblemNamesWhatHoldsAClimbBack) {
  const StoredJson resolved = {{"tokens", 64}, {"impl", "fast"}, {"queue_mode", "prequeue"}, {"seed", 1}};
  EXPECT_EQ(problem_key(resolved, StoredJson::object()), "tokens=64 queue_mode=prequeue");
  EXPECT_EQ(problem_key(resolved, {{"tokens", "64"}, {"iters", "3"}}), "tokens=64 queue_mode=prequeue");
  const std::string given = "given devices=2 impl=fast none_threads=1: tokens=64 queue_mode=prequeue";
  EXPECT_EQ(problem_key(resolved, {{"none_threads", "1"}, {"impl", "fast"}, {"devices", "2"}}), given);
  EXPECT_EQ(problem_key(resolved, {{"devices", 2}, {"impl", "fast"}, {"none_threads", 1}}), given)
      << "as an experiment file has them";
}

}  // namespace
}  // namespace moehill
