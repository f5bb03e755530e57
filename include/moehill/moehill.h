/* moehill in C: a Mixture-of-Experts block with its router, forward and backward. It runs on the cores of one
 * process, or of all processes of an MPI job. It is not a tensor library: it has no attention, no embeddings
 * and no optimizer. C++ programs use moehill.hpp, which wraps this header; the functions are documented here.
 *
 * With x_t the row of token t, the block computes
 *
 *   y_t = sum over t's assignments (e, p) of p * ( silu(x_t W1_e) * (x_t W3_e) ) W2_e
 *         + ( silu(x_t S1) * (x_t S3) ) S2                                     with a shared expert
 *
 * where an assignment (e, p) is one choice that a router made for the token: expert e with gate value p. W1_e
 * [H, M], W3_e [H, M] and W2_e [M, H] are the expert's gate, up and down matrices, and S1, S3 and S2 are
 * those matrices of the shared expert, which sees every token. silu(g) = g / (1 + e^-g). These experts are
 * the SwiGLU of Shazeer, arXiv 2002.05202. moehill_activation and the end of moehill_block_desc describe
 * other forms of experts. A step is
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
 * without gaps, in the caller's memory, aligned to their elements. The library does not use this memory after
 * the call. x, y and their gradients have the block's type (bf16 is uint16_t, the upper half of an f32). Gate
 * values are f32, expert ids are int32_t. The library sums in f32 and rounds to nearest even when it stores a
 * sum.
 *
 * Functions and structs take the constants of an enum as int32_t. A number that is no constant of the enum is
 * an error.
 *
 * Every struct begins with struct_size, its size in the header that the caller was compiled with. So a later
 * library can add members at the end of a struct. The functions *_init set struct_size and the defaults. For
 * a struct without such a function, the caller sets struct_size to sizeof the struct, and all members that it
 * does not use to zero.
 *
 * Errors: every function that can fail returns a status; moehill_last_error() in the same thread says what
 * went wrong. After an error, the contents of the memory that the call writes are undefined. Objects stay
 * usable unless the status is MOEHILL_BROKEN. A plan that fails leaves its object without a plan. Any other
 * call with wrong arguments or in the wrong order changes nothing, so the last plan and the last forward stay
 * valid. The library ends the program only if one of its own invariants is broken.
 *
 * Threads: objects may be used from any thread. Calls on objects of one context wait for each other;
 * different contexts work at the same time. A forked child cannot use its parent's objects (MOEHILL_FORKED);
 * destroying them there does nothing.
 *
 * MPI: functions marked "collective" must be called by all processes of the context's communicator in the
 * same order, on objects that were made by the same calls. A wrong argument in one process is an error in all
 * of them, before any row is sent. Two errors are exceptions, of which the other processes do not learn: a
 * null pointer for a handle or for the place where a handle is to be written, and wrong options of a context.
 * Destroying the last object of a context is collective; the context itself counts as one of its objects. MPI
 * must have been initialised with MPI_THREAD_FUNNELED at least, and calls must come from the thread that may
 * call MPI. After MPI_Finalize objects can only be destroyed. */
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

/* A status says how a call ended. Every function that can fail returns one. */
typedef enum moehill_status {
  MOEHILL_OK = 0,
  MOEHILL_INVALID_ARGUMENT = 1, /* the message says what is wrong, what is allowed, and a remedy */
  MOEHILL_WRONG_ORDER = 2,      /* for example a backward without its forward */
  MOEHILL_OUT_OF_MEMORY = 3,
  MOEHILL_UNSUPPORTED = 4, /* this build or this machine cannot do it */
  MOEHILL_PEER_FAILED = 5, /* another process of the communicator made an error; nothing was done */
  MOEHILL_FORKED = 6,      /* the object belongs to the parent process */
  MOEHILL_BROKEN = 7,      /* a collective call failed half way: destroy the objects of the context */
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

/* This enum says whether the threads of a context stay on cores of their own. Pin them only if the process
 * has its cores for itself, because the threads of two programs that are pinned to the same core wait for
 * each other. */
typedef enum moehill_pinning {
  MOEHILL_PINNING_OFF = 0, /* the system places the threads */
  /* Each thread gets a core of its own, if there are enough. The caller's thread is pinned during a call
     only. */
  MOEHILL_PINNING_CORES = 1
} moehill_pinning;

/* A device is a team of threads with its own memory, and the block spreads its experts over the devices. One
 * process may have several devices. With MPI each process has one device and its own tokens.
 *
 * With devices 1 and threads_per_device 1 no thread is made: the thread that calls does all the work. */
typedef struct moehill_context_options {
  size_t struct_size;
  int32_t devices;            /* default 1; with mpi_comm only 1 is allowed */
  int32_t threads_per_device; /* default 0: the cores of this process are divided among its devices */
  int32_t pinning;            /* moehill_pinning; default MOEHILL_PINNING_OFF */
  /* The address of an MPI_Comm and its size, &comm and sizeof comm, or null. An MPI_Comm is a pointer in one
   * MPI and a number in another, so it is passed by address. The context makes a duplicate of it. */
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

/* This struct says what a context has. For example, it tells how many threads the library chose, if
 * threads_per_device was 0. */
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

/* The type of x, y and their gradients, and of the weights. Sums are always f32, and gate values too. */
typedef enum moehill_dtype { MOEHILL_F32 = 0, MOEHILL_BF16 = 1 } moehill_dtype;

/* A path is a way to spread the block over devices. Device d of P has the experts [E d / P, E (d + 1) / P),
 * except with MOEHILL_PATH_DATA_PARALLEL, where each device has all experts. The results of different paths
 * differ in the last bits. */
typedef enum moehill_path {
  MOEHILL_PATH_AUTO = 0,          /* the path that moehill_suggest names for max_tokens */
  MOEHILL_PATH_DATA_PARALLEL = 1, /* every device has all experts; gradients are summed over devices */
  MOEHILL_PATH_COMPACT_PSUM = 2,  /* all devices have all tokens; one all-reduce in each pass */
  /* This path is for comparison. It is COMPACT_PSUM, but every device computes the rows of all experts, and
   * multiplies by 0 the rows of other devices' experts. A NaN or an infinity spreads through these rows; on
   * the other paths it stays with its token and with the gradients of the token's experts. */
  MOEHILL_PATH_DENSE_MASKED = 3,
  MOEHILL_PATH_RING_AG_RS = 4,  /* all-gather of the tokens' rows, reduce-scatter of the sums */
  MOEHILL_PATH_RAGGED_A2A = 5,  /* rows go to the devices of their experts, by all-to-all */
  MOEHILL_PATH_FUSED = 6,       /* RAGGED_A2A that overlaps with the products; no copies within a process */
  MOEHILL_PATH_HIERARCHICAL = 7 /* a row goes once to each node that has one of its experts */
} moehill_path;

/* This enum says what backward computes again, so that forward can keep less memory. Computing again takes
 * time and changes no result. */
typedef enum moehill_recompute {
  MOEHILL_RECOMPUTE_NONE = 0,      /* forward keeps everything that backward uses */
  MOEHILL_RECOMPUTE_COMBINE = 1,   /* the outputs of the experts are not kept */
  MOEHILL_RECOMPUTE_EXPERT_MLP = 2 /* backward runs the products before the activation again */
} moehill_recompute;

/* The activation makes the operand of W2 from an expert's first products g = x W1 and u = x W3. sigmoid(z) is
 * 1 / (1 + e^-z), and silu(g) is g sigmoid(g). docs/metrics.md names the source of each formula.
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

/* Describes a block. hidden, mlp_dim, experts, topk and max_tokens have no default; where no other default is
 * given, it is 0. */
typedef struct moehill_block_desc {
  size_t struct_size;
  int64_t hidden;     /* H */
  int64_t mlp_dim;    /* M */
  int32_t experts;    /* E */
  int32_t topk;       /* k, at most E */
  int64_t shared_dim; /* S; 0: no shared expert */
  int64_t max_tokens; /* a step has at most this many tokens in a process; equal in all processes */
  int32_t dtype;      /* moehill_dtype of weights, x and y; default MOEHILL_BF16 */
  int32_t training;   /* 1: forward and backward; 0: forward only, which needs less memory; default 1 */
  int32_t path;       /* moehill_path; default MOEHILL_PATH_AUTO */
  int32_t recompute;  /* moehill_recompute; default MOEHILL_RECOMPUTE_NONE */
  /* The form of the experts. The shared expert has the same activation. */
  int32_t activation; /* moehill_activation; default MOEHILL_SILU */
  int32_t gated;      /* 1 (default): there is a W3; 0, with MOEHILL_RELU2 only: there is none, and u is 1 */
  double limit;       /* the limit of SILU and SWIGLU_OAI; 0: none */
  double alpha;       /* the alpha of SWIGLU_OAI; 0: 1.702 */
  double beta, linear_beta; /* the constants of SITU; 0: 4 and 25 */
  int32_t biases;           /* 1: routed experts add a bias to each product */
  int32_t shared_gate;      /* 1: the shared expert's output is multiplied by sigmoid(x v) */
  int32_t input_weighted;   /* 1: gate values multiply an expert's input, not its output; not with biases */
  int32_t zero_experts;     /* Z: ids E to E + Z - 1 add the token itself times the gate value */
  /* H': routed experts see rows of this width. A product with latent_down makes these rows from x, and a
   * product with latent_up brings the experts' sums back to width H. 0: experts see rows of H. A block
   * cannot have both latent_dim and zero_experts. With several devices, latent_dim cannot be used with
   * MOEHILL_PATH_DATA_PARALLEL, COMPACT_PSUM or DENSE_MASKED. */
  int64_t latent_dim;
  /* The eps of a norm before the product with latent_up: the experts' sums r become
   * w r / sqrt(mean of r^2 + eps), where w is the vector latent_norm of moehill_weights. 0: no norm. */
  double latent_norm;
} moehill_block_desc;

MOEHILL_API void moehill_block_desc_init_sized(moehill_block_desc* desc, size_t struct_size);
static inline void moehill_block_desc_init(moehill_block_desc* desc) {
  moehill_block_desc_init_sized(desc, sizeof(moehill_block_desc));
}

/* The answer of moehill_suggest. It is a prediction; nothing was measured for it. */
typedef struct moehill_suggestion {
  size_t struct_size;
  int32_t path;         /* moehill_path, never AUTO */
  double seconds;       /* predicted for a step with `tokens` tokens in each process; 0 with one device */
  double seconds_of[7]; /* by moehill_path, up to FUSED; 0: this path was not considered */
} moehill_suggestion;

/* Names the path that moehill's performance model predicts to be the fastest, for routing that favours no
 * expert. It considers the paths on which every process keeps its own tokens and results, except
 * DATA_PARALLEL, DENSE_MASKED and HIERARCHICAL. With one device there is nothing to spread: it names
 * MOEHILL_PATH_DATA_PARALLEL and predicts no time. Not collective. It does not read desc->path.
 *
 * hardware is the name of a description that comes with moehill, the name of a file in the folder that the
 * environment variable MOEHILL_HARDWARE gives, or the path of a file as `moehill probe --as-hardware` writes
 * it. Null means "epyc-2-core", the cores of a server as devices of one node. This default is good enough to
 * rank paths, but not to predict seconds.
 *
 * It does not choose block sizes of the products: no set of sizes that the model proposed was measured to be
 * faster than the default (docs/library.md). */
MOEHILL_API moehill_status moehill_suggest(const moehill_context* context, const moehill_block_desc* desc,
                                           int64_t tokens, const char* hardware,
                                           moehill_suggestion* suggestion);

typedef struct moehill_block moehill_block;

/* Collective. Reserves the memory for everything that a step needs. The operating system provides a page when
 * it is first written. So if a block is larger than the memory of the machine, the system may end the program
 * later, in a step. The weights are zero. */
MOEHILL_API moehill_status moehill_block_create(moehill_context* context, const moehill_block_desc* desc,
                                                moehill_block** block);
MOEHILL_API void moehill_block_destroy(moehill_block* block);

/* This struct says which path was chosen for a block, and which experts and bytes the process has of it. */
typedef struct moehill_block_info {
  size_t struct_size;
  int32_t path; /* the path that AUTO has chosen; MOEHILL_PATH_DATA_PARALLEL with one device */
  int32_t tokens_are_replicated;        /* 1: every process passes the same tokens (see moehill_block_plan) */
  int32_t first_expert, num_experts;    /* this process has the weights of these experts */
  int64_t weight_bytes, gradient_bytes; /* of this process */
  int64_t work_bytes; /* address space of the work space, at most; a page takes memory when it is used */
} moehill_block_info;
MOEHILL_API moehill_status moehill_block_get_info(const moehill_block* block, moehill_block_info* info);

/* The layout of weights in the caller's memory. The experts of a call follow one another without gaps.
 *   OUT_IN (torch.nn.Linear): gate, up [M, H]; gate_up [2M, H], gate rows first; down [H, M]
 *   IN_OUT (x W):             gate, up [H, M]; gate_up [H, 2M], gate columns first; down [M, H] */
typedef enum moehill_order { MOEHILL_OUT_IN = 0, MOEHILL_IN_OUT = 1 } moehill_order;

/* Weights in the caller's memory, which stays the caller's: a load copies them. Pass either gate_up, or gate
 * and up; experts that are not gated have gate only. If a pointer is null, that matrix of the block stays as
 * it is.
 *
 * A block with biases has the vectors gate_bias and up_bias [M], or gate_up_bias [2M], and down_bias [H]. The
 * vectors of the experts follow one another, like the matrices. A shared expert with a gate has the vector
 * shared_gate [H], the v of sigmoid(x v). A block keeps vectors in f32, whatever its type is.
 *
 * In a block with a latent_dim H' the routed experts' matrices have H' where H is written above. The latent
 * matrices belong to no expert. They are loaded and stored with the shared expert, even in a block that has
 * none: with OUT_IN latent_down [H', H] and latent_up [H, H'], with IN_OUT their transposes, and latent_norm
 * [H']. */
typedef struct moehill_weights {
  size_t struct_size;
  const void *gate, *up, *gate_up, *down;
  int32_t dtype; /* the type of this memory; the block may have another */
  int32_t order; /* moehill_order of the matrices */
  const void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  const void *latent_down, *latent_up, *latent_norm;
} moehill_weights;

/* Memory of the caller, laid out as in moehill_weights, to which gradients or weights are written. Null: not
 * wanted. */
typedef struct moehill_gradients {
  size_t struct_size;
  void *gate, *up, *gate_up, *down;
  int32_t dtype;
  int32_t order;
  int32_t accumulate; /* 1: values are added to what the memory holds */
  void *gate_bias, *up_bias, *gate_up_bias, *down_bias, *shared_gate;
  void *latent_down, *latent_up, *latent_norm;
} moehill_gradients;

/* Loads the weights of experts [first, first + count). This process must have all of these experts. Not
 * collective. Weights may be loaded at any time, but a backward needs a forward after the last load. With
 * count 0 nothing is read. */
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
/* Collective, because each device has a part of the sum. Every process gets the whole sum. */
MOEHILL_API moehill_status moehill_block_store_shared_gradients(moehill_block* block,
                                                                const moehill_gradients* gradients);

/* Collective. Sets the routing of the next passes. Each process passes its own number of tokens T, from 0 to
 * max_tokens, with expert_ids [T, k] and gates [T, k]. Ids are 0 to E + zero_experts - 1; the id -1 means
 * that no expert gets this choice. Both arrays are copied. A plan is valid for any number of passes, until
 * the next plan.
 *
 * If the block's info says tokens_are_replicated, every process must pass equal tokens, ids and gates, bit
 * for bit, and the call checks that. Every process must then pass equal x and dy too, which is not checked,
 * and each process gets the whole result. */
MOEHILL_API moehill_status moehill_block_plan(moehill_block* block, int64_t tokens, const int32_t* expert_ids,
                                              const float* gates);
/* Collective. Computes y [T, H] from x [T, H]. They must not overlap. */
MOEHILL_API moehill_status moehill_block_forward(moehill_block* block, const void* x, void* y);
/* Collective. It may be called once after each forward, with the same x, whose values must not have changed.
 * Computes dx [T, H] and d_gates [T, k] (null: not wanted) from dy [T, H], the gradient of y. d_gates is 0
 * for choices that no expert got. dx and d_gates may not overlap x, dy or each other. The block keeps the
 * gradients of the weights until the next backward. */
MOEHILL_API moehill_status moehill_block_backward(moehill_block* block, const void* x, const void* dy,
                                                  void* dx, float* d_gates);

/* ---- Router: choices and gate values from logits, and back ---- */

/* The score s of a logit z. CHOSEN_SOFTMAX is the softmax over the chosen logits of a token only. */
typedef enum moehill_score {
  MOEHILL_SCORE_CHOSEN_SOFTMAX = 0,
  MOEHILL_SCORE_SOFTMAX = 1,
  MOEHILL_SCORE_SIGMOID = 2,
  MOEHILL_SCORE_SQRT_SOFTPLUS = 3, /* sqrt(ln(1 + e^z)) */
  MOEHILL_SCORE_SPARSEMIXER = 4    /* as in Phi-3.5-MoE; see moehill_router_desc */
} moehill_score;

/* Describes how a router chooses experts and makes gate values, for a token with logits [E]:
 *
 *   key     s + bias if there is a bias or there are groups; otherwise the logit, which orders experts as s
 *           does
 *   choice  the k largest keys; of equal keys, the one with the lower id. With groups, which are neighbouring
 *           experts, only the kept_groups best groups take part. With a table: the experts of the token's id.
 *   gate    factor * scale * s; with `normalized` it is divided by max(sum of the chosen s, least_sum)
 *
 * SPARSEMIXER differs. Its gate j is the softmax, at choice j, over some of the experts that were not chosen
 * before j: those near the best. Let z be an expert's logit, and m the largest logit of the experts not
 * chosen before j. The expert is near if (m - z) / max(|z|, m) <= 2 jitter. Phi-3.5-MoE does this in
 * inference; in training it draws choices at random, which this router does not. The gradient holds fixed
 * which experts are near.
 *
 * The router computes in f32, each token by itself, so results do not depend on threads or processes.
 * Gradients go through the chosen scores only: a bias, groups and a table have none. A router does not
 * compute the logits; the caller multiplies x by the router's matrix W_g [H, E]:
 *
 *   moehill_router_route(router, T, logits, NULL, expert_ids, gates);
 *   moehill_block_plan(block, T, expert_ids, gates);
 *   ...                                                            // forward and backward of the block
 *   moehill_router_backward(router, T, logits, expert_ids, d_gates, d_logits); */
typedef struct moehill_router_desc {
  size_t struct_size;
  int32_t experts;     /* E; zero experts of the block count too */
  int32_t topk;        /* k */
  int32_t score;       /* moehill_score; default MOEHILL_SCORE_CHOSEN_SOFTMAX */
  int32_t groups;      /* default 1; groups have equal sizes */
  int32_t kept_groups; /* default 1 */
  int32_t group_rank;  /* 2 (default): a group ranks by the sum of its 2 best keys; 1: by its best key */
  int32_t normalized;  /* 1: gates are divided by the sum, see above; not with CHOSEN_SOFTMAX; default 0 */
  double least_sum;    /* default 1e-20 */
  double factor;       /* default 1 */
  const float* bias;   /* [E] selection bias, or null. The router copies all these arrays */
  const float* expert_scale;    /* [E], or null: 1 for each expert */
  const int32_t* experts_of_id; /* [num_ids, k], or null: no table */
  int64_t num_ids;
  double jitter; /* for SPARSEMIXER only; default 0.01 */
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
/* Replaces the bias [E] of a router that was made with a bias. Training that balances experts by a bias in
 * place of a loss does this after each step. */
MOEHILL_API moehill_status moehill_router_set_bias(moehill_router* router, const float* bias);
/* Computes expert_ids [T, k] and gates [T, k] from logits [T, E], and from token_ids [T] if there is a table.
 * A NaN among the logits is an error. */
MOEHILL_API moehill_status moehill_router_route(moehill_router* router, int64_t tokens, const float* logits,
                                                const int32_t* token_ids, int32_t* expert_ids, float* gates);
/* Computes d_logits [T, E] from d_gates [T, k] and from the choices that the router made for these logits.
 * For a choice that the caller has dropped since then, d_gates must be 0. */
MOEHILL_API moehill_status moehill_router_backward(moehill_router* router, int64_t tokens,
                                                   const float* logits, const int32_t* expert_ids,
                                                   const float* d_gates, float* d_logits);

/* ---- Exchange: rows of tokens to experts of your own, and back ---- */

typedef struct moehill_exchange moehill_exchange;

/* An exchange sends each token's row to the processes of its experts (dispatch), and sums the experts'
 * results for each token (combine). The experts themselves are the caller's:
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
 * processes to the experts of this process. offsets [num_experts + 1] may be null; rows [offsets[i],
 * offsets[i + 1]) belong to the i-th expert of this process. */
MOEHILL_API moehill_status moehill_exchange_plan(moehill_exchange* exchange, int64_t tokens,
                                                 const int32_t* expert_ids, const float* gates,
                                                 int64_t* num_rows, int64_t* offsets);
/* Gives the experts of this process: [E r / P, E (r + 1) / P) for process r of P. One process has all
 * experts. */
MOEHILL_API moehill_status moehill_exchange_get_experts(const moehill_exchange* exchange,
                                                        int32_t* first_expert, int32_t* num_experts);
/* Collective. Copies rows of x [T, H] to rows [R, H], ordered by expert, and for each expert by token. */
MOEHILL_API moehill_status moehill_exchange_dispatch(moehill_exchange* exchange, const void* x, void* rows);
/* Collective. Computes y [T, H] from rows [R, H]: y_t is the sum of the rows of its choices, each times its
 * gate value. */
MOEHILL_API moehill_status moehill_exchange_combine(moehill_exchange* exchange, const void* rows, void* y);
/* Collective. Computes the gradient of combine: d_rows [R, H] and d_gates [T, k] from dy [T, H] and the rows
 * that combine was given. d_gates may be null in any of the processes: not wanted there. */
MOEHILL_API moehill_status moehill_exchange_combine_backward(moehill_exchange* exchange, const void* dy,
                                                             const void* rows, void* d_rows, float* d_gates);
/* Collective. Computes the gradient of dispatch: dx [T, H] from d_rows [R, H], as a sum without gates. */
MOEHILL_API moehill_status moehill_exchange_dispatch_backward(moehill_exchange* exchange, const void* d_rows,
                                                              void* dx);

/* ---- Grouped GEMM: only the products, on the first device of this process ---- */

typedef struct moehill_stack moehill_stack;

/* Makes a stack: G matrices [K, N], packed in the order in which the products read them. They are zero at
 * first. */
MOEHILL_API moehill_status moehill_stack_create(moehill_context* context, int32_t groups, int64_t k,
                                                int64_t n, int32_t dtype, moehill_stack** stack);
MOEHILL_API void moehill_stack_destroy(moehill_stack* stack);
/* Load and store copy matrices [first, first + count) from and to the caller's memory, where they follow one
 * another: each is [K, N] with IN_OUT, and [N, K] with OUT_IN. */
MOEHILL_API moehill_status moehill_stack_load(moehill_stack* stack, int32_t first, int32_t count,
                                              const void* data, int32_t dtype, int32_t order);
MOEHILL_API moehill_status moehill_stack_store(const moehill_stack* stack, int32_t first, int32_t count,
                                               void* data, int32_t dtype, int32_t order);

/* An operand of a product: rows of a matrix [num_rows, columns] of the stack's type. Row i of the operand is
 * row index[i] of the matrix, or a row of zeros if index[i] is -1. With index null it is row i. */
typedef struct moehill_rows {
  size_t struct_size;
  const void* data;
  int64_t num_rows;
  const int32_t* index;
} moehill_rows;

/* Group g of a product has rows [offsets[g], offsets[g + 1]) of the operands. offsets [G + 1] begin at 0 and
 * do not fall. R is the number of rows of all groups, and dC is the gradient of C.
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
