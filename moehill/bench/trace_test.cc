// Tests that read traces back as JSON. The rules of the format for whole files are in tests/check_trace.
#include "moehill/bench/trace.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace moehill {
namespace {

using Json = nlohmann::json;

Trace two_devices() {
  Trace trace;
  trace.tracks = {"compute", "communication"};
  trace.devices = {{"device 0", {{0, "up", 5.0, 5.5, {{"rows", int64_t{7}}}}, {1, "reduce", 5.5, 6.0}}},
                   {"device 1", {{1, "reduce", 5.25, 5.75}}}};
  trace.flows = {{"reduce", {0, 1}, {1, 0}, {{"bytes", int64_t{64}}}}};
  trace.facts = {{"dropped_events", int64_t{0}}, {"point", std::string("none")}};
  return trace;
}

std::vector<Json> events(const Json& trace, const std::string& phase) {
  std::vector<Json> found;
  for (const Json& event : trace.at("traceEvents")) {
    if (event.at("ph") == phase) found.push_back(event);
  }
  return found;
}

TEST(Trace, SlicesCountFromTheEarliest) {
  const Json trace = Json::parse(chrome_trace(two_devices()));
  const std::vector<Json> slices = events(trace, "X");
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[0].at("name"), "up");
  EXPECT_EQ(slices[0].at("ts"), 0.0);
  EXPECT_EQ(slices[0].at("dur"), 500000.0);
  EXPECT_EQ(slices[0].at("args").at("rows"), 7);
  EXPECT_EQ(slices[2].at("pid"), 1);
  EXPECT_EQ(slices[2].at("tid"), 1);
  EXPECT_EQ(slices[2].at("ts"), 250000.0);
  EXPECT_EQ(trace.at("otherData").at("dropped_events"), 0);
}

TEST(Trace, NamesAreThoseOfDevicesAndOfTracksThatAreUsed) {
  std::vector<std::string> names;
  for (const Json& event : events(Json::parse(chrome_trace(two_devices())), "M")) {
    if (event.at("args").contains("name")) names.push_back(event.at("args").at("name"));
  }
  EXPECT_EQ(names,
            (std::vector<std::string>{"device 0", "compute", "communication", "device 1", "communication"}));
}

TEST(Trace, AnArrowGoesFromTheStartOfOneSliceIntoTheEndOfAnother) {
  const Json trace = Json::parse(chrome_trace(two_devices()));
  const std::vector<Json> starts = events(trace, "s"), ends = events(trace, "f");
  ASSERT_EQ(starts.size(), 1u);
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_EQ(starts[0].at("id"), ends[0].at("id"));
  EXPECT_EQ(starts[0].at("pid"), 0);
  EXPECT_EQ(starts[0].at("ts"), 500000.0);
  EXPECT_EQ(ends[0].at("pid"), 1);
  EXPECT_EQ(ends[0].at("bp"), "e");
  EXPECT_NEAR(ends[0].at("ts"), 749500.0, 1e-6);
}

TEST(Trace, AnArrowNeverEndsBeforeItBegins) {
  Trace trace = two_devices();
  trace.devices[1].slices[0] = {1, "reduce", 5.0, 5.25};
  const Json json = Json::parse(chrome_trace(trace));
  EXPECT_EQ(events(json, "s")[0].at("ts"), events(json, "f")[0].at("ts"));
}

TEST(Trace, Empty) { EXPECT_TRUE(Json::parse(chrome_trace({})).at("traceEvents").empty()); }

}  // namespace
}  // namespace moehill
