// Calibration blocks, the median of a few steps for each stage, each begun with cold caches.
#include "moehill/probe/probe_blocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

#include "moehill/bench/statistics.h"
#include "moehill/machine/clock.h"
#include "moehill/measure/stage_listener.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/quiet/cold_caches.h"

namespace moehill {
namespace {

constexpr size_t kSteps = 5;      // after one that touches all memory
constexpr size_t kLongSteps = 3;  // of long ones, which vary less
constexpr double kLong_s = 0.1;

// A width of the matrices, and the rows a group at which it is measured; about max_rows rows in all, so
// that a step takes some 0.3 s at most.
struct BlockSize {
  int64_t hidden, mlp_dim;
  int experts;  // at most: their weights leave the caches, but for the smallest size
  int64_t max_rows;
  std::vector<int64_t> rows;
  std::vector<int64_t> rows_of_one;  // the same of a block with a single expert
};

const std::vector<BlockSize>& block_sizes() {
  static const std::vector<BlockSize> sizes = {
      {256, 128, 32, 16384, {1, 4, 16, 68, 273, 1092}, {16, 137, 1092, 4368}},
      {768, 512, 32, 4400, {1, 2, 4, 9, 15, 22, 34, 68, 137, 546, 2184}, {8, 34, 137, 546, 2184}},
      {2048, 1408, 16, 800, {1, 9, 16, 34, 137, 400}, {8, 34, 137, 546}},
  };
  return sizes;
}

// One device or several, whose stages are added up: what all of them did in the seconds of all.
struct TimedBlock {
  std::vector<DeviceWork> work;  // [devices]
  std::vector<double> stage_s;   // [kNumStages] median of the steps on each device, added up
  double step_s = 0;
  int units = 1;  // of a device
};

// One device with all cores; and, for products, a device a core, which share the experts.
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

// A run and the stages of its steps.
struct BlockTimer {
  std::unique_ptr<Run> run;
  std::unique_ptr<DeviceStages> stages;
  std::vector<double> step_s;                             // [steps]
  std::vector<std::vector<std::vector<double>>> stage_s;  // [device][kNumStages][steps]

  explicit BlockTimer(std::unique_ptr<Run> the_run)
      : run(std::move(the_run)), stages(std::make_unique<DeviceStages>(run->config().num_devices, seconds)) {
    const double begin = seconds();
    run->step({});  // touches all memory
    step_s.resize(seconds() - begin > kLong_s ? kLongSteps : kSteps);
    stage_s.assign(stages->size(),
                   std::vector<std::vector<double>>(kNumStages, std::vector<double>(step_s.size())));
  }

  // Takes the place of what step i was before, if it is run again.
  void step(size_t i) {
    stages->restart();
    run->rouse();
    const double begin = seconds();
    run->step(stages->listeners());
    step_s[i] = seconds() - begin;
    for (size_t d = 0; d < stage_s.size(); ++d) {
      for (size_t s = 0; s < static_cast<size_t>(kNumStages); ++s) stage_s[d][s][i] = stages->seconds(d)[s];
    }
  }

  TimedBlock result() const {
    const RunConfig& config = run->config();
    const PlanCounts counts = count_plan(run->routing(), {}, config.num_devices);
    TimedBlock timed{all_work(work_problem(config), counts), std::vector<double>(kNumStages, 0.0),
                     median_of(step_s), config.threads_per_device};
    for (const auto& device : stage_s) {
      for (size_t s = 0; s < device.size(); ++s) timed.stage_s[s] += median_of(device[s]);
    }
    return timed;
  }
};

// The cores that blocks run on, what tells whether they were all there, and what empties their caches.
struct Cores {
  const std::vector<int>& cpus;
  CoreWatch& watch;
  ColdCores& cold;
};

std::vector<TimedBlock> time_blocks(const MoeShape& shape, const Cores& cores, RunFactory& factory,
                                    bool every_layout) {
  std::vector<BlockTimer> timers;
  for (const RunConfig& config : layouts_of(shape, static_cast<int>(cores.cpus.size()), every_layout))
    timers.emplace_back(factory.make(config));
  for (size_t i = 0; i < kSteps; ++i) {
    cores.watch.run([&] {
      for (BlockTimer& timer : timers) {
        if (i >= timer.step_s.size()) continue;
        cores.cold();
        timer.step(i);
      }
    });
  }
  std::vector<TimedBlock> timed;
  for (const BlockTimer& timer : timers) timed.push_back(timer.result());
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

// FLOP/s of a unit.
double unit_rate(const TimedBlock& timed, Stage stage) {
  double flops = 0;
  for (const DeviceWork& device : timed.work) flops += work_of(device, stage).flops;
  return flops / seconds_of(timed, stage) / timed.units;
}

// The stages that are one product each, by direction: the up-projections', then the down-projection's.
constexpr Stage kProducts[2][kNumGemmDirections] = {{Stage::up, Stage::up_grad, Stage::w13_grad},
                                                    {Stage::down, Stage::down_grad, Stage::w2_grad}};

void add_point(const TimedBlock& timed, int product, int64_t rows, double peak, GemmCurve& curve) {
  curve.rows.push_back(static_cast<double>(rows));
  const GemmWork& gemm = work_of(timed, kProducts[product][0]).gemms.front();
  curve.k = gemm.k;
  curve.n = gemm.n;
  for (int d = 0; d < kNumGemmDirections; ++d)
    // At most 1: beyond, the peak was disturbed when it was measured, and no prediction passes it.
    curve.fraction[d].push_back(std::min(1.0, unit_rate(timed, kProducts[product][d]) / peak));
}

// Curves of all layouts from blocks with these rows a group and experts_of(rows) of them. Groups are even,
// as the model takes each group by its own rows.
template <typename Experts>
void add_curves(const BlockSize& size, const std::vector<int64_t>& rows_of_groups, const Experts& experts_of,
                DType dtype, const Cores& cores, Hardware& h) {
  // One for all rows: weights take longer to make than steps.
  RunFactory factory({.kind = Distribution::balanced}, 1, cores.cpus);
  std::map<std::pair<int, int>, GemmCurve> curves;  // by units of a device, and by product
  for (const int64_t rows : rows_of_groups) {
    const int64_t experts = experts_of(rows);
    const int topk = static_cast<int>(std::min<int64_t>(2, experts));
    const MoeShape shape{
        rows * experts / topk, size.hidden, size.mlp_dim, static_cast<int>(experts), topk, 0, dtype};
    for (const TimedBlock& timed : time_blocks(shape, cores, factory, experts > 1)) {
      for (int c = 0; c < 2; ++c) {
        GemmCurve& curve = curves[{timed.units, c}];
        curve.dtype = dtype;
        curve.units = timed.units;
        curve.one_group = experts == 1;
        add_point(timed, c, rows, h.peak(dtype), curve);
      }
    }
  }
  for (const auto& [key, curve] : curves) h.gemm.push_back(curve);
}

void add_curves(const BlockSize& size, DType dtype, const Cores& cores, Hardware& h) {
  const auto several = [&](int64_t rows) {
    return std::clamp<int64_t>(size.max_rows / rows, 2, size.experts);
  };
  add_curves(size, size.rows, several, dtype, cores, h);
  // One thread takes a single group as it takes several.
  if (cores.cpus.size() > 1)
    add_curves(
        size, size.rows_of_one, [](int64_t) { return 1; }, dtype, cores, h);
}

// Row operations on 16,384 rows of 1,024 values, 32 MiB: beyond the caches of most machines.
void add_row_rates(const Cores& cores, Hardware& h) {
  const TimedBlock timed = time_block({4096, 1024, 256, 32, 4, 0, DType::bf16}, cores);
  const double threads = static_cast<double>(cores.cpus.size());
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

// A block with next to no work has next to nothing but the fixed cost of its products and rows, and in its
// first stage the threads wake up.
void add_fixed_costs(const Cores& cores, Hardware& h) {
  const TimedBlock timed = time_block({8, 16, 16, 2, 1, 0, DType::bf16}, cores);
  const double first_s = seconds_of(timed, Stage::plan);
  double num_stages = 0;
  for (const StageWork& stage : timed.work.front().stages) {
    if (stage.stage != Stage::plan)
      num_stages += static_cast<double>(std::max<size_t>(1, stage.gemms.size()));
  }
  h.stage_s = (timed.step_s - first_s) / num_stages;
  h.start_s = std::max(0.0, first_s - h.stage_s);
}

}  // namespace

void probe_blocks(const Topology& topology, CoreWatch& watch, Hardware& h,
                  const std::function<void(const std::string&)>& progress) {
  ColdCores cold(topology);
  const Cores cores{topology.core_cpus, watch, cold};
  progress("row operations");
  add_row_rates(cores, h);
  add_fixed_costs(cores, h);
  for (const DType dtype : {DType::bf16, DType::f32}) {
    for (const BlockSize& size : block_sizes()) {
      progress(fmt::format("products of {} {} x {}", dtype_name(dtype), size.hidden, size.mlp_dim));
      add_curves(size, dtype, cores, h);
    }
  }
}

}  // namespace moehill
