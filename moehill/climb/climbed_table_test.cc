// Tests of the table of winners: an entry is kept beside others, and is used only for the problem and the
// kernels with which it was found.
#include "moehill/climb/climbed_table.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

class ClimbedTableTest : public testing::Test {
 protected:
  ClimbedTableTest() {
    environment_.topology.cpu_model = "cpu";
    environment_.kernels_id = "k1";
  }
  const TemporaryFolder place_;
  const std::string path_ = place_.file("folder/climbed.json");
  Environment environment_;
};

TEST_F(ClimbedTableTest, KeepsWinnersByProblem) {
  keep_climbed(path_, "tokens=1", {{{"impl", "fast"}}, 1.2, "cpu", "k1", "2026-01-01T00:00:00Z"});
  keep_climbed(path_, "tokens=2", {{{"shared_fused", true}}, 1.1, "cpu", "k1", "2026-01-01T00:00:00Z"});
  EXPECT_EQ(read_climbed(path_).size(), 2u);
  EXPECT_EQ(require_climbed(path_, "tokens=1", environment_).options, StoredJson({{"impl", "fast"}}));
  EXPECT_EQ(require_climbed(path_, "tokens=2", environment_).gain, 1.1);
}

TEST_F(ClimbedTableTest, OtherProblemsOtherKernelsAndOtherFilesAreRefused) {
  EXPECT_THROW(require_climbed(path_, "tokens=1", environment_), InputError);
  keep_climbed(path_, "tokens=1", {{{"impl", "fast"}}, 1.2, "cpu", "k1", "2026-01-01T00:00:00Z"});
  EXPECT_THROW(require_climbed(path_, "tokens=3", environment_), InputError);
  environment_.kernels_id = "k2";
  EXPECT_THROW(require_climbed(path_, "tokens=1", environment_), InputError);
  const std::string other = place_.file("other.json");
  std::ofstream(other) << "{\"schema\": \"something else\"}";
  EXPECT_THROW(read_climbed(other), InputError);
}

}  // namespace
}  // namespace moehill
