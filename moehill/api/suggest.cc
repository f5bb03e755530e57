// Implementation of api/suggest.h.
#include "moehill/api/suggest.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/model/predict.h"
#include "moehill/parallel/row_route.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/router.h"

namespace moehill {
namespace {

// A file of this name in the folder MOEHILL_HARDWARE takes precedence over the library's own.
constexpr const char* kDefaultHardware = "epyc-2-core";
constexpr uint32_t kSeed = 1;
// The prediction routes at most this many logits. For a step of more tokens its seconds are scaled up.
constexpr int64_t kMaxLogits = int64_t{1} << 22;

// The devices are taken to be in one node, unless the file says how nodes are joined.
Hardware hardware_for(const char* name, int num_devices) {
  Hardware hardware = load_hardware(name != nullptr ? name : kDefaultHardware, "hardware");
  ClusterTopology& topology = hardware.topology;
  if (topology.kind == TopologyKind::node) topology.devices_per_node = std::max(num_devices, 1);
  return hardware;
}

double seconds_of(RunConfig config, const Context& context, const Hardware& hardware,
                  const PlanCounts& counts) {
  WorkProblem problem = work_problem(config);
  problem.in_place = !context.spans_processes() && reads_in_place(config);
  if (!context.spans_processes()) problem.num_waves = 1;
  return predict(problem, counts, hardware, config.threads_per_device).time_s;
}

}  // namespace

moehill_suggestion suggest(const Context& context, const moehill_block_desc& desc, int64_t tokens,
                           const char* hardware) {
  if (tokens < 1 || tokens > desc.max_tokens) {
    throw invalid("tokens", fmt::format("{}", tokens), fmt::format("1 to {}, max_tokens", desc.max_tokens),
                  "give the usual number");
  }
  moehill_suggestion suggestion{};
  if (context.num_devices() == 1) {
    // An unknown name is an error here, too.
    if (hardware != nullptr) (void)hardware_for(hardware, 1);
    suggestion.path = MOEHILL_PATH_DATA_PARALLEL;
    return suggestion;
  }
  // All paths that leave each process its own tokens have the same tokens in a step, so one routing serves
  // all.
  moehill_block_desc point = desc;
  point.path = MOEHILL_PATH_FUSED;
  const int64_t most = kMaxLogits / (desc.experts + desc.zero_experts) / context.num_processes();
  point.max_tokens = std::min(tokens, std::max<int64_t>(1, most));
  const double scale = static_cast<double>(tokens) / static_cast<double>(point.max_tokens);
  const MoeShape shape = run_config(point, context).shape;
  // Choices of zero experts have no rows.
  Router router;
  router.rule.zero_experts = desc.zero_experts;
  const int num = shape.num_logits();
  const Routing routing =
      route_all(router, make_logits({}, shape.tokens, num, shape.topk, kSeed), shape.tokens, num, shape.topk);
  const PlanCounts counts = count_plan(routing, {}, context.num_devices());
  const Hardware machine = hardware_for(hardware, context.num_devices());
  for (int32_t path = MOEHILL_PATH_COMPACT_PSUM; path <= MOEHILL_PATH_FUSED; ++path) {
    // DENSE_MASKED is for comparison, and COMPACT_PSUM has no experts of another width.
    if (path == MOEHILL_PATH_DENSE_MASKED || (path == MOEHILL_PATH_COMPACT_PSUM && desc.latent_dim > 0))
      continue;
    point.path = path;
    const RunConfig config = run_config(point, context);
    if (replicates_tokens(config, context)) continue;
    const double seconds = scale * seconds_of(config, context, machine, counts);
    suggestion.seconds_of[path] = seconds;
    if (suggestion.path != MOEHILL_PATH_AUTO && seconds >= suggestion.seconds) continue;
    suggestion.path = path;
    suggestion.seconds = seconds;
  }
  return suggestion;
}

}  // namespace moehill
