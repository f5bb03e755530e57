// Tests of the order of the published rows: the required share of right pairs, and the rules for a pair.
#include "moehill/predict/published_model.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

PublishedRow row_of(const std::string& mode, int64_t topk, double tflops) {
  PublishedRow row;
  row.section = "test";
  row.parallel_mode = mode;
  row.pass = "forward";
  row.tokens = 1024;
  row.sizes = {
      {"hidden", 2048}, {"mlp_dim", 1408}, {"experts", 64}, {"topk", topk}, {"shared_expert_dim", 0}};
  row.tflops = tflops;
  return row;
}

TEST(PublishedOrder, NineOfTenPairsOnceTheDefectsAreModelled) {
  const std::vector<PublishedRow> rows = read_published("");
  const Hardware hardware = load_hardware("tpu-v5p");
  const PublishedOrder order = published_order(rows, hardware, Defects::modelled);
  EXPECT_GT(order.num_pairs, 10000);
  EXPECT_GE(order.share_right(), 0.9);
  const PublishedOrder without = published_order(rows, hardware, Defects::left_out);
  EXPECT_LT(without.share_right(), order.share_right() - 0.05);
  EXPECT_NE(published_report(order, without, hardware).find("pairs"), std::string::npos);
}

TEST(PublishedOrder, CountsPairsBeyondTenPercent) {
  // Top-8 has more rows in a group than top-1, so the model predicts that it is more efficient. Thus the
  // first pair is right, a pair within 10 % does not count, and the reversed pair is wrong.
  const Hardware hardware = load_hardware("tpu-v5p");
  const auto order_of = [&](double slow, double fast) {
    return published_order({row_of("none", 1, slow), row_of("none", 8, fast)}, hardware, Defects::modelled);
  };
  EXPECT_EQ(order_of(100, 120).num_right, 1);
  EXPECT_EQ(order_of(100, 109).num_pairs, 0);
  EXPECT_EQ(order_of(120, 100).num_pairs, 1);
  EXPECT_EQ(order_of(120, 100).num_right, 0);
  EXPECT_EQ(order_of(120, 100).rows[0].num_wrong, 1);
}

TEST(PublishedOrder, DefectsCostTime) {
  const Hardware hardware = load_hardware("tpu-v5p");
  for (const char* mode : {"none", "ep", "ref_dp", "staged_dp", "fused_ep"}) {
    const std::vector<PublishedRow> rows = {row_of(mode, 2, 100)};
    const PublishedExpectation with = published_order(rows, hardware, Defects::modelled).rows.at(0);
    const PublishedExpectation without = published_order(rows, hardware, Defects::left_out).rows.at(0);
    EXPECT_GT(with.seconds.total(), without.seconds.total()) << mode;
    EXPECT_EQ(without.seconds.moved + without.seconds.copied + without.seconds.padding, 0) << mode;
  }
}

TEST(PublishedOrder, LeavesOutWhatHasNoRate) {
  std::vector<PublishedRow> rows = {row_of("fused_ep/staged_dp", 1, 2), row_of("fused_ep", 1, 1)};
  rows[1].tflops.reset();
  EXPECT_TRUE(published_order(rows, load_hardware("tpu-v5p"), Defects::modelled).rows.empty());
  rows[1].extra["time_s"] = "0.5";
  int num_done = 0;
  EXPECT_EQ(
      published_order(rows, load_hardware("tpu-v5p"), Defects::modelled, [&] { ++num_done; }).rows.size(),
      1u);
  EXPECT_EQ(num_done, 2) << "a row that is left out is done, too";
}

}  // namespace
}  // namespace moehill
