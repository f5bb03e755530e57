// Implementation of probe/kernel_rates.h: the operands of a case, the products that are timed, and the table.
#include "moehill/probe/kernel_rates.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/json_fields.h"
#include "moehill/base/rng.h"
#include "moehill/base/table.h"
#include "moehill/bench/schedule.h"
#include "moehill/bench/statistics.h"
#include "moehill/kernels/dense_gemm.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/kernels/simd.h"

namespace moehill {
namespace {

// Returns the offsets of groups as random routing makes them: each row goes to a group that is drawn
// uniformly.
std::vector<int64_t> random_offsets(int64_t groups, int64_t rows, uint32_t seed) {
  std::vector<int64_t> offset(static_cast<size_t>(groups) + 1, 0);
  for (int64_t r = 0; r < groups * rows; ++r) {
    const double u = random_uniform(seed, Stream::kSampleRows, static_cast<uint64_t>(r));
    ++offset[static_cast<size_t>(u * static_cast<double>(groups)) + 1];
  }
  for (size_t g = 1; g < offset.size(); ++g) offset[g] += offset[g - 1];
  return offset;
}

// Returns the number of groups: o.groups, or fewer (but at least two) if their rows would exceed max_rows in
// all.
int64_t num_groups(const KernelOptions& o, int64_t mean_rows) {
  return std::clamp(o.max_rows / mean_rows, std::min<int64_t>(2, o.groups), o.groups);
}

// Returns the name of a row of the table: "bf16 256 rows x 8".
std::string group_name(DType dtype, int64_t mean_rows, int64_t groups) {
  return fmt::format("{} {} x {}", dtype_name(dtype), count_text(mean_rows, "row"), groups);
}

// KernelCase is one size of the problem with the operands of both backends and of the dense yardstick.
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
    // A fixed shuffle takes rows from everywhere in x, as routing does.
    index_.resize(static_cast<size_t>(rows()));
    for (size_t i = 0; i < index_.size(); ++i) index_[i] = static_cast<int32_t>(i * 7919 % index_.size());
  }

  int64_t rows() const { return offset_.back(); }
  int64_t groups() const { return groups_; }
  int64_t columns() const { return columns_; }
  double flops() const {
    return 2.0 * static_cast<double>(rows()) * static_cast<double>(hidden_) * static_cast<double>(columns_);
  }

  // Returns the products to be timed: forward, input_grad and weight_grad of gmm; the same of ragged_dot,
  // which takes packed rows; then the dense product.
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

}  // namespace

std::vector<MemoryPart> kernel_memory(const KernelOptions& o, DType dtype, int64_t mean_rows) {
  const double groups = static_cast<double>(num_groups(o, mean_rows)),
               size = static_cast<double>(dtype_bytes(dtype));
  const double rows = groups * static_cast<double>(mean_rows), hidden = static_cast<double>(o.hidden);
  const double columns = static_cast<double>(gate_up_columns(o.mlp_dim));
  return {{"weights and their gradients, for both backends", 4 * groups * hidden * columns * size},
          {"rows and their gradients", 2 * rows * (hidden + columns) * size},
          {"dense yardstick", 4 * (rows * hidden + hidden * columns + rows * columns)}};
}

std::vector<KernelResult> measure_kernels(const KernelOptions& options, DType dtype, int64_t mean_rows,
                                          ThreadTeam& team, Yardstick& yardstick,
                                          const std::function<bool()>& stop) {
  KernelCase problem(options, dtype, mean_rows, team);
  ScheduleOptions schedule;
  schedule.iters = options.iters;
  ScheduleHooks hooks;
  // The peaks are measured between the rounds, so that the shares refer to the speed of the cores at that
  // time.
  hooks.after_round = [&](int64_t) {
    yardstick.measure_peaks();
    yardstick.measure_tile();
  };
  hooks.stop = stop;
  const ScheduleResult timed = time_interleaved(problem.subjects(), schedule, hooks);
  if (timed.stop_reason == kInterrupted) return {};
  const auto rate = [&](size_t i) { return problem.flops() / median_of(timed.samples[i]); };
  std::vector<KernelResult> results;
  for (size_t d = 0; d < 3; ++d) {
    results.push_back({dtype, mean_rows, problem.groups(), problem.rows(), options.hidden, problem.columns(),
                       kDirections[d], rate(d), rate(3 + d), rate(6)});
  }
  return results;
}

StreamedTable kernel_table(const KernelOptions& o) {
  const auto [least, most] = std::ranges::minmax(o.rows);
  const size_t group = group_name(DType::bf16, most, num_groups(o, least)).size();
  return StreamedTable({{"group", group},
                        {"direction", 11},
                        {"gmm GF/s", 0},
                        {"% of peak", 0},
                        {"ragged_dot GF/s", 0},
                        {"dense GF/s", 0},
                        {"gmm/dense", 0}});
}

std::vector<std::string> kernel_row(const KernelResult& r, const Peaks& peaks) {
  return {
      group_name(r.dtype, r.mean_rows, r.groups), r.direction,
      fmt::format("{:.1f}", r.gmm / 1e9),         fmt::format("{:.1f}", 100 * r.gmm / peaks.of(r.dtype).best),
      fmt::format("{:.1f}", r.ragged_dot / 1e9),  fmt::format("{:.1f}", r.dense / 1e9),
      fmt::format("{:.2f}", r.gmm / r.dense)};
}

std::string kernel_answer(const std::vector<KernelResult>& results, const Peaks& peaks) {
  std::vector<double> of_peak, beside_dense;
  for (const KernelResult& r : results) {
    of_peak.push_back(100 * r.gmm / peaks.of(r.dtype).best);
    beside_dense.push_back(r.gmm / r.dense);
  }
  const auto [least, most] = std::ranges::minmax(of_peak);
  const auto [slowest, fastest] = std::ranges::minmax(beside_dense);
  return fmt::format(
      "gmm reaches {:.0f} to {:.0f} % of the peak of its type, and {:.2f} to {:.2f} times the "
      "rate of a dense OpenBLAS product in f32.\n",
      least, most, slowest, fastest);
}

std::string kernel_records(const KernelOptions& options, int threads,
                           const std::vector<KernelResult>& results, const Peaks& peaks) {
  std::string lines;
  for (const KernelResult& r : results) {
    lines += json_line({{"schema", "moehill/1"},
                        {"command", "kernels"},
                        {"dtype", dtype_name(r.dtype)},
                        {"direction", r.direction},
                        {"mean_rows", r.mean_rows},
                        {"groups", r.groups},
                        {"total_rows", r.total_rows},
                        {"hidden", r.hidden},
                        {"columns", r.columns},
                        {"threads", threads},
                        {"simd", simd_target()},
                        {"iters", options.iters},
                        {"seed", options.seed},
                        {"gmm_gflops", r.gmm / 1e9},
                        {"ragged_dot_gflops", r.ragged_dot / 1e9},
                        {"dense_gflops", r.dense / 1e9},
                        {"peak_gflops", peaks.of(r.dtype).best / 1e9},
                        {"peak_instruction", peaks.of(r.dtype).instruction}});
  }
  return lines;
}

}  // namespace moehill
