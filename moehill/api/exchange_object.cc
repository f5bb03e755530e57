// Implementation of api/exchange_object.h: a RaggedRoute between devices, and on each device a plan that puts
// received rows in the order of its experts.
#include "moehill/api/exchange_object.h"

#include <algorithm>
#include <numeric>

#include "moehill/base/partition.h"
#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// Sets row r of `out` to the gate value of its assignment times the row of its token.
template <typename T>
void scale_rows(ThreadTeam& team, const MatView& source, const RoutingPlan& plan, const float* weight,
                const MatView& out) {
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const float p = weight[plan.row_assignment[idx(r)]];
      const T* const from = source.row<T>(plan.row_token[idx(r)]);
      T* const to = out.row<T>(r);
      for (int64_t c = 0; c < out.cols; ++c) to[c] = from_f32<T>(p * to_f32(from[c]));
    }
  });
}

// Returns true if the check of the running call returned anything but 0 in some process.
bool somebody_wants(const Context& context) {
  for (int r = 0; r < context.num_processes(); ++r) {
    if (context.value_of(r) != 0) return true;
  }
  return false;
}

}  // namespace

// Device is one device's part: the route, and the plan of the rows that it receives.
struct ExchangeObject::Device {
  Device(const RunConfig& config, const Routing& routing, int rank)
      : route(config, routing, rank),
        share(block_share(config, rank)),
        builder({config.shape.tokens,
                 config.shape.experts + 1,
                 config.shape.topk,
                 share.expert_begin,
                 share.expert_end,
                 PackStrategy::counting_sort,
                 {},
                 PlanScope::local,
                 config.threads_per_device}),
        plan(builder.make_plan()),
        max_sent(RaggedRoute::max_sent(config, rank)),
        dp(idx(config.shape.assignments())),
        returned_dp(idx(max_sent * config.shape.topk)) {}

  // Allocates the rows that travel, in memory through which devices exchange, so that sending needs no copy.
  void prepare(const MoeShape& shape, Group& group) {
    const auto make = [&](int64_t rows) {
      const MatView view{nullptr, shape.dtype, rows, shape.hidden, shape.hidden};
      memory.push_back(group.exchange_memory(idx(rows * shape.hidden) * dtype_bytes(shape.dtype)));
      return MatView{memory.back().get(), view.dtype, view.rows, view.cols, view.stride};
    };
    sent = make(max_sent);
    received = make(shape.tokens);
  }

  // Decides which rows this device sends and receives, and sorts the received rows by its experts.
  void make_plan(Group& group) {
    route.make(group);
    builder.build(route.received(), group.team(), plan);
  }

  size_t row_bytes() const { return idx(sent.cols) * dtype_bytes(sent.dtype); }

  // Sends the rows of own tokens to `received` on the devices of their experts.
  void send(Group& group, const MatView& own) {
    gather_rows(group.team(), {own, route.sent_token()}, sent.slice_rows(0, route.num_sent()));
    group.all_to_all(sent.data, route.send_offsets(), received.data, route.receive_offsets(), row_bytes());
  }

  // Sums `rows` over the experts on this device, sends the sums back, and sums the returned rows over
  // devices.
  void sum(Group& group, const MatView& rows, const float* weight, const MatView& out) {
    const MatView partial = received.slice_rows(0, route.num_received());
    combine_rows(group.team(), {rows, plan.assignment_row.data(), weight, plan.topk}, partial);
    group.all_to_all(received.data, route.receive_offsets(), sent.data, route.send_offsets(), row_bytes());
    combine_rows(group.team(),
                 {sent.slice_rows(0, route.num_sent()), route.row_at_device(), nullptr, group.size()}, out);
  }

  // Computes <dy, row> for each choice and brings it back to the token's device: d_gates [own tokens, k];
  // null: not wanted here.
  void return_dots(Group& group, const MatView& rows, float* d_gates) {
    std::fill_n(dp.begin(), route.num_received() * plan.topk, 0.0f);
    row_dots(group.team(), {rows, received, plan.row_token.data(), plan.row_assignment.data(), 1}, rows.rows,
             dp.data());
    group.all_to_all(dp.data(), route.receive_offsets(), returned_dp.data(), route.send_offsets(),
                     idx(plan.topk) * sizeof(float));
    // The results came back in the order of the sent rows. A choice finds its result by the device of its
    // expert.
    const OwnAssignments& own = route.own();
    for (int64_t i = 0; i < own.size() && d_gates != nullptr; ++i) {
      d_gates[i] = 0;
      if (!own.kept(i)) continue;
      const int64_t row =
          route.row_at_device()[i / plan.topk * group.size() + route.device_of(own.expert(i))];
      d_gates[i] = returned_dp[idx(row * plan.topk + i % plan.topk)];
    }
  }

  RaggedRoute route;
  BlockShare share;
  PlanBuilder builder;
  RoutingPlan plan;
  int64_t max_sent;
  int64_t first_row = 0;  // where its rows begin among the rows of the process
  std::vector<std::shared_ptr<void>> memory;
  MatView sent{}, received{};
  std::vector<float> dp, returned_dp;  // [received, k], [sent, k]
};

ExchangeObject::ExchangeObject(std::shared_ptr<Context> context, const moehill_block_desc* given)
    : context_(std::move(context)) {
  const auto check = [&] {
    const moehill_block_desc desc = complete_for_exchange(given);
    allocate(desc);
    return fingerprint(desc);
  };
  context_->collective({.entry = Entry::create_exchange,
                        .check = check,
                        .agreed = [&] { require_equal_values(*context_, "the exchange's description"); },
                        .on_device = [&](Group& group) { device_of(group).prepare(config_.shape, group); },
                        .done = [&] { number_ = context_->number_object(); }});
}

void ExchangeObject::allocate(const moehill_block_desc& desc) {
  config_ = run_config(desc, *context_);
  // A single device also takes this path, so that there is one implementation.
  config_.spread = Spread::ragged_a2a;
  tokens_.max = desc.max_tokens;
  tokens_.offsets = even_offsets(config_.shape.tokens, config_.num_devices);
  routing_ = {config_.shape.tokens, desc.experts, desc.topk, {}, {}};
  routing_.expert.resize(idx(config_.shape.assignments()));
  routing_.weight.resize(routing_.expert.size());
  const Range devices = context_->local_devices();
  for (int64_t d = devices.begin; d < devices.end; ++d)
    devices_.push_back(std::make_shared<Device>(config_, routing_, static_cast<int>(d)));
  experts_ = {devices_.front()->share.expert_begin, devices_.back()->share.expert_end};
}

ExchangeObject::Device& ExchangeObject::device_of(const Group& group) {
  return *devices_[idx(group.rank() - context_->local_devices().begin)];
}

// Returns the rows of the tokens of this device in the caller's tensor.
MatView ExchangeObject::tokens_view(const void* data, const Group& group) const {
  const MoeShape& shape = config_.shape;
  const MatView all{const_cast<void*>(data), shape.dtype, tokens_.own, shape.hidden, shape.hidden};
  const int64_t first = tokens_.offsets[idx(group.rank())] - tokens_.first;
  return all.slice_rows(first, tokens_.offsets[idx(group.rank()) + 1] - tokens_.first);
}

// Returns the rows of the experts of this device in the caller's tensor.
MatView ExchangeObject::rows_view(const void* data, const Device& device) const {
  const MoeShape& shape = config_.shape;
  const MatView all{const_cast<void*>(data), shape.dtype, num_rows_, shape.hidden, shape.hidden};
  return all.slice_rows(device.first_row, device.first_row + device.plan.num_rows());
}

void ExchangeObject::plan(const OwnRouting& own, int64_t* num_rows, int64_t* offsets) {
  const auto check = [&] {
    is_planned_ = false;
    require_legal(own, config_.shape, tokens_.max);
    require_memory({}, {{"num_rows", num_rows, 1, sizeof(int64_t)},
                        {"offsets", offsets, offsets == nullptr ? 0 : experts_.size() + 1, sizeof(int64_t)}});
    return own.tokens;
  };
  const auto agreed = [&] {
    take_token_counts(*context_, own.tokens, false, tokens_);
    take_routing(own, tokens_, routing_);
  };
  context_->collective({.entry = Entry::exchange_plan,
                        .object = number_,
                        .check = check,
                        .agreed = agreed,
                        .on_device =
                            [&](Group& group) {
                              device_of(group).route.bind(routing_, tokens_.offsets);
                              device_of(group).make_plan(group);
                            },
                        .done =
                            [&] {
                              take_rows(offsets);
                              *num_rows = num_rows_;
                            }});
}

// Sets where the rows of each device and expert begin among the rows of the process.
void ExchangeObject::take_rows(int64_t* offsets) {
  num_rows_ = 0;
  for (const std::shared_ptr<Device>& device : devices_) {
    device->first_row = num_rows_;
    const int64_t first = device->share.expert_begin - experts_.begin;
    const int64_t count = device->share.expert_end - device->share.expert_begin;
    for (int64_t e = 0; e < count && offsets != nullptr; ++e)
      offsets[first + e] = num_rows_ + device->plan.group_offset[idx(e)];
    num_rows_ += device->plan.num_rows();
  }
  if (offsets != nullptr) offsets[experts_.size()] = num_rows_;
  is_planned_ = true;
}

NamedTensor ExchangeObject::tensor(const char* name, const void* data, int64_t rows) const {
  return {name, data, rows * config_.shape.hidden, dtype_bytes(config_.shape.dtype)};
}

// Runs one step of the exchange: checks order and memory, then works on each device.
void ExchangeObject::call(Entry entry, FunctionRef<int64_t()> check_tensors,
                          FunctionRef<void(Group&, Device&)> on_device) {
  const auto check = [&] {
    if (!is_planned_) {
      throw Failure(MOEHILL_WRONG_ORDER,
                    "exchange: got no plan since the last error, allowed: after a plan; call "
                    "moehill_exchange_plan first");
    }
    return check_tensors();
  };
  context_->collective({.entry = entry, .object = number_, .check = check, .on_device = [&](Group& group) {
                          on_device(group, device_of(group));
                        }});
}

void ExchangeObject::dispatch(const void* x, void* rows) {
  const auto check_tensors = [&] {
    require_memory({tensor("x", x, tokens_.own)}, {tensor("rows", rows, num_rows_)});
    return int64_t{0};
  };
  call(Entry::dispatch, check_tensors,
       // A row travels once to each device, which copies it for each of its experts that the token chose.
       [&](Group& group, Device& device) {
         device.send(group, tokens_view(x, group));
         gather_rows(group.team(), {device.received, device.plan.row_token.data()}, rows_view(rows, device));
       });
}

void ExchangeObject::combine(const void* rows, void* y) {
  const auto check_tensors = [&] {
    require_memory({tensor("rows", rows, num_rows_)}, {tensor("y", y, tokens_.own)});
    return int64_t{0};
  };
  call(Entry::combine, check_tensors, [&](Group& group, Device& device) {
    device.sum(group, rows_view(rows, device), device.route.received().weight.data(), tokens_view(y, group));
  });
}

void ExchangeObject::combine_backward(const void* dy, const void* rows, void* d_rows, float* d_gates) {
  const auto check_tensors = [&] {
    const int64_t choices = d_gates == nullptr ? 0 : tokens_.own * config_.shape.topk;
    require_memory({tensor("dy", dy, tokens_.own), tensor("rows", rows, num_rows_)},
                   {tensor("d_rows", d_rows, num_rows_), {"d_gates", d_gates, choices, sizeof(float)}});
    return int64_t{d_gates != nullptr};
  };
  call(Entry::combine_backward, check_tensors,
       // d_row = gate * dy and d_gate = <dy, row>. So dy travels to the experts, as x does in dispatch.
       [&](Group& group, Device& device) {
         device.send(group, tokens_view(dy, group));
         const MatView out = rows_view(d_rows, device);
         const float* const weight = device.route.received().weight.data();
         // A process without tokens may pass null. It takes part nevertheless if another wants the gradients.
         if (somebody_wants(*context_)) {
           const int64_t first = tokens_.offsets[idx(group.rank())] - tokens_.first;
           device.return_dots(group, rows_view(rows, device),
                              d_gates == nullptr ? nullptr : d_gates + first * device.plan.topk);
         }
         const auto scale = out.dtype == DType::f32 ? scale_rows<float> : scale_rows<bf16>;
         scale(group.team(), device.received, device.plan, weight, out);
       });
}

void ExchangeObject::dispatch_backward(const void* d_rows, void* dx) {
  const auto check_tensors = [&] {
    require_memory({tensor("d_rows", d_rows, num_rows_)}, {tensor("dx", dx, tokens_.own)});
    return int64_t{0};
  };
  call(Entry::dispatch_backward, check_tensors,
       // The gradients of the copies of a row add up, as their results do in combine, but without gate
       // values.
       [&](Group& group, Device& device) {
         device.sum(group, rows_view(d_rows, device), nullptr, tokens_view(dx, group));
       });
}

}  // namespace moehill
