#include "moehill/probe/probe_tables.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

GemmCurve curve(int64_t k) {
  GemmCurve c;
  c.dtype = DType::f32;
  c.k = k;
  c.n = 64;
  c.rows = {8, 34};
  for (auto& fraction : c.fraction) fraction = {0.5, 1};
  return c;
}

TEST(ProbeTables, PrintEachRowOnceAndHeadersBeforeTheFirst) {
  std::string text;
  ProbeTables tables([&](const std::string& more) { text += more; });
  Probe probe;
  probe.cores = 2;
  probe.hardware.peak_f32 = 100e9;
  tables.print_new(probe);
  EXPECT_EQ(text, "");
  probe.bandwidth.push_back({1, {10e9, 9e9, 11e9}, 8e9});
  tables.print_new(probe);
  EXPECT_EQ(text,
            "\nthreads  read GB/s (all passes)  copy GB/s\n1            10.0 (9.0 to 11.0)        8.0\n");
  text.clear();
  tables.print_new(probe);
  EXPECT_EQ(text, "");
  probe.hardware.gemm.push_back(curve(512));
  tables.print_new(probe);
  EXPECT_NE(text.find("f32 512 x 64"), std::string::npos) << text;
  EXPECT_NE(text.find("200.0"), std::string::npos) << text;
  EXPECT_NE(text.find("forward GF/s"), std::string::npos) << text;
  text.clear();
  probe.hardware.gemm.push_back(curve(1024));
  tables.print_new(probe);
  EXPECT_EQ(text.find("512 x"), std::string::npos) << text;
  EXPECT_EQ(text.find("forward"), std::string::npos) << text;
  EXPECT_NE(text.find("f32 1024 x 64"), std::string::npos) << text;
}

}  // namespace
}  // namespace moehill
