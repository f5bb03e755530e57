// `moehill kernels`: the grouped GEMM alone, by rows a group, direction and type, beside ragged_dot, a dense
// OpenBLAS product with the same FLOPs and the FMA peak, all interleaved in one run.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "moehill/base/rng.h"
#include "moehill/base/table.h"
#include "moehill/bench/schedule.h"
#include "moehill/bench/statistics.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/kernels/dense_gemm.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/kernels/simd.h"
#include "moehill/machine/memory.h"
#include "moehill/machine/topology.h"
#include "moehill/measure/memory_check.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {
namespace {

struct KernelOptions {
  std::vector<int64_t> rows{1, 2, 4, 8, 16, 34, 68, 137, 273, 546, 1092, 4369};
  int64_t hidden = 2048, mlp_dim = 1408, groups = 60, max_rows = 16384, threads = 0, iters = 5, seed = 0;
  std::vector<DType> dtypes{DType::bf16};
  std::string json;
};

bool parse_kernel_options(const std::vector<std::string>& args, KernelOptions& o) {
  OptionSet set("moehill kernels",
                "Times the grouped GEMM [rows, hidden] x [hidden, 2 mlp-dim] in its three directions.",
                {"moehill kernels --rows 34,137,546", "moehill kernels --dtype both --rows 273",
                 "moehill kernels --rows 1,8 --groups 8 --threads 1"});
  set.integer_list("--rows", &o.rows, 1, 1 << 20, "mean rows a group; groups are uneven, by random routing");
  set.integer("--hidden", &o.hidden, 1, 1 << 20, "H");
  set.integer("--mlp-dim", &o.mlp_dim, 1, 1 << 20, "M");
  set.integer("--groups", &o.groups, 1, 1 << 16, "groups at most; fewer when --max-rows says so, 2 at least");
  set.integer("--max-rows", &o.max_rows, 1, 1 << 24, "rows of all groups together, about");
  set.integer("--threads", &o.threads, 0, 1024, "threads; 0: all physical cores");
  set.integer("--iters", &o.iters, 1, 1000, "rounds after one of warm-up");
  set.integer("--seed", &o.seed, 0, UINT32_MAX, "seed of rows and values");
  set.choices("--dtype", &o.dtypes, {"both"}, "storage type", {DType::bf16, DType::f32});
  set.output("--json", &o.json, "FILE",
             "one record a line of the table; - is standard output, the table then goes to standard error");
  return set.parse(args);
}

// Group sizes as random routing makes them: each row goes to a uniformly drawn group.
std::vector<int64_t> random_offsets(int64_t groups, int64_t rows, uint32_t seed) {
  std::vector<int64_t> offset(static_cast<size_t>(groups) + 1, 0);
  for (int64_t r = 0; r < groups * rows; ++r) {
    const double u = random_uniform(seed, Stream::kSampleRows, static_cast<uint64_t>(r));
    ++offset[static_cast<size_t>(u * static_cast<double>(groups)) + 1];
  }
  for (size_t g = 1; g < offset.size(); ++g) offset[g] += offset[g - 1];
  return offset;
}

int64_t num_groups(const KernelOptions& o, int64_t mean_rows) {
  return std::clamp(o.max_rows / mean_rows, std::min<int64_t>(2, o.groups), o.groups);
}

// The parts that KernelCase holds. One case is in memory at a time.
std::vector<MemoryPart> case_memory(const KernelOptions& o, DType dtype, int64_t mean_rows) {
  const double groups = static_cast<double>(num_groups(o, mean_rows)),
               size = static_cast<double>(dtype_bytes(dtype));
  const double rows = groups * static_cast<double>(mean_rows), hidden = static_cast<double>(o.hidden);
  const double columns = static_cast<double>(gate_up_columns(o.mlp_dim));
  return {{"weights and their gradients, for both backends", 4 * groups * hidden * columns * size},
          {"rows and their gradients", 2 * rows * (hidden + columns) * size},
          {"dense yardstick", 4 * (rows * hidden + hidden * columns + rows * columns)}};
}

// One size of the problem with both backends' operands and the dense yardstick.
class KernelCase {
 public:
  KernelCase(const KernelOptions& o, DType dtype, int64_t mean_rows, ThreadTeam& team)
      : team_(team),
        groups_(num_groups(o, mean_rows)),
        offset_(random_offsets(groups_, mean_rows, static_cast<uint32_t>(o.seed))),
        hidden_(o.hidden),
        columns_(gate_up_columns(o.mlp_dim)),
        x_(std::max<int64_t>(1, rows()), hidden_, dtype),
        dc_(std::max<int64_t>(1, rows()), columns_, dtype),
        c_(std::max<int64_t>(1, rows()), columns_, dtype),
        dx_(std::max<int64_t>(1, rows()), hidden_, dtype),
        dense_a_(Matrix::tight(rows(), hidden_, DType::f32)),
        dense_b_(Matrix::tight(hidden_, columns_, DType::f32)),
        dense_c_(Matrix::tight(rows(), columns_, DType::f32)) {
    const uint32_t seed = static_cast<uint32_t>(o.seed);
    for (const Matrix* m : {&x_, &dc_, &dense_a_, &dense_b_}) fill_normal(team, seed, Stream::kX, 1, *m);
    const GemmLimits limits{groups_, rows(), std::max(hidden_, columns_), hidden_ * columns_, team.size()};
    gemm_[0] = make_gmm(limits);
    gemm_[1] = make_ragged_dot(limits);
    for (int i = 0; i < 2; ++i) {
      w_[i] = WeightStack(gemm_[i]->layout(), groups_, hidden_, columns_, dtype);
      dw_[i] = WeightStack(gemm_[i]->layout(), groups_, hidden_, columns_, dtype);
      fill_normal(team, seed, Stream::kW1, 0.02f, LogicalWeights{w_[i], LogicalWeights::Part::all, columns_},
                  0);
    }
    index_.resize(static_cast<size_t>(rows()));  // a fixed shuffle: rows come from all over x
    for (size_t i = 0; i < index_.size(); ++i) index_[i] = static_cast<int32_t>(i * 7919 % index_.size());
  }

  int64_t rows() const { return offset_.back(); }
  int64_t groups() const { return groups_; }
  int64_t columns() const { return columns_; }
  double flops() const {
    return 2.0 * static_cast<double>(rows()) * static_cast<double>(hidden_) * static_cast<double>(columns_);
  }

  // forward, input_grad, weight_grad of gmm, the same of ragged_dot (which takes packed rows), the dense
  // product.
  std::vector<std::function<void()>> subjects() {
    std::vector<std::function<void()>> all;
    for (int i = 0; i < 2; ++i) {
      GroupedGemm* gemm = gemm_[i].get();
      const RowSource x{x_, i == 0 ? index_.data() : nullptr};
      all.push_back([=, this] { gemm->forward(team_, offset_, x, w_[i], {c_}); });
      all.push_back([=, this] { gemm->input_grad(team_, offset_, {dc_}, w_[i], {dx_}); });
      all.push_back([=, this] { gemm->weight_grad(team_, offset_, x, {dc_}, dw_[i]); });
    }
    all.push_back([this] { dense_gemm(team_, dense_a_, dense_b_, dense_c_); });
    return all;
  }

 private:
  ThreadTeam& team_;
  int64_t groups_;
  std::vector<int64_t> offset_;
  int64_t hidden_, columns_;
  Matrix x_, dc_, c_, dx_, dense_a_, dense_b_, dense_c_;
  std::unique_ptr<GroupedGemm> gemm_[2];
  WeightStack w_[2], dw_[2];
  std::vector<int32_t> index_;
};

constexpr const char* kDirections[] = {"forward", "input_grad", "weight_grad"};

// One line of the table; rates in FLOP/s.
struct KernelResult {
  DType dtype;
  int64_t mean_rows, groups, total_rows, hidden, columns;
  const char* direction;
  double gmm, ragged_dot, dense;
};

void measure(const KernelOptions& options, DType dtype, int64_t mean_rows, ThreadTeam& team,
             Yardstick& yardstick, std::vector<KernelResult>& results) {
  KernelCase problem(options, dtype, mean_rows, team);
  ScheduleOptions schedule;
  schedule.iters = options.iters;
  ScheduleHooks hooks;
  hooks.after_round = [&](int64_t) {
    yardstick.measure_peaks();
    yardstick.measure_tile();
  };
  const ScheduleResult timed = time_interleaved(problem.subjects(), schedule, hooks);
  const auto rate = [&](size_t i) { return problem.flops() / median_of(timed.samples[i]); };
  for (size_t d = 0; d < 3; ++d) {
    results.push_back({dtype, mean_rows, problem.groups(), problem.rows(), options.hidden, problem.columns(),
                       kDirections[d], rate(d), rate(3 + d), rate(6)});
  }
}

std::string table_of(const std::vector<KernelResult>& results, const Peaks& peaks) {
  std::vector<std::vector<std::string>> lines;
  for (const KernelResult& r : results) {
    lines.push_back({fmt::format("{} {} rows x {}", dtype_name(r.dtype), r.mean_rows, r.groups), r.direction,
                     fmt::format("{:.1f}", r.gmm / 1e9),
                     fmt::format("{:.1f}", 100 * r.gmm / peaks.of(r.dtype).best),
                     fmt::format("{:.1f}", r.ragged_dot / 1e9), fmt::format("{:.1f}", r.dense / 1e9),
                     fmt::format("{:.2f}", r.gmm / r.dense)});
  }
  return format_table(
      {"group", "direction", "gmm GF/s", "% of peak", "ragged_dot GF/s", "dense GF/s", "gmm/dense"}, lines);
}

std::string records_of(const std::vector<KernelResult>& results, const Peaks& peaks) {
  std::string lines;
  for (const KernelResult& r : results) {
    lines += nlohmann::ordered_json{{"schema", "moehill/1"},
                                    {"command", "kernels"},
                                    {"dtype", dtype_name(r.dtype)},
                                    {"direction", r.direction},
                                    {"mean_rows", r.mean_rows},
                                    {"groups", r.groups},
                                    {"total_rows", r.total_rows},
                                    {"hidden", r.hidden},
                                    {"columns", r.columns},
                                    {"gmm_gflops", r.gmm / 1e9},
                                    {"ragged_dot_gflops", r.ragged_dot / 1e9},
                                    {"dense_gflops", r.dense / 1e9},
                                    {"peak_gflops", peaks.of(r.dtype).best / 1e9},
                                    {"peak_instruction", peaks.of(r.dtype).instruction}}
                 .dump() +
             "\n";
  }
  return lines;
}

}  // namespace

int kernels_command(const std::vector<std::string>& args) {
  KernelOptions options;
  if (!parse_kernel_options(args, options)) return kExitDone;
  require_writable_json(options.json);
  for (DType dtype : options.dtypes) {
    for (int64_t mean_rows : options.rows) {
      refuse_too_much_memory(case_memory(options, dtype, mean_rows), available_memory_bytes(),
                             "choose a smaller --hidden, --mlp-dim, --groups or --max-rows");
    }
  }
  const std::vector<int> cpus = core_cpus();
  Yardstick yardstick(cpus);
  const int threads = options.threads > 0 ? static_cast<int>(options.threads) : static_cast<int>(cpus.size());
  ThreadTeam& team = yardstick.team({threads});
  yardstick.watch({threads});
  std::vector<KernelResult> results;
  for (DType dtype : options.dtypes) {
    for (int64_t mean_rows : options.rows) measure(options, dtype, mean_rows, team, yardstick, results);
  }
  const Peaks peaks = yardstick.peaks({threads});
  fmt::print(
      table_stream(options.json),
      "{}peak bf16 {:.1f} GF/s ({}), f32 {:.1f} GF/s ({}) on {} threads; kernels {}, f32 register tile with "
      "operands in L1 {:.1f}; medians of {} interleaved rounds; dense: OpenBLAS f32, same FLOPs\n",
      table_of(results, peaks), peaks.bf16.best / 1e9, peaks.bf16.instruction, peaks.f32.best / 1e9,
      peaks.f32.instruction, threads, simd_target(), yardstick.tile_flops(threads) / 1e9, options.iters);
  write_json_lines(options.json, records_of(results, peaks));
  return kExitDone;
}

}  // namespace moehill
