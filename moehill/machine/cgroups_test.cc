#include "moehill/machine/cgroups.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file) << text << "\n";
}

TEST(Cgroups, NoQuotaIsUnlimited) {
  const fs::path mount = fresh_folder();
  EXPECT_TRUE(std::isinf(cgroup_cpus("0::/a\n", mount)));
  write(mount / "a" / "cpu.max", "max 100000");
  write(mount / "cpu" / "a" / "cpu.cfs_quota_us", "-1");
  write(mount / "cpu" / "a" / "cpu.cfs_period_us", "100000");
  EXPECT_TRUE(std::isinf(cgroup_cpus("0::/a\n1:cpu,cpuacct:/a\n", mount)));
}

TEST(Cgroups, TheTightestQuotaOfAllParentsHolds) {
  const fs::path mount = fresh_folder();
  write(mount / "a" / "cpu.max", "150000 100000");
  write(mount / "a" / "b" / "cpu.max", "400000 100000");
  EXPECT_EQ(cgroup_cpus("0::/a/b\n", mount), 1.5);
  EXPECT_TRUE(std::isinf(cgroup_cpus("0::/c\n", mount)));
}

TEST(Cgroups, QuotasOfTheFirstVersion) {
  const fs::path mount = fresh_folder();
  write(mount / "cpu" / "a" / "cpu.cfs_quota_us", "300000");
  write(mount / "cpu" / "a" / "cpu.cfs_period_us", "100000");
  EXPECT_EQ(cgroup_cpus("4:memory:/x\n3:cpu,cpuacct:/a\n0::/\n", mount), 3);
  EXPECT_TRUE(std::isinf(cgroup_cpus("3:cpuacct:/a\n", mount)));
}

TEST(Cgroups, ThrottlingOfTheGroupAndItsParentsAddsUp) {
  const fs::path mount = fresh_folder();
  EXPECT_EQ(throttling("0::/a/b\n", mount).num, 0) << "no such files";
  write(mount / "cpu.stat", "usage_usec 900");  // the root has no quota
  write(mount / "a" / "cpu.stat", "usage_usec 5\nnr_periods 9\nnr_throttled 3\nthrottled_usec 250000");
  write(mount / "a" / "b" / "cpu.stat", "nr_periods 9\nnr_throttled 2\nthrottled_usec 500000");
  const Throttling second = throttling("0::/a/b\n", mount);
  EXPECT_EQ(second.num, 5);
  EXPECT_DOUBLE_EQ(second.seconds, 0.75);
  write(mount / "cpu" / "c" / "cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 1500000000");
  const Throttling first = throttling("4:memory:/x\n3:cpu,cpuacct:/c\n0::/\n", mount);
  EXPECT_EQ(first.num, 4);
  EXPECT_DOUBLE_EQ(first.seconds, 1.5);
}

// In a container the mount itself is the group, whatever its name is outside.
TEST(Cgroups, InAContainerTheMountIsTheGroup) {
  const fs::path mount = fresh_folder();
  write(mount / "cpu.max", "200000 100000");
  EXPECT_EQ(cgroup_cpus("0::/../docker/0123\n", mount), 2);
}

}  // namespace
}  // namespace moehill
