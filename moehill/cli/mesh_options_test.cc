// Tests of the options of `moehill mesh`: defaults, short names, the series of sizes, and refusals.
#include "moehill/cli/mesh_options.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/refusal_fixture.h"

namespace moehill {
namespace {

TEST(MeshOptions, ShortNamesAreThoseOfNcclTests) {
  const MeshOptions o =
      *parse_mesh_options({"-b", "1K", "-e", "4M", "-f", "4", "-n", "7", "-w", "2", "-c", "0"});
  EXPECT_EQ(o.min_bytes, 1024);
  EXPECT_EQ(o.max_bytes, 4 << 20);
  EXPECT_EQ(o.factor, 4);
  EXPECT_EQ(o.iters, 7);
  EXPECT_EQ(o.warmup, 2);
  EXPECT_FALSE(o.check);
}

TEST(MeshOptions, DefaultsCheckAllReduce) {
  const MeshOptions o = *parse_mesh_options({});
  EXPECT_TRUE(o.check);
  EXPECT_EQ(o.collectives, std::vector<Collective>{Collective::all_reduce});
  EXPECT_EQ(o.dtype, DType::f32);
}

TEST(MeshOptions, AllIsEveryCollectiveInTurn) {
  const MeshOptions o = *parse_mesh_options({"--collective", "all"});
  EXPECT_EQ(o.collectives, (std::vector<Collective>{Collective::all_reduce, Collective::reduce_scatter,
                                                    Collective::all_gather, Collective::all_to_all}));
}

TEST(MeshOptions, SizesAreElementsFromSmallestToLargest) {
  MeshOptions o;
  o.min_bytes = 8;
  o.max_bytes = 100;
  EXPECT_EQ(element_counts(o), (std::vector<int64_t>{2, 4, 8, 16}));
  o.dtype = DType::bf16;
  o.factor = 5;
  EXPECT_EQ(element_counts(o), (std::vector<int64_t>{4, 20}));
  o.min_bytes = o.max_bytes = 7;  // rounded down to whole elements
  EXPECT_EQ(element_counts(o), std::vector<int64_t>{3});
}

TEST(MeshOptions, RefusesWhatMakesNoSeries) {
  for (const std::vector<std::string>& args :
       std::vector<std::vector<std::string>>{{"-b", "2"},
                                             {"-b", "1", "--dtype", "bf16"},
                                             {"-b", "1M", "-e", "1K"},
                                             {"-f", "1"},
                                             {"-n", "0"},
                                             {"-c", "2"},
                                             {"-b"},
                                             {"-b", "-e", "8"},
                                             {"--collective", "broadcast"},
                                             {"--dtype", "f16"},
                                             {"--mesh", "sockets"},
                                             {"--devices", "-1"},
                                             {"--json", ""}}) {
    try {
      parse_mesh_options(args);
      ADD_FAILURE() << args.front();
    } catch (const InputError& error) {
      EXPECT_TRUE(is_refusal(error.what())) << error.what();
    }
  }
  EXPECT_NO_THROW(parse_mesh_options({"-b", "2", "--dtype", "bf16"}));
}

}  // namespace
}  // namespace moehill
