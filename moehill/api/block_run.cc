// Implementation of the runs that api/measuring.h describes. A BlockRun has a block of the interface, and
// around it everything that only measuring needs. That is one class, because all of it works on the same
// operands and devices: a step writes the results that are then spoiled, hashed, counted and checked. Parts
// that need less than that have files of their own (brought_rows.h, row_hashes.h, run_router.h).
#include "moehill/api/block_run.h"

#include <algorithm>
#include <cstring>

#include "moehill/api/block_object.h"
#include "moehill/api/brought_rows.h"
#include "moehill/api/row_hashes.h"
#include "moehill/api/run_router.h"
#include "moehill/base/hash.h"
#include "moehill/base/values_in.h"
#include "moehill/kernels/random_fill.h"
#include "moehill/machine/naps.h"
#include "moehill/mesh/mute_group.h"
#include "moehill/parallel/operand_check.h"
#include "moehill/parallel/other_operands.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/result_parts.h"
#include "moehill/parallel/wire_buffers.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/statistics.h"
#include "moehill/tensor/content_hash.h"

namespace moehill {
namespace {

// DeviceFigures are what one device counted in a step.
struct DeviceFigures {
  Traffic traffic;
  std::array<uint64_t, kNumMoves> moved_bytes{};
  uint64_t plan_hash = 0;
  double executed_flops = 0;
};

// BlockRun is a Run over a BlockObject that borrows the run's operands.
class BlockRun final : public Run {
 public:
  explicit BlockRun(RunParts parts)
      : parts_(std::move(parts)),
        local_(parts_.context == nullptr ? Range{} : parts_.context->local_devices()),
        held_(held_here()),
        latent_(config(), held_.tokens),
        dp_(rows_held(config().shape.topk)),
        placed_(over_places(config())),
        figures_(static_cast<size_t>(config().num_devices)),
        router_(config(), parts_.routed, held_.tokens, local_, parts_.weights.get()) {
    if (parts_.tokens != nullptr) {
      const TokenOperands& tokens = *parts_.tokens;
      tokens_ = {tokens.among_all(tokens.x), tokens.among_all(tokens.y), tokens.among_all(tokens.dx)};
    }
    take_routing();
    place_of_.resize(config().placement.empty() ? 0 : static_cast<size_t>(config().shape.experts));
    // The check reads an expert's weights at its first place. The loop walks backwards, so the first place is
    // written last and stays.
    for (size_t p = config().placement.size(); p-- > 0;)
      place_of_[static_cast<size_t>(config().placement[p])] = static_cast<int32_t>(p);
    stepped_.resize(static_cast<size_t>(local_.size()));
    if (parts_.context != nullptr) block_ = std::make_unique<BlockObject>(parts_.context, lent_parts());
    prequeue();
  }

  void step(const std::vector<StageListener*>& listeners) override {
    on_devices([&](Group& group, ParallelPath& path) { step_device(group, path, listeners); });
  }

  // The devices meet before they wake their threads. In the other order the threads could fall asleep again
  // while their device waits for a peer.
  void rouse() override {
    let_others_fall_asleep();
    on_devices([](Group& group, ParallelPath&) {
      group.barrier();
      group.team().run([](int) {});
    });
  }

  // Bytes 0xff are a NaN in f32 and in bf16. The padding of weight stacks is filled too, because no step may
  // read it.
  void poison() override {
    // Half a step uses values that the first whole step made, so they have to stay.
    if (config().block.part != StepPart::whole) return;
    if (!config().block.ablation.empty()) return step_whole();
    on_devices([this](Group& group, ParallelPath& path) {
      const MemoryVisitor fill = [&group](void* data, size_t bytes) {
        group.team().parallel_for(static_cast<int64_t>(bytes), [&](int64_t begin, int64_t end) {
          std::memset(static_cast<char*>(data) + begin, 0xff, static_cast<size_t>(end - begin));
        });
      };
      for (const ResultPart& part : result_parts(config(), results(), group.rank()))
        fill(part.whole + part.bytes.begin, static_cast<size_t>(part.bytes.size()));
      if (group.rank() > 0) path.visit_replicas(fill);
      path.spoil_work_space(fill);
      router_.poison(group.rank(), fill);
    });
  }

  void on_teams(const std::function<void(int, ThreadTeam&)>& work) override {
    on_devices([&](Group& group, ParallelPath&) { work(group.rank(), group.team()); });
  }

  std::vector<ResultHash> result_hashes() override {
    std::vector<std::vector<ResultHash>> of_device(stepped_.size());
    on_devices([&](Group& group, ParallelPath& path) {
      std::vector<ResultHash>& hashes = of_device[local_index(group)];
      for (const ResultPart& part : result_parts(config(), results(), group.rank())) {
        hashes.push_back({fmt::format("{} of device {}", part.tensor, group.rank()),
                          content_hash(group.team(), part.whole + part.bytes.begin,
                                       static_cast<size_t>(part.bytes.size()))});
      }
      router_.visit_made(group.rank(), [&](void* data, size_t bytes) {
        hashes.push_back(
            {fmt::format("the router of device {}", group.rank()), content_hash(group.team(), data, bytes)});
      });
      if (group.rank() == 0) return;
      path.visit_replicas([&](void* data, size_t bytes) {
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
    on_devices([&](Group& group, ParallelPath&) {
      if (group.rank() != local_.begin) return;
      const MemoryVisitor add = [&](void* data, size_t bytes) {
        hash = fnv1a(hash, content_hash(group.team(), data, bytes));
      };
      const Range rows = parts_.tokens->filled, experts = parts_.weights->filled;
      const ExpertWeights weights = parts_.weights->views();
      visit_matrix(tokens_.x.slice_rows(rows.begin, rows.end), add);
      weights.routed.slice_groups(experts.begin, experts.end).visit(add);
      weights.shared.visit(add);
      weights.latent.visit(add);
      visit_stack(parts_.weights->router, add);
      Routing copy = routing();
      visit_vector(copy.expert, add);
      visit_vector(copy.weight, add);
    });
    return hash;
  }

  void use_other_operands(bool others) override {
    if (others == uses_others_) return;
    uses_others_ = others;
    on_devices([this](Group& group, ParallelPath&) {
      if (group.rank() == local_.begin) change_operands(group.team());
    });
    if (config().block.route_in_step) negate_logits();
    prequeue();
  }

  std::vector<uint64_t> replica_hashes() override {
    std::vector<uint64_t> of_device(stepped_.size(), kFnvStart);
    on_devices([&](Group& group, ParallelPath& path) {
      uint64_t& hash = of_device[local_index(group)];
      path.visit_replicas(
          [&](void* data, size_t bytes) { hash = fnv1a(hash, content_hash(group.team(), data, bytes)); });
    });
    return of_device;
  }

  bool copies_differ() override {
    if (config().placement.empty()) return false;
    std::string own;
    ThreadTeam alone(1);
    for (int64_t p = held_.experts.begin; p < held_.experts.end; ++p) {
      uint64_t hash = kFnvStart;
      parts_.weights->views().routed_grad.slice_groups(p, p + 1).visit(
          [&](void* data, size_t bytes) { hash = fnv1a(hash, content_hash(alone, data, bytes)); });
      own.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
    }
    std::vector<uint64_t> hashes;  // of all places on the first process
    for (const std::string& text : gather(own)) {
      const std::vector<uint64_t> of_process = values_in<uint64_t>(text);
      hashes.insert(hashes.end(), of_process.begin(), of_process.end());
    }
    const std::vector<int32_t> home = home_places({config().placement});
    for (size_t p = 0; p < hashes.size(); ++p) {
      if (hashes[p] != hashes[static_cast<size_t>(home[p])]) return true;
    }
    return false;
  }

  // Every process sends the figures of its devices to the first one, in the order of ranks.
  void collect() override {
    std::string own;
    for (int64_t rank = local_.begin; rank < local_.end; ++rank) {
      DeviceFigures& figures = figures_[static_cast<size_t>(rank)] = figures_of(rank);
      own.append(reinterpret_cast<const char*>(&figures), sizeof(figures));
    }
    auto device = figures_.begin();
    for (const std::string& text : gather(own)) {
      const std::vector<DeviceFigures> of_process = values_in<DeviceFigures>(text);
      device = std::copy(of_process.begin(), of_process.end(), device);
    }
    on_devices([this](Group& group, ParallelPath&) {
      if (group.rank() == local_.begin) nodes_ = group.nodes();
    });
    far_ = far_assignments(placed_, computed_, nodes_);
    // Every row of y is the result of one device. A process may hold rows of others too, and leaves them out
    // here.
    std::string own_rows;
    for (int64_t rank = local_.begin; rank < local_.end; ++rank)
      append_hashes(tokens_.y, own_tokens(rank), own_rows);
    output_hash_ = kFnvStart;
    for (const std::string& hashes : gather(own_rows)) output_hash_ = join_hashes(output_hash_, hashes);
  }

  // A single process has all rows. One of several processes keeps its own rows, and fetches rows of others
  // when the check asks for them.
  CheckShare check_share() override {
    CheckShare share = CheckShare::whole(tensors());
    share.operands_fault = [this](uint32_t draw, ThreadTeam& team) { return operands_fault(draw, team); };
    if (!spans_processes()) return share;
    BroughtRows::Source source{{}, tokens_.y, !shards_tokens(config()), parts_.seed, uses_others_, {}};
    for (int r = 0; r < config().num_devices; ++r) source.tokens.push_back(own_tokens(r));
    source.on_team = [this](const std::function<void(ThreadTeam&)>& work) {
      on_devices([&](Group& group, ParallelPath&) { work(group.team()); });
    };
    share.tokens = source.tokens;
    for (size_t e = 0; e < share.owner.size(); ++e) share.owner[e] = device_of_expert(static_cast<int>(e));
    if (config().shape.form.latent > 0 || config().block.router_product) {
      bring_all(share);
    } else {
      bring_some(share, std::move(source));
    }
    return share;
  }
  Range local_devices() const override { return local_; }

  BlockTensors tensors() const override {
    BlockTensors t;
    t.shape = config().shape;
    const int32_t* places = place_of_.empty() ? nullptr : place_of_.data();
    if (parts_.weights != nullptr) {
      const ExpertWeights weights = parts_.weights->views();
      t.x = tokens_.x;
      t.weights = logical_weights(weights.routed, weights.shared, t.shape, places);
      t.weights.wg = router_weights(parts_.weights->router);
      set_latent(weights.latent, t.shape.form.latent, t.weights);
      t.latent = latent_rows();
      t.y = tokens_.y;
    }
    // With next choices the check has to see to which experts the spilled assignments went.
    t.routing = config().block.capacity.spares > 0 ? &computed_ : &routing();
    t.kept = computes_all() ? nullptr : kept_.data();
    t.wire = config().wire;
    t.far = far_.empty() ? nullptr : far_.data();
    t.router = parts_.routed.router.get();
    t.logits = spans_processes() ? parts_.routed.all_logits() : router_.logits();
    t.step_routing = router_.is_in_step() ? &router_.routing() : nullptr;
    if (config().block.pass == Pass::forward || parts_.weights == nullptr) return t;
    const ExpertWeights weights = parts_.weights->views();
    t.dx = tokens_.dx;
    t.gradients = logical_weights(weights.routed_grad, weights.shared_grad, t.shape, places);
    t.gradients.wg = router_weights(parts_.weights->router_grad);
    set_latent(weights.latent_grad, t.shape.form.latent, t.gradients);
    t.dp = dp();
    t.dlogits = router_.dlogits();
    t.balance_loss = config().block.balance_loss.empty() ? nullptr : &config().block.balance_loss;
    return t;
  }

  const Routing& placed_routing() const override { return placed_routing_; }
  const Routing& routing() const override { return *parts_.routed.routing; }
  const RunConfig& config() const override { return parts_.config; }
  uint64_t plan_hash() const override {
    uint64_t hash = kFnvStart;
    for (const DeviceFigures& device : figures_) hash = fnv1a(hash, device.plan_hash);
    return hash;
  }
  uint64_t output_hash() const override { return output_hash_; }
  int64_t num_spilled() const override {
    int64_t num = 0;
    for (size_t a = 0; a < kept_.size(); ++a) num += computed_.expert[a] != placed_routing_.expert[a];
    return num;
  }
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
    return flops + (config().block.router_product ? router_flops(config().shape, config().block.pass) : 0);
  }
  Nodes nodes() const override { return nodes_; }
  HeldOperands held() const override { return held_; }
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
  // Derives kept_ and computed_ from the routing, before the clock starts. In computed_ a dropped assignment
  // keeps its expert, because kept_ says that it was dropped.
  void take_routing() {
    placed_routing_ = config().placement.empty() ? routing() : place(routing(), {config().placement});
    computed_ = apply_capacity(placed_routing_, config().block.capacity);
    kept_.resize(routing().expert.size());
    for (size_t a = 0; a < kept_.size(); ++a) {
      int32_t& expert = computed_.expert[a];
      kept_[a] = expert != kNoExpert;
      if (kept_[a] == 0) expert = placed_routing_.expert[a];
    }
  }
  // Turns the first operands into the other ones, or the other ones back into the first. The weights are
  // shared with other runs of the factory, which do not step in between.
  void change_operands(ThreadTeam& team) {
    const Range rows = parts_.tokens->filled;
    scale_exactly(team, tokens_.x.slice_rows(rows.begin, rows.end),
                  uses_others_ ? kOtherTokens : 1 / kOtherTokens);
    const ExpertWeights weights = parts_.weights->views();
    for (const WeightView* stack : weights.routed.parts()) flip_signs(team, *stack, parts_.weights->filled);
    for (const WeightView* stack : weights.shared.parts()) flip_signs(team, *stack, {0, 1});
    for (const WeightView* stack : weights.latent.parts()) flip_signs(team, *stack, {0, 1});
    const WeightView& router = parts_.weights->router.view();
    if (router.data == nullptr) return;
    const MatView stored{router.data, DType::f32, router.group_elements() / kPanelWidth, kPanelWidth,
                         kPanelWidth};
    scale_exactly(team, stored, uses_others_ ? kOtherRouterWeights : 1 / kOtherRouterWeights);
  }

  // Compares the operands that the step and the check use with the seed or the model.
  std::string operands_fault(uint32_t draw, ThreadTeam& team) const {
    const std::string fault = tokens_fault(*parts_.tokens, held_.tokens, parts_.seed, uses_others_, team);
    if (!fault.empty()) return fault;
    return weights_fault(*parts_.weights, held_.experts, {parts_.seed, parts_.layer.get()},
                         {draw, uses_others_}, team);
  }

  // Negates the logits of a router in the step, and routes again. If the logits are x W_g, those of the other
  // operands are just these. In a run with next choices, the logits stay, since these choices were made
  // before the clock.
  void negate_logits() {
    Routed& routed = parts_.routed;
    if (routed.logits == nullptr || routing().num_spares() > 0) return;
    std::vector<float> logits = *routed.logits;
    for (float& logit : logits) logit = -logit;
    routed.logits = std::make_shared<const std::vector<float>>(std::move(logits));
    routed.routing = std::make_shared<const Routing>(routed_anew());
    router_.read_logits();
    take_routing();
    if (!far_.empty()) far_ = far_assignments(placed_, computed_, nodes_);
  }

  // Returns the routing that the logits give now. Processes that share the tokens out route their own tokens
  // and get the others from each other. A process that has all logits, because another run needs them, does
  // so too: the exchange needs all processes.
  Routing routed_anew() const {
    const MoeShape& shape = config().shape;
    const Routed& routed = parts_.routed;
    Routing made = routing();
    if (!spans_processes() || !shards_tokens(config())) {
      const bool has_all = routed.tokens.size() == shape.tokens;
      if (!has_all) return made;  // of a process that has no device and reads no routing
      return route_all(*routed.router, *routed.logits, shape.tokens, shape.num_logits(), shape.topk);
    }
    ThreadTeam alone(1);
    route(*routed.router, routed.all_logits(), own_tokens(local_.begin), alone, made);
    SessionPeers peers(*parts_.session);
    const auto bring = [&](auto& values) {
      const int64_t token_bytes = shape.topk * static_cast<int64_t>(sizeof(values[0]));
      std::vector<Range> bytes;
      for (int r = 0; r < config().num_devices; ++r)
        bytes.push_back({own_tokens(r).begin * token_bytes, own_tokens(r).end * token_bytes});
      if (!values.empty()) peers.bring_together(values.data(), bytes);
    };
    bring(made.expert);
    bring(made.weight);
    bring(made.zero);
    return made;
  }

  static LogicalWeights router_weights(const WeightView& stack) {
    return stack.data == nullptr ? LogicalWeights{}
                                 : LogicalWeights{stack, LogicalWeights::Part::all, stack.n};
  }

  bool computes_all() const {
    return config().block.capacity.policy == CapacityPolicy::none && num_unassigned(routing()) == 0;
  }

  bool spans_processes() const { return parts_.context != nullptr && parts_.context->spans_processes(); }

  HeldOperands held_here() const {
    if (parts_.context == nullptr) return {};
    if (!spans_processes()) return held_operands(config(), {});
    return held_operands(config(), {.num_processes = parts_.session->size(), .rank = parts_.session->rank()});
  }
  // Returns the number of elements for the tokens held, but at least one, because a tensor without memory
  // would mean that the tensor does not exist.
  size_t rows_held(int64_t cols) const {
    return static_cast<size_t>(std::max<int64_t>(1, held_.tokens.size() * cols));
  }
  LatentRows latent_rows() const {
    return config().shape.form.latent == 0 ? LatentRows{}
                                           : latent_.views(config().shape.tokens, held_.tokens.begin);
  }
  // Returns a pointer as if the memory held the rows of all tokens.
  float* dp() const {
    const int64_t row_bytes = config().shape.topk * static_cast<int64_t>(sizeof(float));
    return static_cast<float*>(before(dp_.data(), held_.tokens.begin, row_bytes));
  }

  // Returns the tokens whose rows are this device's results; each token is the result of one device
  // (parallel/result_parts.h).
  Range own_tokens(int64_t device) const {
    if (device > 0 && !shards_tokens(config())) return {config().shape.tokens, config().shape.tokens};
    return result_tokens(config(), static_cast<int>(device));
  }
  int device_of_expert(int expert) const {
    const int64_t place = place_of_.empty() ? expert : place_of_[static_cast<size_t>(expert)];
    const int64_t num_places = placed_.shape.experts;
    int device = 0;
    while (!contains(share(num_places, device, config().num_devices), {place, place + 1})) ++device;
    return device;
  }
  std::vector<std::string> gather(const std::string& own) const {
    return parts_.session == nullptr ? std::vector<std::string>{own} : parts_.session->gather(own);
  }

  // A block with a latent width, or with the router's product in the step, is checked with all rows, because
  // the errors of these products depend on all rows.
  void bring_all(CheckShare& share) {
    auto brought = std::make_shared<Brought>(*parts_.session);
    share.peers = &brought->peers;
    share.tensors.x = whole_x(*brought);
    if (shards_tokens(config())) {
      share.tensors.y = brought->whole(tokens_.y, share.tokens);
      LatentRows& latent = share.tensors.latent;
      for (MatView* rows : {&latent.z, &latent.r, &latent.dr}) *rows = brought->whole(*rows, share.tokens);
    }
    bring_shared_gradients(brought->peers);
    if (config().block.router_product) share.tensors.logits = whole_logits(*brought);
    share.memory = std::move(brought);
  }
  void bring_some(CheckShare& share, BroughtRows::Source source) {
    auto rows = std::make_shared<BroughtRows>(*parts_.session, std::move(source));
    share.peers = &rows->peers();
    share.tensors.x = rows->x();
    share.tensors.y = rows->y();
    bring_shared_gradients(rows->peers());
    share.rows = std::move(rows);
  }
  // Makes x from the seed, so that a process whose rows are wrong is found.
  MatView whole_x(Brought& brought) {
    const MatView x = brought.rows.emplace_back(
        Matrix::tight(config().shape.tokens, config().shape.hidden, config().shape.dtype));
    on_devices([&](Group& group, ParallelPath&) {
      fill_normal(group.team(), parts_.seed, Stream::kX, 1.0f, x);
      if (uses_others_) scale_exactly(group.team(), x, kOtherTokens);
    });
    return x;
  }
  // Returns the logits of all tokens: for this process's tokens the logits that its devices made in the step,
  // for the others the logits from before the clock.
  const float* whole_logits(Brought& brought) const {
    brought.logits = *parts_.routed.logits;
    const Range tokens = own_tokens(local_.begin);
    const int64_t num = config().shape.num_logits();
    std::copy(router_.logits() + tokens.begin * num, router_.logits() + tokens.end * num,
              brought.logits.begin() + tokens.begin * num);
    return brought.logits.data();
  }
  // Completes the shared gradients in the run's own tensors. Each device has written its part of them.
  void bring_shared_gradients(SessionPeers& peers) {
    std::vector<std::vector<ResultPart>> parts;  // [device]
    for (int r = 0; r < config().num_devices; ++r) parts.push_back(result_parts(config(), results(), r));
    for (size_t i = 0; i < parts[0].size(); ++i) {
      const std::string_view tensor = parts[0][i].tensor;
      if (!tensor.starts_with("ds") && tensor != "dwg" && !tensor.starts_with("dlatent")) continue;
      std::vector<Range> bytes_of;
      for (const std::vector<ResultPart>& of_device : parts) bytes_of.push_back(of_device[i].bytes);
      peers.bring_together(parts[0][i].whole, bytes_of);
    }
  }

  // Makes the plan and packs its rows of x before the clock starts.
  void prequeue() {
    if (!config().block.prequeue) return;
    on_devices([](Group& group, ParallelPath& path) { path.make_plan(group, nullptr); });
  }

  LentParts lent_parts() {
    return {placed_,
            parts_.weights,
            router_.is_in_step() ? &router_.routing() : &placed_routing_,
            {tokens_.x.data, tokens_.y.data, nullptr, tokens_.dx.data, dp()},
            latent_rows()};
  }

  void on_devices(FunctionRef<void(Group&, ParallelPath&)> work) {
    if (block_ != nullptr) block_->on_devices(work);
  }
  size_t local_index(const Group& group) const { return static_cast<size_t>(group.rank() - local_.begin); }

  ResultTensors results() {
    const bool backward = config().block.pass == Pass::forward_backward;
    const ExpertWeights weights = parts_.weights->views();
    return {tokens_.y,
            tokens_.dx,
            weights.routed_grad,
            weights.shared_grad,
            backward ? dp() : nullptr,
            router_.dlogits(),
            backward ? parts_.weights->router_grad.view() : WeightView{},
            weights.latent_grad};
  }

  // Returns the figures of a device of this process.
  DeviceFigures figures_of(int64_t rank) const {
    const ParallelPath& path = block_->path_of(static_cast<int>(rank));
    const DeviceFigures& counted = figures_[static_cast<size_t>(rank)];
    return {counted.traffic, path.sent_bytes(), moehill::plan_hash(path.routed_block().plan()),
            path.executed_flops()};
  }

  // The first step runs all parts. Later steps may leave parts out, and find the plan and rows of the first
  // step.
  void step_device(Group& group, ParallelPath& path, const std::vector<StageListener*>& listeners) {
    StageListener* listener = listeners.empty() ? nullptr : listeners[local_index(group)];
    if (config().block.part != StepPart::computation || !stepped_[local_index(group)]) {
      stepped_[local_index(group)] = true;
      return step_all(group, path, listener, !config().block.prequeue, config().block.ablation.stages);
    }
    MuteGroup mute(group);
    step_all(mute, path, listener, false, {});
  }

  // Makes a whole step, which is not timed. The ablated step after it finds in memory the rows and sums of
  // the stages that it leaves out.
  void step_whole() {
    on_devices([this](Group& group, ParallelPath& path) {
      step_all(group, path, nullptr, !config().block.prequeue, {});
    });
  }

  void step_all(Group& group, ParallelPath& path, StageListener* listener, bool makes_plan,
                StageSet left_out) {
    const size_t rank = static_cast<size_t>(group.rank());
    const Traffic before = group.traffic();
    if (listener != nullptr) {
      group.report_waits_to([listener](const Wait& wait) { listener->waited(wait); });
      listener->begin(group.team());
    }
    path.leave_out(left_out);
    path.begin_step(group);
    if (router_.is_in_step() && begins(listener, left_out, Stage::router)) router_.route(group, tokens_.x);
    if (makes_plan) path.make_plan(group, listener);
    // A muted group exchanges nothing, so the rows that the step before received stay where they are.
    std::optional<MuteGroup> mute;
    if (left_out.has(Stage::dispatch) && group.size() > 1) mute.emplace(group);
    Group& rows = mute ? *mute : group;
    path.forward(rows, listener);
    if (config().block.pass == Pass::forward_backward) {
      const MoeShape& shape = config().shape;
      const float dy_scale =
          static_cast<float>(2.0 / (static_cast<double>(shape.tokens) * static_cast<double>(shape.hidden)));
      path.backward(rows, dy_scale, listener);
      if (!left_out.has(Stage::router_grad)) router_.backward(rows, path, tokens_.x, dp(), listener);
    }
    if (listener != nullptr) listener->finish();
    // Devices also meet between steps, and such waits do not belong to the step.
    group.report_waits_to({});
    figures_[rank].traffic = group.traffic().since(before);
  }

  RunParts parts_;
  Range local_;  // the devices of this process
  HeldOperands held_;
  LatentMemory latent_;  // for the tokens held
  struct TokenViews {
    MatView x, y, dx;  // [T, H], of which there is memory for the tokens held
  };
  TokenViews tokens_;
  std::vector<float> dp_;  // for the tokens held
  // [T, k] 1 if the capacity kept the assignment; 1 if its row goes to another node.
  std::vector<int32_t> kept_;
  std::vector<uint8_t> far_;
  Nodes nodes_;  // of the devices
  // The config that the devices have, which counts places instead of experts.
  RunConfig placed_;
  Routing placed_routing_;
  std::vector<int32_t> place_of_;       // [E] the first place of each expert; empty without a placement
  Routing computed_;                    // with the experts that spilled assignments went to
  std::vector<DeviceFigures> figures_;  // [P] of the local devices; after collect() of all
  RunRouter router_;
  std::vector<uint8_t> stepped_;  // [local devices]
  bool uses_others_ = false;      // the operands are the other ones (use_other_operands())
  uint64_t output_hash_ = 0;
  std::unique_ptr<BlockObject> block_;  // null if this process has no device
};

}  // namespace

std::unique_ptr<Run> make_block_run(RunParts parts) { return std::make_unique<BlockRun>(std::move(parts)); }

}  // namespace moehill
