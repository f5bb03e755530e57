// `moehill kernels` times the grouped GEMM without the rest of the block, by rows of a group, direction and
// type. In the same rounds it times ragged_dot, a dense OpenBLAS product with the same FLOPs, and the FMA
// peak, so that each figure stands beside figures of the same minute.
//
//     moehill kernels --rows 34,137,546 --threads 1
#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/option_set.h"
#include "moehill/cli/output.h"
#include "moehill/kernels/simd.h"
#include "moehill/machine/interruption.h"
#include "moehill/machine/memory.h"
#include "moehill/machine/topology.h"
#include "moehill/measure/memory_check.h"
#include "moehill/probe/kernel_rates.h"

namespace moehill {
namespace {

bool parse_kernel_options(const std::vector<std::string>& args, KernelOptions& o) {
  OptionSet set("moehill kernels",
                "Times the grouped GEMM [rows, hidden] x [hidden, 2 mlp-dim] in its three directions.",
                {"moehill kernels --rows 34,137,546", "moehill kernels --dtype both --rows 273",
                 "moehill kernels --rows 1,8 --groups 8 --threads 1"});
  set.integer_list("--rows", &o.rows, 1, 1 << 20, "mean rows of a group; random routing makes groups uneven");
  set.integer("--hidden", &o.hidden, 1, 1 << 20, "depth H of the product");
  set.integer("--mlp-dim", &o.mlp_dim, 1, 1 << 20, "M; the product has 2 M columns");
  set.integer("--groups", &o.groups, 1, 1 << 16, "most groups; fewer (2 at least) if --max-rows is reached");
  set.integer("--max-rows", &o.max_rows, 1, 1 << 24, "about the most rows of all groups together");
  set.integer("--threads", &o.threads, 0, 1024, "threads; 0: all physical cores");
  set.integer("--iters", &o.iters, 1, 1000, "timed rounds, after one for warm-up");
  set.integer("--seed", &o.seed, 0, UINT32_MAX, "seed of rows and values");
  set.choices("--dtype", &o.dtypes, {"both"}, "storage type", {DType::bf16, DType::f32});
  set.output(
      "--json", &o.json, "FILE",
      "one record for each row of the table; - is standard output, the table then goes to standard error");
  return set.parse(args);
}

}  // namespace

int kernels_command(const std::vector<std::string>& args) {
  KernelOptions options;
  if (!parse_kernel_options(args, options)) return kExitDone;
  require_writable_json(options.json);
  std::vector<std::pair<DType, int64_t>> sizes;
  for (DType dtype : options.dtypes) {
    for (int64_t mean_rows : options.rows) sizes.emplace_back(dtype, mean_rows);
  }
  // A size that does not fit is refused before the first one is measured, since a run takes minutes.
  for (const auto& [dtype, mean_rows] : sizes) {
    refuse_too_much_memory(kernel_memory(options, dtype, mean_rows), available_memory_bytes(),
                           "choose a smaller --hidden, --mlp-dim, --groups or --max-rows");
  }
  const std::vector<int> cpus = core_cpus();
  Yardstick yardstick(cpus);
  const int threads = options.threads > 0 ? static_cast<int>(options.threads) : static_cast<int>(cpus.size());
  ThreadTeam& team = yardstick.team({threads});
  yardstick.watch({threads});
  warn_if_busy(threads);
  std::vector<KernelResult> results;
  const StreamedTable table = kernel_table(options);
  std::FILE* const out = table_stream(options.json);
  end_with_reader(options.json);
  show(table.header(), out);
  // A signal ends the command after the last size that is finished.
  const Interruption interruption;
  const auto stop = [&] { return interruption.signal() != 0; };
  const OtherWork others;
  size_t num_done = 0;
  Pace pace(static_cast<double>(sizes.size()),
            fmt::format("{} x {}", count_text(std::ssize(sizes), "size"), count_text(options.iters, "round")),
            tell);
  for (const auto& [dtype, mean_rows] : sizes) {
    show_progress(fmt::format("{} {} a group", dtype_name(dtype), count_text(mean_rows, "row")));
    const std::vector<KernelResult> rows = measure_kernels(options, dtype, mean_rows, team, yardstick, stop);
    show_progress("");
    if (rows.empty()) break;
    for (const KernelResult& r : rows) show(table.row(kernel_row(r, yardstick.peaks({threads}))), out);
    results.insert(results.end(), rows.begin(), rows.end());
    ++num_done;
    pace.done(1);
    if (stop()) break;
  }
  if (results.empty()) throw Interrupted(interruption.signal(), "no size was measured, nothing is written");
  const Peaks peaks = yardstick.peaks({threads});
  show(
      fmt::format(
          "{}peak bf16 {:.1f} GF/s ({}), f32 {:.1f} GF/s ({}) on {}; kernels {}, f32 register tile with "
          "operands in L1 {:.1f} GF/s; medians of {}; dense: OpenBLAS f32, same FLOPs\n{}",
          kernel_answer(results, peaks), peaks.bf16.best / 1e9, peaks.bf16.instruction, peaks.f32.best / 1e9,
          peaks.f32.instruction, count_text(threads, "thread"), instruction_words(simd_target()),
          yardstick.tile_flops(threads) / 1e9, count_text(options.iters, "interleaved round"), others.line()),
      out);
  const int signal = num_done < sizes.size() ? interruption.signal() : 0;
  show(interrupted_line(signal, num_done, sizes.size(), "size"), out);
  write_json_lines(options.json, kernel_records(options, threads, results, peaks));
  return signal == 0 ? kExitDone : kExitSignal + signal;
}

}  // namespace moehill
