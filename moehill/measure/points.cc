// Implementation of measure/points.h: the product of the axes, and everything that is refused before memory
// is taken.
#include "moehill/measure/points.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <regex>
#include <set>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/mesh/launcher.h"
#include "moehill/mesh/wait_limit.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/step_router.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/route_tokens.h"
#include "moehill/routing/router.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

constexpr int64_t kMaxRows = std::numeric_limits<int32_t>::max();  // plans number rows in 32 bits
constexpr int64_t kMaxThreads = 1024;                              // of a process
constexpr int64_t kMaxDevices = 1024;

// Refuses a product above `limit`. The factors are few and below 2^32 each, so a double is exact enough to
// compare.
void refuse_product(const std::string& what, std::initializer_list<int64_t> factors, int64_t limit) {
  double product = 1;
  for (const int64_t factor : factors) product *= static_cast<double>(factor);
  if (product <= static_cast<double>(limit)) return;
  throw input_error(what, fmt::format("{:.4g}", product), fmt::format("at most {}", limit),
                    "choose smaller dimensions");
}

// Axes are the values of one point on all axes.
struct Axes {
  int64_t topk;
  DistributionOptions distribution;
  QueueMode queue;
  Impl impl;
  ParallelMode mode;
};

// Returns all combinations of the axes; the mode changes fastest, so that points to compare are neighbours.
std::vector<Axes> product_of_axes(const BenchOptions& o) {
  std::vector<Axes> product;
  for (const int64_t topk : o.topk_list.empty() ? std::vector<int64_t>{o.shape.topk} : o.topk_list) {
    for (const DistributionOptions& distribution : o.distributions) {
      for (const QueueMode queue : o.queue_modes) {
        for (const Impl impl : o.impls) {
          for (const ParallelMode mode : o.modes) product.push_back({topk, distribution, queue, impl, mode});
        }
      }
    }
  }
  return product;
}

// Returns the devices of each node; only the last may have fewer. Throws InputError if they then are on
// another number of nodes.
int ranks_of_nodes(int64_t nodes, int num_devices) {
  const int64_t each = (num_devices + nodes - 1) / nodes, made = (num_devices + each - 1) / each;
  if (made == nodes) return static_cast<int>(each);
  throw input_error(
      "--nodes", std::to_string(nodes),
      fmt::format("numbers that {} devices fill, with equally many on all nodes but the last", num_devices),
      fmt::format("use --nodes {}, or other --devices", made));
}

// Returns the run of one point. `none` has one device with the threads of all.
RunConfig config_of(const BenchOptions& o, const Axes& axes, const Layout& layout) {
  RunConfig config;
  config.shape = o.shape;
  config.shape.topk = static_cast<int>(axes.topk);
  config.shape.router = used_router(o.shape.router, axes.distribution);
  config.block = o.block;
  config.block.impl = axes.impl;
  config.block.prequeue = axes.queue == QueueMode::prequeue;
  config.spread = spread_of(axes.mode, o.ep_path.value_or(default_path(o.shape, o.wire)));
  config.shared_placement = o.shared_placement;
  config.split_rows = config.spread == Spread::ring_ag_rs && o.split_rows == Switch::on;
  const bool spread = config.spread != Spread::none;
  config.num_devices = spread ? layout.num_devices : 1;
  config.threads_per_device = spread ? layout.threads_per_device : layout.none_threads;
  if (!spread) return config;
  if (is_ep(config.spread)) config.wire = o.wire;
  if (config.spread == Spread::fused) config.num_waves = static_cast<int>(o.waves);
  config.ranks_per_node = static_cast<int>(o.ranks_per_node);
  if (o.nodes > 1) config.ranks_per_node = ranks_of_nodes(o.nodes, config.num_devices);
  return config;
}

// Throws InputError for more waves than a device has experts, and for several waves of a block whose rows
// cannot be cut.
void refuse_waves(const RunConfig& config) {
  if (config.num_waves <= 1) return;
  if (!block_spec(config, 0).can_split_rows())
    throw input_error("--waves", std::to_string(config.num_waves),
                      "1 with this backend, impl, pack strategy or recomputation: its rows cannot be cut",
                      "leave it out, or use --backend gmm --impl fused_w13");
  const int most = std::max(1, config.shape.experts / config.num_devices);
  if (config.num_waves > most)
    throw input_error("--waves", std::to_string(config.num_waves),
                      fmt::format("1 to {}, the experts of a device", most), "choose fewer, or leave it out");
}

// True for an axis of -L that only expert parallelism has. -L has hyphens where records have underscores.
bool is_ep_axis(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return is_ep_option(name);
}

constexpr const char* kModeAxis = "parallel-mode";

// Returns the values of those axes that have several, as the name of the point in tables. The mode is its
// last word. Without expert parallelism its options make no difference, so the name leaves them out.
std::string label_of(const BenchOptions& o, const Axes& axes) {
  std::string label;
  for (const auto& [name, value] : o.axes) {
    if (name == kModeAxis || (axes.mode != ParallelMode::ep && is_ep_axis(name))) continue;
    label += fmt::format("{}={} ", name, value);
  }
  if (o.topk_list.size() > 1) label += fmt::format("topk={} ", axes.topk);
  if (o.distributions.size() > 1) label += fmt::format("{} ", to_string(axes.distribution));
  if (o.queue_modes.size() > 1) label += fmt::format("{} ", name_of(axes.queue));
  if (o.impls.size() > 1) label += fmt::format("{} ", name_of(axes.impl));
  return label + name_of(axes.mode);
}

// A label may be as long as the paths in it, but a name in a folder has 255 bytes at most.
std::string folder_of(std::string label) {
  constexpr size_t kMostBytes = 200;
  if (label.size() > kMostBytes) label.resize(kMostBytes);
  std::replace(label.begin(), label.end(), ' ', '_');
  std::replace(label.begin(), label.end(), '=', '-');
  std::replace(label.begin(), label.end(), '/', '-');
  return label;
}

// Gives points of one folder folders of their own, so that no point overwrites what another one has written.
// Folders are equal where points are, and where names differ only in letters that a folder does not have.
void tell_folders_apart(std::vector<Point>& points) {
  std::set<std::string> taken;
  for (Point& point : points) {
    const std::string own = point.folder;
    for (int n = 2; !taken.insert(point.folder).second; ++n) point.folder = fmt::format("{}_{}", own, n);
  }
}

std::vector<Point> filtered(const std::vector<Point>& points, const std::string& filter) {
  if (filter.empty()) return points;
  const std::regex expression(filter);
  std::vector<Point> kept;
  std::vector<std::string> labels;
  for (const Point& point : points) {
    labels.push_back(point.label);
    if (std::regex_search(point.label, expression)) kept.push_back(point);
  }
  if (kept.empty())
    throw input_error("--filter", moehill::quoted(filter, 100),
                      fmt::format("a part of a point's name: {}", fmt::join(labels, ", ")), "choose another");
  return kept;
}

}  // namespace

Layout resolve_layout(const BenchOptions& o, int num_cores) {
  int64_t devices = o.devices, threads = o.threads_per_device;
  // An option that is not given follows from the cores: one device for each core, or as many threads as fit
  // on each device.
  if (devices == 0) devices = threads == 0 ? num_cores : std::max<int64_t>(1, num_cores / threads);
  if (threads == 0) threads = std::max<int64_t>(1, num_cores / devices);
  if (devices > kMaxDevices)
    throw input_error("--devices", std::to_string(devices), fmt::format("at most {}", kMaxDevices),
                      "choose fewer");
  // Each process of a job has one device, so only that device's threads are in one process.
  const bool is_job = o.mesh == MeshKind::mpi;
  const int64_t in_process = is_job ? threads : devices * threads;
  if (in_process > kMaxThreads) {
    throw input_error(is_job ? "--threads-per-device" : "--devices times --threads-per-device",
                      std::to_string(in_process), fmt::format("at most {} threads", kMaxThreads),
                      "choose fewer");
  }
  // With more threads than cores `none` would be slower, and what is compared with it would look faster.
  const int64_t none_threads =
      o.none_threads > 0 ? o.none_threads : std::min<int64_t>(devices * threads, num_cores);
  return {static_cast<int>(devices), static_cast<int>(threads), static_cast<int>(none_threads)};
}

void adopt_job(const Job& job, MeshKind& mesh, int64_t& devices, int64_t& threads_per_device) {
  const Session* session = job.session();
  const MeshKind fitting = session == nullptr ? MeshKind::threads : MeshKind::mpi;
  // If the options name a mesh, the program must have been started for that mesh.
  if (mesh != MeshKind::automatic && mesh != fitting) {
    throw input_error("--mesh", name_of(mesh),
                      session == nullptr ? "threads, in one process" : "mpi, under a launcher",
                      session == nullptr ? "start it by mpirun -n P, or leave --mesh out"
                                         : "leave --mesh out, or start it without the launcher");
  }
  mesh = fitting;
  if (session == nullptr) return;
  // Under a launcher each process is one device.
  if (devices > 0 && devices != session->size()) {
    throw input_error("--devices", std::to_string(devices), fmt::format("{}, one a process", session->size()),
                      "leave it out, or start " + count_text(devices, "process", "processes"));
  }
  devices = session->size();
  if (threads_per_device == 0) threads_per_device = session->fair_threads();
}

double take_timeout(const std::string& text) {
  const double seconds = parse_number("--timeout", text, 1, 86400);
  if (launched_by() == Launcher::none)
    throw usage_error("--timeout needs a job of several processes, which wait for each other",
                      "leave it out, or start it by mpirun or srun");
  set_wait_limit(seconds);
  return seconds;
}

void adopt_nodes(const Job& job, BenchOptions& o) {
  const auto refuse = [&](bool broken, const std::string& allowed, const std::string& remedy) {
    if (broken) throw input_error("--nodes", std::to_string(o.nodes), allowed, remedy);
  };
  const Session* session = job.session();
  // Devices of one process can pass for several nodes, which changes the plans of the two-level exchange.
  refuse(session != nullptr && o.nodes > 0, "one process, whose devices pass for several nodes",
         "leave it out: processes are on the nodes that they are on");
  if (o.nodes > 0 && o.modes == std::vector{ParallelMode::none})
    throw usage_error("--nodes needs several devices", "add --parallel-mode ep or leave it out");
  refuse(o.devices > 0 && o.nodes > o.devices, fmt::format("1 to {}, the devices", o.devices),
         "choose fewer");
  if (session != nullptr && session->num_nodes() > 1) o.ranks_per_node = session->nodes().most_ranks();
}

void refuse_topk(int64_t topk, int64_t experts) {
  if (topk <= experts) return;
  throw input_error("--topk", std::to_string(topk), fmt::format("1 to {}, the number of experts", experts),
                    fmt::format("use --topk {} or --experts {}", experts, topk));
}

// Throws InputError for shapes whose row numbers or bytes would overflow.
void refuse_overflow(const MoeShape& s, const Capacity& capacity, int64_t max_elements) {
  refuse_product("tokens * topk", {s.tokens, s.topk}, kMaxRows);
  refuse_product("tokens * experts", {s.tokens, s.experts}, max_elements);
  refuse_product("tokens * topk * max(hidden, mlp-dim)", {s.tokens, s.topk, std::max(s.hidden, s.mlp_dim)},
                 max_elements);
  refuse_product("tokens * shared-expert-dim", {s.tokens, s.shared_dim}, max_elements);
  refuse_product("experts * hidden * mlp-dim", {s.experts, s.hidden, s.mlp_dim}, max_elements);
  refuse_product("hidden * shared-expert-dim", {s.hidden, s.shared_dim}, max_elements);
  // Without a latent width these products are 0.
  refuse_product("tokens * topk * latent", {s.tokens, s.topk, s.form.latent}, max_elements);
  refuse_product("experts * latent * mlp-dim", {s.experts, s.form.latent, s.mlp_dim}, max_elements);
  refuse_product("hidden * latent", {s.hidden, s.form.latent}, max_elements);
  if (capacity.policy == CapacityPolicy::none) return;
  const double rows =
      std::ceil(capacity.factor * static_cast<double>(s.assignments()) / s.experts) * s.experts;
  if (rows > static_cast<double>(kMaxRows)) {
    throw input_error("--capacity-factor", fmt::format("{:g}", capacity.factor),
                      fmt::format("at most {} rows in all", kMaxRows), "choose a smaller factor");
  }
}

void refuse_capacity(const RunConfig& config, const DistributionOptions& distribution) {
  const Capacity& capacity = config.block.capacity;
  const MoeShape& shape = config.shape;
  const auto refuse = [](const char* option, int got, const std::string& allowed) {
    throw input_error(option, std::to_string(got), allowed, "choose another, or leave the option out");
  };
  if (capacity.pool > shape.experts)
    refuse("--capacity-pool", capacity.pool, fmt::format("1 to {}, the number of experts", shape.experts));
  if (capacity.sources > shape.tokens)
    refuse("--capacity-sources", capacity.sources, fmt::format("1 to {}, the tokens", shape.tokens));
  if (capacity.sources > 1 && shards_tokens(config) && capacity.sources != config.num_devices)
    refuse("--capacity-sources", capacity.sources,
           fmt::format("1 or {}, the devices, on a path that shards the tokens", config.num_devices));
  if (capacity.spares == 0) return;
  // A router ranks the spares behind the choices, and it ranks at most kMostChoices experts.
  const int most_spares = std::min(shape.experts, kMostChoices) - shape.topk;
  if (capacity.spares > most_spares)
    refuse("--capacity-spares", capacity.spares,
           fmt::format("0 to {}: choices and spares are different experts, {} at most", most_spares,
                       kMostChoices));
  if (distribution.kind == Distribution::trace || is_ragged(distribution) ||
      !(shape.router == RouterRule{}) || config.block.route_in_step || config.block.router_grad)
    throw usage_error(
        "--capacity-spares cannot be used with --distribution trace or W4, with --router or --preset, or "
        "with --router-grad",
        "leave it out");
}

// Places the experts as --placement says: by a file, or for the load of the point's own routing.
void place_experts(const BenchOptions& options, Point& point) {
  RunConfig& config = point.config;
  if (options.placement.empty() || !is_ep(config.spread)) return;
  if (config.block.route_in_step)
    throw usage_error(
        "--placement cannot be used with --router in-step, which chooses experts where rows go to places",
        "leave one of the two out");
  const PlacementRule rule = parse_placement(options.placement);
  Placement placement;
  if (rule.kind == PlacementRule::file) {
    placement = read_placement(rule.path);
  } else if (!options.source.path.empty() && config.shape.router.bias) {
    // The routing that is made here has random biases, and the step's has the model's.
    throw usage_error(
        fmt::format("--placement {} cannot be used with --weights and a router with biases, which route "
                    "otherwise than the placement would be fitted to",
                    options.placement),
        "save the routing by --save-routing FILE, and fit to it by moehill balance --distribution trace:FILE "
        "--save-placement");
  } else {
    const Routing routing = routing_of(config.shape, point.distribution, options.seed);
    placement = make_placement(rule, expert_load(routing), config.num_devices);
  }
  require_placement("--placement", placement, config.shape.experts, config.num_devices);
  const Capacity& capacity = config.block.capacity;
  if (capacity.pool > 1)
    throw usage_error("--placement cannot be used with --capacity-pool, whose experts lie beside each other",
                      "leave one of the two out");
  if (capacity.spares > 0 || (num_copies(placement) > 0 && capacity.policy != CapacityPolicy::none))
    throw usage_error(
        capacity.spares > 0
            ? "--placement cannot be used with --capacity-spares, which are chosen by expert and not by place"
            : "--placement with copies cannot be used with a capacity, which an expert has and not its "
              "copies",
        "leave one of the two out");
  config.placement = placement.expert;
}

namespace {

std::vector<Point> points_of_lists(const BenchOptions& options, int num_cores) {
  const Layout layout = resolve_layout(options, num_cores);
  std::vector<Point> points;
  // The refusals come in the order in which a user would correct them: the shape first, then options that
  // need it.
  for (const Axes& axes : product_of_axes(options)) {
    refuse_topk(axes.topk, options.shape.experts);
    Point point;
    point.config = config_of(options, axes, layout);
    point.path_is_auto = is_ep(point.config.spread) && !options.ep_path;
    refuse_unbuilt(point.config);
    refuse_waves(point.config);
    refuse_impossible(point.config.shape.router, point.config.shape.experts, point.config.shape.topk);
    refuse_overflow(point.config.shape, options.block.capacity);
    refuse_route_in_step(point.config);
    refuse_capacity(point.config, axes.distribution);
    refuse_impossible(point.config.block.balance_loss, point.config.shape.tokens);
    point.distribution = axes.distribution;
    point.distribution.run_alpha = options.run_alpha;
    point.distribution.run_noise_scale = options.run_noise_scale;
    point.distribution.devices = layout.num_devices;
    const MoeShape& shape = point.config.shape;
    refuse_impossible(point.distribution, shape.num_logits(), shape.topk, shape.router.zero_experts);
    if (point.distribution.kind == Distribution::trace)
      // The routing is made only so that a bad trace is refused now.
      routing_of(point.config.shape, point.distribution, options.seed);
    place_experts(options, point);
    point.label = label_of(options, axes);
    point.folder = folder_of(point.label);
    point.axes = options.axes;
    points.push_back(point);
  }
  return points;
}

// Returns the values of -L without the mode, and without the options that only expert parallelism has: a
// point of one device cannot share them.
std::set<std::pair<std::string, std::string>> axes_of_problem(const Point& point) {
  std::set<std::pair<std::string, std::string>> axes(point.axes.begin(), point.axes.end());
  std::erase_if(axes, [](const auto& axis) { return axis.first == kModeAxis || is_ep_axis(axis.first); });
  return axes;
}

// True if two points differ at most in the parallel mode, its layout and what only expert parallelism has.
bool have_one_problem(const Point& a, const Point& b) {
  return axes_of_problem(a) == axes_of_problem(b) && a.config.shape == b.config.shape &&
         a.distribution == b.distribution && a.config.block.prequeue == b.config.block.prequeue &&
         a.config.block.impl == b.config.block.impl;
}

// Leaves out the points without expert parallelism that repeat an earlier one for another value of an option
// that only expert parallelism has: they would do the same work. A point that -L names twice stays.
std::vector<Point> without_repeats(const std::vector<Point>& points) {
  std::vector<Point> kept;
  for (const Point& point : points) {
    const bool repeats = std::any_of(kept.begin(), kept.end(), [&](const Point& before) {
      return before.config.spread == point.config.spread && before.axes != point.axes &&
             have_one_problem(before, point);
    });
    if (is_ep(point.config.spread) || !repeats) kept.push_back(point);
  }
  return kept;
}

}  // namespace

std::vector<Point> expand_points(const BenchOptions& options, int num_cores) {
  std::vector<Point> points;
  if (options.variants.empty()) points = points_of_lists(options, num_cores);
  for (const BenchOptions& variant : options.variants) {
    const std::vector<Point> some = points_of_lists(variant, num_cores);
    points.insert(points.end(), some.begin(), some.end());
  }
  points = without_repeats(points);
  tell_folders_apart(points);
  return filtered(points, options.filter);
}

const BenchOptions& own_options(const BenchOptions& options, const Point& point) {
  const auto own = std::find_if(options.variants.begin(), options.variants.end(),
                                [&](const BenchOptions& variant) { return variant.axes == point.axes; });
  return own == options.variants.end() ? options : *own;
}

bool differ_in_mode_only(const Point& a, const Point& b) {
  return mode_of(a.config.spread) != mode_of(b.config.spread) && have_one_problem(a, b);
}

Routing routing_of(const MoeShape& shape, const DistributionOptions& distribution, uint32_t seed,
                   int num_spares) {
  if (distribution.kind == Distribution::trace)
    return read_trace(distribution.trace, shape.tokens, shape.experts, shape.topk);
  // Logits come from the distribution, then the router chooses. Tokens that a ragged distribution leaves out
  // keep their place but choose no expert.
  const int num = num_logits(shape.router, shape.experts);
  const Router router = make_router(shape.router, shape.tokens, shape.experts, shape.topk, seed);
  Routing routing =
      route_stream({distribution, router, shape.tokens, num, shape.topk, num_spares, seed}).routing;
  leave_out_tokens(distribution, routing);
  return routing;
}

}  // namespace moehill
