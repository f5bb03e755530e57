// moehill in C++20: a Mixture-of-Experts block on the cores of one process or of an MPI job. This header is
// inline code over the C interface (moehill.h). It adds two things: objects free themselves, and errors are
// exceptions. It computes nothing itself. moehill.h documents shapes, memory, threads and MPI, at the
// function of the same name.
//
//   moehill::Context context({.devices = 2});
//   moehill::Block block(context, {.hidden = 2048, .mlp_dim = 1408, .experts = 60, .topk = 4,
//                                  .max_tokens = 512});
//   block.load_experts(0, 60, {.gate_up = w13, .down = w2, .dtype = moehill::DType::f32});
//   block.plan(tokens, ids, gates);
//   block.forward(x, y);
//   block.backward(x, dy, dx, d_gates);
//   block.store_expert_gradients(0, 60, {.gate_up = dw13, .down = dw2});
//
// Objects can be moved but not copied. An object that was moved from may only be destroyed or assigned to.
// Pointers are to the caller's memory, and the library does not use it after the call. Over MPI, destroying
// the last object of a context is collective.
#ifndef MOEHILL_MOEHILL_HPP
#define MOEHILL_MOEHILL_HPP

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "moehill/moehill.h"

namespace moehill {
// The library has names of its own in the namespace moehill. This inner namespace keeps the names of the
// interface apart from them.
inline namespace v0 {

// Status is the kind of an error: moehill_status without MOEHILL_OK.
enum class Status {
  invalid_argument = MOEHILL_INVALID_ARGUMENT,
  wrong_order = MOEHILL_WRONG_ORDER,
  out_of_memory = MOEHILL_OUT_OF_MEMORY,
  unsupported = MOEHILL_UNSUPPORTED,
  peer_failed = MOEHILL_PEER_FAILED,
  forked = MOEHILL_FORKED,
  broken = MOEHILL_BROKEN,
  internal = MOEHILL_INTERNAL
};

// Every call that fails throws an Error. Its what() says what was wrong, what is allowed, and a remedy.
//
//   try {
//     block.plan(tokens, ids, gates);
//   } catch (const moehill::Error& error) {
//     if (error.status() == moehill::Status::broken) throw;   // the context cannot be used any more
//     std::fputs(error.what(), stderr);
//   }
class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message) : std::runtime_error(message), status_(status) {}
  Status status() const { return status_; }

 private:
  Status status_;
};

// Throws an Error if a call of the C interface failed in this thread.
inline void require(moehill_status status) {
  if (status != MOEHILL_OK) throw Error(static_cast<Status>(status), moehill_last_error());
}

// The values of these enums are explained in moehill.h, at the enum that the comment names.
//
// DType is the type of x, y, their gradients and the weights (moehill_dtype).
enum class DType { f32 = MOEHILL_F32, bf16 = MOEHILL_BF16 };
// Pinning says whether threads stay on cores of their own (moehill_pinning).
enum class Pinning { off = MOEHILL_PINNING_OFF, cores = MOEHILL_PINNING_CORES };
// Order is the layout of weights in the caller's memory (moehill_order).
enum class Order { out_in = MOEHILL_OUT_IN, in_out = MOEHILL_IN_OUT };
// Path is the way in which the block is spread over devices (moehill_path).
enum class Path {
  automatic = MOEHILL_PATH_AUTO,
  data_parallel = MOEHILL_PATH_DATA_PARALLEL,
  compact_psum = MOEHILL_PATH_COMPACT_PSUM,
  dense_masked = MOEHILL_PATH_DENSE_MASKED,
  ring_ag_rs = MOEHILL_PATH_RING_AG_RS,
  ragged_a2a = MOEHILL_PATH_RAGGED_A2A,
  fused = MOEHILL_PATH_FUSED,
  hierarchical = MOEHILL_PATH_HIERARCHICAL
};
// Recompute is what backward computes again to save memory (moehill_recompute).
enum class Recompute {
  none = MOEHILL_RECOMPUTE_NONE,
  combine = MOEHILL_RECOMPUTE_COMBINE,
  expert_mlp = MOEHILL_RECOMPUTE_EXPERT_MLP
};

// Activation makes the operand of W2 from the first products (moehill_activation).
enum class Activation {
  silu = MOEHILL_SILU,
  swiglu_oai = MOEHILL_SWIGLU_OAI,
  gelu_tanh = MOEHILL_GELU_TANH,
  relu2 = MOEHILL_RELU2,
  situ = MOEHILL_SITU
};
// Score makes gate values from logits (moehill_score).
enum class Score {
  chosen_softmax = MOEHILL_SCORE_CHOSEN_SOFTMAX,
  softmax = MOEHILL_SCORE_SOFTMAX,
  sigmoid = MOEHILL_SCORE_SIGMOID,
  sqrt_softplus = MOEHILL_SCORE_SQRT_SOFTPLUS,
  sparsemixer = MOEHILL_SCORE_SPARSEMIXER
};

// ContextOptions says which threads a context makes; see moehill_context_options. The communicator of an MPI
// job is not among them: Context::mpi() takes it.
//
//   moehill::Context context({.devices = 2, .threads_per_device = 4, .pinning = moehill::Pinning::cores});
struct ContextOptions {
  int devices = 1;
  int threads_per_device = 0;  // 0: the cores of this process are divided
  Pinning pinning = Pinning::off;

  // Returns options with which no thread is made: the thread that calls does all the work.
  static ContextOptions callers_thread() { return {1, 1, Pinning::off}; }
};

// Destroyer lets a unique_ptr free a handle of the C interface.
template <auto destroy>
struct Destroyer {
  template <typename Handle>
  void operator()(Handle* handle) const {
    destroy(handle);
  }
};

// Context owns the threads on which blocks, routers, exchanges and stacks work. These objects keep the
// threads alive, so the Context may be destroyed before them. Calls on objects of one context wait for each
// other.
//
//   moehill::Context context({.devices = 2, .threads_per_device = 4});
//   moehill::Context over_mpi = moehill::Context::mpi(MPI_COMM_WORLD);
class Context {
 public:
  explicit Context(const ContextOptions& options = {}) : Context(options, nullptr, 0) {}
  // Makes a context with one device in each process of `comm`, an MPI_Comm of the MPI that moehill was built
  // with. Collective.
  template <typename MpiComm>
  static Context mpi(const MpiComm& comm, const ContextOptions& options = {}) {
    return Context(options, &comm, sizeof comm);
  }

  int num_devices() const { return info().devices; }
  int threads_per_device() const { return info().threads_per_device; }
  int rank() const { return info().rank; }
  int num_processes() const { return info().processes; }
  bool is_pinned() const { return info().is_pinned != 0; }
  moehill_context* handle() const { return handle_.get(); }

 private:
  Context(const ContextOptions& options, const void* comm, size_t comm_size) {
    moehill_context_options o;
    // The function without _sized is static, so an inline C++ function may not call it.
    moehill_context_options_init_sized(&o, sizeof o);
    o.devices = options.devices;
    o.threads_per_device = options.threads_per_device;
    o.pinning = static_cast<int32_t>(options.pinning);
    o.mpi_comm = comm;
    o.mpi_comm_size = comm_size;
    moehill_context* made = nullptr;
    require(moehill_context_create(&o, &made));
    handle_.reset(made);
  }
  moehill_context_info info() const {
    moehill_context_info info{};
    info.struct_size = sizeof info;
    require(moehill_context_get_info(handle_.get(), &info));
    return info;
  }
  std::unique_ptr<moehill_context, Destroyer<moehill_context_destroy>> handle_;
};

// BlockDesc describes a block: its sizes, and the form of its experts. It does not describe the router, which
// is RouterDesc. moehill_block_desc explains each member.
//
//   moehill::BlockDesc desc{.hidden = 2880, .mlp_dim = 2880, .experts = 32, .topk = 4, .max_tokens = 512};
//   desc.activation = moehill::Activation::swiglu_oai;   // gpt-oss
//   desc.limit = 7;
struct BlockDesc {
  int64_t hidden = 0;      // H
  int64_t mlp_dim = 0;     // M
  int experts = 0;         // E
  int topk = 0;            // k
  int64_t shared_dim = 0;  // S; 0: no shared expert
  int64_t max_tokens = 0;  // a step has at most this many tokens in a process
  DType dtype = DType::bf16;
  bool training = true;  // false: forward only
  Path path = Path::automatic;
  Recompute recompute = Recompute::none;
  Activation activation = Activation::silu;
  bool gated = true;                 // false: there is no W3; with relu2 only
  double limit = 0;                  // the limit of silu and swiglu_oai; 0: none
  double alpha = 0;                  // the alpha of swiglu_oai; 0: 1.702
  double beta = 0, linear_beta = 0;  // for situ; 0: 4 and 25
  bool biases = false;               // routed experts add biases
  bool shared_gate = false;          // the shared expert has a gate
  bool input_weighted = false;       // gate values multiply inputs
  int zero_experts = 0;              // Z
  int64_t latent_dim = 0;            // H'; 0: experts see rows of H
  double latent_norm = 0;            // eps; 0: no norm

  moehill_block_desc c() const {
    moehill_block_desc d;
    moehill_block_desc_init_sized(&d, sizeof d);
    d.hidden = hidden;
    d.mlp_dim = mlp_dim;
    d.experts = experts;
    d.topk = topk;
    d.shared_dim = shared_dim;
    d.max_tokens = max_tokens;
    d.dtype = static_cast<int32_t>(dtype);
    d.training = training ? 1 : 0;
    d.path = static_cast<int32_t>(path);
    d.recompute = static_cast<int32_t>(recompute);
    d.activation = static_cast<int32_t>(activation);
    d.gated = gated ? 1 : 0;
    d.limit = limit;
    d.alpha = alpha;
    d.beta = beta;
    d.linear_beta = linear_beta;
    d.biases = biases ? 1 : 0;
    d.shared_gate = shared_gate ? 1 : 0;
    d.input_weighted = input_weighted ? 1 : 0;
    d.zero_experts = zero_experts;
    d.latent_dim = latent_dim;
    d.latent_norm = latent_norm;
    return d;
  }
};

// Weights point to matrices and vectors in the caller's memory, which a load copies. Pass either gate_up, or
// gate and up; null: not given. The vectors are for blocks that have them. moehill_weights has the shapes.
//
//   block.load_experts(0, 8, {.gate_up = w13, .down = w2});   // f32, w13 [8, 2M, H] and w2 [8, H, M]
struct Weights {
  const void *gate = nullptr, *up = nullptr, *gate_up = nullptr, *down = nullptr;
  DType dtype = DType::f32;
  Order order = Order::out_in;
  const void *gate_bias = nullptr, *up_bias = nullptr, *gate_up_bias = nullptr, *down_bias = nullptr;
  const void* shared_gate = nullptr;
  const void *latent_down = nullptr, *latent_up = nullptr, *latent_norm = nullptr;

  moehill_weights c() const {
    return {sizeof(moehill_weights),
            gate,
            up,
            gate_up,
            down,
            static_cast<int32_t>(dtype),
            static_cast<int32_t>(order),
            gate_bias,
            up_bias,
            gate_up_bias,
            down_bias,
            shared_gate,
            latent_down,
            latent_up,
            latent_norm};
  }
};

// Gradients point to memory of the caller, to which gradients or weights are written; see moehill_gradients.
// With accumulate the values are added to what the memory holds.
//
//   block.store_expert_gradients(0, 8, {.gate_up = dw13, .down = dw2, .accumulate = true});
struct Gradients {
  void *gate = nullptr, *up = nullptr, *gate_up = nullptr, *down = nullptr;
  DType dtype = DType::f32;
  Order order = Order::out_in;
  bool accumulate = false;
  void *gate_bias = nullptr, *up_bias = nullptr, *gate_up_bias = nullptr, *down_bias = nullptr;
  void* shared_gate = nullptr;
  void *latent_down = nullptr, *latent_up = nullptr, *latent_norm = nullptr;

  moehill_gradients c() const {
    return {sizeof(moehill_gradients),
            gate,
            up,
            gate_up,
            down,
            static_cast<int32_t>(dtype),
            static_cast<int32_t>(order),
            accumulate ? 1 : 0,
            gate_bias,
            up_bias,
            gate_up_bias,
            down_bias,
            shared_gate,
            latent_down,
            latent_up,
            latent_norm};
  }
};

// Suggestion is the path that the performance model predicts to be the fastest. It is a prediction, not a
// measurement.
//
//   const moehill::Suggestion s = moehill::suggest(context, desc, 512);
//   desc.path = s.path;                                         // s.seconds is the predicted time of a step
struct Suggestion {
  Path path = Path::automatic;
  double seconds = 0;                  // predicted
  std::array<double, 7> seconds_of{};  // by Path; 0: not considered
};

// Returns what moehill_suggest says of a step with `tokens` tokens in each process.
inline Suggestion suggest(const Context& context, const BlockDesc& desc, int64_t tokens,
                          const char* hardware = nullptr) {
  moehill_suggestion s{};
  s.struct_size = sizeof s;
  const moehill_block_desc d = desc.c();
  require(moehill_suggest(context.handle(), &d, tokens, hardware, &s));
  Suggestion suggestion{static_cast<Path>(s.path), s.seconds, {}};
  for (size_t i = 0; i < suggestion.seconds_of.size(); ++i) suggestion.seconds_of[i] = s.seconds_of[i];
  return suggestion;
}

// Block is a Mixture-of-Experts block, with its weights and gradients. It does not route: ids and gates come
// from the caller, for example from a Router. A step is plan, forward and, in training, backward; the example
// at the top of this header shows it. Because a step is several calls, threads that share a block must hold a
// lock of their own from plan to the last result.
class Block {
 public:
  Block(const Context& context, const BlockDesc& desc) {
    const moehill_block_desc d = desc.c();
    moehill_block* made = nullptr;
    require(moehill_block_create(context.handle(), &d, &made));
    handle_.reset(made);
  }

  Path path() const { return static_cast<Path>(info().path); }
  bool tokens_are_replicated() const { return info().tokens_are_replicated != 0; }
  int first_expert() const { return info().first_expert; }
  int num_experts() const { return info().num_experts; }
  int64_t weight_bytes() const { return info().weight_bytes; }
  int64_t gradient_bytes() const { return info().gradient_bytes; }
  int64_t work_bytes() const { return info().work_bytes; }
  // Returns how many bytes weights, gradients and work space take at most.
  int64_t bytes() const {
    const moehill_block_info i = info();
    return i.weight_bytes + i.gradient_bytes + i.work_bytes;
  }

  void load_experts(int first, int count, const Weights& weights) {
    const moehill_weights w = weights.c();
    require(moehill_block_load_experts(handle_.get(), first, count, &w));
  }
  void load_shared(const Weights& weights) {
    const moehill_weights w = weights.c();
    require(moehill_block_load_shared(handle_.get(), &w));
  }
  void store_experts(int first, int count, const Gradients& weights) {
    const moehill_gradients w = weights.c();
    require(moehill_block_store_experts(handle_.get(), first, count, &w));
  }
  void store_expert_gradients(int first, int count, const Gradients& gradients) {
    const moehill_gradients g = gradients.c();
    require(moehill_block_store_expert_gradients(handle_.get(), first, count, &g));
  }
  void store_shared_gradients(const Gradients& gradients) {
    const moehill_gradients g = gradients.c();
    require(moehill_block_store_shared_gradients(handle_.get(), &g));
  }

  void plan(int64_t tokens, const int32_t* expert_ids, const float* gates) {
    require(moehill_block_plan(handle_.get(), tokens, expert_ids, gates));
  }
  void forward(const void* x, void* y) { require(moehill_block_forward(handle_.get(), x, y)); }
  void backward(const void* x, const void* dy, void* dx, float* d_gates = nullptr) {
    require(moehill_block_backward(handle_.get(), x, dy, dx, d_gates));
  }
  moehill_block* handle() const { return handle_.get(); }

 private:
  moehill_block_info info() const {
    moehill_block_info info{};
    info.struct_size = sizeof info;
    require(moehill_block_get_info(handle_.get(), &info));
    return info;
  }
  std::unique_ptr<moehill_block, Destroyer<moehill_block_destroy>> handle_;
};

// RouterDesc describes a router; moehill_router_desc explains each member and has the formulas. A null
// pointer leaves its part out. The router copies the arrays.
//
//   // DeepSeek-V3: sigmoid with a selection bias [256], choices from the best 4 of 8 groups.
//   moehill::RouterDesc desc{.experts = 256, .topk = 8, .score = moehill::Score::sigmoid, .groups = 8,
//                            .kept_groups = 4, .normalized = true, .factor = 2.5, .bias = bias};
struct RouterDesc {
  int experts = 0;  // E
  int topk = 0;     // k
  Score score = Score::chosen_softmax;
  int groups = 1, kept_groups = 1;
  int group_rank = 2;  // a group ranks by the sum of this many best keys, 1 or 2
  bool normalized = false;
  double least_sum = 1e-20;
  double factor = 1;
  const float* bias = nullptr;             // [E]
  const float* expert_scale = nullptr;     // [E]
  const int32_t* experts_of_id = nullptr;  // [num_ids, k]
  int64_t num_ids = 0;
  double jitter = 0.01;  // for sparsemixer only

  moehill_router_desc c() const {
    moehill_router_desc d;
    moehill_router_desc_init_sized(&d, sizeof d);
    d.experts = experts;
    d.topk = topk;
    d.score = static_cast<int32_t>(score);
    d.groups = groups;
    d.kept_groups = kept_groups;
    d.group_rank = group_rank;
    d.normalized = normalized ? 1 : 0;
    d.least_sum = least_sum;
    d.factor = factor;
    d.bias = bias;
    d.expert_scale = expert_scale;
    d.experts_of_id = experts_of_id;
    d.num_ids = num_ids;
    d.jitter = jitter;
    return d;
  }
};

// Router makes choices of experts and gate values from logits, and the gradient of the logits from the
// gradient of the gate values. It does not compute the logits, and it needs no other process.
//
//   moehill::Router router(context, {.experts = 256, .topk = 8, .score = moehill::Score::sigmoid});
//   router.route(tokens, logits, ids, gates);                  // logits [T, E] -> ids, gates [T, k]
//   router.backward(tokens, logits, ids, d_gates, d_logits);   // d_gates from block.backward()
class Router {
 public:
  Router(const Context& context, const RouterDesc& desc) {
    const moehill_router_desc d = desc.c();
    moehill_router* made = nullptr;
    require(moehill_router_create(context.handle(), &d, &made));
    handle_.reset(made);
  }

  void set_bias(const float* bias) { require(moehill_router_set_bias(handle_.get(), bias)); }
  // Only a router with a table reads token_ids [T].
  void route(int64_t tokens, const float* logits, int32_t* expert_ids, float* gates,
             const int32_t* token_ids = nullptr) {
    require(moehill_router_route(handle_.get(), tokens, logits, token_ids, expert_ids, gates));
  }
  void backward(int64_t tokens, const float* logits, const int32_t* expert_ids, const float* d_gates,
                float* d_logits) {
    require(moehill_router_backward(handle_.get(), tokens, logits, expert_ids, d_gates, d_logits));
  }

 private:
  std::unique_ptr<moehill_router, Destroyer<moehill_router_destroy>> handle_;
};

// Exchange brings rows of tokens to experts of your own, and sums their results. It has no experts itself. It
// reads hidden, experts, topk, max_tokens and dtype of the description.
//
//   exchange.plan(tokens, ids, gates);
//   exchange.dispatch(x, rows);              // rows of the i-th expert: offsets()[i] to offsets()[i + 1]
//   exchange.combine(rows, y);               // after your experts have replaced the rows by their outputs
class Exchange {
 public:
  Exchange(const Context& context, const BlockDesc& desc) {
    const moehill_block_desc d = desc.c();
    moehill_exchange* made = nullptr;
    require(moehill_exchange_create(context.handle(), &d, &made));
    handle_.reset(made);
    require(moehill_exchange_get_experts(made, &first_expert_, &num_experts_));
    offsets_.resize(static_cast<size_t>(num_experts_) + 1);
  }

  int first_expert() const { return first_expert_; }
  int num_experts() const { return num_experts_; }
  // Returns where each expert's rows of the last plan begin, [num_experts + 1].
  const std::vector<int64_t>& offsets() const { return offsets_; }
  int64_t num_rows() const { return offsets_.back(); }

  void plan(int64_t tokens, const int32_t* expert_ids, const float* gates) {
    int64_t num_rows = 0;
    require(moehill_exchange_plan(handle_.get(), tokens, expert_ids, gates, &num_rows, offsets_.data()));
  }
  void dispatch(const void* x, void* rows) { require(moehill_exchange_dispatch(handle_.get(), x, rows)); }
  void combine(const void* rows, void* y) { require(moehill_exchange_combine(handle_.get(), rows, y)); }
  void combine_backward(const void* dy, const void* rows, void* d_rows, float* d_gates = nullptr) {
    require(moehill_exchange_combine_backward(handle_.get(), dy, rows, d_rows, d_gates));
  }
  void dispatch_backward(const void* d_rows, void* dx) {
    require(moehill_exchange_dispatch_backward(handle_.get(), d_rows, dx));
  }

 private:
  std::unique_ptr<moehill_exchange, Destroyer<moehill_exchange_destroy>> handle_;
  int32_t first_expert_ = 0, num_experts_ = 0;
  std::vector<int64_t> offsets_;
};

// Stack is G packed matrices [K, N] with the grouped products, on the first device of this process. It is the
// GEMM of a block without its routing and its activation.
//
//   moehill::Stack weights(context, groups, k, n, moehill::DType::bf16);
//   weights.load(0, groups, w, moehill::DType::f32, moehill::Order::in_out);   // w [G, K, N]
//   weights.forward(offsets, {a, num_rows}, c);                                // c = A W_g
class Stack {
 public:
  // Rows are the rows of an operand; see moehill_rows.
  struct Rows {
    const void* data = nullptr;
    int64_t num_rows = 0;
    const int32_t* index = nullptr;  // null: row i is row i
    moehill_rows c() const { return {sizeof(moehill_rows), data, num_rows, index}; }
  };
  Stack(const Context& context, int groups, int64_t k, int64_t n, DType dtype) {
    moehill_stack* made = nullptr;
    require(moehill_stack_create(context.handle(), groups, k, n, static_cast<int32_t>(dtype), &made));
    handle_.reset(made);
  }
  void load(int first, int count, const void* data, DType dtype, Order order) {
    require(moehill_stack_load(handle_.get(), first, count, data, static_cast<int32_t>(dtype),
                               static_cast<int32_t>(order)));
  }
  void store(int first, int count, void* data, DType dtype, Order order) const {
    require(moehill_stack_store(handle_.get(), first, count, data, static_cast<int32_t>(dtype),
                                static_cast<int32_t>(order)));
  }
  // Computes C = A W_g.
  void forward(const int64_t* offsets, const Rows& a, void* c) const {
    const moehill_rows rows = a.c();
    require(moehill_gemm_forward(handle_.get(), offsets, &rows, c));
  }
  // Computes dA = dC W_g^T.
  void input_grad(const int64_t* offsets, const Rows& dc, void* da) const {
    const moehill_rows rows = dc.c();
    require(moehill_gemm_input_grad(handle_.get(), offsets, &rows, da));
  }
  // Sets matrix g of this stack to A_g^T dC_g, for every g.
  void take_weight_grad(const int64_t* offsets, const Rows& a, const Rows& dc) {
    const moehill_rows left = a.c(), right = dc.c();
    require(moehill_gemm_weight_grad(handle_.get(), offsets, &left, &right));
  }

 private:
  std::unique_ptr<moehill_stack, Destroyer<moehill_stack_destroy>> handle_;
};

}  // namespace v0
}  // namespace moehill

#endif
