// Tests of how the probe takes its figures from measurements, with made-up samples.
#include "moehill/probe/probe_measurement.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace moehill {
namespace {

PeakKernel kernel(const char* instruction, DType dtype) { return {instruction, dtype, 1, nullptr}; }

TEST(TakePeak, KeepsTheFastestOnAllCoresOfEachDtype) {
  Probe probe;
  take_peak(kernel("wide fma", DType::f32), 10, 18, probe);
  take_peak(kernel("narrow fma", DType::f32), 12, 17, probe);  // faster on one core alone
  EXPECT_EQ(probe.hardware.f32_instruction, "wide fma");
  EXPECT_EQ(probe.f32_one, 10);
  EXPECT_EQ(probe.f32_all, 18);
  EXPECT_EQ(probe.hardware.bf16_instruction, "wide fma");  // f32's loop serves bf16
  take_peak(kernel("dot", DType::bf16), 20, 35, probe);
  EXPECT_EQ(probe.hardware.bf16_instruction, "dot");
  EXPECT_EQ(probe.bf16_one, 20);
  EXPECT_EQ(probe.f32_all, 18);
}

TEST(BestRead, IsTheBestMedianAndTheSpreadOfAllPasses) {
  const ReadBandwidth read = best_read({1, 5, 9, 4, 6, 7, 2, 3, 8}, 3);
  EXPECT_EQ(read.median, 6);
  EXPECT_EQ(read.min, 1);
  EXPECT_EQ(read.max, 9);
}

TEST(DescribeHardware, GivesACoreItsShareAndTheNodeTheMostThatThreadsRead) {
  Topology topology;
  topology.cpu_model = "a CPU";
  topology.num_cores = 8;
  topology.l1d_bytes = 32 << 10;
  topology.l3_bytes = 16 << 20;
  topology.num_l3 = 2;
  Probe probe;
  probe.f32_all = 80;
  probe.bf16_all = 160;
  probe.bandwidth = {{1, {10, 9, 11}, 0}, {4, {35, 1, 40}, 0}, {8, {30, 1, 50}, 0}};
  describe_hardware(topology, probe);
  const Hardware& h = probe.hardware;
  EXPECT_EQ(h.peak_f32, 10);
  EXPECT_EQ(h.peak_bf16, 20);
  EXPECT_EQ(h.memory_bytes_per_s, 10);
  EXPECT_EQ(h.node_memory_bytes_per_s, 35);  // four threads read more than eight
  ASSERT_EQ(h.caches.size(), 2u);            // nobody says how large L2 is
  EXPECT_EQ(h.caches[0].units, 1);
  EXPECT_EQ(h.caches[1].name, "L3");
  EXPECT_EQ(h.caches[1].units, 4);  // cores that share one
  EXPECT_GT(h.memory_bytes, 0);
}

TEST(RefuseDisturbed, AProbeOfABusyMachineIsNone) {
  Probe probe;
  probe.repeated = 3;  // until they had all cores
  EXPECT_NO_THROW(refuse_disturbed(probe));
  probe.disturbed = 2;
  try {
    refuse_disturbed(probe);
    FAIL() << "it is kept";
  } catch (const std::runtime_error& error) {
    const std::string words = error.what();
    EXPECT_NE(words.find("2 measurements never had all cores"), std::string::npos) << words;
    EXPECT_NE(words.find("--keep-disturbed"), std::string::npos) << words;
  }
}

}  // namespace
}  // namespace moehill
