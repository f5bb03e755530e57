/* moehill in C: a Mixture-of-Experts block, forward and backward, on the cores of one process or of the
 * processes of an MPI job. C++ programs take moehill.hpp, which wraps this.
 *
 *   y_t = sum over t's assignments (e, p) of p * ( silu(x_t W1_e) * (x_t W3_e) ) W2_e
 *         + ( silu(x_t S1) * (x_t S3) ) S2                                     with a shared expert
 *
 * and other forms of experts: see moehill_activation and the end of moehill_block_desc.
 *
 * Letters: T tokens of this process, H hidden, M width of an expert, E experts, k choices a token, S width of
 * the shared expert. Tensors are row-major without gaps, in memory of the caller, aligned to their elements.
 * x, y and their gradients are of the block's type (bf16 as the upper half of an f32, uint16_t); gate values
 * are f32, expert ids int32_t. Sums are f32, rounded to nearest even where they are stored.
 *
 * Constants of an enum are passed and kept as int32_t: any number may come, and a wrong one is an error.
 *
 * Structs begin with struct_size, the size that the caller's header gives them, so that a later library can
 * add members at their end. Functions *_init set it together with the defaults; elsewhere the caller sets it
 * to sizeof, and what else is not set must be zero.
 *
 * Errors: every function returns a status; what went wrong is in moehill_last_error() of the same thread.
 * After an error the memory that the call was to write holds nothing of use. Objects stay usable unless the
 * status is MOEHILL_BROKEN. A plan that fails leaves its object without one; calls with wrong arguments or in
 * the wrong order change nothing else, so that plan and forward still hold. Nothing ends the program but a
 * broken invariant of the library.
 *
 * Threads: objects may be used from any thread. Calls on objects of one context take turns; contexts work at
 * the same time. A process that was forked cannot use the objects of its parent (MOEHILL_FORKED).
 *
 * MPI: functions marked "collective" are called by all processes of the context's communicator in the same
 * order on objects that were made by the same calls; a wrong argument in one process is an error in all of
 * them, before anything is sent. Others do not hear of null for a handle or for its place, nor of wrong
 * options of a context. Destroying an object is collective. MPI must have been initialised with
 * MPI_THREAD_FUNNELED at least, calls come from the thread that may call MPI. After MPI_Finalize objects can
 * only be destroyed. */
#ifndef MOEHILL_MOEHILL_H
#define MOEHILL_MOEHILL_H

#include <stddef.h>
#include <stdint.h>

#include "moehill/version.h"

#if defined(__GNUC__)
#define MOEHILL_API __attribute__((visibility("default")))
#else
#define MOEHILL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum moehill_status {
  MOEHILL_OK = 0,
  MOEHILL_INVALID_ARGUMENT = 1, /* what, got, allowed, remedy are in the message */
  MOEHILL_WRONG_ORDER = 2,      /* such as a backward without its forward */
  MOEHILL_OUT_OF_MEMORY = 3,
  MOEHILL_UNSUPPORTED = 4, /* not in this build, or not on this machine */
  MOEHILL_PEER_FAILED = 5, /* another process of the communicator made an error; nothing was done */
  MOEHILL_FORKED = 6,      /* the object belongs to the parent process */
  MOEHILL_BROKEN = 7,      /* a failure in the middle of a collective: destroy the objects of the context */
  MOEHILL_INTERNAL = 8
} moehill_status;

/* Of the last function of this thread that failed; never null. It holds until the next failure. */
MOEHILL_API const char* moehill_last_error(void);
MOEHILL_API const char* moehill_status_name(int32_t status);
/* "0.2.0". */
MOEHILL_API const char* moehill_version(void);

/* ---- Context: the devices of this process, and its place among others ---- */

typedef struct moehill_context moehill_context;

typedef enum moehill_pinning {
  MOEHILL_PINNING_OFF = 0,  /* the system places the threads */
  MOEHILL_PINNING_CORES = 1 /* a core each, if there are enough; the calling thread for the time of a call */
} moehill_pinning;

/* A device is a team of threads with memory of its own: experts are spread over devices. In one process there
 * may be several. With MPI each process has one, and its tokens are its own.
 *
 * devices 1, threads_per_device 1: no thread is made, all work is done by the thread that calls. */
typedef struct moehill_context_options {
  size_t struct_size;
  int32_t devices;            /* 1; with mpi_comm only 1 */
  int32_t threads_per_device; /* 0: this process's cores, shared out */
  int32_t pinning;            /* moehill_pinning; MOEHILL_PINNING_OFF */
  /* The address of an MPI_Comm and its size, or null. By address, since an MPI_Comm is a pointer in one
   * MPI and a number in another: &comm and sizeof comm. The communicator is duplicated. */
  const void* mpi_comm;
  size_t mpi_comm_size;
} moehill_context_options;

MOEHILL_API void moehill_context_options_init_sized(moehill_context_options* options, size_t struct_size);
static inline void moehill_context_options_init(moehill_context_options* options) {
  moehill_context_options_init_sized(options, sizeof(moehill_context_options));
}
/* Collective over mpi_comm. options null: the defaults. */
MOEHILL_API moehill_status moehill_context_create(const moehill_context_options* options,
                                                  moehill_context** context);
/* Objects that were made with it keep it alive. Null is no error. */
MOEHILL_API void moehill_context_destroy(moehill_context* context);

typedef struct moehill_context_info {
  size_t struct_size;
  int32_t devices; /* of all processes */
  int32_t threads_per_device;
  int32_t rank, processes;
  int32_t is_pinned;
} moehill_context_info;
MOEHILL_API moehill_status moehill_context_get_info(const moehill_context* context,
                                                    moehill_context_info* info);

/* ---- Block ---- */

typedef enum moehill_dtype { MOEHILL_F32 = 0, MOEHILL_BF16 = 1 } moehill_dtype;

/* How the block is spread over devices. Devices hold experts E d / P to E (d + 1) / P, but for
 * MOEHILL_PATH_DATA_PARALLEL, where each holds all. Results differ in the last bits. */
typedef enum moehill_path {
  MOEHILL_PATH_AUTO = 0,          /* what moehill_suggest says; with one device nothing is spread */
  MOEHILL_PATH_DATA_PARALLEL = 1, /* every device has all experts; gradients are summed over devices */
  MOEHILL_PATH_COMPACT_PSUM = 2,  /* tokens on all devices, one all-reduce a pass */
  /* COMPACT_PSUM with all rows computed everywhere, those of other devices' experts times 0: for comparison.
   * What is not a number spreads by them; on other paths it stays with its token and the gradients of the
   * token's experts. */
  MOEHILL_PATH_DENSE_MASKED = 3,
  MOEHILL_PATH_RING_AG_RS = 4,  /* all-gather of the tokens' rows, reduce-scatter of the sums */
  MOEHILL_PATH_RAGGED_A2A = 5,  /* rows to the devices of their experts, by all-to-all */
  MOEHILL_PATH_FUSED = 6,       /* the same, overlapped, and in place between threads */
  MOEHILL_PATH_HIERARCHICAL = 7 /* to each node of its experts once, and on inside of the node */
} moehill_path;

typedef enum moehill_recompute {
  MOEHILL_RECOMPUTE_NONE = 0,      /* backward keeps all that forward made */
  MOEHILL_RECOMPUTE_COMBINE = 1,   /* the experts' outputs are not kept */
  MOEHILL_RECOMPUTE_EXPERT_MLP = 2 /* nothing between the products is kept; the up-projections run again */
} moehill_recompute;

/* An expert makes the operand of W2 of its first products g = x W1 and u = x W3:
 *   SILU        silu(g) u
 *   SWIGLU_OAI  g sigmoid(alpha g) (u + 1), as gpt-oss has it
 *   GELU_TANH   gelu(g) u, gelu in its approximation by tanh
 *   RELU2       max(g, 0)^2 u
 *   SITU        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
 * With a limit L above 0, SILU and SWIGLU_OAI take min(g, L) for g and, for u, u clamped to [-L, L]. */
typedef enum moehill_activation {
  MOEHILL_SILU = 0,
  MOEHILL_SWIGLU_OAI = 1,
  MOEHILL_GELU_TANH = 2,
  MOEHILL_RELU2 = 3,
  MOEHILL_SITU = 4
} moehill_activation;

typedef struct moehill_block_desc {
  size_t struct_size;
  int64_t hidden;     /* H */
  int64_t mlp_dim;    /* M */
  int32_t experts;    /* E */
  int32_t topk;       /* k, at most E */
  int64_t shared_dim; /* S; 0: no shared expert */
  int64_t max_tokens; /* most tokens of a process in a step; the same in all processes */
  int32_t dtype;      /* moehill_dtype of weights, x and y; MOEHILL_BF16 */
  int32_t training;   /* 1: backward too, 0: forward alone, which needs less memory; 1 */
  int32_t path;       /* moehill_path; MOEHILL_PATH_AUTO */
  int32_t recompute;  /* moehill_recompute; MOEHILL_RECOMPUTE_NONE */
  /* The form of the experts; an activation is the shared expert's too. */
  int32_t activation;       /* moehill_activation; MOEHILL_SILU */
  int32_t gated;            /* 1; 0: there is no W3, and u is 1. Of MOEHILL_RELU2 alone */
  double limit;             /* of SILU and SWIGLU_OAI; 0: none */
  double alpha;             /* of SWIGLU_OAI; 0: 1.702 */
  double beta, linear_beta; /* of SITU; 0: 4 and 25 */
  int32_t biases;           /* 1: routed experts add a bias to each of their products; 0 */
  int32_t shared_gate;      /* 1: the shared expert's output is taken times sigmoid(x v); 0 */
  int32_t input_weighted;   /* 1: gate values multiply an expert's input, not its output; 0. No biases then */
  int32_t zero_experts;     /* Z: ids E to E + Z - 1 add the token itself times the gate value; 0 */
  /* Routed experts see rows of this width H', between two products with latent_down and latent_up; 0: H. Not
   * with zero experts. Of several devices: not MOEHILL_PATH_DATA_PARALLEL, COMPACT_PSUM and DENSE_MASKED. */
  int64_t latent_dim;
  double
      latent_norm; /* eps: the experts' sums r become latent_norm r / sqrt(mean r^2 + eps); 0: they do not */
} moehill_block_desc;

MOEHILL_API void moehill_block_desc_init_sized(moehill_block_desc* desc, size_t struct_size);
static inline void moehill_block_desc_init(moehill_block_desc* desc) {
  moehill_block_desc_init_sized(desc, sizeof(moehill_block_desc));
}

typedef struct moehill_suggestion {
  size_t struct_size;
  int32_t path;         /* moehill_path, never AUTO */
  double seconds;       /* predicted for a step of `tokens` tokens a process */
  double seconds_of[7]; /* by moehill_path up to FUSED; 0 for what was not considered */
} moehill_suggestion;

/* Block sizes of the products are not among the choices: the model only orders sets of them, and none that it
 * proposed was measured to be faster than the default, which blocks take (docs/library.md).
 *
 * The path that the model predicts to be the fastest, for routing without a favourite expert, among those
 * that leave every process its own tokens and results. hardware: the name of one that comes with moehill, or
 * of a file in the folder MOEHILL_HARDWARE, or the path of a file as `moehill probe --as-hardware` writes it;
 * null: "epyc-2-core", cores of a server as devices of one node, which ranks paths rather than predicts
 * seconds. desc->path is not read. Not collective. */
MOEHILL_API moehill_status moehill_suggest(const moehill_context* context, const moehill_block_desc* desc,
                                           int64_t tokens, const char* hardware,
                                           moehill_suggestion* suggestion);

typedef struct moehill_block moehill_block;

/* Collective. Reserves memory for all that a step needs, whose pages the system gives when they are first
 * written: for too large a block it may end the program then. Weights are zero. */
MOEHILL_API moehill_status moehill_block_create(moehill_context* context, const moehill_block_desc* desc,
                                                moehill_block** block);
MOEHILL_API void moehill_block_destroy(moehill_block* block);

typedef struct moehill_block_info {
  size_t struct_size;
  int32_t path;                         /* what AUTO became; MOEHILL_PATH_DATA_PARALLEL with one device */
  int32_t tokens_are_replicated;        /* 1: every process passes the same tokens (see moehill_block_plan) */
  int32_t first_expert, num_experts;    /* whose weights this process holds */
  int64_t weight_bytes, gradient_bytes; /* of this process */
  int64_t work_bytes; /* address space of the work space at most; pages are taken as they are used */
} moehill_block_info;
MOEHILL_API moehill_status moehill_block_get_info(const moehill_block* block, moehill_block_info* info);

/* How weights lie in the caller's memory; the experts of a call follow one another without gaps.
 *   OUT_IN (torch.nn.Linear): gate, up [M, H]; gate_up [2M, H], gate rows first; down [H, M]
 *   IN_OUT (x W):             gate, up [H, M]; gate_up [H, 2M], gate columns first; down [M, H] */
typedef enum moehill_order { MOEHILL_OUT_IN = 0, MOEHILL_IN_OUT = 1 } moehill_order;

/* Either gate_up, or gate and up; gate alone where experts are not gated. Null where nothing is to be read.
 * Vectors come in the order of the experts too: of a block with biases gate_bias and up_bias [M] or
 * gate_up_bias [2M], and down_bias [H]; of a shared expert with a gate, shared_gate [H], its v. A block keeps
 * vectors in f32, whatever its type.
 * Of a block with a latent_dim H' the experts' matrices have it in the place of H, and what belongs to no
 * expert goes with the shared one, also where there is none: OUT_IN latent_down [H', H] and latent_up [H,
 * H'], IN_OUT the other way round, and latent_norm [H']. */
typedef struct moehill_weights {
  size_t struct_size;
  const void *gate, *up, *gate_up, *down;
  int32_t dtype; /* of this memory; it need not be the block's */
  int32_t order; /* of the matrices */
  const void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  const void *latent_down, *latent_up, *latent_norm;
} moehill_weights;

/* The same to write to. Null where nothing is wanted. */
typedef struct moehill_gradients {
  size_t struct_size;
  void *gate, *up, *gate_up, *down;
  int32_t dtype;
  int32_t order;
  int32_t accumulate; /* 1: added to what is there */
  void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  void *latent_down, *latent_up, *latent_norm;
} moehill_gradients;

/* Weights of experts [first, first + count), all of them this process's. Not collective. They may be loaded
 * at any time, but a backward needs a forward after the last load. With count 0 nothing is read. */
MOEHILL_API moehill_status moehill_block_load_experts(moehill_block* block, int32_t first, int32_t count,
                                                      const moehill_weights* weights);
MOEHILL_API moehill_status moehill_block_load_shared(moehill_block* block, const moehill_weights* weights);
/* What the block has of them. */
MOEHILL_API moehill_status moehill_block_store_experts(moehill_block* block, int32_t first, int32_t count,
                                                       const moehill_gradients* weights);
/* Gradients of the last backward. With MOEHILL_PATH_DATA_PARALLEL every process has the sum. */
MOEHILL_API moehill_status moehill_block_store_expert_gradients(moehill_block* block, int32_t first,
                                                                int32_t count,
                                                                const moehill_gradients* gradients);
/* Collective, since devices have parts of the sum: every process gets all of it. */
MOEHILL_API moehill_status moehill_block_store_shared_gradients(moehill_block* block,
                                                                const moehill_gradients* gradients);

/* Collective. The routing of the next passes: tokens, from 0 to max_tokens and different in each process;
 * expert_ids [T, k], up to E + zero_experts - 1, -1 for a choice that goes to nobody; gates [T, k]. Both are
 * copied. A plan holds for any number of passes, until the next one. Where the block says
 * tokens_are_replicated, every process passes the same tokens, ids and gates, bit for bit, which is checked,
 * and the same x and dy, which is not; each gets the whole result. */
MOEHILL_API moehill_status moehill_block_plan(moehill_block* block, int64_t tokens, const int32_t* expert_ids,
                                              const float* gates);
/* Collective. x [T, H] to y [T, H], which must not overlap. */
MOEHILL_API moehill_status moehill_block_forward(moehill_block* block, const void* x, void* y);
/* Collective, once after a forward with the same x, whose values must not have changed. From dy [T, H] to
 * dx [T, H] and d_gates [T, k] (null: not wanted), which is 0 for nobody's choices; neither may overlap x, dy
 * or the other. Gradients of the weights are kept in the block. */
MOEHILL_API moehill_status moehill_block_backward(moehill_block* block, const void* x, const void* dy,
                                                  void* dx, float* d_gates);

/* ---- Router: choices and gate values from logits, and back ---- */

/* The score s of a logit z. CHOSEN_SOFTMAX is the softmax over a token's chosen logits alone. */
typedef enum moehill_score {
  MOEHILL_SCORE_CHOSEN_SOFTMAX = 0,
  MOEHILL_SCORE_SOFTMAX = 1,
  MOEHILL_SCORE_SIGMOID = 2,
  MOEHILL_SCORE_SQRT_SOFTPLUS = 3, /* sqrt(ln(1 + e^z)) */
  MOEHILL_SCORE_SPARSEMIXER = 4    /* of Phi-3.5-MoE, for each choice, as below */
} moehill_score;

/* Of a token with logits [E]:
 *   key    = s + bias with a bias or with groups, else the logit, whose order is that of s
 *   choice = the k largest keys, ties to the lower id. With groups, which are of neighbouring experts, only
 *            of the kept_groups best ones, ties likewise. With a table: the experts of the token's id.
 *   gate   = factor * scale * s, and with `normalized` divided by max(sum of the chosen s, least_sum)
 * SPARSEMIXER is by itself: gate j is the softmax, at choice j, over the experts that are not chosen before
 * it and whose logit z has (m - z) / max(|z|, m) <= 2 jitter, m the largest logit of those not chosen before.
 * That is the model's inference, and its gradient with these experts held; in training the model draws
 * choices at random. All in f32 and of one token alone, so that results do not depend on threads or
 * processes. Gradients flow through the chosen scores: a bias, groups and a table have none. Logits are the
 * caller's x W_g. */
typedef struct moehill_router_desc {
  size_t struct_size;
  int32_t experts;              /* E */
  int32_t topk;                 /* k */
  int32_t score;                /* moehill_score; MOEHILL_SCORE_CHOSEN_SOFTMAX */
  int32_t groups;               /* 1; they are of one size */
  int32_t kept_groups;          /* 1 */
  int32_t group_rank;           /* by the sum of a group's best two keys: 2, or by its best: 1; 2 */
  int32_t normalized;           /* 0, since CHOSEN_SOFTMAX is without it */
  double least_sum;             /* 1e-20 */
  double factor;                /* 1 */
  const float* bias;            /* [E] selection bias, or null. All of these are copied */
  const float* expert_scale;    /* [E], or null: 1 */
  const int32_t* experts_of_id; /* [num_ids, k], or null: no table */
  int64_t num_ids;
  double jitter; /* of SPARSEMIXER; 0.01 */
} moehill_router_desc;

MOEHILL_API void moehill_router_desc_init_sized(moehill_router_desc* desc, size_t struct_size);
static inline void moehill_router_desc_init(moehill_router_desc* desc) {
  moehill_router_desc_init_sized(desc, sizeof(moehill_router_desc));
}

typedef struct moehill_router moehill_router;

/* None of these is collective. Routing works on the first device of this process. */
MOEHILL_API moehill_status moehill_router_create(moehill_context* context, const moehill_router_desc* desc,
                                                 moehill_router** router);
MOEHILL_API void moehill_router_destroy(moehill_router* router);
/* Another bias [E] for a router that was made with one, as balancing without a loss makes it after a step. */
MOEHILL_API moehill_status moehill_router_set_bias(moehill_router* router, const float* bias);
/* logits [T, E], and token_ids [T] where there is a table, to expert_ids [T, k] and gates [T, k]. An error
 * for logits that are not numbers. */
MOEHILL_API moehill_status moehill_router_route(moehill_router* router, int64_t tokens, const float* logits,
                                                const int32_t* token_ids, int32_t* expert_ids, float* gates);
/* d_logits [T, E] from d_gates [T, k] and the router's choices for these logits. For a choice that the caller
 * has dropped since, d_gates is 0. */
MOEHILL_API moehill_status moehill_router_backward(moehill_router* router, int64_t tokens,
                                                   const float* logits, const int32_t* expert_ids,
                                                   const float* d_gates, float* d_logits);

/* ---- Exchange: rows to experts of your own, and back ---- */

typedef struct moehill_exchange moehill_exchange;

/* Reads hidden, experts, topk, max_tokens and dtype of the description. Collective. */
MOEHILL_API moehill_status moehill_exchange_create(moehill_context* context, const moehill_block_desc* desc,
                                                   moehill_exchange** exchange);
MOEHILL_API void moehill_exchange_destroy(moehill_exchange* exchange);
/* Collective. As moehill_block_plan. num_rows: R, the assignments of all processes to the experts of this
 * one. offsets [num_experts + 1], null if not wanted: rows of the i-th expert of this process are offsets[i]
 * to offsets[i + 1]. */
MOEHILL_API moehill_status moehill_exchange_plan(moehill_exchange* exchange, int64_t tokens,
                                                 const int32_t* expert_ids, const float* gates,
                                                 int64_t* num_rows, int64_t* offsets);
/* The experts of this process: E r / P to E (r + 1) / P of P processes, all with one process. */
MOEHILL_API moehill_status moehill_exchange_get_experts(const moehill_exchange* exchange,
                                                        int32_t* first_expert, int32_t* num_experts);
/* Collective. x [T, H] to rows [R, H], in the order of experts and, of an expert, of tokens. */
MOEHILL_API moehill_status moehill_exchange_dispatch(moehill_exchange* exchange, const void* x, void* rows);
/* Collective. rows [R, H] to y [T, H]: y_t is the sum of the rows of its choices times their gate values. */
MOEHILL_API moehill_status moehill_exchange_combine(moehill_exchange* exchange, const void* rows, void* y);
/* Collective. The gradient of combine: dy [T, H] and the rows that it had to d_rows [R, H] and d_gates
 * [T, k] (null: not wanted). */
MOEHILL_API moehill_status moehill_exchange_combine_backward(moehill_exchange* exchange, const void* dy,
                                                             const void* rows, void* d_rows, float* d_gates);
/* Collective. The gradient of dispatch: d_rows [R, H] to dx [T, H], a sum without gate values. */
MOEHILL_API moehill_status moehill_exchange_dispatch_backward(moehill_exchange* exchange, const void* d_rows,
                                                              void* dx);

/* ---- Grouped GEMM: the products alone, on the first device of this process ---- */

typedef struct moehill_stack moehill_stack;

/* G matrices [K, N], packed as the products read them; zero at first. */
MOEHILL_API moehill_status moehill_stack_create(moehill_context* context, int32_t groups, int64_t k,
                                                int64_t n, int32_t dtype, moehill_stack** stack);
MOEHILL_API void moehill_stack_destroy(moehill_stack* stack);
/* Matrices [first, first + count), one after the other: IN_OUT [K, N], OUT_IN [N, K]. */
MOEHILL_API moehill_status moehill_stack_load(moehill_stack* stack, int32_t first, int32_t count,
                                              const void* data, int32_t dtype, int32_t order);
MOEHILL_API moehill_status moehill_stack_store(const moehill_stack* stack, int32_t first, int32_t count,
                                               void* data, int32_t dtype, int32_t order);

/* Rows of a matrix [num_rows, columns] of the stack's type; row i is index[i]'s, of zeros for -1; index null:
 * row i. */
typedef struct moehill_rows {
  size_t struct_size;
  const void* data;
  int64_t num_rows;
  const int32_t* index;
} moehill_rows;

/* Group g has rows offsets[g] to offsets[g + 1] of the operands; offsets [G + 1] rise from 0.
 *   forward      c [R, N]   = A W_g
 *   input_grad   da [R, K]  = dC W_g^T
 *   weight_grad  dW_g       = A_g^T dC_g, of zeros for a group without rows */
MOEHILL_API moehill_status moehill_gemm_forward(const moehill_stack* weights, const int64_t* offsets,
                                                const moehill_rows* a, void* c);
MOEHILL_API moehill_status moehill_gemm_input_grad(const moehill_stack* weights, const int64_t* offsets,
                                                   const moehill_rows* dc, void* da);
MOEHILL_API moehill_status moehill_gemm_weight_grad(moehill_stack* gradient, const int64_t* offsets,
                                                    const moehill_rows* a, const moehill_rows* dc);

#ifdef __cplusplus
}
#endif

#endif
