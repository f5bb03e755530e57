// Calibration blocks, the best of a few steps for each stage.
#include "moehill/cli/probe_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "moehill/cli/stage_listener.h"
#include "moehill/machine/clock.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {
namespace {

constexpr int kSteps = 4;  // after one that touches all memory

// A width of the matrices, and the rows a group at which it is measured; about max_rows rows in all, so
// that a step takes some 0.3 s at most.
struct BlockSize {
  int64_t hidden, mlp_dim;
  int experts;  // at most: their weights leave the caches, but for the smallest size
  int64_t max_rows;
  std::vector<int64_t> rows;
};

const std::vector<BlockSize>& block_sizes() {
  static const std::vector<BlockSize> sizes = {
      {256, 128, 32, 16384, {1, 4, 16, 68, 273, 1092, 4369}},
      {768, 512, 32, 6000, {1, 2, 4, 8, 16, 34, 68, 137, 273, 546, 1092, 4369}},
      {2048, 1408, 16, 1100, {1, 8, 34, 137, 546}},
  };
  return sizes;
}

struct TimedBlock {
  DeviceWork work;
  std::vector<double> stage_s;  // [kNumStages] best of the steps
  double step_s = 0;
};

TimedBlock time_block(const MoeShape& shape, const std::vector<int>& cpus) {
  RunConfig config{.shape = shape};
  config.threads_per_device = static_cast<int>(cpus.size());
  RunFactory factory({}, 1, cpus);
  const auto run = factory.make(config);
  DeviceStages stages(1, seconds);
  TimedBlock timed;
  timed.stage_s.assign(kNumStages, std::numeric_limits<double>::infinity());
  timed.step_s = std::numeric_limits<double>::infinity();
  run->step({});
  for (int i = 0; i < kSteps; ++i) {
    stages.restart();
    const double begin = seconds();
    run->step(stages.listeners());
    timed.step_s = std::min(timed.step_s, seconds() - begin);
    const std::vector<double>& now = stages.seconds(0);
    for (int s = 0; s < kNumStages; ++s)
      timed.stage_s[static_cast<size_t>(s)] =
          std::min(timed.stage_s[static_cast<size_t>(s)], now[static_cast<size_t>(s)]);
  }
  const PlanCounts counts = count_plan(run->routing(), {}, 1);
  timed.work = device_work(work_problem(config), counts, 0);
  return timed;
}

const StageWork& work_of(const TimedBlock& timed, Stage stage) {
  for (const StageWork& work : timed.work.stages) {
    if (work.stage == name_of(stage)) return work;
  }
  MOEHILL_CHECK(false, "no stage {}", name_of(stage));
}

double seconds_of(const TimedBlock& timed, Stage stage) { return timed.stage_s[static_cast<size_t>(stage)]; }

// The stages that are one product each, by direction: the up-projections', then the down-projection's.
constexpr Stage kProducts[2][kNumGemmDirections] = {{Stage::up, Stage::up_grad, Stage::w13_grad},
                                                    {Stage::down, Stage::down_grad, Stage::w2_grad}};

void add_curves(const BlockSize& size, DType dtype, double peak, const std::vector<int>& cpus, Hardware& h) {
  GemmCurve curves[2];
  for (const int64_t rows : size.rows) {
    const int64_t experts = std::clamp<int64_t>(size.max_rows / rows, 2, size.experts);
    const MoeShape shape{
        rows * experts / 2, size.hidden, size.mlp_dim, static_cast<int>(experts), 2, 0, dtype};
    const TimedBlock timed = time_block(shape, cpus);
    for (int c = 0; c < 2; ++c) {
      curves[c].rows.push_back(static_cast<double>(rows));
      for (int d = 0; d < kNumGemmDirections; ++d) {
        const StageWork& work = work_of(timed, kProducts[c][d]);
        curves[c].dtype = dtype;
        curves[c].k = work.gemms.front().k;
        curves[c].n = work.gemms.front().n;
        curves[c].fraction[d].push_back(work.flops / seconds_of(timed, kProducts[c][d]) / peak);
      }
    }
  }
  h.gemm.insert(h.gemm.end(), std::begin(curves), std::end(curves));
}

// Row operations on 16,384 rows of 1,024 values, 32 MiB: beyond the caches of most machines.
void add_row_rates(const std::vector<int>& cpus, Hardware& h) {
  const TimedBlock timed = time_block({4096, 1024, 256, 32, 4, 0, DType::bf16}, cpus);
  const double threads = static_cast<double>(cpus.size());
  h.rows.combine = work_of(timed, Stage::combine).rows.combine / seconds_of(timed, Stage::combine) / threads;
  h.rows.swiglu = work_of(timed, Stage::act_grad).rows.swiglu / seconds_of(timed, Stage::act_grad) / threads;
  // This stage is inner products of gathered rows, then a combine.
  const RowBytes& mixed = work_of(timed, Stage::combine_grad).rows;
  const double combine_s = mixed.combine / (h.rows.combine * threads);
  const double gather_s = std::max(seconds_of(timed, Stage::combine_grad) - combine_s, 0.2 * combine_s);
  h.rows.gather = mixed.gather / gather_s / threads;
  h.plan_s_per_assignment =
      seconds_of(timed, Stage::plan) * threads / static_cast<double>(work_of(timed, Stage::plan).assignments);
}

// A block with next to no work has next to nothing but the fixed cost of its products and rows.
void add_stage_cost(const std::vector<int>& cpus, Hardware& h) {
  const TimedBlock timed = time_block({8, 16, 16, 2, 1, 0, DType::bf16}, cpus);
  double num_stages = 0;
  for (const StageWork& stage : timed.work.stages)
    num_stages += static_cast<double>(std::max<size_t>(1, stage.gemms.size()));
  h.stage_s = timed.step_s / num_stages;
}

}  // namespace

void probe_blocks(const std::vector<int>& cpus, Hardware& h,
                  const std::function<void(const std::string&)>& progress) {
  progress("row operations");
  add_row_rates(cpus, h);
  add_stage_cost(cpus, h);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const BlockSize& size : block_sizes()) {
      progress(fmt::format("products of {} {} x {}", dtype_name(dtype), size.hidden, size.mlp_dim));
      add_curves(size, dtype, h.peak(dtype) * static_cast<double>(cpus.size()), cpus, h);
    }
  }
}

}  // namespace moehill
