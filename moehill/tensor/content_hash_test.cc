// A change of one bit anywhere changes the hash; the size of the team does not.
#include "moehill/tensor/content_hash.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(ContentHash, SeesEveryBitWhateverTheTeam) {
  ThreadTeam one(1), three(3);
  std::vector<unsigned char> bytes((size_t{2} << 20) + 77, 0xff);
  const uint64_t hash = content_hash(one, bytes.data(), bytes.size());
  EXPECT_EQ(content_hash(three, bytes.data(), bytes.size()), hash);
  for (const size_t at : {size_t{0}, size_t{1} << 20, (size_t{1} << 20) - 1, bytes.size() - 1}) {
    for (const int bit : {0, 7}) {
      bytes[at] = static_cast<unsigned char>(bytes[at] ^ (1 << bit));
      EXPECT_NE(content_hash(one, bytes.data(), bytes.size()), hash) << at;
      bytes[at] = static_cast<unsigned char>(bytes[at] ^ (1 << bit));
    }
  }
  EXPECT_NE(content_hash(one, bytes.data(), bytes.size() - 1), hash);
  EXPECT_EQ(content_hash(one, nullptr, 0), content_hash(three, nullptr, 0));
}

}  // namespace
}  // namespace moehill
