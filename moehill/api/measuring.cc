// Runs that share what agrees: operands, routings, contexts.
#include "moehill/api/measuring.h"

#include <algorithm>

#include "moehill/api/block_run.h"
#include "moehill/base/error.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/step_router.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/trace.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {

struct RunFactory::State {
  DistributionOptions distribution;
  uint32_t seed;
  std::vector<int> cpus;
  Session* session;
  std::shared_ptr<LayerWeights> layer;  // null: random weights
  std::vector<std::shared_ptr<WeightOperands>> weights;
  std::vector<std::shared_ptr<TokenOperands>> tokens;
  struct KnownRouting {
    RouterRule rule;
    Routed routed;
  };
  std::vector<KnownRouting> routings;
  struct KnownContext {
    bool processes;
    int ranks_per_node;
    std::shared_ptr<Context> context;
  };
  std::vector<KnownContext> contexts;

  bool is_first_process() const { return session == nullptr || session->rank() == 0; }

  std::shared_ptr<Context> context(const RunConfig& config) {
    const bool processes = session != nullptr && config.spread != Spread::none;
    if (!processes && !is_first_process()) return nullptr;
    const int threads = config.threads_per_device;
    for (const KnownContext& known : contexts) {
      if (known.processes == processes && known.ranks_per_node == config.ranks_per_node &&
          known.context->num_devices() == config.num_devices &&
          known.context->threads_per_device() == threads)
        return known.context;
    }
    std::unique_ptr<Mesh> mesh = processes ? make_process_mesh(config) : make_thread_mesh(config);
    contexts.push_back(
        {processes, config.ranks_per_node, std::make_shared<Context>(std::move(mesh), processes)});
    return contexts.back().context;
  }

  std::unique_ptr<Mesh> make_process_mesh(const RunConfig& config) const {
    MOEHILL_CHECK(config.num_devices == session->size(), "{} devices in {} processes", config.num_devices,
                  session->size());
    return session->make_mesh({.threads_per_device = config.threads_per_device,
                               .node_cpus = cpus,
                               .ranks_per_node = config.ranks_per_node});
  }

  std::unique_ptr<Mesh> make_thread_mesh(const RunConfig& config) const {
    const size_t total =
        static_cast<size_t>(config.num_devices) * static_cast<size_t>(config.threads_per_device);
    std::vector<int> used;
    if (total <= cpus.size()) used.assign(cpus.begin(), cpus.begin() + static_cast<int64_t>(total));
    return std::make_unique<ThreadMesh>(config.num_devices, config.threads_per_device, used);
  }

  // Fills the operands that this process's devices read. The first process fills all, for the check.
  void fill(const RunConfig& config, const RunParts& parts, ThreadTeam& team) const {
    Range experts{0, over_places(config).shape.experts}, rows{0, config.shape.tokens};
    if (!is_first_process()) {
      if (parts.context == nullptr) return;
      const BlockShare share = block_share(over_places(config), session->rank());
      experts = {share.expert_begin, share.expert_end};
      rows = result_tokens(config, session->rank());
    }
    fill_experts(*parts.weights, experts, {seed, layer.get()}, team);
    fill_tokens(*parts.tokens, rows, seed, team);
  }

  // Tables come from the seed, and from the model where it has them.
  Router router_of(const MoeShape& shape) const {
    Router router = make_router(shape.router, shape.tokens, shape.experts, shape.topk, seed);
    if (layer == nullptr) return router;
    const RouterVectors& model = layer->router_vectors();
    if (!router.bias.empty() && !model.selection_bias.empty()) router.bias = model.selection_bias;
    if (!router.expert_scale.empty() && !model.expert_scale.empty())
      std::copy(model.expert_scale.begin(), model.expert_scale.end(), router.expert_scale.begin());
    return router;
  }

  Routed routed(const RunConfig& config) {
    const MoeShape& shape = config.shape;
    const bool replayed =
        distribution.kind == Distribution::trace;  // choices and gate values are the trace's
    const bool kept =
        !replayed && !is_ragged(distribution) &&
        (config.block.route_in_step || !(shape.router == RouterRule{}) || !config.block.balance_loss.empty());
    const int spares = config.block.capacity.spares;
    for (const auto& [rule, routed] : routings) {
      const Routing& r = *routed.routing;
      if (r.num_tokens == shape.tokens && r.num_experts == shape.experts && r.topk == shape.topk &&
          r.num_spares() == spares && rule == shape.router && (routed.router != nullptr) == kept)
        return routed;
    }
    if (replayed) {
      auto trace = std::make_shared<const Routing>(
          read_trace(distribution.trace, shape.tokens, shape.experts, shape.topk));
      require_properties(distribution, *trace, seed);
      return routings.emplace_back(shape.router, Routed{std::move(trace), nullptr, nullptr}).routed;
    }
    const int num = num_logits(shape.router, shape.experts);
    auto logits = std::make_shared<const std::vector<float>>(
        make_logits(distribution, shape.tokens, num, shape.topk, seed));
    auto router = std::make_shared<const Router>(router_of(shape));
    auto made = std::make_shared<Routing>(route_all(*router, *logits, shape.tokens, num, shape.topk, spares));
    leave_out_tokens(distribution, *made);
    require_properties(distribution, *made, seed);
    Routed routed{std::move(made), nullptr, nullptr};
    if (kept) routed.router = std::move(router), routed.logits = std::move(logits);
    return routings.emplace_back(shape.router, std::move(routed)).routed;
  }

  std::unique_ptr<Run> make(const RunConfig& config, Routed routed) {
    RunParts parts{config, session, context(config), nullptr, nullptr, std::move(routed)};
    ThreadTeam filler(std::max(1, static_cast<int>(cpus.size())));
    const WeightKey key = weight_key(config);
    for (const auto& w : weights) {
      if (w->key == key) parts.weights = w;
    }
    if (parts.weights == nullptr) {
      parts.weights = weights.emplace_back(make_weights(key, {0, key.experts}, true));
      fill_shared(*parts.weights, {seed, layer.get()}, filler);
    }
    for (const auto& t : tokens) {
      if (t->tokens == config.shape.tokens && t->hidden == config.shape.hidden &&
          t->dtype == config.shape.dtype) {
        parts.tokens = t;
      }
    }
    if (parts.tokens == nullptr) parts.tokens = tokens.emplace_back(make_tokens(config.shape));
    fill(config, parts, filler);
    if (session != nullptr) session->wait_quietly();  // the first process fills more than the others
    return make_block_run(std::move(parts));
  }
};

RunFactory::RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
                       Session* session, std::shared_ptr<LayerWeights> layer)
    : state_(std::make_unique<State>(
          State{distribution, seed, std::move(cpus), session, std::move(layer), {}, {}, {}, {}})) {}
RunFactory::~RunFactory() = default;

std::unique_ptr<Run> RunFactory::make(const RunConfig& config) {
  refuse_unbuilt(config);
  refuse_route_in_step(config);
  return state_->make(config, state_->routed(config));
}

std::unique_ptr<Run> RunFactory::make(const RunConfig& config, const Routing& routing) {
  MOEHILL_CHECK(!config.block.route_in_step && config.shape.router == RouterRule{},
                "a routing given to a run that routes by itself");
  return state_->make(config, {std::make_shared<const Routing>(routing), nullptr, nullptr});
}

}  // namespace moehill
