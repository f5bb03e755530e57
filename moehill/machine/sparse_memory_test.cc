// Memory keeps the written bytes, and reads as zero after the pages were dropped.
#include "moehill/machine/sparse_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

namespace moehill {
namespace {

int64_t num_resident(const SparseMemory& memory, int64_t pages) {
  std::vector<unsigned char> resident(static_cast<size_t>(pages));
  EXPECT_EQ(mincore(memory.data(), static_cast<size_t>(pages * sysconf(_SC_PAGESIZE)), resident.data()), 0);
  int64_t num = 0;
  for (const unsigned char page : resident) num += page & 1;
  return num;
}

TEST(SparseMemory, HasThePagesThatWereWrittenAlone) {
  const int64_t page = sysconf(_SC_PAGESIZE), pages = 4096;
  SparseMemory memory(pages * page);
  EXPECT_EQ(num_resident(memory, pages), 0);
  for (int64_t p = 0; p < pages; p += 64) memory.data()[p * page] = 'x';
  EXPECT_EQ(num_resident(memory, pages), pages / 64);
}

TEST(SparseMemory, DropsWholePagesAndKeepsTheRest) {
  const int64_t page = sysconf(_SC_PAGESIZE);
  SparseMemory memory(4 * page);
  for (int64_t i = 0; i < 4 * page; ++i) memory.data()[i] = 'x';
  memory.drop({page - 1, 3 * page + 1});
  EXPECT_EQ(num_resident(memory, 4), 2);
  for (int64_t i = 0; i < 4 * page; ++i)
    ASSERT_EQ(memory.data()[i], i < page || i >= 3 * page ? 'x' : '\0') << i;
  memory.drop({5, 6});
  EXPECT_EQ(memory.data()[5], 'x');
}

}  // namespace
}  // namespace moehill
