/* moehill in C: a Mixture-of-Experts block with its router, forward and backward, on the cores of one process
 * or of the processes of an MPI job. It is no tensor library: it has no attention, no embeddings and no
 * optimizer. C++ programs use moehill.hpp, which wraps this header; the functions are documented here.
 *
 *   y_t = sum over t's assignments (e, p) of p * ( silu(x_t W1_e) * (x_t W3_e) ) W2_e
 *         + ( silu(x_t S1) * (x_t S3) ) S2                                     with a shared expert
 *
 * Other forms of experts are described at moehill_activation and at the end of moehill_block_desc. A step is
 *
 *   moehill_context_create(&options, &context);               // the threads
 *   moehill_block_create(context, &desc, &block);             // the sizes; all memory is reserved here
 *   moehill_block_load_experts(block, 0, E, &weights);
 *   moehill_block_plan(block, T, expert_ids, gates);          // which token goes to which experts
 *   moehill_block_forward(block, x, y);
 *   moehill_block_backward(block, x, dy, dx, d_gates);
 *   moehill_block_store_expert_gradients(block, 0, E, &gradients);
 *
 * examples/block.c is a whole program.
 *
 * Letters: T is the number of tokens of this process, H hidden, M the width of an expert, E the number of
 * experts, k the number of choices of a token, S the width of the shared expert. Tensors are row-major
 * without gaps, in the caller's memory, aligned to their elements. x, y and their gradients have the block's
 * type (bf16 is uint16_t, the upper half of an f32). Gate values are f32, expert ids are int32_t. Sums are
 * made in f32 and rounded to nearest even when they are stored.
 *
 * Constants of an enum are passed and kept as int32_t, so any number may arrive; a wrong one is an error.
 *
 * Structs begin with struct_size, the size that the caller's header gives them, so that a later library can
 * add members at their end. The functions *_init set it together with the defaults. For the other structs the
 * caller sets it to sizeof, and sets all members that it does not use to zero.
 *
 * Errors: every function returns a status; moehill_last_error() of the same thread says what went wrong.
 * After an error the memory that the call should have written holds nothing of use. Objects stay usable
 * unless the status is MOEHILL_BROKEN. A plan that fails leaves its object without a plan. Calls with wrong
 * arguments or in the wrong order change nothing else, so the last plan and forward stay valid. The library
 * ends the program only if one of its own invariants is broken.
 *
 * Threads: objects may be used from any thread. Calls on objects of one context wait for each other;
 * different contexts work at the same time. A process that was forked cannot use its parent's objects
 * (MOEHILL_FORKED).
 *
 * MPI: functions marked "collective" must be called by all processes of the context's communicator in the
 * same order, on objects that were made by the same calls. A wrong argument in one process is an error in all
 * of them, before anything is sent. Two errors are exceptions, of which the other processes hear nothing:
 * null for a handle or for the place of one, and wrong options of a context. Destroying an object is
 * collective. MPI must have been initialised with MPI_THREAD_FUNNELED at least, and calls must come from the
 * thread that may call MPI. After MPI_Finalize objects can only be destroyed. */
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
  MOEHILL_INVALID_ARGUMENT = 1, /* the message says what is wrong, what is allowed, and a remedy */
  MOEHILL_WRONG_ORDER = 2,      /* for example a backward without its forward */
  MOEHILL_OUT_OF_MEMORY = 3,
  MOEHILL_UNSUPPORTED = 4, /* this build or this machine cannot do it */
  MOEHILL_PEER_FAILED = 5, /* another process of the communicator made an error; nothing was done */
  MOEHILL_FORKED = 6,      /* the object belongs to the parent process */
  MOEHILL_BROKEN = 7,      /* a failure in the middle of a collective: destroy the objects of the context */
  MOEHILL_INTERNAL = 8
} moehill_status;

/* Returns the message of the last function that failed in this thread. It is never null, and is valid until
 * the next failure in this thread. */
MOEHILL_API const char* moehill_last_error(void);
MOEHILL_API const char* moehill_status_name(int32_t status);
/* Returns the version of the library that runs, for example "0.2.0". */
MOEHILL_API const char* moehill_version(void);

/* ---- Context: the devices of this process, and its place among other processes ---- */

typedef struct moehill_context moehill_context;

typedef enum moehill_pinning {
  MOEHILL_PINNING_OFF = 0,  /* the system places the threads */
  MOEHILL_PINNING_CORES = 1 /* one core a thread, if there are enough; the caller during a call */
} moehill_pinning;

/* A device is a team of threads with its own memory; experts are spread over devices. One process may have
 * several devices. With MPI each process has one device and its own tokens.
 *
 * With devices 1 and threads_per_device 1 no thread is made: the thread that calls does all the work. */
typedef struct moehill_context_options {
  size_t struct_size;
  int32_t devices;            /* 1; with mpi_comm only 1 is allowed */
  int32_t threads_per_device; /* 0: the cores of this process are divided among its devices */
  int32_t pinning;            /* moehill_pinning; MOEHILL_PINNING_OFF */
  /* The address of an MPI_Comm and its size, or null. It is passed by address, because an MPI_Comm is a
   * pointer in one MPI and a number in another: &comm and sizeof comm. The communicator is duplicated. */
  const void* mpi_comm;
  size_t mpi_comm_size;
} moehill_context_options;

MOEHILL_API void moehill_context_options_init_sized(moehill_context_options* options, size_t struct_size);
static inline void moehill_context_options_init(moehill_context_options* options) {
  moehill_context_options_init_sized(options, sizeof(moehill_context_options));
}
/* Collective over mpi_comm. With options null the defaults are used. */
MOEHILL_API moehill_status moehill_context_create(const moehill_context_options* options,
                                                  moehill_context** context);
/* The objects that were made with a context keep it alive, so it may be destroyed before them. Null is
 * allowed. */
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

/* How the block is spread over devices. Device d of P has the experts from E d / P to E (d + 1) / P, except
 * with MOEHILL_PATH_DATA_PARALLEL, where each device has all experts. The results of different paths differ
 * in the last bits. */
typedef enum moehill_path {
  MOEHILL_PATH_AUTO = 0,          /* the path that moehill_suggest names; with one device nothing is spread */
  MOEHILL_PATH_DATA_PARALLEL = 1, /* every device has all experts; gradients are summed over devices */
  MOEHILL_PATH_COMPACT_PSUM = 2,  /* all devices have all tokens; one all-reduce in each pass */
  /* COMPACT_PSUM where every device computes the rows of all experts, and multiplies those of other devices'
   * experts by 0: for comparison. A NaN or an infinity spreads through these rows; on the other paths it
   * stays with its token and with the gradients of the token's experts. */
  MOEHILL_PATH_DENSE_MASKED = 3,
  MOEHILL_PATH_RING_AG_RS = 4, /* all-gather of the tokens' rows, reduce-scatter of the sums */
  MOEHILL_PATH_RAGGED_A2A = 5, /* rows go to the devices of their experts, by all-to-all */
  MOEHILL_PATH_FUSED = 6, /* RAGGED_A2A that overlaps with the products; threads read rows where they are */
  MOEHILL_PATH_HIERARCHICAL = 7 /* a row goes once to each node of its experts, and on inside the node */
} moehill_path;

typedef enum moehill_recompute {
  MOEHILL_RECOMPUTE_NONE = 0,      /* backward keeps everything that forward made */
  MOEHILL_RECOMPUTE_COMBINE = 1,   /* the outputs of the experts are not kept */
  MOEHILL_RECOMPUTE_EXPERT_MLP = 2 /* backward runs the products before the activation again */
} moehill_recompute;

/* The activation makes the operand of W2 from an expert's first products g = x W1 and u = x W3:
 *   SILU        silu(g) u
 *   SWIGLU_OAI  g sigmoid(alpha g) (u + 1), as in gpt-oss
 *   GELU_TANH   gelu(g) u, with the approximation of gelu by tanh
 *   RELU2       max(g, 0)^2 u
 *   SITU        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
 * With a limit L above 0, SILU and SWIGLU_OAI use min(g, L) in place of g, and u clamped to [-L, L] in place
 * of u. */
typedef enum moehill_activation {
  MOEHILL_SILU = 0,
  MOEHILL_SWIGLU_OAI = 1,
  MOEHILL_GELU_TANH = 2,
  MOEHILL_RELU2 = 3,
  MOEHILL_SITU = 4
} moehill_activation;

/* Describes a block. A value at the end of a comment, after a semicolon, is the default. */
typedef struct moehill_block_desc {
  size_t struct_size;
  int64_t hidden;     /* H */
  int64_t mlp_dim;    /* M */
  int32_t experts;    /* E */
  int32_t topk;       /* k, at most E */
  int64_t shared_dim; /* S; 0: no shared expert */
  int64_t max_tokens; /* most tokens of a process in a step; equal in all processes */
  int32_t dtype;      /* moehill_dtype of weights, x and y; MOEHILL_BF16 */
  int32_t training;   /* 1: forward and backward; 0: forward only, which needs less memory; 1 */
  int32_t path;       /* moehill_path; MOEHILL_PATH_AUTO */
  int32_t recompute;  /* moehill_recompute; MOEHILL_RECOMPUTE_NONE */
  /* The form of the experts. The shared expert has the same activation. */
  int32_t activation;       /* moehill_activation; MOEHILL_SILU */
  int32_t gated;            /* 1: there is a W3; 0: there is none, and u is 1, with MOEHILL_RELU2 only; 1 */
  double limit;             /* the limit of SILU and SWIGLU_OAI; 0: none */
  double alpha;             /* the alpha of SWIGLU_OAI; 0: 1.702 */
  double beta, linear_beta; /* those of SITU; 0: 4 and 25 */
  int32_t biases;           /* 1: routed experts add a bias to each product; 0 */
  int32_t shared_gate;      /* 1: the shared expert's output is multiplied by sigmoid(x v); 0 */
  int32_t input_weighted; /* 1: gate values multiply an expert's input, not its output; not with biases; 0 */
  int32_t zero_experts;   /* Z: ids E to E + Z - 1 add the token itself times the gate value; 0 */
  /* Routed experts see rows of this width H', between the products with latent_down and latent_up; 0: they
   * see rows of H. It cannot be used with zero experts. With several devices it cannot be used with
   * MOEHILL_PATH_DATA_PARALLEL, COMPACT_PSUM or DENSE_MASKED. */
  int64_t latent_dim;
  double latent_norm; /* eps: the experts' sums r become latent_norm r / sqrt(mean r^2 + eps); 0: no norm */
} moehill_block_desc;

MOEHILL_API void moehill_block_desc_init_sized(moehill_block_desc* desc, size_t struct_size);
static inline void moehill_block_desc_init(moehill_block_desc* desc) {
  moehill_block_desc_init_sized(desc, sizeof(moehill_block_desc));
}

typedef struct moehill_suggestion {
  size_t struct_size;
  int32_t path;         /* moehill_path, never AUTO */
  double seconds;       /* predicted for a step with `tokens` tokens in each process */
  double seconds_of[7]; /* by moehill_path, up to FUSED; 0: this path was not considered */
} moehill_suggestion;

/* Names the path that the model predicts to be the fastest, among those that leave every process its own
 * tokens and results, for routing that favours no expert. Not collective. desc->path is not read.
 *
 * hardware names one of the descriptions that come with moehill, or a file in the folder MOEHILL_HARDWARE, or
 * is the path of a file as `moehill probe --as-hardware` writes it. null means "epyc-2-core", the cores of a
 * server as devices of one node; this is good enough to rank paths, but not to predict seconds.
 *
 * It does not choose block sizes of the products: the model can only order sets of them, and no set that it
 * proposed was measured to be faster than the default (docs/library.md). */
MOEHILL_API moehill_status moehill_suggest(const moehill_context* context, const moehill_block_desc* desc,
                                           int64_t tokens, const char* hardware,
                                           moehill_suggestion* suggestion);

typedef struct moehill_block moehill_block;

/* Collective. Reserves the memory for everything that a step needs. The system gives its pages when they are
 * first written, so for a block that is too large it may end the program then. The weights are zero. */
MOEHILL_API moehill_status moehill_block_create(moehill_context* context, const moehill_block_desc* desc,
                                                moehill_block** block);
MOEHILL_API void moehill_block_destroy(moehill_block* block);

typedef struct moehill_block_info {
  size_t struct_size;
  int32_t path; /* the path that AUTO has chosen; MOEHILL_PATH_DATA_PARALLEL with one device */
  int32_t tokens_are_replicated;        /* 1: every process passes the same tokens (see moehill_block_plan) */
  int32_t first_expert, num_experts;    /* this process has the weights of these experts */
  int64_t weight_bytes, gradient_bytes; /* of this process */
  int64_t work_bytes; /* most address space of the work space; pages are taken when they are used */
} moehill_block_info;
MOEHILL_API moehill_status moehill_block_get_info(const moehill_block* block, moehill_block_info* info);

/* How weights lie in the caller's memory; the experts of a call follow one another without gaps.
 *   OUT_IN (torch.nn.Linear): gate, up [M, H]; gate_up [2M, H], gate rows first; down [H, M]
 *   IN_OUT (x W):             gate, up [H, M]; gate_up [H, 2M], gate columns first; down [M, H] */
typedef enum moehill_order { MOEHILL_OUT_IN = 0, MOEHILL_IN_OUT = 1 } moehill_order;

/* Weights in the caller's memory. Pass either gate_up, or gate and up; experts that are not gated have gate
 * only. A null pointer means that this matrix is not read.
 *
 * Vectors are in the order of the experts too. A block with biases has gate_bias and up_bias [M], or
 * gate_up_bias [2M], and down_bias [H]. A shared expert with a gate has shared_gate [H], the v of sigmoid(x
 * v). A block keeps vectors in f32, whatever its type is.
 *
 * In a block with a latent_dim H' the experts' matrices have H' where H is written above. The matrices that
 * belong to no expert are loaded and stored with the shared expert, even if there is none: with OUT_IN
 * latent_down [H', H] and latent_up [H, H'], with IN_OUT their transposes, and latent_norm [H']. */
typedef struct moehill_weights {
  size_t struct_size;
  const void *gate, *up, *gate_up, *down;
  int32_t dtype; /* the type of this memory; the block may have another */
  int32_t order; /* moehill_order of the matrices */
  const void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  const void *latent_down, *latent_up, *latent_norm;
} moehill_weights;

/* Memory of the same form that gradients or weights are written to. Null: this one is not wanted. */
typedef struct moehill_gradients {
  size_t struct_size;
  void *gate, *up, *gate_up, *down;
  int32_t dtype;
  int32_t order;
  int32_t accumulate; /* 1: values are added to those that are there */
  void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  void *latent_down, *latent_up, *latent_norm;
} moehill_gradients;

/* Loads the weights of experts [first, first + count), all of which this process must have. Not collective.
 * Weights may be loaded at any time, but a backward needs a forward after the last load. With count 0 nothing
 * is read. */
MOEHILL_API moehill_status moehill_block_load_experts(moehill_block* block, int32_t first, int32_t count,
                                                      const moehill_weights* weights);
MOEHILL_API moehill_status moehill_block_load_shared(moehill_block* block, const moehill_weights* weights);
/* Writes the weights that the block has. */
MOEHILL_API moehill_status moehill_block_store_experts(moehill_block* block, int32_t first, int32_t count,
                                                       const moehill_gradients* weights);
/* Writes the gradients of the last backward. With MOEHILL_PATH_DATA_PARALLEL every process gets the sum. */
MOEHILL_API moehill_status moehill_block_store_expert_gradients(moehill_block* block, int32_t first,
                                                                int32_t count,
                                                                const moehill_gradients* gradients);
/* Collective, because each device has a part of the sum; every process gets the whole sum. */
MOEHILL_API moehill_status moehill_block_store_shared_gradients(moehill_block* block,
                                                                const moehill_gradients* gradients);

/* Collective. Sets the routing of the next passes. Each process passes its own number of tokens, from 0 to
 * max_tokens; expert_ids [T, k] with numbers up to E + zero_experts - 1, or -1 for a choice that no expert
 * gets; and gates [T, k]. Both arrays are copied. A plan is valid for any number of passes, until the next
 * plan.
 *
 * If the block's info says tokens_are_replicated, every process must pass equal tokens, ids and gates, bit
 * for bit, which is checked, and equal x and dy, which is not checked; each process then gets the whole
 * result. */
MOEHILL_API moehill_status moehill_block_plan(moehill_block* block, int64_t tokens, const int32_t* expert_ids,
                                              const float* gates);
/* Collective. Computes y [T, H] from x [T, H]. They must not overlap. */
MOEHILL_API moehill_status moehill_block_forward(moehill_block* block, const void* x, void* y);
/* Collective. It may be called once after each forward, with the same x, whose values must not have changed.
 * Computes dx [T, H] and d_gates [T, k] (null: not wanted) from dy [T, H]; d_gates is 0 for choices that no
 * expert got. dx and d_gates may not overlap x, dy or each other. The block keeps the gradients of the
 * weights. */
MOEHILL_API moehill_status moehill_block_backward(moehill_block* block, const void* x, const void* dy,
                                                  void* dx, float* d_gates);

/* ---- Router: choices and gate values from logits, and back ---- */

/* The score s of a logit z. CHOSEN_SOFTMAX is the softmax over the chosen logits of a token only. */
typedef enum moehill_score {
  MOEHILL_SCORE_CHOSEN_SOFTMAX = 0,
  MOEHILL_SCORE_SOFTMAX = 1,
  MOEHILL_SCORE_SIGMOID = 2,
  MOEHILL_SCORE_SQRT_SOFTPLUS = 3, /* sqrt(ln(1 + e^z)) */
  MOEHILL_SCORE_SPARSEMIXER = 4    /* that of Phi-3.5-MoE, for each choice, see below */
} moehill_score;

/* Describes how a router chooses experts and makes gate values, for a token with logits [E]:
 *
 *   key     s + bias with a bias or with groups, otherwise the logit, which orders experts as s does
 *   choice  the k largest keys; of equal keys, the one with the lower id. With groups, which are neighbouring
 *           experts, only the kept_groups best groups take part. With a table: the experts of the token's id.
 *   gate    factor * scale * s; with `normalized` it is divided by max(sum of the chosen s, least_sum)
 *
 * SPARSEMIXER differs: gate j is the softmax, at choice j, over the experts that were not chosen before j and
 * whose logit z has (m - z) / max(|z|, m) <= 2 jitter, where m is the largest logit of those not chosen
 * before. This is the model's inference, and its gradient with these experts held fixed; in training the
 * model draws choices at random.
 *
 * Everything is computed in f32 and for each token alone, so results do not depend on threads or processes.
 * Gradients go through the chosen scores only: a bias, groups and a table have none. A router does not
 * compute the logits x W_g:
 *
 *   moehill_router_route(router, T, logits, NULL, expert_ids, gates);
 *   moehill_block_plan(block, T, expert_ids, gates);
 *   ...                                                            // forward and backward of the block
 *   moehill_router_backward(router, T, logits, expert_ids, d_gates, d_logits); */
typedef struct moehill_router_desc {
  size_t struct_size;
  int32_t experts;              /* E */
  int32_t topk;                 /* k */
  int32_t score;                /* moehill_score; MOEHILL_SCORE_CHOSEN_SOFTMAX */
  int32_t groups;               /* 1; groups have equal sizes */
  int32_t kept_groups;          /* 1 */
  int32_t group_rank;           /* 2: a group ranks by the sum of its two best keys; 1: by its best key; 2 */
  int32_t normalized;           /* 0; CHOSEN_SOFTMAX cannot have it */
  double least_sum;             /* 1e-20 */
  double factor;                /* 1 */
  const float* bias;            /* [E] selection bias, or null. All these arrays are copied */
  const float* expert_scale;    /* [E], or null: 1 for each expert */
  const int32_t* experts_of_id; /* [num_ids, k], or null: no table */
  int64_t num_ids;
  double jitter; /* that of SPARSEMIXER; 0.01 */
} moehill_router_desc;

MOEHILL_API void moehill_router_desc_init_sized(moehill_router_desc* desc, size_t struct_size);
static inline void moehill_router_desc_init(moehill_router_desc* desc) {
  moehill_router_desc_init_sized(desc, sizeof(moehill_router_desc));
}

typedef struct moehill_router moehill_router;

/* None of the router's functions is collective. Routing runs on the first device of this process. */
MOEHILL_API moehill_status moehill_router_create(moehill_context* context, const moehill_router_desc* desc,
                                                 moehill_router** router);
MOEHILL_API void moehill_router_destroy(moehill_router* router);
/* Replaces the bias [E] of a router that was made with one. Training that balances experts without a loss
 * does this after each step. */
MOEHILL_API moehill_status moehill_router_set_bias(moehill_router* router, const float* bias);
/* Computes expert_ids [T, k] and gates [T, k] from logits [T, E], and from token_ids [T] if there is a table.
 * Logits that are not numbers are an error. */
MOEHILL_API moehill_status moehill_router_route(moehill_router* router, int64_t tokens, const float* logits,
                                                const int32_t* token_ids, int32_t* expert_ids, float* gates);
/* Computes d_logits [T, E] from d_gates [T, k] and from the choices that the router made for these logits.
 * For a choice that the caller has dropped since then, d_gates must be 0. */
MOEHILL_API moehill_status moehill_router_backward(moehill_router* router, int64_t tokens,
                                                   const float* logits, const int32_t* expert_ids,
                                                   const float* d_gates, float* d_logits);

/* ---- Exchange: rows of tokens to experts of your own, and back ---- */

typedef struct moehill_exchange moehill_exchange;

/* An exchange sends rows to the processes of their experts, and adds the results for each token; the experts
 * themselves are the caller's:
 *
 *   moehill_exchange_plan(exchange, T, expert_ids, gates, &num_rows, offsets);
 *   moehill_exchange_dispatch(exchange, x, rows);      // rows has room for num_rows rows
 *   for (i = 0; i < num_experts; ++i) your_expert(first_expert + i, rows, offsets[i], offsets[i + 1]);
 *   moehill_exchange_combine(exchange, rows, y);
 *
 * This call is collective. It reads hidden, experts, topk, max_tokens and dtype of the description. */
MOEHILL_API moehill_status moehill_exchange_create(moehill_context* context, const moehill_block_desc* desc,
                                                   moehill_exchange** exchange);
MOEHILL_API void moehill_exchange_destroy(moehill_exchange* exchange);
/* Collective. Sets the routing, as moehill_block_plan does. num_rows gets R, the number of assignments of all
 * processes to the experts of this one. offsets [num_experts + 1] may be null; rows offsets[i] to offsets[i +
 * 1] belong to the i-th expert of this process. */
MOEHILL_API moehill_status moehill_exchange_plan(moehill_exchange* exchange, int64_t tokens,
                                                 const int32_t* expert_ids, const float* gates,
                                                 int64_t* num_rows, int64_t* offsets);
/* Gives the experts of this process: E r / P to E (r + 1) / P for process r of P. One process has all
 * experts. */
MOEHILL_API moehill_status moehill_exchange_get_experts(const moehill_exchange* exchange,
                                                        int32_t* first_expert, int32_t* num_experts);
/* Collective. Copies x [T, H] to rows [R, H], ordered by expert, and for each expert by token. */
MOEHILL_API moehill_status moehill_exchange_dispatch(moehill_exchange* exchange, const void* x, void* rows);
/* Collective. Computes y [T, H] from rows [R, H]: y_t is the sum of the rows of its choices, times their gate
 * values. */
MOEHILL_API moehill_status moehill_exchange_combine(moehill_exchange* exchange, const void* rows, void* y);
/* Collective. Computes the gradient of combine: d_rows [R, H] and d_gates [T, k] (null: not wanted) from dy
 * [T, H] and the rows that combine had. */
MOEHILL_API moehill_status moehill_exchange_combine_backward(moehill_exchange* exchange, const void* dy,
                                                             const void* rows, void* d_rows, float* d_gates);
/* Collective. Computes the gradient of dispatch: dx [T, H] from d_rows [R, H], as a sum without gates. */
MOEHILL_API moehill_status moehill_exchange_dispatch_backward(moehill_exchange* exchange, const void* d_rows,
                                                              void* dx);

/* ---- Grouped GEMM: only the products, on the first device of this process ---- */

typedef struct moehill_stack moehill_stack;

/* Makes G matrices [K, N], packed in the order in which the products read them. They are zero at first. */
MOEHILL_API moehill_status moehill_stack_create(moehill_context* context, int32_t groups, int64_t k,
                                                int64_t n, int32_t dtype, moehill_stack** stack);
MOEHILL_API void moehill_stack_destroy(moehill_stack* stack);
/* Loads or writes matrices [first, first + count), one after the other: IN_OUT [K, N], OUT_IN [N, K]. */
MOEHILL_API moehill_status moehill_stack_load(moehill_stack* stack, int32_t first, int32_t count,
                                              const void* data, int32_t dtype, int32_t order);
MOEHILL_API moehill_status moehill_stack_store(const moehill_stack* stack, int32_t first, int32_t count,
                                               void* data, int32_t dtype, int32_t order);

/* Rows of a matrix [num_rows, columns] of the stack's type. Row i of the operand is row index[i] of the
 * matrix, or a row of zeros for -1. With index null it is row i. */
typedef struct moehill_rows {
  size_t struct_size;
  const void* data;
  int64_t num_rows;
  const int32_t* index;
} moehill_rows;

/* Group g of a product has rows offsets[g] to offsets[g + 1] of the operands. offsets [G + 1] begin at 0 and
 * do not fall. The rows of all groups together are R.
 *   forward      c [R, N]   = A W_g
 *   input_grad   da [R, K]  = dC W_g^T
 *   weight_grad  dW_g       = A_g^T dC_g; it is zero for a group without rows */
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
