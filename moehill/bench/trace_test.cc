// Traces read back as JSON.
#include "moehill/bench/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace moehill {
namespace {

TEST(Trace, OneProcessPerDeviceTimesFromTheFirstEvent) {
  const std::vector<DeviceTrace> devices = {{"device 0", {{0, 5.0, 5.5}, {1, 5.5, 6.0}}},
                                            {"device 1", {{1, 5.25, 5.75}}}};
  const auto trace =
      nlohmann::json::parse(chrome_trace(devices, [](int stage) { return stage == 0 ? "s0" : "s1"; }));
  const auto& events = trace.at("traceEvents");
  ASSERT_EQ(events.size(), 5u);
  EXPECT_EQ(events[0].at("args").at("name"), "device 0");
  EXPECT_EQ(events[1].at("name"), "s0");
  EXPECT_EQ(events[1].at("ts"), 0.0);
  EXPECT_EQ(events[2].at("dur"), 500000.0);
  EXPECT_EQ(events[4].at("pid"), 1);
  EXPECT_EQ(events[4].at("ts"), 250000.0);
}

TEST(Trace, Empty) { EXPECT_TRUE(nlohmann::json::parse(chrome_trace({}, {})).at("traceEvents").empty()); }

}  // namespace
}  // namespace moehill
