// Implementation of probe/probe_blocks.h: calibration blocks, timed as medians of a few steps for each stage,
// each step begun with cold caches.
#include "moehill/probe/probe_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "moehill/bench/statistics.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {
namespace {

constexpr size_t kSteps = 5;      // after one that touches all memory
constexpr size_t kLongSteps = 3;  // of long ones, which vary less
constexpr double kLong_s = 0.1;

// BlockSize is one width of the matrices, with the rows in a group at which it is measured. There are about
// max_rows rows in all, so that a step takes some 0.3 s at most.
struct BlockSize {
  int64_t hidden, mlp_dim;
  int experts;  // at most; their weights leave the caches, except for the smallest size
  int64_t max_rows;
  std::vector<int64_t> rows;
  std::vector<int64_t> rows_of_one;  // the same for a block with a single expert
};

const std::vector<BlockSize>& block_sizes() {
  static const std::vector<BlockSize> sizes = {
      {256, 128, 32, 16384, {1, 4, 16, 68, 273, 1092}, {16, 137, 1092, 4368}},
      {768, 512, 32, 4400, {1, 2, 4, 9, 15, 22, 34, 68, 137, 546, 2184}, {8, 34, 137, 546, 2184}},
      {2048, 1408, 16, 800, {1, 9, 16, 34, 137, 400}, {8, 34, 137, 546}},
  };
  return sizes;
}

// Returns the layouts: one device with all cores; and, for products, a device on each core. The devices share
// the experts.
std::vector<RunConfig> layouts_of(const MoeShape& shape, int cores, bool every_layout) {
  RunConfig config{.shape = shape};
  config.threads_per_device = cores;
  std::vector<RunConfig> layouts = {config};
  if (!every_layout || cores == 1 || shape.experts < cores) return layouts;
  config.spread = Spread::compact_psum;
  config.num_devices = cores;
  config.threads_per_device = 1;
  layouts.push_back(config);
  return layouts;
}

std::vector<TimedBlock> time_blocks(const MoeShape& shape, const Cores& cores, RunFactory& factory,
                                    bool every_layout) {
  std::vector<StepTimer> timers;
  for (const RunConfig& config : layouts_of(shape, static_cast<int>(cores.cpus.size()), every_layout)) {
    StepTimer& timer = timers.emplace_back(factory.make(config), kSteps);
    if (timer.first_s > kLong_s) timer.step_s.resize(kLongSteps);
  }
  time_in_turn(timers, cores);
  std::vector<TimedBlock> timed;
  for (const StepTimer& timer : timers) timed.push_back(timed_block(timer));
  return timed;
}

TimedBlock time_block(const MoeShape& shape, const Cores& cores) {
  RunFactory factory({}, 1, cores.cpus);
  return time_blocks(shape, cores, factory, false).front();
}

const StageWork& work_of(const DeviceWork& device, Stage stage) {
  for (const StageWork& work : device.stages) {
    if (work.stage == stage) return work;
  }
  MOEHILL_CHECK(false, "no stage {}", name_of(stage));
}
const StageWork& work_of(const TimedBlock& timed, Stage stage) { return work_of(timed.work.front(), stage); }

double seconds_of(const TimedBlock& timed, Stage stage) { return timed.stage_s[static_cast<size_t>(stage)]; }

// Returns FLOP/s of a unit.
double unit_rate(const TimedBlock& timed, Stage stage) {
  double flops = 0;
  for (const DeviceWork& device : timed.work) flops += work_of(device, stage).flops;
  return flops / seconds_of(timed, stage) / timed.units;
}

// These stages are one product each, by direction: first the stages of the up-projections, then the stages of
// the down-projection.
constexpr Stage kProducts[2][kNumGemmDirections] = {{Stage::up, Stage::up_grad, Stage::w13_grad},
                                                    {Stage::down, Stage::down_grad, Stage::w2_grad}};

// Adds curves of all layouts from blocks with these rows in a group and experts_of(rows) experts. All groups
// have equally many rows, because the model looks up each group by its own rows.
template <typename Experts>
void add_curves(const BlockSize& size, const std::vector<int64_t>& rows_of_groups, const Experts& experts_of,
                DType dtype, const Cores& cores, Hardware& h) {
  // There is one factory for all rows, because it takes longer to make weights than to run steps.
  RunFactory factory({.kind = Distribution::balanced}, 1, cores.cpus);
  std::map<int, std::array<GemmCurve, 2>> curves;  // by units of a device, for both products
  for (const int64_t rows : rows_of_groups) {
    const int64_t experts = experts_of(rows);
    const int topk = static_cast<int>(std::min<int64_t>(2, experts));
    const MoeShape shape{
        rows * experts / topk, size.hidden, size.mlp_dim, static_cast<int>(experts), topk, 0, dtype};
    for (const TimedBlock& timed : time_blocks(shape, cores, factory, experts > 1)) {
      for (GemmCurve& curve : curves[timed.units]) {
        curve.dtype = dtype;
        curve.units = timed.units;
        curve.one_group = experts == 1;
      }
      add_points(timed, static_cast<double>(rows), h, curves[timed.units]);
    }
  }
  for (const auto& [units, pair] : curves) h.gemm.insert(h.gemm.end(), pair.begin(), pair.end());
}

void add_curves(const BlockSize& size, DType dtype, const Cores& cores, Hardware& h) {
  const auto several = [&](int64_t rows) {
    return std::clamp<int64_t>(size.max_rows / rows, 2, size.experts);
  };
  add_curves(size, size.rows, several, dtype, cores, h);
  // One thread takes a single group as it takes several, so this only matters for several.
  if (cores.cpus.size() > 1)
    add_curves(
        size, size.rows_of_one, [](int64_t) { return 1; }, dtype, cores, h);
}

}  // namespace

TimedBlock timed_block(const StepTimer& timer) {
  const RunConfig& config = timer.run().config();
  TimedBlock timed;
  timed.work = all_work(work_problem(config), count_plan(timer.run().routing(), {}, config.num_devices));
  timed.stage_s.resize(kNumStages);
  timed.step_s = median_of(timer.step_s);
  timed.units = config.threads_per_device;
  std::vector<double> steps(timer.step_s.size());
  for (size_t d = 0; d < timer.stage_s.front().size(); ++d) {
    for (size_t s = 0; s < timed.stage_s.size(); ++s) {
      for (size_t i = 0; i < steps.size(); ++i) steps[i] = timer.stage_s[i][d][s];
      timed.stage_s[s] += median_of(steps);
    }
  }
  return timed;
}

void add_points(const TimedBlock& timed, double rows, Hardware& h, std::array<GemmCurve, 2>& curves) {
  for (int product = 0; product < 2; ++product) {
    GemmCurve& curve = curves[static_cast<size_t>(product)];
    curve.rows.push_back(rows);
    const GemmWork& gemm = work_of(timed, kProducts[product][0]).gemms.front();
    curve.k = gemm.k;
    curve.n = gemm.n;
    for (int d = 0; d < kNumGemmDirections; ++d)
      // The fraction is at most 1. If it comes out above 1, the peak was disturbed when it was measured, and
      // no prediction may exceed the peak.
      curve.fraction[d].push_back(
          std::min(1.0, unit_rate(timed, kProducts[product][d]) / h.peak(curve.dtype)));
  }
}

void set_row_rates(const TimedBlock& timed, Hardware& h) {
  const double threads = timed.units;
  h.rows.combine = work_of(timed, Stage::combine).rows.combine / seconds_of(timed, Stage::combine) / threads;
  h.rows.swiglu = work_of(timed, Stage::act_grad).rows.swiglu / seconds_of(timed, Stage::act_grad) / threads;
  // This stage is inner products of gathered rows followed by a combine, so the time of the combine is
  // subtracted.
  const RowBytes& mixed = work_of(timed, Stage::combine_grad).rows;
  const double combine_s = mixed.combine / (h.rows.combine * threads);
  const double gather_s = std::max(seconds_of(timed, Stage::combine_grad) - combine_s, 0.2 * combine_s);
  h.rows.gather = mixed.gather / gather_s / threads;
  h.plan_s_per_assignment =
      seconds_of(timed, Stage::plan) * threads / static_cast<double>(work_of(timed, Stage::plan).assignments);
}

// A block with next to no work takes almost nothing but the fixed cost of its products and rows. In its first
// stage the threads wake up.
void set_fixed_costs(const TimedBlock& timed, Hardware& h) {
  const double first_s = seconds_of(timed, Stage::plan);
  double num_stages = 0;
  for (const StageWork& stage : timed.work.front().stages) {
    if (stage.stage != Stage::plan)
      num_stages += static_cast<double>(std::max<size_t>(1, stage.gemms.size()));
  }
  h.stage_s = (timed.step_s - first_s) / num_stages;
  h.start_s = std::max(0.0, first_s - h.stage_s);
}

void probe_blocks(const Topology& topology, CoreWatch& watch, Hardware& h,
                  const std::function<void(const std::string&)>& progress,
                  const std::function<void()>& measured) {
  ColdCores cold(topology);
  const Cores cores{topology.core_cpus, watch, cold};
  progress("row operations");
  // 16,384 rows of 1,024 values are 32 MiB, more than the caches of most machines.
  set_row_rates(time_block({4096, 1024, 256, 32, 4, 0, DType::bf16}, cores), h);
  set_fixed_costs(time_block({8, 16, 16, 2, 1, 0, DType::bf16}, cores), h);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const BlockSize& size : block_sizes()) {
      progress(fmt::format("products of {} {} x {}", dtype_name(dtype), size.hidden, size.mlp_dim));
      add_curves(size, dtype, cores, h);
      measured();
    }
  }
}

}  // namespace moehill
