// Tests of the records of `moehill kernels`.
#include "moehill/probe/kernel_rates.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "moehill/kernels/simd.h"

namespace moehill {
namespace {

// Rates of one thread and of two, or of two SIMD targets, must not be compared, so records name both.
TEST(KernelRecords, SayOnWhatTheRatesWereMeasured) {
  KernelOptions options;
  options.iters = 7;
  options.seed = 3;
  const KernelResult result{DType::f32, 34, 60, 2040, 2048, 2816, "forward", 2e9, 1e9, 4e9};
  const nlohmann::json record = nlohmann::json::parse(kernel_records(options, 2, {result}, Peaks{}));
  EXPECT_EQ(record["threads"], 2);
  EXPECT_EQ(record["simd"], simd_target());
  EXPECT_EQ(record["iters"], 7);
  EXPECT_EQ(record["seed"], 3);
  EXPECT_EQ(record["gmm_gflops"], 2.0);
}

TEST(KernelAnswer, HasTheRangeOfAllLines) {
  Peaks peaks;
  peaks.f32.best = 4e9;
  peaks.bf16.best = 8e9;
  EXPECT_EQ(kernel_answer({{DType::f32, 34, 60, 2040, 2048, 2816, "forward", 2e9, 1e9, 4e9},
                           {DType::bf16, 34, 60, 2040, 2048, 2816, "forward", 6e9, 1e9, 4e9}},
                          peaks),
            "gmm reaches 50 to 75 % of the peak of its type, and 0.50 to 1.50 times the rate of a dense "
            "OpenBLAS product in f32.\n");
}

}  // namespace
}  // namespace moehill
