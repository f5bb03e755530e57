#include "moehill/quiet/placement.h"

#include <gtest/gtest.h>

#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

constexpr ThreadPlace kNowhere{kAnyCpu, kAnyCpu, kAnyCpu};

TEST(Placement, GatheredWithoutAJobItIsWhatWasGiven) {
  const std::vector<DevicePlace> local = {
      {"", {{4, 4, 1}, {5, 5, 1}}, {3, 1, 5}}, {"", {}}, {"", {{6, 6, 1}, {7, 7, 1}}, {0, 0, 9}}};
  const std::vector<DevicePlace> devices = gather_places({}, local);
  ASSERT_EQ(devices.size(), 2u);
  EXPECT_EQ(devices[0].threads, local[0].threads);
  EXPECT_EQ(devices[1].threads, local[2].threads);
  EXPECT_EQ(devices[0].remote_share(), 0.25);
  EXPECT_EQ(devices[1].remote_share(), 0);
  EXPECT_TRUE(all_pinned(devices));
}

TEST(Placement, IsSaidDeviceByDevice) {
  const std::vector<DevicePlace> devices = {{"a", {{0, 0, 0}, {1, 1, 0}}, {3, 1, 0}},
                                            {"b", {{0, 0, 0}, {9, 9, 1}}}};
  EXPECT_EQ(placement_lines(devices, 2),
            "devices 0: CPU 0 1 of a, memory node 0, 25 % of its experts on another; 1: CPU 0 9 of b, memory "
            "node 0 1\n");
  EXPECT_EQ(placement_lines({}, 2), "");
  EXPECT_EQ(placement_lines(std::vector<DevicePlace>(10, {"", {kNowhere}}), 16),
            "devices 0: not pinned; 1: not pinned; 2: not pinned; 3: not pinned; 4: not pinned; 5: not "
            "pinned; 6: not "
            "pinned; 7: not pinned; 2 more\n");
}

TEST(Placement, WarnsOfMoreThreadsThanCores) {
  const std::vector<DevicePlace> devices(3, {"a", {kNowhere}});
  EXPECT_FALSE(all_pinned(devices));
  EXPECT_NE(placement_lines(devices, 2).find("warning: 3 threads on the 2 cores of a"), std::string::npos);
  EXPECT_EQ(placement_lines(devices, 3).find("warning"), std::string::npos);
}

// Two logical CPUs of one core count as one.
TEST(Placement, WarnsOfTwoDevicesOnOneCore) {
  const std::vector<DevicePlace> devices = {{"a", {{0, 0, 0}}}, {"b", {{0, 0, 0}}}, {"b", {{8, 0, 0}}}};
  const std::string text = placement_lines(devices, 4);
  EXPECT_NE(text.find("warning: threads of devices 1 and 2 share core 0 of b"), std::string::npos) << text;
  EXPECT_EQ(text.find("devices 0 and"), std::string::npos) << text;
  const std::string alone = placement_lines({{"a", {{0, 0, 0}, {8, 0, 0}}}}, 4);
  EXPECT_NE(alone.find("warning: threads of device 0 share core 0 of a"), std::string::npos) << alone;
}

}  // namespace
}  // namespace moehill
