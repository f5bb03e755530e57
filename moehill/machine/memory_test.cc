// Tests the limits of memory that cgroups set, in a made-up /sys/fs/cgroup, the memory of the process, and
// the clock.
#include "moehill/machine/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "moehill/base/folder_fixture.h"
#include "moehill/machine/clock.h"

namespace moehill {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();
constexpr size_t kBlock = size_t{64} << 20;

// A made-up /sys/fs/cgroup.
class Cgroup : public testing::Test {
 protected:
  void write(const std::string& file, const std::string& text) {
    const std::filesystem::path path = mount_.file(file);
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }
  int64_t headroom(const std::string& proc_cgroup) const {
    return cgroup_headroom_bytes(proc_cgroup, mount_.path());
  }
  const TemporaryFolder mount_;
};

TEST_F(Cgroup, NothingThereLimitsNothing) {
  EXPECT_EQ(headroom("0::/a/b\n"), kUnlimited);
  EXPECT_EQ(headroom(""), kUnlimited);
  EXPECT_EQ(headroom("nonsense"), kUnlimited);
}

TEST_F(Cgroup, Version2TakesTheTightestOfTheGroupAndItsParents) {
  write("a/memory.max", "max\n");
  write("a/memory.current", "5000\n");
  EXPECT_EQ(headroom("0::/a/b\n"), kUnlimited);
  write("a/b/memory.max", "10000\n");
  write("a/b/memory.current", "4000\n");
  EXPECT_EQ(headroom("0::/a/b\n"), 6000);
  write("a/b/memory.stat", "anon 10\nfile 1500\ninactive_file 1000\nslab 1\n");
  EXPECT_EQ(headroom("0::/a/b\n"), 7000);
  write("a/memory.max", "5500\n");
  EXPECT_EQ(headroom("0::/a/b\n"), 500);
  write("a/memory.max", "4000\n");
  EXPECT_EQ(headroom("0::/a/b\n"), 0);
}

TEST_F(Cgroup, Version1ReadsTheMemoryController) {
  const std::string proc = "3:cpuset:/other\n2:cpu,memory:/job\n1:name=systemd:/job\n";
  write("memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(headroom(proc), kUnlimited);
  write("memory/job/memory.limit_in_bytes", "8000\n");
  write("memory/job/memory.usage_in_bytes", "3000\n");
  write("memory/job/memory.stat", "inactive_file 5\ntotal_inactive_file 100\n");
  EXPECT_EQ(headroom(proc), 5100);
  EXPECT_EQ(headroom("3:cpuset:/job\n"), kUnlimited);
}

// In a container /proc/self/cgroup names a path of the host, and the mount itself is the group.
TEST_F(Cgroup, APathOutsideTheMountLeavesTheLimitOfTheMount) {
  write("memory.max", "1000\n");
  EXPECT_EQ(headroom("0::/host/path\n"), 1000);
}

TEST(Memory, AvailableIsPositiveAndNotMoreThanInstalled) {
  const int64_t installed = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  EXPECT_GT(available_memory_bytes(), 0);
  EXPECT_LE(available_memory_bytes(), installed);
}

TEST(Memory, ALimitBeyondInt64IsNone) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  rlimit huge = before;
  huge.rlim_cur = rlim_t{1} << 63;
  if (setrlimit(RLIMIT_AS, &huge) != 0) GTEST_SKIP() << "this process has a lower hard limit";
  const int64_t left = process_headroom_bytes();
  EXPECT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_GT(left, 0);
}

TEST(Memory, ThePeakRemembersAndTheCurrentSizeForgets) {
  const int64_t before = current_rss_bytes();
  ASSERT_GT(before, 0);
  void* block = mmap(nullptr, kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, kBlock);
  const int64_t with_block = current_rss_bytes();
  EXPECT_GE(with_block, before + static_cast<int64_t>(kBlock) * 9 / 10);
  munmap(block, kBlock);
  EXPECT_LE(current_rss_bytes(), with_block - static_cast<int64_t>(kBlock) / 2);
  EXPECT_GE(peak_rss_bytes(), with_block - (1 << 20));
  if (!reset_peak_rss()) GTEST_SKIP() << "this system does not let a process reset its peak";
  EXPECT_LE(peak_rss_bytes(), with_block - static_cast<int64_t>(kBlock) / 2);
}

TEST(Clock, NeverGoesBack) {
  const double start = seconds();
  for (int i = 0; i < 1000; ++i) EXPECT_GE(seconds(), start);
  EXPECT_GE(load_average(), 0);
}

}  // namespace
}  // namespace moehill
