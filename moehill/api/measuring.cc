// Implementation of api/measuring.h. Runs of the same shape share their operands, routing and context.
#include "moehill/api/measuring.h"

#include <algorithm>

#include "moehill/api/block_run.h"
#include "moehill/base/error.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/machine/pinning.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/router_product.h"
#include "moehill/parallel/step_router.h"
#include "moehill/routing/route_tokens.h"
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

  // Runs with the same devices and threads share a context, because each context has threads of its own.
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

  // Returns the CPUs of this process's threads, device by device; none if they are not pinned.
  std::vector<int> used_cpus(const RunConfig& config) const {
    if (session != nullptr && config.spread != Spread::none && !cpus.empty())
      return session->own_cpus(config.threads_per_device);
    const int64_t total = int64_t{config.num_devices} * config.threads_per_device;
    if (total > std::ssize(cpus)) return {};
    return {cpus.begin(), cpus.begin() + total};
  }

  std::unique_ptr<Mesh> make_thread_mesh(const RunConfig& config) const {
    return std::make_unique<ThreadMesh>(config.num_devices, config.threads_per_device, used_cpus(config),
                                        Nodes::of_size(config.num_devices, config.ranks_per_node));
  }

  HeldOperands wanted(const RunConfig& config) const {
    if (session == nullptr) return held_operands(config, {});
    return held_operands(config, {.num_processes = session->size(), .rank = session->rank()});
  }

  // Expected says which operands an announced run will need. Runs before it that share these operands
  // allocate them large enough for both.
  struct Expected {
    WeightKey key;
    MoeShape shape;
    HeldOperands wanted;
  };
  std::vector<Expected> expected;

  void expect(const RunConfig& config) {
    expected.push_back({weight_key(config), config.shape, wanted(config)});
  }

  static bool same_tokens(const MoeShape& a, const MoeShape& b) {
    return a.tokens == b.tokens && a.hidden == b.hidden && a.dtype == b.dtype;
  }

  std::shared_ptr<WeightOperands> weights_for(const RunConfig& config, ThreadTeam& team) {
    const WeightKey key = weight_key(config);
    Range held = wanted(config).experts;
    std::shared_ptr<WeightOperands> found;
    // Operands that exist are used if they hold everything that this run needs.
    for (const auto& w : weights) {
      if (w->key == key && contains(w->held, held)) found = w;
    }
    if (found == nullptr) {
      for (const Expected& other : expected) {
        if (other.key == key) held = hull(held, other.wanted.experts);
      }
      found = weights.emplace_back(make_weights(key, held, false));
      fill_shared(*found, {seed, layer.get()}, team);
      fill_latent(*found, {seed, layer.get()}, team);
      fill_router(key, found->router, {seed, layer.get()}, team);
    }
    if (config.block.pass == Pass::forward_backward) add_gradients(*found);
    fill_experts(*found, wanted(config).experts, {seed, layer.get()}, team);
    return found;
  }

  // Returns the tokens of this run and of the expected runs that this process has.
  Range tokens_of_all(const RunConfig& config) const {
    Range held = wanted(config).tokens;
    for (const Expected& other : expected) {
      if (same_tokens(other.shape, config.shape)) held = hull(held, other.wanted.tokens);
    }
    return held;
  }

  std::shared_ptr<TokenOperands> tokens_for(const RunConfig& config, ThreadTeam& team) {
    const Range held = wanted(config).tokens;
    std::shared_ptr<TokenOperands> found;
    for (const auto& t : tokens) {
      const MoeShape shape{.tokens = t->tokens, .hidden = t->hidden, .dtype = t->dtype};
      if (same_tokens(shape, config.shape) && contains(t->held, held)) found = t;
    }
    if (found == nullptr) found = tokens.emplace_back(make_tokens(config.shape, tokens_of_all(config)));
    if (config.block.pass == Pass::forward_backward) add_gradients(*found);
    fill_tokens(*found, wanted(config).tokens, seed, team);
    return found;
  }

  // Tables of the router come from the seed, or from the model if it has them.
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
    // A trace has its own choices and gate values.
    const bool replayed = distribution.kind == Distribution::trace;
    // Logits are kept only if a step or a check reads them again, because [T, L] may be large.
    const bool kept =
        !replayed && !is_ragged(distribution) &&
        (config.block.route_in_step || !(shape.router == RouterRule{}) || !config.block.balance_loss.empty());
    const int spares = config.block.capacity.spares;
    for (const auto& [rule, routed] : routings) {
      const Routing& r = *routed.routing;
      if (r.num_tokens == shape.tokens && r.num_experts == shape.experts && r.topk == shape.topk &&
          r.num_spares() == spares && rule == shape.router && (routed.router != nullptr) == kept &&
          contains(routed.tokens, kept ? wanted(config).tokens : Range{}))
        return routed;
    }
    if (replayed) {
      auto trace = std::make_shared<const Routing>(
          read_trace(distribution.trace, shape.tokens, shape.experts, shape.topk));
      require_properties(distribution, *trace, seed);
      return routings.emplace_back(KnownRouting{shape.router, Routed{std::move(trace), nullptr, nullptr, {}}})
          .routed;
    }
    auto router = std::make_shared<const Router>(router_of(shape));
    const Range own = kept ? tokens_of_all(config) : Range{};
    RoutedTokens made =
        route_stream({distribution, *router, shape.tokens, num_logits(shape.router, shape.experts),
                      shape.topk, spares, seed, own});
    leave_out_tokens(distribution, made.routing);
    require_properties(distribution, made.routing, seed);
    Routed routed{std::make_shared<const Routing>(std::move(made.routing)), nullptr, nullptr, own};
    if (kept) {
      routed.router = std::move(router);
      routed.logits = std::make_shared<const std::vector<float>>(std::move(made.logits));
    }
    return routings.emplace_back(KnownRouting{shape.router, std::move(routed)}).routed;
  }

  // The logits are x W_g, as the step will make them. Every process makes the logits of all tokens. It makes
  // x from the seed, some tokens at a time, since it has no memory for all of x.
  Routed routed_by_product(const RunConfig& config, const WeightOperands* weights_here,
                           ThreadTeam& team) const {
    constexpr int64_t kTokens = 1024;
    const MoeShape& shape = config.shape;
    const int num = shape.num_logits();
    WeightStack own;
    if (weights_here == nullptr) {
      own = router_stack(shape.hidden, num);
      fill_router(weight_key(config), own, {seed, layer.get()}, team);
    }
    const WeightView& w = weights_here == nullptr ? own.view() : weights_here->router.view();
    auto logits = std::make_shared<std::vector<float>>(static_cast<size_t>(shape.tokens * num));
    const Matrix x = Matrix::tight(std::min(kTokens, shape.tokens), shape.hidden, shape.dtype);
    RouterProduct product({x.view().rows, shape.hidden, num, team.size()});
    for (int64_t first = 0; first < shape.tokens; first += kTokens) {
      const MatView rows = x.view().slice_rows(0, std::min(kTokens, shape.tokens - first));
      fill_normal(team, seed, Stream::kX, 1.0f, rows, first);
      product.forward(team, rows, w, logits->data() + first * num);
    }
    auto router = std::make_shared<const Router>(router_of(shape));
    auto routing =
        std::make_shared<const Routing>(route_all(*router, *logits, shape.tokens, num, shape.topk));
    return {std::move(routing), std::move(router), std::move(logits), {0, shape.tokens}};
  }

  std::unique_ptr<Run> make(const RunConfig& config, Routed routed) {
    RunParts parts{config, session, context(config), nullptr, nullptr, std::move(routed), seed, layer};
    // The operands are filled on the CPUs that will read them. Each thread fills about the experts that it
    // will multiply, so their pages are on its memory node.
    const std::vector<int> fillers = parts.context != nullptr ? used_cpus(config) : std::vector<int>{};
    const std::vector<int>& chosen = fillers.empty() ? cpus : fillers;
    ThreadTeam filler(std::max(1, static_cast<int>(chosen.size())), fillers);
    const PinScope pin(fillers.empty() ? kAnyCpu : fillers.front());
    if (parts.context != nullptr) {
      parts.weights = weights_for(config, filler);
      parts.tokens = tokens_for(config, filler);
    }
    if (config.block.router_product) parts.routed = routed_by_product(config, parts.weights.get(), filler);
    // One process may have more to fill than the others.
    if (session != nullptr) session->wait_quietly();
    return make_block_run(std::move(parts));
  }
};

RunFactory::RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
                       Session* session, std::shared_ptr<LayerWeights> layer)
    : state_(std::make_unique<State>(
          State{distribution, seed, std::move(cpus), session, std::move(layer), {}, {}, {}, {}, {}})) {}
RunFactory::~RunFactory() = default;

void RunFactory::expect(const RunConfig& config) { state_->expect(config); }

std::unique_ptr<Run> RunFactory::make(const RunConfig& config) {
  refuse_unbuilt(config);
  refuse_route_in_step(config);
  return state_->make(config, config.block.router_product ? Routed{} : state_->routed(config));
}

std::unique_ptr<Run> RunFactory::make(const RunConfig& config, const Routing& routing) {
  MOEHILL_CHECK(!config.block.route_in_step && config.shape.router == RouterRule{},
                "a routing given to a run that routes by itself");
  return state_->make(config, {std::make_shared<const Routing>(routing), nullptr, nullptr, {}});
}

}  // namespace moehill
