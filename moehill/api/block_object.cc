// Implementation of api/block_object.h. Each entry is a Context::Call: `check` looks at this process's
// arguments, `agreed` looks at the values of all processes, and only then the devices work.
#include "moehill/api/block_object.h"

#include <algorithm>

#include "moehill/api/expert_weights.h"
#include "moehill/api/suggest.h"
#include "moehill/base/error.h"
#include "moehill/parallel/result_parts.h"

namespace moehill {

BlockObject::BlockObject(std::shared_ptr<Context> context, const moehill_block_desc* given)
    : context_(std::move(context)) {
  const auto check = [&] {
    moehill_block_desc desc = complete(given);
    if (desc.path == MOEHILL_PATH_AUTO) desc.path = suggest(*context_, desc, desc.max_tokens, nullptr).path;
    allocate(desc);
    return fingerprint(desc);
  };
  context_->collective({.entry = Entry::create_block,
                        .check = check,
                        .agreed = [&] { require_equal_values(*context_, "the block's description"); },
                        .on_device = [&](Group& group) { path_of(group).prepare(group); },
                        .done = [&] { number_ = context_->number_object(); }});
}

BlockObject::BlockObject(std::shared_ptr<Context> context, const LentParts& lent)
    : context_(std::move(context)),
      config_(lent.config),
      weights_(lent.weights),
      latent_(lent.latent),
      routing_(lent.routing) {
  tokens_.max = tokens_.own = config_.shape.tokens;
  make_paths(lent.memory);
  on_devices([](Group& group, ParallelPath& path) { path.prepare(group); });
}

Range BlockObject::experts_of(int device) const {
  const BlockShare share = block_share(config_, device);
  return {share.expert_begin, share.expert_end};
}

void BlockObject::allocate(const moehill_block_desc& desc) {
  config_ = run_config(desc, *context_);
  const Range devices = context_->local_devices();
  // Neighbouring devices have neighbouring experts, so the experts of this process are one range.
  local_experts_ = {experts_of(static_cast<int>(devices.begin)).begin,
                    experts_of(static_cast<int>(devices.end) - 1).end};
  // Weights are allocated for the experts of this process only; gradients only if the block trains.
  weights_ = make_weights(weight_key(config_), local_experts_, trains());
  tokens_.max = desc.max_tokens;
  latent_memory_ = LatentMemory(config_, {0, tokens_.max});
  if (trains()) d_gates_.resize(static_cast<size_t>(tokens_.max * desc.topk));
  // The routing has room for the most tokens of all processes; a plan fills the part of its step.
  own_routing_ = {config_.shape.tokens, desc.experts, desc.topk, {}, {}};
  own_routing_.expert.resize(static_cast<size_t>(config_.shape.assignments()));
  own_routing_.weight.resize(own_routing_.expert.size());
  own_routing_.num_zero_experts = desc.zero_experts;
  // Zero experts have ids behind the real ones, and the routing keeps them in an array of their own.
  if (desc.zero_experts > 0) own_routing_.zero.resize(own_routing_.expert.size());
  make_paths({});
}

void BlockObject::make_paths(const PassMemory& memory) {
  tokens_.offsets = even_offsets(config_.shape.tokens, config_.num_devices);
  // One path for each device of this process; a path holds the work space of its device.
  const Range devices = context_->local_devices();
  for (int64_t d = devices.begin; d < devices.end; ++d)
    paths_.push_back(make_path(inputs(static_cast<int>(d), memory)));
}

void BlockObject::on_devices(FunctionRef<void(Group&, ParallelPath&)> work) {
  context_->on_devices([&](Group& group) { work(group, path_of(group)); });
}

// Returns the path of a device of this process. `device` counts over all processes.
const ParallelPath& BlockObject::path_of(int device) const {
  return *paths_[static_cast<size_t>(device - context_->local_devices().begin)];
}

ParallelPath& BlockObject::path_of(const Group& group) {
  return *paths_[static_cast<size_t>(group.rank() - context_->local_devices().begin)];
}

// Paths number tokens over all processes. The caller has only this process's rows, so the views are shifted
// to begin `first` rows earlier.
PathInputs BlockObject::inputs(int device, const PassMemory& memory) {
  const MoeShape& shape = config_.shape;
  const auto view = [&](const void* data) {
    const int64_t row_bytes = shape.hidden * static_cast<int64_t>(dtype_bytes(shape.dtype));
    return MatView{before(data, tokens_.first, row_bytes), shape.dtype, tokens_.offsets.back(), shape.hidden,
                   shape.hidden};
  };
  PathInputs inputs;
  inputs.config = config_;
  inputs.rank = device;
  inputs.own_results = context_->spans_processes();
  inputs.token_offsets = tokens_.offsets;
  inputs.routing = routing_;
  inputs.x = view(memory.x);
  inputs.y = view(memory.y);
  inputs.dy = view(memory.dy);
  inputs.dx = view(memory.dx);
  float* const d_gates = memory.d_gates != nullptr ? memory.d_gates : d_gates_.data();
  inputs.dp = static_cast<float*>(before(d_gates, tokens_.first * shape.topk, sizeof(float)));
  inputs.latent = latent_ ? *latent_ : latent_memory_.views(tokens_.offsets.back(), tokens_.first);
  inputs.weights = weights_->views();
  return inputs;
}

void BlockObject::plan(const OwnRouting& own) {
  const bool is_replicated = replicates_tokens(config_, *context_);
  const auto check = [&] {
    // A new plan invalidates the forward of the last one, even if the call fails.
    state_ = State::unplanned;
    require_legal(own, config_.shape, tokens_.max);
    return is_replicated ? fingerprint(own, config_.shape.topk) : own.tokens;
  };
  const auto agreed = [&] {
    // Only now every process knows all numbers of tokens, from which it learns where its own tokens begin.
    take_token_counts(*context_, own.tokens, is_replicated, tokens_);
    take_routing(own, tokens_, own_routing_);
  };
  // A plan binds no rows yet: x and y are given to forward().
  context_->collective({.entry = Entry::plan,
                        .object = number_,
                        .check = check,
                        .agreed = agreed,
                        .on_device =
                            [&](Group& group) {
                              ParallelPath& path = path_of(group);
                              path.bind(inputs(group.rank(), {}));
                              path.begin_step(group);
                              path.make_plan(group, nullptr);
                            },
                        .done = [&] { state_ = State::planned; }});
}

NamedTensor BlockObject::rows(const char* name, const void* data) const {
  return {name, data, tokens_.own * config_.shape.hidden, dtype_bytes(config_.shape.dtype)};
}

void BlockObject::forward(const void* x, void* y) {
  const auto check = [&] {
    if (state_ == State::unplanned)
      // A backward needs the rows of a forward, and a forward needs a plan; the state keeps the order.
      throw Failure(MOEHILL_WRONG_ORDER,
                    "forward: got no plan since the last error, allowed: after a plan; "
                    "call moehill_block_plan first");
    require_memory({rows("x", x)}, {rows("y", y)});
    return int64_t{0};
  };
  context_->collective({.entry = Entry::forward,
                        .object = number_,
                        .check = check,
                        .agreed = [&] { state_ = State::planned; },
                        .on_device =
                            [&](Group& group) {
                              ParallelPath& path = path_of(group);
                              path.bind(inputs(group.rank(), {.x = x, .y = y}));
                              path.forward(group, nullptr);
                            },
                        .done = [&] { state_ = State::forwarded; }});
}

void BlockObject::backward(const void* x, const void* dy, void* dx, float* d_gates) {
  const auto check = [&] {
    // Gradients exist only in blocks that were made for training.
    if (!trains()) {
      throw Failure(
          MOEHILL_WRONG_ORDER,
          "backward: got a block made for forward alone, allowed: one with training = 1; make such a "
          "block");
    }
    if (state_ != State::forwarded) {
      throw Failure(
          MOEHILL_WRONG_ORDER,
          "backward: got no forward since the last plan, load of weights or backward, allowed: once after "
          "a forward with the same weights; call moehill_block_forward first");
    }
    const int64_t choices = d_gates == nullptr ? 0 : tokens_.own * config_.shape.topk;
    require_memory({rows("x", x), rows("dy", dy)},
                   {rows("dx", dx), {"d_gates", d_gates, choices, sizeof(float)}});
    return int64_t{0};
  };
  const auto agreed = [&] {
    // After an error in the middle there are neither rows of a forward nor gradients.
    state_ = State::planned;
    has_gradients_ = false;
  };
  context_->collective({.entry = Entry::backward,
                        .object = number_,
                        .check = check,
                        .agreed = agreed,
                        .on_device =
                            [&](Group& group) {
                              ParallelPath& path = path_of(group);
                              path.bind(inputs(group.rank(), {x, nullptr, dy, dx, d_gates}));
                              // dy comes from the caller, so it is not scaled.
                              path.backward(group, 1.0f, nullptr);
                            },
                        .done = [&] { has_gradients_ = true; }});
}

moehill_block_info BlockObject::info() const {
  moehill_block_info info{};
  info.path = moehill::path_of(config_.spread);
  info.tokens_are_replicated = replicates_tokens(config_, *context_) ? 1 : 0;
  info.first_expert = static_cast<int32_t>(local_experts_.begin);
  info.num_experts = static_cast<int32_t>(local_experts_.size());
  const WeightOperands& w = *weights_;
  // Only memory that this process really holds is counted; views of other processes' weights have no bytes.
  info.weight_bytes = static_cast<int64_t>(stored_bytes(w.experts.view) + stored_bytes(w.shared.view) +
                                           stored_bytes(w.latent.view()));
  info.gradient_bytes =
      static_cast<int64_t>(stored_bytes(w.experts_grad.view) + stored_bytes(w.shared_grad.view) +
                           stored_bytes(w.latent_grad.view()));
  const Range devices = context_->local_devices();
  for (int64_t d = devices.begin; d < devices.end; ++d)
    info.work_bytes += work_bytes(config_, static_cast<int>(d), context_->num_processes());
  return info;
}

// Throws unless this process holds experts [first, first + count).
void BlockObject::require_experts(int first, int count) const {
  const Range own = local_experts_;
  if (count >= 0 && first >= own.begin && int64_t{first} + count <= own.end) return;
  throw invalid("experts", fmt::format("{} from {} on", count, first),
                own.size() > 0 ? fmt::format("those of this process, {} to {}", own.begin, own.end - 1)
                               : fmt::format("0 from {} on, since this process has no experts", own.begin),
                "ask moehill_block_get_info for them");
}

// Each device writes its own experts, so that their pages lie on its memory node.
void BlockObject::load_experts(int first, int count, const moehill_weights* weights) {
  require_experts(first, count);
  const HostExperts host(weights, HostExperts::routed(config_.shape, count));
  context_->local([&](int device, ThreadTeam& team) {
    if (device == context_->local_devices().begin) forget_forward();
    // This device writes the loaded experts that it holds.
    const Range own = is_first_to_hold(device) ? experts_of(device) : Range{};
    const int64_t begin = std::max<int64_t>(first, own.begin),
                  end = std::min<int64_t>(first + count, own.end);
    if (begin >= end) return;
    host.load(team, begin - first,
              weights_->experts.view.slice_groups(begin - local_experts_.begin, end - local_experts_.begin));
  });
}

// After a load, the rows that forward kept do not belong to the weights any more, so backward needs a new
// forward.
void BlockObject::forget_forward() {
  if (state_ == State::forwarded) state_ = State::planned;
}

// If all devices have all experts, they read the same memory, so only the first device fills it.
bool BlockObject::is_first_to_hold(int device) const {
  return is_ep(config_.spread) || device == context_->local_devices().begin;
}

void BlockObject::require_shared() const {
  if (config_.shape.shared_dim > 0 || config_.shape.form.latent > 0) return;
  throw invalid("the shared expert", "a block without", "one with shared_dim or latent_dim above 0",
                "leave it out");
}

void BlockObject::load_shared(const moehill_weights* weights) {
  require_shared();
  const HostExperts host(weights, HostExperts::shared(config_.shape));
  context_->on_first([&](ThreadTeam& team) {
    forget_forward();
    host.load(team, 0, weights_->shared.view, weights_->latent.view());
  });
}

// Copies `count` experts, weights or gradients, from this process's stack to the caller's memory.
void BlockObject::store(const MlpWeights& from, int first, int count, const moehill_gradients* to) {
  require_experts(first, count);
  const HostExperts host(to, HostExperts::routed(config_.shape, count));
  const int64_t begin = first - local_experts_.begin;
  context_->on_first([&](ThreadTeam& team) {
    if (&from == &weights_->experts_grad.view) require_gradients();
    host.store(team, 0, from.slice_groups(begin, begin + count));
  });
}

void BlockObject::store_experts(int first, int count, const moehill_gradients* weights) {
  store(weights_->experts.view, first, count, weights);
}

void BlockObject::require_gradients() const {
  if (has_gradients_) return;
  throw Failure(MOEHILL_WRONG_ORDER,
                "gradients: got no backward that went well, allowed: after one; call moehill_block_backward "
                "first");
}

void BlockObject::store_expert_gradients(int first, int count, const moehill_gradients* gradients) {
  store(weights_->experts_grad.view, first, count, gradients);
}

// Each process has the sum of a range of elements, and this function brings the ranges together. Devices of
// one process write to the same tensors, so there it has nothing to do.
void BlockObject::gather_shared_gradients(Group& group) {
  if (!context_->spans_processes() || !shards_shared_gradient(config_)) return;
  const LatentWeights latent = weights_->latent_grad.view();
  std::vector<const WeightView*> stacks;
  for (const WeightView* stack : weights_->shared_grad.view.parts()) stacks.push_back(stack);
  for (const WeightView* stack : latent.parts()) stacks.push_back(stack);
  for (const WeightView* stack : stacks) {
    if (stack->data == nullptr) continue;
    const std::vector<int64_t> offsets = even_offsets(stack->group_elements(), group.size());
    const size_t element = dtype_bytes(stack->dtype);
    char* const data = static_cast<char*>(stack->data);
    group.all_gather(data + static_cast<size_t>(offsets[static_cast<size_t>(group.rank())]) * element,
                     offsets, element, data);
  }
}

void BlockObject::store_shared_gradients(const moehill_gradients* gradients) {
  std::optional<HostExperts> host;
  const auto check = [&] {
    require_shared();
    require_gradients();
    host.emplace(gradients, HostExperts::shared(config_.shape));
    return int64_t{0};
  };
  // Each process stores only for itself, but the gathering needs all processes, so the call is collective.
  context_->collective(
      {.entry = Entry::store_shared, .object = number_, .check = check, .on_device = [&](Group& group) {
         gather_shared_gradients(group);
         if (group.rank() == context_->local_devices().begin)
           host->store(group.team(), 0, weights_->shared_grad.view, weights_->latent_grad.view());
       }});
}

}  // namespace moehill
