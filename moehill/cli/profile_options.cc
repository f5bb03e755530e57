// Implementation of cli/profile_options.h: the options of `moehill profile`, and the points that they ask
// for.
#include "moehill/cli/profile_options.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/cli/flag_effects.h"

namespace moehill {
namespace {

// This is the path that stands for expert parallelism in the comparison.
constexpr Spread kFusedPath = Spread::fused;

void declare_problem(OptionSet& set, ProfileOptions& o) {
  BenchOptions& b = o.bench;
  set.fields(&b.shape, {"tokens", "hidden", "mlp_dim", "experts", "topk", "dtype"});
  set.integer_list("--topk-list", &b.topk_list, 1, 1024, "several k; all paths for each");
  declare_weights(set, b);
  set.fields(&b.block, {"renormalize_topk", "bench_pass"});
}

void declare_paths(OptionSet& set, ProfileOptions& o) {
  BenchOptions& b = o.bench;
  set.flag("--staged-dp", &o.staged_dp, "also time staged_dp: tokens sharded, one stage after the other");
  set.flag("--staged-parallel", &o.staged_parallel,
           "staged_dp gives its threads blocks of all experts at once, and not one expert after the other");
  declare_blocks_options(set, b);
  set.flag("--explain-blocks", &o.explain_blocks,
           "print what the blocks need beside the caches of this machine; run nothing");
  declare_layout(set, b, "by the cores");
  declare_mesh(set, &b.mesh, &b.timeout_s);
}

void declare_measuring(OptionSet& set, ProfileOptions& o) {
  BenchOptions& b = o.bench;
  set.fields(&b, {"iters", "warmup", "seed", "check"});
  set.flag("--profile", &o.profile, "seconds and share of every stage");
  set.flag("--overlap", &b.overlap,
           "also time computation and communication alone, and say how much of one the other hides");
  set.output("--trace-dir", &b.trace_dir, "DIR", "Chrome trace JSON, a file a point (ui.perfetto.dev)");
  set.integer("--trace-steps", &b.trace_steps, 1, 100, "how many of the last steps a trace holds");
  set.output("--json", &b.json, "FILE",
             "one record per line; - is standard output, the table then goes to standard error");
}

// Throws InputError for options that have no effect here.
void refuse_useless_flags(const OptionSet& set, const ProfileOptions& o) {
  const auto refuse = [](bool broken, const std::string& option, const std::string& why,
                         const std::string& remedy) {
    if (broken) throw usage_error(option + " " + why, remedy);
  };
  const std::vector<std::string> explained = {"--explain-blocks", "--blocks", "--hidden", "--mlp-dim"};
  for (const std::string& name : set.names()) {
    const bool used = std::find(explained.begin(), explained.end(), name) != explained.end();
    refuse(o.explain_blocks && set.given(name) && !used, name,
           "cannot be used with --explain-blocks, which runs nothing", "leave one of the two out");
  }
  refuse(o.staged_parallel && !o.staged_dp, "--staged-parallel", "needs --staged-dp", "add --staged-dp");
  refuse(set.given("--trace-steps") && o.bench.trace_dir.empty(), "--trace-steps", "needs --trace-dir",
         "add --trace-dir DIR");
  refuse(set.given("--topk") && set.given("--topk-list"), "--topk", "cannot be used with --topk-list",
         "leave --topk out");
}

// Returns the point of one path: `base` with the router in the step, and with the path's backend and order.
Point path_point(const ProfileOptions& o, const Point& base, ProfilePath path) {
  Point point = base;
  BlockOptions& block = point.config.block;
  block.route_in_step = true;
  // There is no --router here: all paths route by softmax, and --renormalize-topk says if gate values add up
  // to 1.
  RouterRule& router = point.config.shape.router;
  router.score = RouterScore::softmax;
  router.normalized = block.renormalize_topk;
  point.config.spread = path == ProfilePath::fused_ep ? kFusedPath : Spread::dp;
  if (path == ProfilePath::ref_dp) {
    block.backend = Backend::ragged_dot;
    block.blocks = {};
  }
  block.expert_by_expert = path == ProfilePath::staged_dp && !o.staged_parallel;
  point.path = path;
  point.label = fmt::format("topk={} {}", point.config.shape.topk, name_of(path));
  point.folder = fmt::format("topk-{}_{}", point.config.shape.topk, name_of(path));
  return point;
}

}  // namespace

OptionSet profile_option_set(ProfileOptions& options) {
  OptionSet set("moehill profile",
                "Times a plain, a staged and a pipelined way to spread a block. The router is in each step.",
                {"moehill profile --tokens 256 --hidden 256 --mlp-dim 256 --experts 16 --staged-dp "
                 "--staged-parallel",
                 "moehill profile --tokens 128 --hidden 128 --mlp-dim 128 --experts 8 --topk-list 1,2 "
                 "--profile",
                 "moehill profile --explain-blocks --blocks bt=64,bf=1024"});
  declare_problem(set, options);
  declare_paths(set, options);
  declare_measuring(set, options);
  return set;
}

std::optional<ProfileOptions> parse_profile_options(const std::vector<std::string>& args) {
  ProfileOptions options;
  BenchOptions& bench = options.bench;
  bench.shape.tokens = 8192;
  bench.shape.mlp_dim = 2048;
  bench.shape.experts = 64;
  bench.shape.topk = 2;
  bench.shape.shared_dim = 0;
  bench.block.pass = Pass::forward;
  bench.schedule.iters = 3;
  bench.modes = {ParallelMode::ep};
  bench.ep_path = kFusedPath;
  OptionSet set = profile_option_set(options);
  if (!set.parse(args)) return std::nullopt;
  bench.repro = repro_of(set, "moehill profile");
  refuse_useless_flags(set, options);
  refuse_useless_table(bench);
  refuse_layer_alone(bench);
  bench.stage_timing = options.profile;
  return options;
}

std::vector<Point> expand_profile_points(const ProfileOptions& options, int num_cores) {
  std::vector<Point> points;
  for (const Point& base : expand_points(options.bench, num_cores)) {
    points.push_back(path_point(options, base, ProfilePath::ref_dp));
    if (options.staged_dp) points.push_back(path_point(options, base, ProfilePath::staged_dp));
    points.push_back(path_point(options, base, ProfilePath::fused_ep));
  }
  return points;
}

}  // namespace moehill
