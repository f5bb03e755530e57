// Runs: devices with their blocks, operands shared between runs, and the step that drives them.
#include <algorithm>
#include <cstring>

#include "moehill/base/hash.h"
#include "moehill/machine/naps.h"
#include "moehill/mesh/mute_group.h"
#include "moehill/mesh/threads/thread_mesh.h"
#include "moehill/parallel/operands.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/result_parts.h"
#include "moehill/parallel/step_router.h"
#include "moehill/routing/router.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/trace.h"
#include "moehill/tensor/content_hash.h"

namespace moehill {
namespace {

uint64_t hash_rows(const MatView& m, uint64_t hash = kFnvStart) {
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) {
      const uint32_t bits =
          m.dtype == DType::f32 ? std::bit_cast<uint32_t>(m.row<float>(r)[c]) : m.row<bf16>(r)[c].bits;
      hash = fnv1a(hash, bits);
    }
  }
  return hash;
}

// The sign is the highest bit of an element, in its last byte.
void flip_signs(ThreadTeam& team, void* data, size_t bytes, DType dtype) {
  const size_t size = dtype_bytes(dtype);
  team.parallel_for(static_cast<int64_t>(bytes / size), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      static_cast<unsigned char*>(data)[(static_cast<size_t>(i) + 1) * size - 1] ^= 0x80;
  });
}

// What is said of one device after a step.
struct DeviceFigures {
  Traffic traffic;
  std::array<uint64_t, kNumMoves> moved_bytes{};
  uint64_t plan_hash = 0;
  double executed_flops = 0;
};

// A routing, and what made it where somebody asks again: the step, the gradient of the logits, or the check
// of a router that is not the contract's.
struct Routed {
  std::shared_ptr<const Routing> routing;
  std::shared_ptr<const Router> router;              // null: nobody asks
  std::shared_ptr<const std::vector<float>> logits;  // [T, L] with it
};

// Everything a run holds for longer than a step.
struct RunParts {
  RunConfig config;
  Session* session = nullptr;
  std::shared_ptr<Mesh> mesh;  // null where this process has no device
  std::shared_ptr<WeightOperands> weights;
  std::shared_ptr<TokenOperands> tokens;
  Routed routed;
};

class BlockRun final : public Run {
 public:
  explicit BlockRun(RunParts parts)
      : parts_(std::move(parts)),
        dp_(static_cast<size_t>(config().shape.assignments())),
        kept_(kept_assignments(routing(), config().block.capacity)),
        local_(parts_.mesh == nullptr ? Range{} : parts_.mesh->local_devices()),
        figures_(static_cast<size_t>(config().num_devices)) {
    if (config().block.router_grad) {
      dlogits_.resize(static_cast<size_t>(config().shape.tokens * config().shape.experts));
    }
    if (config().block.route_in_step) {
      router_ = std::make_unique<StepRouter>(*parts_.routed.router, *parts_.routed.logits, routing());
    }
    for (int64_t rank = local_.begin; rank < local_.end; ++rank)
      paths_.push_back(make_device_path(static_cast<int>(rank)));
    stepped_.resize(paths_.size());
    step_ = [this](Group& group) { step_device(group); };
    on_devices([this](Group& group) { path_of(group).prepare(group); });
    prequeue();
  }

  void step(const std::vector<StageListener*>& listeners) override {
    listeners_ = &listeners;
    on_devices(step_);
  }

  // The devices meet before they wake their threads, which would be asleep again after a long wait for a
  // peer.
  void rouse() override {
    let_others_fall_asleep();
    on_devices([](Group& group) {
      group.barrier();
      group.team().run([](int) {});
    });
  }

  // Every byte 0xff is a NaN in f32 and in bf16. The padding of a stack is poisoned too: nobody may read it.
  void poison() override {
    if (config().block.part != StepPart::whole) return;  // such steps use what the first one made
    on_devices([this](Group& group) {
      const MemoryVisitor fill = [&group](void* data, size_t bytes) {
        group.team().parallel_for(static_cast<int64_t>(bytes), [&](int64_t begin, int64_t end) {
          std::memset(static_cast<char*>(data) + begin, 0xff, static_cast<size_t>(end - begin));
        });
      };
      for (const ResultPart& part : result_parts(config(), results(), group.rank()))
        fill(part.whole + part.bytes.begin, static_cast<size_t>(part.bytes.size()));
      if (group.rank() > 0) path_of(group).visit_replicas(fill);
      path_of(group).spoil_work_space(fill);
      if (router_) router_->poison(result_tokens(config(), group.rank()));
    });
  }

  void on_teams(const std::function<void(int, ThreadTeam&)>& work) override {
    on_devices([&](Group& group) { work(group.rank(), group.team()); });
  }

  std::vector<ResultHash> result_hashes() override {
    std::vector<std::vector<ResultHash>> of_device(paths_.size());
    on_devices([&](Group& group) {
      std::vector<ResultHash>& hashes = of_device[local_index(group)];
      for (const ResultPart& part : result_parts(config(), results(), group.rank())) {
        hashes.push_back({fmt::format("{} of device {}", part.tensor, group.rank()),
                          content_hash(group.team(), part.whole + part.bytes.begin,
                                       static_cast<size_t>(part.bytes.size()))});
      }
      if (group.rank() == 0) return;
      path_of(group).visit_replicas([&](void* data, size_t bytes) {
        hashes.push_back(
            {fmt::format("a copy on device {}", group.rank()), content_hash(group.team(), data, bytes)});
      });
    });
    std::vector<ResultHash> all;
    for (const std::vector<ResultHash>& hashes : of_device)
      all.insert(all.end(), hashes.begin(), hashes.end());
    return all;
  }

  uint64_t operand_hash() override {
    uint64_t hash = kFnvStart;
    on_devices([&](Group& group) {
      if (group.rank() != local_.begin) return;
      const MemoryVisitor add = [&](void* data, size_t bytes) {
        hash = fnv1a(hash, content_hash(group.team(), data, bytes));
      };
      const Range rows = parts_.tokens->filled, experts = parts_.weights->filled;
      visit_matrix(parts_.tokens->x.view().slice_rows(rows.begin, rows.end), add);
      parts_.weights->experts.view.slice_groups(experts.begin, experts.end).visit(add);
      parts_.weights->shared.view.visit(add);
      Routing copy = routing();
      visit_vector(copy.expert, add);
      visit_vector(copy.weight, add);
    });
    return hash;
  }

  void negate_x() override {
    on_devices([this](Group& group) {
      if (group.rank() != local_.begin) return;
      const Range rows = parts_.tokens->filled;
      const MatView x = parts_.tokens->x.view().slice_rows(rows.begin, rows.end);
      visit_matrix(x, [&](void* data, size_t bytes) { flip_signs(group.team(), data, bytes, x.dtype); });
    });
    prequeue();
  }

  std::vector<uint64_t> replica_hashes() override {
    std::vector<uint64_t> of_device(paths_.size(), kFnvStart);
    on_devices([&](Group& group) {
      uint64_t& hash = of_device[local_index(group)];
      path_of(group).visit_replicas(
          [&](void* data, size_t bytes) { hash = fnv1a(hash, content_hash(group.team(), data, bytes)); });
    });
    return of_device;
  }

  void collect() override {
    for (int64_t rank = local_.begin; rank < local_.end; ++rank)
      figures_[static_cast<size_t>(rank)] = figures_of(rank);
    if (parts_.session == nullptr) return;
    for (const ResultPart& part : result_parts(config(), results(), parts_.session->rank()))
      parts_.session->gather_bytes(part.whole + part.bytes.begin, part.bytes, part.whole);
    constexpr int64_t kBytes = sizeof(DeviceFigures);
    parts_.session->gather_bytes(figures_.data() + local_.begin, {local_.begin * kBytes, local_.end * kBytes},
                                 figures_.data());
  }
  Range local_devices() const override { return local_; }
  std::vector<int> local_cpus() const override {
    return parts_.mesh == nullptr ? std::vector<int>{} : parts_.mesh->local_cpus();
  }

  BlockTensors tensors() const override {
    BlockTensors t;
    t.shape = config().shape;
    t.x = parts_.tokens->x;
    t.weights = logical_weights(parts_.weights->experts.view, parts_.weights->shared.view, t.shape);
    t.routing = &routing();
    t.kept = computes_all() ? nullptr : kept_.data();
    t.router = parts_.routed.router.get();
    if (t.router != nullptr) t.logits = parts_.routed.logits->data();
    t.y = parts_.tokens->y;
    if (config().block.pass == Pass::forward) return t;
    t.dx = parts_.tokens->dx;
    t.gradients =
        logical_weights(parts_.weights->experts_grad.view, parts_.weights->shared_grad.view, t.shape);
    t.dp = dp_.data();
    t.dlogits = dlogits_.empty() ? nullptr : dlogits_.data();
    return t;
  }

  const Routing& routing() const override { return *parts_.routed.routing; }
  const RunConfig& config() const override { return parts_.config; }
  uint64_t plan_hash() const override {
    uint64_t hash = kFnvStart;
    for (const DeviceFigures& device : figures_) hash = fnv1a(hash, device.plan_hash);
    return hash;
  }
  uint64_t output_hash() const override { return hash_rows(parts_.tokens->y); }
  int64_t num_dropped() const override {
    return std::count(kept_.begin(), kept_.end(), 0) - num_unassigned(routing());
  }
  int64_t capacity_rows() const override {
    const Capacity& capacity = config().block.capacity;
    if (capacity.policy == CapacityPolicy::none) return 0;
    return moehill::capacity_rows(capacity, config().shape.assignments(), config().shape.experts);
  }
  double executed_flops() const override {
    double flops = 0;
    for (const DeviceFigures& device : figures_) flops += device.executed_flops;
    return flops;
  }
  std::vector<Traffic> traffic() const override {
    std::vector<Traffic> traffic;
    for (const DeviceFigures& device : figures_) traffic.push_back(device.traffic);
    return traffic;
  }
  std::array<uint64_t, kNumMoves> moved_bytes() const override {
    std::array<uint64_t, kNumMoves> bytes{};
    for (const DeviceFigures& device : figures_) {
      for (size_t i = 0; i < bytes.size(); ++i) bytes[i] += device.moved_bytes[i];
    }
    return bytes;
  }

 private:
  bool computes_all() const {
    return config().block.capacity.policy == CapacityPolicy::none && num_unassigned(routing()) == 0;
  }

  // The plan, and rows of x with it, that are made before the clock starts.
  void prequeue() {
    if (!config().block.prequeue) return;
    on_devices([this](Group& group) { path_of(group).make_plan(group, nullptr); });
  }

  std::unique_ptr<ParallelPath> make_device_path(int rank) {
    PathInputs inputs;
    inputs.config = config();
    inputs.rank = rank;
    inputs.routing = router_ ? &router_->routing() : &routing();
    inputs.x = parts_.tokens->x;
    inputs.y = parts_.tokens->y;
    inputs.dx = parts_.tokens->dx;
    inputs.weights = parts_.weights->views();
    inputs.dp = dp_.data();
    return make_path(inputs);
  }

  void on_devices(const std::function<void(Group&)>& device_main) {
    if (parts_.mesh != nullptr) parts_.mesh->run(device_main);
  }
  size_t local_index(const Group& group) const { return static_cast<size_t>(group.rank() - local_.begin); }
  ParallelPath& path_of(const Group& group) { return *paths_[local_index(group)]; }

  ResultTensors results() {
    const bool backward = config().block.pass == Pass::forward_backward;
    return {parts_.tokens->y,
            parts_.tokens->dx,
            parts_.weights->experts_grad.view,
            parts_.weights->shared_grad.view,
            backward ? dp_.data() : nullptr,
            dlogits_.empty() ? nullptr : dlogits_.data()};
  }

  // Takes a device of this process.
  DeviceFigures figures_of(int64_t rank) const {
    const ParallelPath& path = *paths_[static_cast<size_t>(rank - local_.begin)];
    return {figures_[static_cast<size_t>(rank)].traffic, path.sent_bytes(),
            moehill::plan_hash(path.block().plan()), path.block().executed_flops()};
  }

  // The first step has all its parts, so that what is left out of the others finds a plan and rows there.
  void step_device(Group& group) {
    if (config().block.part != StepPart::computation || !stepped_[local_index(group)]) {
      stepped_[local_index(group)] = true;
      return step_all(group, !config().block.prequeue);
    }
    MuteGroup mute(group);
    step_all(mute, false);
  }

  void step_all(Group& group, bool makes_plan) {
    const size_t rank = static_cast<size_t>(group.rank());
    ParallelPath& path = path_of(group);
    StageListener* listener = listeners_->empty() ? nullptr : (*listeners_)[local_index(group)];
    const Traffic before = group.traffic();
    group.report_waits_to({});
    if (listener != nullptr) {
      group.report_waits_to([listener](double begin, double end) { listener->waited(begin, end); });
      listener->begin(group.team());
    }
    path.begin_step(group);
    if (router_) {
      enter(listener, Stage::router);
      router_->route(result_tokens(config(), group.rank()), group.team());
    }
    if (makes_plan) path.make_plan(group, listener);
    path.forward(group, listener);
    if (config().block.pass == Pass::forward_backward) {
      const MoeShape& shape = config().shape;
      const float dy_scale =
          static_cast<float>(2.0 / (static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden)));
      path.backward(group, dy_scale, listener);
      finish_backward(group, listener);
    }
    if (listener != nullptr) listener->finish();
    const Traffic after = group.traffic();
    figures_[rank].traffic = {
        after.sent_bytes - before.sent_bytes, after.received_bytes - before.received_bytes,
        after.wait_seconds - before.wait_seconds, after.flight_seconds - before.flight_seconds,
        after.progress_calls - before.progress_calls};
  }

  // The router's gradient is made where its tokens are: it is tokens x experts, next to nothing.
  void finish_backward(Group& group, StageListener* listener) {
    if (dlogits_.empty() || (group.rank() > 0 && !shards_tokens(config()))) return;
    enter(listener, Stage::router_grad);
    static const Router contract;
    const Routed& routed = parts_.routed;
    const RouterGradient gradient{routed.router ? routed.logits->data() : nullptr,
                                  router_ ? router_->routing() : routing(), dp_.data(), dlogits_.data()};
    route_backward(routed.router ? *routed.router : contract, gradient, result_tokens(config(), group.rank()),
                   group.team());
  }

  RunParts parts_;
  std::vector<float> dp_, dlogits_;
  std::vector<int32_t> kept_;
  Range local_;                         // devices of this process
  std::vector<DeviceFigures> figures_;  // [P]; those of the local ones, and after collect() of all
  std::unique_ptr<StepRouter> router_;  // null: routed before the clock starts
  std::vector<std::unique_ptr<ParallelPath>> paths_;  // one a local device
  std::vector<uint8_t> stepped_;                      // [paths]
  std::function<void(Group&)> step_;
  const std::vector<StageListener*>* listeners_ = nullptr;
};

}  // namespace

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
  struct KnownMesh {
    bool processes;
    int ranks_per_node;
    std::shared_ptr<Mesh> mesh;
  };
  std::vector<KnownMesh> meshes;

  bool is_first_process() const { return session == nullptr || session->rank() == 0; }

  std::shared_ptr<Mesh> mesh(const RunConfig& config) {
    const bool processes = session != nullptr && config.spread != Spread::none;
    if (!processes && !is_first_process()) return nullptr;
    const int threads = config.threads_per_device;
    for (const KnownMesh& known : meshes) {
      if (known.processes == processes && known.ranks_per_node == config.ranks_per_node &&
          known.mesh->num_devices() == config.num_devices && known.mesh->threads_per_device() == threads)
        return known.mesh;
    }
    meshes.push_back(
        {processes, config.ranks_per_node, processes ? make_process_mesh(config) : make_thread_mesh(config)});
    return meshes.back().mesh;
  }

  std::shared_ptr<Mesh> make_process_mesh(const RunConfig& config) const {
    MOEHILL_CHECK(config.num_devices == session->size(), "{} devices in {} processes", config.num_devices,
                  session->size());
    return session->make_mesh({.threads_per_device = config.threads_per_device,
                               .node_cpus = cpus,
                               .ranks_per_node = config.ranks_per_node});
  }

  std::shared_ptr<Mesh> make_thread_mesh(const RunConfig& config) const {
    const size_t total =
        static_cast<size_t>(config.num_devices) * static_cast<size_t>(config.threads_per_device);
    std::vector<int> used;
    if (total <= cpus.size()) used.assign(cpus.begin(), cpus.begin() + static_cast<int64_t>(total));
    return std::make_shared<ThreadMesh>(config.num_devices, config.threads_per_device, used);
  }

  // What this process's devices read of the operands; the first process has all, for the check.
  void fill(const RunConfig& config, const RunParts& parts, ThreadTeam& team) const {
    Range experts{0, config.shape.experts}, rows{0, config.shape.tokens};
    if (!is_first_process()) {
      if (parts.mesh == nullptr) return;
      const BlockShare share = block_share(config, session->rank());
      experts = {share.expert_begin, share.expert_end};
      rows = result_tokens(config, session->rank());
    }
    fill_experts(*parts.weights, experts, {seed, layer.get()}, team);
    fill_tokens(*parts.tokens, rows, seed, team);
  }

  Routed routed(const RunConfig& config) {
    const MoeShape& shape = config.shape;
    const bool replayed =
        distribution.kind == Distribution::trace;  // choices and gate values are the trace's
    const bool kept = !replayed && (config.block.route_in_step || !(shape.router == RouterRule{}));
    for (const auto& [rule, routed] : routings) {
      const Routing& r = *routed.routing;
      if (r.num_tokens == shape.tokens && r.num_experts == num_logits(rule, shape.experts) &&
          r.topk == shape.topk && rule == shape.router && (routed.router != nullptr) == kept)
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
    auto router = std::make_shared<const Router>(
        make_router(shape.router, shape.tokens, shape.experts, shape.topk, seed));
    auto made = std::make_shared<const Routing>(route_all(*router, *logits, shape.tokens, num, shape.topk));
    require_properties(distribution, *made, seed);
    Routed routed{std::move(made), nullptr, nullptr};
    if (kept) routed.router = std::move(router), routed.logits = std::move(logits);
    return routings.emplace_back(shape.router, std::move(routed)).routed;
  }

  std::unique_ptr<Run> make(const RunConfig& config, Routed routed) {
    RunParts parts{config, session, mesh(config), nullptr, nullptr, std::move(routed)};
    ThreadTeam filler(std::max(1, static_cast<int>(cpus.size())));
    const WeightKey key = weight_key(config);
    for (const auto& w : weights) {
      if (w->key == key) parts.weights = w;
    }
    if (parts.weights == nullptr)
      parts.weights = weights.emplace_back(make_weights(key, {seed, layer.get()}, filler));
    for (const auto& t : tokens) {
      if (t->tokens == config.shape.tokens && t->hidden == config.shape.hidden &&
          t->dtype == config.shape.dtype) {
        parts.tokens = t;
      }
    }
    if (parts.tokens == nullptr) parts.tokens = tokens.emplace_back(make_tokens(config.shape));
    fill(config, parts, filler);
    if (session != nullptr) session->wait_quietly();  // the first process fills more than the others
    return std::make_unique<BlockRun>(std::move(parts));
  }
};

RunFactory::RunFactory(DistributionOptions distribution, uint32_t seed, std::vector<int> cpus,
                       Session* session, std::shared_ptr<LayerWeights> layer)
    : state_(std::make_unique<State>(
          State{distribution, seed, std::move(cpus), session, std::move(layer), {}, {}, {}, {}})) {}
RunFactory::~RunFactory() = default;

std::unique_ptr<Run> RunFactory::make(const RunConfig& config) {
  refuse_unbuilt(config.shape.router);
  refuse_route_in_step(config);
  return state_->make(config, state_->routed(config));
}

std::unique_ptr<Run> RunFactory::make(const RunConfig& config, const Routing& routing) {
  MOEHILL_CHECK(!config.block.route_in_step && config.shape.router == RouterRule{},
                "a routing given to a run that routes by itself");
  return state_->make(config, {std::make_shared<const Routing>(routing), nullptr, nullptr});
}

}  // namespace moehill
