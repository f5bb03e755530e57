// `moehill check` runs the correctness grid (moehill/verify/check_grid.h): every form of the block on small
// odd shapes, compared with the double-precision reference. It prints a line for each group of cases and the
// command that repeats a failed one.
//
//     moehill check --quick
//     moehill check --case 1234 --devices 3 --threads-per-device 2   # again: one case that failed
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/commands.h"
#include "moehill/cli/output.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/interruption.h"
#include "moehill/machine/topology.h"
#include "moehill/measure/points.h"
#include "moehill/measure/replicas.h"
#include "moehill/quiet/yardstick.h"
#include "moehill/verify/check_grid.h"

namespace moehill {
namespace {

// The largest rel_err allowed between y of `none` and y of any other path in f32. Paths differ only in the
// order of their sums.
constexpr double kPathLimit = 2e-6;
constexpr size_t kMaxFailuresShown = 10;

// CheckOptions is what the command line fills.
struct CheckOptions {
  GridOptions grid;
  int64_t devices = 0, threads = 1, single_case = -1;
  double timeout_s = 0;
};

// Parses the options. If neither they nor the job say otherwise, there are two devices of one thread.
std::optional<CheckOptions> parse_check_options(const std::vector<std::string>& args, const Job& job) {
  CheckOptions options;
  MeshKind mesh = MeshKind::automatic;
  OptionSet set(
      "moehill check", "Compares every form of the block with the double-precision one on small odd shapes.",
      {"moehill check", "moehill check --quick", "moehill check --devices 3 --threads-per-device 2 --quick"});
  set.integer("--devices", &options.devices, 0, 64,
              "devices P of the ep paths; 0: two, or one in each process");
  declare_mesh(set, &mesh, &options.timeout_s);
  set.integer("--threads-per-device", &options.threads, 1, 64, "threads of a device");
  set.choice("--wire", &options.grid.wire, kWireHelp);
  set.flag("--quick", &options.grid.quick, "about an eighth of the cases");
  set.integer("--case", &options.single_case, -1, 1 << 20, "only the case of this number; -1: all");
  if (!set.parse(args)) return std::nullopt;
  if (options.grid.quick && options.single_case >= 0)
    throw usage_error("--quick cannot be used with --case", "leave --quick out");
  adopt_job(job, mesh, options.devices, options.threads);
  if (options.devices == 0) options.devices = 2;
  options.grid.fixed_devices = options.grid.several_processes = job.session() != nullptr;
  options.grid.num_devices = static_cast<int>(options.devices);
  options.grid.threads_per_device = static_cast<int>(options.threads);
  return options;
}

// GroupResult is a line of the table. Errors are given as shares of their limits; 1 is the most that passes.
struct GroupResult {
  int num_cases = 0, num_failed = 0;
  double forward = 0, gradient = 0, path = 0;
};

double worst_gradient(const CheckResult& check) {
  double worst = 0;
  for (const auto& [name, error] : check.grad_rel_err) worst = std::max(worst, error);
  return worst;
}

std::vector<float> copy_rows(const MatView& matrix) {
  std::vector<float> values;
  for (int64_t r = 0; r < matrix.rows; ++r) {
    for (int64_t c = 0; c < matrix.cols; ++c) values.push_back(matrix.at(r, c));
  }
  return values;
}

// Returns the rel_err of `values` against `reference`, both [rows, cols], as RowComparison defines it.
double rows_apart(const std::vector<float>& values, const std::vector<float>& reference, int64_t cols) {
  RowComparison comparison;
  const size_t n = static_cast<size_t>(cols);
  const std::vector<double> expected(reference.begin(), reference.end());
  for (size_t begin = 0; begin < values.size(); begin += n)
    comparison.add_row(static_cast<int64_t>(begin / n), {&values[begin], n}, {&expected[begin], n});
  return comparison.result().rel_err;
}

// GridRunner runs cases one after the other, with the same threads and the same factory for all of them, and
// collects what the table shows.
class GridRunner {
 public:
  // `layout` is the text of the options that a single case needs besides its number to be repeated.
  GridRunner(const Job& job, std::vector<int> cpus, std::string layout)
      : job_(job), layout_(std::move(layout)), teams_(cpus, job), factory_({}, 0, cpus, job.session()) {}

  // Runs one case: one step, then the check of its tensors. Every process of the job calls it.
  void run(const GridCase& grid_case) {
    const RunConfig& config = grid_case.config;
    const auto run = grid_case.routing ? factory_.make(config, *grid_case.routing) : factory_.make(config);
    // Memory is filled with NaN first, so that a row which nobody writes cannot pass.
    run->poison();
    job_.wait_quietly();  // no device may begin while another one's memory is being poisoned
    run->step({});
    // Replicated tensors are compared before collect(), which would hide a difference between copies.
    const bool copies_differ = replicas_differ(*run, job_);
    run->collect();
    CheckShare share;
    CheckResult check;
    if (run->local_devices().size() > 0) {
      share = run->check_share();
      check =
          check_block(share, config.block.pass, CheckMode::full, 0, teams_.team(threads_of(config, job_)));
      share.bring_all();
    }
    job_.on_root([&] { judge(grid_case, share.tensors.y, check, copies_differ); });
  }

  // Returns the table, followed by the cases that failed.
  std::string report() const {
    std::vector<std::vector<std::string>> rows;
    for (const std::string& name : order_) {
      const GroupResult& g = groups_.at(name);
      const auto percent = [](double share) {
        return share > 0 ? fmt::format("{:.1f}", 100 * share) : std::string("-");
      };
      rows.push_back({name, std::to_string(g.num_cases), percent(g.forward), percent(g.gradient),
                      percent(g.path),
                      g.num_failed == 0 ? "passed" : fmt::format("{} FAILED", g.num_failed)});
    }
    std::string text =
        format_table({"% of the limit", "cases", "y", "gradients", "none/path", "result"}, rows);
    for (size_t i = 0; i < std::min(failures_.size(), kMaxFailuresShown); ++i) text += failures_[i];
    if (failures_.size() > kMaxFailuresShown)
      text += fmt::format("and {} more\n", failures_.size() - kMaxFailuresShown);
    return text;
  }
  size_t num_failed() const { return failures_.size(); }

 private:
  void judge(const GridCase& grid_case, const MatView& y, const CheckResult& check, bool copies_differ) {
    std::string failure = failure_of(grid_case, check);
    const double path = compare_with_none(grid_case, y);
    if (failure.empty() && copies_differ) failure = kReplicasDiffer;
    if (failure.empty() && path > kPathLimit) failure = fmt::format("y differs from none's by {:.1e}", path);
    add(grid_case, check, path, failure);
  }

  static std::string failure_of(const GridCase& grid_case, const CheckResult& check) {
    // The check may mistrust a case that leaves experts empty, since there is nothing to compare for these
    // experts.
    if (check.status == CheckStatus::passed ||
        (check.status == CheckStatus::mistrusted && grid_case.leaves_experts_empty))
      return "";
    return name_of(check.status) + std::string(": ") +
           (check.reason.empty() ? check.worst_row : check.reason + "; " + check.worst_row);
  }

  // Returns how far y of an f32 run is from the y of `none` for the same combination; 0 where there is
  // nothing to compare. The grid runs `none` first, so its output is kept until the next combination.
  double compare_with_none(const GridCase& grid_case, const MatView& rows) {
    if (grid_case.config.shape.dtype != DType::f32 || grid_case.config.wire != Wire::native) return 0;
    std::vector<float> y = copy_rows(rows);
    if (grid_case.config.spread == Spread::none) {
      none_output_ = std::move(y);
      none_combination_ = grid_case.combination;
      return 0;
    }
    return none_combination_ == grid_case.combination
               ? rows_apart(y, none_output_, grid_case.config.shape.hidden)
               : 0;
  }

  void add(const GridCase& grid_case, const CheckResult& check, double path, const std::string& failure) {
    if (groups_.count(grid_case.group) == 0) order_.push_back(grid_case.group);
    GroupResult& group = groups_[grid_case.group];
    const DType dtype = grid_case.config.shape.dtype;
    ++group.num_cases;
    group.forward = std::max(group.forward, check.forward_rel_err / forward_limit(dtype));
    group.gradient = std::max(group.gradient, worst_gradient(check) / gradient_limit(dtype));
    group.path = std::max(group.path, path / kPathLimit);
    if (failure.empty()) return;
    ++group.num_failed;
    failures_.push_back(fmt::format("case {} ({}): {}\n  again: moehill check --case {}{}\n",
                                    grid_case.number, to_string(grid_case), failure, grid_case.number,
                                    layout_));
  }

  const Job& job_;
  std::string layout_;
  Yardstick teams_;
  RunFactory factory_;
  std::map<std::string, GroupResult> groups_;
  std::vector<std::string> order_;
  std::vector<std::string> failures_;
  std::vector<float> none_output_;
  int none_combination_ = -1;
};

// Returns the options of the layout that differ from a plain `moehill check`.
std::string layout_options(const CheckOptions& options) {
  std::string text;
  if (options.devices != 2) text += fmt::format(" --devices {}", options.devices);
  if (options.threads != 1) text += fmt::format(" --threads-per-device {}", options.threads);
  if (options.grid.wire != Wire::native) text += fmt::format(" --wire {}", name_of(options.grid.wire));
  return text;
}

// Returns all cases, or only the case that was asked for. Before that case comes the `none` case of its
// combination, with which it is compared.
std::vector<GridCase> chosen_cases(const CheckOptions& options) {
  GridOptions grid = options.grid;
  grid.quick = grid.quick && options.single_case < 0;
  std::vector<GridCase> cases = make_grid(grid);
  if (options.single_case < 0) return cases;
  const auto found = std::find_if(cases.begin(), cases.end(),
                                  [&](const GridCase& c) { return c.number == options.single_case; });
  if (found == cases.end()) {
    throw input_error("--case", std::to_string(options.single_case), fmt::format("0 to {}", cases.size() - 1),
                      "choose one of these");
  }
  const GridCase chosen = *found;
  std::erase_if(cases, [&](const GridCase& c) {
    return c.combination != chosen.combination ||
           (c.number != chosen.number && c.config.spread != Spread::none);
  });
  return cases;
}

}  // namespace

int check_command(const std::vector<std::string>& args, const Job& job) {
  const std::optional<CheckOptions> options = job.together([&] { return parse_check_options(args, job); });
  if (!options) return kExitDone;
  const double start = seconds();
  const std::vector<GridCase> cases = job.together([&] { return chosen_cases(*options); });
  GridRunner runner(job, core_cpus(), layout_options(*options));
  const Watcher watcher = job.is_root() ? terminal_watcher() : Watcher{};
  Pace pace(static_cast<double>(cases.size()), count_text(std::ssize(cases), "case"), watcher.tell);
  // A signal ends the grid after the case that runs, so that failures so far are reported.
  const Interruption interruption;
  int signal = 0;
  size_t num_done = 0;
  for (; num_done < cases.size() && signal == 0; ++num_done) {
    const GridCase& grid_case = cases[num_done];
    watcher.show(fmt::format("case {} of {}: {}", grid_case.number, cases.size(), grid_case.group));
    runner.run(grid_case);
    pace.done(1);
    // Several processes have to agree, which takes longer than a small case.
    const bool looks = job.session() == nullptr || num_done % 16 == 0;
    if (looks && num_done + 1 < cases.size()) signal = static_cast<int>(job.largest(interruption.signal()));
  }
  watcher.show("");
  if (job.is_root()) {
    show(interrupted_line(signal, num_done, cases.size(), "case") +
         fmt::format("{} ({} would be the full product on one shape), {} failed, {:.1f} s\n",
                     count_text(static_cast<int64_t>(num_done), "case"), full_product_size(),
                     runner.num_failed(), seconds() - start));
    show(runner.report());
  }
  const bool failed = job.is_root() && runner.num_failed() > 0;
  if (job.largest(failed ? 1 : 0) > 0) return kExitCheckFailed;
  return signal == 0 ? kExitDone : kExitSignal + signal;
}

}  // namespace moehill
