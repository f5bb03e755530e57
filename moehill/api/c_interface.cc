// The functions of include/moehill/moehill.h: handles around the objects of this room, and exceptions turned
// into statuses. No exception leaves this file.
#include "moehill/api/block_object.h"
#include "moehill/api/exchange_object.h"
#include "moehill/api/router_object.h"
#include "moehill/api/sized_struct.h"
#include "moehill/api/stack_object.h"
#include "moehill/api/suggest.h"

using moehill::guard;
using moehill::null_argument;

// A handle owns its object and shares the context, so the context lives until its last object is destroyed.
struct moehill_context {
  std::shared_ptr<moehill::Context> context;
};
struct moehill_block {
  std::shared_ptr<moehill::Context> context;
  moehill::BlockObject object;
};
struct moehill_router {
  std::shared_ptr<moehill::Context> context;
  moehill::RouterObject object;
};
struct moehill_exchange {
  std::shared_ptr<moehill::Context> context;
  moehill::ExchangeObject object;
};
struct moehill_stack {
  std::shared_ptr<moehill::Context> context;
  moehill::StackObject object;
};

namespace {

// Returns the object behind a handle. Throws for a null pointer.
template <typename Handle>
Handle& require(Handle* handle, const char* what) {
  if (handle == nullptr) throw null_argument(what);
  return *handle;
}

moehill::BlockObject& block_of(moehill_block* block) { return require(block, "the block").object; }

moehill::RouterObject& router_of(moehill_router* router) { return require(router, "the router").object; }

moehill::ExchangeObject& exchange_of(moehill_exchange* exchange) {
  return require(exchange, "the exchange").object;
}

// Returns the options with defaults for members that the caller's version of the struct does not have.
moehill_context_options complete(const moehill_context_options* options) {
  moehill_context_options full;
  moehill_context_options_init(&full);
  if (options == nullptr) return full;
  return moehill::over_defaults(options, full, "the context's options",
                                offsetof(moehill_context_options, mpi_comm), "moehill_context_options_init");
}

moehill_rows complete(const moehill_rows* rows, const char* what) {
  return moehill::over_defaults(rows, {}, what, offsetof(moehill_rows, index));
}

// Makes an object and hands out its handle, which is null after an error.
template <typename Handle, typename Make>
moehill_status make_handle(Handle** out, const Make& make) {
  return guard([&] {
    if (out == nullptr) throw null_argument("the place for the handle");
    *out = nullptr;
    *out = make();
  });
}

// A forked child has none of the threads that its parent's objects would wait for, and no place in the
// parent's job. So it leaves the objects alone until the process ends.
template <typename Handle>
void destroy(Handle* handle) {
  if (handle != nullptr && handle->context->is_of_this_process()) delete handle;
}

const std::shared_ptr<moehill::Context>& context_of(moehill_context* context) {
  return require(context, "the context").context;
}

}  // namespace

extern "C" {

const char* moehill_last_error(void) { return moehill::last_error(); }
const char* moehill_version(void) { return MOEHILL_VERSION; }

// The switch has no default, so that the compiler warns if a status is added without a name.
const char* moehill_status_name(int32_t status) {
  switch (status) {
    case MOEHILL_OK:
      return "ok";
    case MOEHILL_INVALID_ARGUMENT:
      return "invalid argument";
    case MOEHILL_WRONG_ORDER:
      return "wrong order";
    case MOEHILL_OUT_OF_MEMORY:
      return "out of memory";
    case MOEHILL_UNSUPPORTED:
      return "unsupported";
    case MOEHILL_PEER_FAILED:
      return "peer failed";
    case MOEHILL_FORKED:
      return "forked";
    case MOEHILL_BROKEN:
      return "broken";
    case MOEHILL_INTERNAL:
      return "internal";
  }
  return "unknown status";
}

void moehill_context_options_init_sized(moehill_context_options* options, size_t struct_size) {
  moehill_context_options defaults{};
  defaults.devices = 1;
  moehill::set_defaults(defaults, options, struct_size);
}

moehill_status moehill_context_create(const moehill_context_options* options, moehill_context** context) {
  return make_handle(
      context, [&] { return new moehill_context{std::make_shared<moehill::Context>(complete(options))}; });
}

void moehill_context_destroy(moehill_context* context) { destroy(context); }

moehill_status moehill_context_get_info(const moehill_context* context, moehill_context_info* info) {
  return guard([&] {
    const moehill::Context& c = *require(context, "the context").context;
    moehill::give(
        {0, c.num_devices(), c.threads_per_device(), c.rank(), c.num_processes(), c.is_pinned() ? 1 : 0},
        info);
  });
}

// These defaults are part of the interface: a program compiled against an older header depends on them.
void moehill_block_desc_init_sized(moehill_block_desc* desc, size_t struct_size) {
  moehill_block_desc defaults{};
  defaults.dtype = MOEHILL_BF16;
  defaults.training = 1;
  defaults.gated = 1;
  moehill::set_defaults(defaults, desc, struct_size);
}

moehill_status moehill_block_create(moehill_context* context, const moehill_block_desc* desc,
                                    moehill_block** block) {
  return make_handle(block, [&] {
    return new moehill_block{context_of(context), {context_of(context), desc}};
  });
}

void moehill_block_destroy(moehill_block* block) { destroy(block); }

moehill_status moehill_block_get_info(const moehill_block* block, moehill_block_info* info) {
  return guard([&] { moehill::give(require(block, "the block").object.info(), info); });
}

moehill_status moehill_block_load_experts(moehill_block* block, int32_t first, int32_t count,
                                          const moehill_weights* weights) {
  return guard([&] { block_of(block).load_experts(first, count, weights); });
}

moehill_status moehill_block_load_shared(moehill_block* block, const moehill_weights* weights) {
  return guard([&] { block_of(block).load_shared(weights); });
}

moehill_status moehill_block_store_experts(moehill_block* block, int32_t first, int32_t count,
                                           const moehill_gradients* weights) {
  return guard([&] { block_of(block).store_experts(first, count, weights); });
}

moehill_status moehill_block_store_expert_gradients(moehill_block* block, int32_t first, int32_t count,
                                                    const moehill_gradients* gradients) {
  return guard([&] { block_of(block).store_expert_gradients(first, count, gradients); });
}

moehill_status moehill_block_store_shared_gradients(moehill_block* block,
                                                    const moehill_gradients* gradients) {
  return guard([&] { block_of(block).store_shared_gradients(gradients); });
}

moehill_status moehill_block_plan(moehill_block* block, int64_t tokens, const int32_t* expert_ids,
                                  const float* gates) {
  return guard([&] { block_of(block).plan({tokens, expert_ids, gates}); });
}

moehill_status moehill_block_forward(moehill_block* block, const void* x, void* y) {
  return guard([&] { block_of(block).forward(x, y); });
}

moehill_status moehill_block_backward(moehill_block* block, const void* x, const void* dy, void* dx,
                                      float* d_gates) {
  return guard([&] { block_of(block).backward(x, dy, dx, d_gates); });
}

moehill_status moehill_suggest(const moehill_context* context, const moehill_block_desc* desc, int64_t tokens,
                               const char* hardware, moehill_suggestion* suggestion) {
  return guard([&] {
    const moehill::Context& c = *require(context, "the context").context;
    moehill::give(moehill::suggest(c, moehill::complete_without_path(desc), tokens, hardware), suggestion);
  });
}

void moehill_router_desc_init_sized(moehill_router_desc* desc, size_t struct_size) {
  moehill_router_desc defaults{};
  defaults.groups = defaults.kept_groups = 1;
  defaults.group_rank = 2;
  defaults.least_sum = 1e-20;
  defaults.factor = 1;
  defaults.jitter = 0.01;
  moehill::set_defaults(defaults, desc, struct_size);
}

moehill_status moehill_router_create(moehill_context* context, const moehill_router_desc* desc,
                                     moehill_router** router) {
  return make_handle(router, [&] {
    return new moehill_router{context_of(context), {context_of(context), desc}};
  });
}

void moehill_router_destroy(moehill_router* router) { destroy(router); }

moehill_status moehill_router_set_bias(moehill_router* router, const float* bias) {
  return guard([&] { router_of(router).set_bias(bias); });
}

moehill_status moehill_router_route(moehill_router* router, int64_t tokens, const float* logits,
                                    const int32_t* token_ids, int32_t* expert_ids, float* gates) {
  return guard([&] { router_of(router).route({tokens, logits, token_ids}, expert_ids, gates); });
}

moehill_status moehill_router_backward(moehill_router* router, int64_t tokens, const float* logits,
                                       const int32_t* expert_ids, const float* d_gates, float* d_logits) {
  return guard([&] { router_of(router).backward({tokens, logits, expert_ids, d_gates, d_logits}); });
}

moehill_status moehill_exchange_create(moehill_context* context, const moehill_block_desc* desc,
                                       moehill_exchange** exchange) {
  return make_handle(exchange, [&] {
    return new moehill_exchange{context_of(context), {context_of(context), desc}};
  });
}

void moehill_exchange_destroy(moehill_exchange* exchange) { destroy(exchange); }

moehill_status moehill_exchange_get_experts(const moehill_exchange* exchange, int32_t* first_expert,
                                            int32_t* num_experts) {
  return guard([&] {
    const moehill::Range experts = require(exchange, "the exchange").object.experts();
    require(first_expert, "first_expert") = static_cast<int32_t>(experts.begin);
    require(num_experts, "num_experts") = static_cast<int32_t>(experts.size());
  });
}

moehill_status moehill_exchange_plan(moehill_exchange* exchange, int64_t tokens, const int32_t* expert_ids,
                                     const float* gates, int64_t* num_rows, int64_t* offsets) {
  return guard([&] { exchange_of(exchange).plan({tokens, expert_ids, gates}, num_rows, offsets); });
}

moehill_status moehill_exchange_dispatch(moehill_exchange* exchange, const void* x, void* rows) {
  return guard([&] { exchange_of(exchange).dispatch(x, rows); });
}

moehill_status moehill_exchange_combine(moehill_exchange* exchange, const void* rows, void* y) {
  return guard([&] { exchange_of(exchange).combine(rows, y); });
}

moehill_status moehill_exchange_combine_backward(moehill_exchange* exchange, const void* dy, const void* rows,
                                                 void* d_rows, float* d_gates) {
  return guard([&] { exchange_of(exchange).combine_backward(dy, rows, d_rows, d_gates); });
}

moehill_status moehill_exchange_dispatch_backward(moehill_exchange* exchange, const void* d_rows, void* dx) {
  return guard([&] { exchange_of(exchange).dispatch_backward(d_rows, dx); });
}

moehill_status moehill_stack_create(moehill_context* context, int32_t groups, int64_t k, int64_t n,
                                    int32_t dtype, moehill_stack** stack) {
  return make_handle(stack, [&] {
    return new moehill_stack{context_of(context),
                             {context_of(context), groups, k, n, moehill::dtype_named(dtype, "dtype")}};
  });
}

void moehill_stack_destroy(moehill_stack* stack) { destroy(stack); }

moehill_status moehill_stack_load(moehill_stack* stack, int32_t first, int32_t count, const void* data,
                                  int32_t dtype, int32_t order) {
  return guard([&] { require(stack, "the stack").object.load(first, count, data, dtype, order); });
}

moehill_status moehill_stack_store(const moehill_stack* stack, int32_t first, int32_t count, void* data,
                                   int32_t dtype, int32_t order) {
  return guard([&] { require(stack, "the stack").object.store(first, count, data, dtype, order); });
}

moehill_status moehill_gemm_forward(const moehill_stack* weights, const int64_t* offsets,
                                    const moehill_rows* a, void* c) {
  return guard([&] { require(weights, "weights").object.forward(offsets, complete(a, "a"), c); });
}

moehill_status moehill_gemm_input_grad(const moehill_stack* weights, const int64_t* offsets,
                                       const moehill_rows* dc, void* da) {
  return guard([&] { require(weights, "weights").object.input_grad(offsets, complete(dc, "dc"), da); });
}

moehill_status moehill_gemm_weight_grad(moehill_stack* gradient, const int64_t* offsets,
                                        const moehill_rows* a, const moehill_rows* dc) {
  return guard([&] {
    require(gradient, "gradient").object.weight_grad(offsets, complete(a, "a"), complete(dc, "dc"));
  });
}

}  // extern "C"
