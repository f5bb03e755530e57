/* The block from C: plan, forward and backward of experts so small that their results are known by hand.
   It exits with 0 if all results are right, 1 if one is wrong, 2 if a call failed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moehill/moehill.h"
#ifdef EXAMPLE_MPI
#include <mpi.h>
#endif

static void require(moehill_status status) {
  if (status == MOEHILL_OK) return;
  fprintf(stderr, "%s: %s\n", moehill_status_name(status), moehill_last_error());
  exit(2);
}

/* With H = M = 1, expert e has gate 1, up e + 1 and down 1, so y = p (e + 1) x^2 sigmoid(x). */
enum { EXPERTS = 4, TOKENS = 3 };

static int is_near(const char* what, float got, double expected) {
  printf("%s %g, expected %g\n", what, (double)got, expected);
  return fabs((double)got - expected) <= 1e-5 * (1 + fabs(expected));
}

static int step(moehill_block* block) {
  const float x[TOKENS] = {0.5f, -1, 2}, dy[TOKENS] = {1, 1, 0.5f}, gates[TOKENS] = {1, 0.25f, 2};
  const int32_t ids[TOKENS] = {3, 0, -1}; /* -1: the last token has no expert */
  float y[TOKENS], dx[TOKENS], d_gates[TOKENS];
  int ok = 1;
  require(moehill_block_plan(block, TOKENS, ids, gates));
  require(moehill_block_forward(block, x, y));
  require(moehill_block_backward(block, x, dy, dx, d_gates));
  for (int t = 0; t < TOKENS; ++t) {
    const double v = (double)x[t], s = 1 / (1 + exp(-v)), c = ids[t] < 0 ? 0 : ids[t] + 1;
    ok = is_near("y", y[t], (double)gates[t] * c * v * v * s) && ok;
    ok = is_near("dx", dx[t], (double)dy[t] * (double)gates[t] * c * v * s * (2 + v * (1 - s))) && ok;
    ok = is_near("d_gate", d_gates[t], (double)dy[t] * c * v * v * s) && ok;
  }
  return ok;
}

int main(int argc, char** argv) {
  moehill_context_options options;
  moehill_context_options_init(&options);
  options.threads_per_device = 1;
#ifdef EXAMPLE_MPI
  MPI_Comm comm = MPI_COMM_WORLD;
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  options.mpi_comm = &comm;
  options.mpi_comm_size = sizeof comm;
#else
  options.devices = argc > 1 ? atoi(argv[1]) : 1;
#endif
  moehill_context* context = NULL;
  require(moehill_context_create(&options, &context));

  moehill_block_desc desc;
  moehill_block_desc_init(&desc);
  desc.hidden = desc.mlp_dim = 1;
  desc.experts = EXPERTS;
  desc.topk = 1;
  desc.max_tokens = TOKENS;
  desc.dtype = MOEHILL_F32;
  moehill_block* block = NULL;
  require(moehill_block_create(context, &desc, &block));
  moehill_block_info info;
  memset(&info, 0, sizeof info);
  info.struct_size = sizeof info;
  require(moehill_block_get_info(block, &info));
  const float one = 1;
  for (int32_t e = info.first_expert; e < info.first_expert + info.num_experts; ++e) {
    const float up = (float)(e + 1);
    const moehill_weights weights = {.struct_size = sizeof weights, .gate = &one, .up = &up, .down = &one};
    require(moehill_block_load_experts(block, e, 1, &weights));
  }
  const int ok = step(block);
  moehill_block_destroy(block);
  moehill_context_destroy(context);
#ifdef EXAMPLE_MPI
  MPI_Finalize();
#else
  (void)argv;
#endif
  return ok ? 0 : 1;
}
