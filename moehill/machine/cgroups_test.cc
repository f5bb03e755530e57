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

// In a container the mount itself is the group, whatever its name is outside.
TEST(Cgroups, InAContainerTheMountIsTheGroup) {
  const fs::path mount = fresh_folder();
  write(mount / "cpu.max", "200000 100000");
  EXPECT_EQ(cgroup_cpus("0::/../docker/0123\n", mount), 2);
}

}  // namespace
}  // namespace moehill
