#include "moehill/api/description.h"

#include <limits>

#include "moehill/api/sized_struct.h"
#include "moehill/base/hash.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

void require_between(const char* what, int64_t got, int64_t lo, int64_t hi, const char* remedy) {
  if (got < lo || got > hi)
    throw invalid(what, fmt::format("{}", got), fmt::format("{} to {}", lo, hi), remedy);
}

constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();

void require_legal(const moehill_block_desc& d) {
  const int64_t max = kMaxInt32;
  require_between("hidden", d.hidden, 1, max, "give the width of a token's row");
  require_between("mlp_dim", d.mlp_dim, 1, max, "give the width of an expert");
  require_between("experts", d.experts, 1, 65536, "give the number of experts of all processes");
  require_between("topk", d.topk, 1, std::min(d.experts, 1024), "give the choices of a token");
  require_between("shared_dim", d.shared_dim, 0, max, "0 is no shared expert");
  require_between("max_tokens", d.max_tokens, 1, max, "give the most tokens of a step in one process");
  require_between("training", d.training, 0, 1, "1 with backward, 0 without");
  require_between("path", d.path, MOEHILL_PATH_AUTO, MOEHILL_PATH_FUSED, "take a moehill_path");
  require_between("recompute", d.recompute, MOEHILL_RECOMPUTE_NONE, MOEHILL_RECOMPUTE_EXPERT_MLP,
                  "take a moehill_recompute");
  (void)dtype_named(d.dtype, "dtype");
}

moehill_block_desc known_members(const moehill_block_desc* desc) {
  moehill_block_desc full;
  moehill_block_desc_init(&full);
  return over_defaults(desc, full, "the block's description", offsetof(moehill_block_desc, dtype),
                       "moehill_block_desc_init");
}

Remat remat_of(int32_t recompute) {
  if (recompute == MOEHILL_RECOMPUTE_NONE) return Remat::none;
  return recompute == MOEHILL_RECOMPUTE_COMBINE ? Remat::combine : Remat::expert_mlp;
}

}  // namespace

DType dtype_named(int32_t dtype, const char* what) {
  if (dtype == MOEHILL_F32) return DType::f32;
  if (dtype == MOEHILL_BF16) return DType::bf16;
  throw invalid(what, fmt::format("{}", dtype), "MOEHILL_F32, MOEHILL_BF16", "take one of them");
}

bool is_out_in(int32_t order) {
  if (order == MOEHILL_OUT_IN || order == MOEHILL_IN_OUT) return order == MOEHILL_OUT_IN;
  throw invalid("order", fmt::format("{}", order), "MOEHILL_OUT_IN, MOEHILL_IN_OUT", "take one of them");
}

Spread spread_of(int32_t path, int num_devices) {
  if (num_devices == 1) return Spread::none;
  return static_cast<Spread>(path);
}

moehill_path path_of(Spread spread) {
  return spread == Spread::none ? MOEHILL_PATH_DATA_PARALLEL : static_cast<moehill_path>(spread);
}
static_assert(static_cast<int>(Spread::dp) == MOEHILL_PATH_DATA_PARALLEL &&
              static_cast<int>(Spread::fused) == MOEHILL_PATH_FUSED);

moehill_block_desc complete(const moehill_block_desc* desc) {
  const moehill_block_desc full = known_members(desc);
  require_legal(full);
  return full;
}

moehill_block_desc complete_for_exchange(const moehill_block_desc* desc) {
  moehill_block_desc full = known_members(desc);
  full.mlp_dim = 1;
  full.shared_dim = 0;
  full.training = 1;
  full.path = MOEHILL_PATH_RAGGED_A2A;
  full.recompute = MOEHILL_RECOMPUTE_NONE;
  require_legal(full);
  return full;
}

int64_t fingerprint(const moehill_block_desc& d) {
  uint64_t hash = kFnvStart;
  for (const int64_t value :
       {d.hidden, d.mlp_dim, int64_t{d.experts}, int64_t{d.topk}, d.shared_dim, d.max_tokens,
        int64_t{d.dtype}, int64_t{d.training}, int64_t{d.path}, int64_t{d.recompute}})
    hash = fnv1a(hash, static_cast<uint64_t>(value));
  return static_cast<int64_t>(hash);
}

void require_countable(std::initializer_list<double> factors) {
  double elements = 1;
  for (const double factor : factors) elements *= factor;
  if (elements <= 0x1p50) return;
  throw Failure(MOEHILL_OUT_OF_MEMORY,
                input_error("memory", fmt::format("a tensor of {:.3g} elements", elements),
                            "up to 2^50 elements", "take smaller sizes")
                    .what());
}

// Each device may have as many tokens as an even cut of the most gives it.
RunConfig run_config(const moehill_block_desc& d, const Context& context) {
  RunConfig config;
  const int devices = context.num_devices();
  config.spread = spread_of(d.path, devices);
  const int64_t processes = replicates_tokens(config, context) ? 1 : context.num_processes();
  const int64_t tokens = round_up(d.max_tokens * processes, devices);
  if (tokens > kMaxInt32 / d.topk) {
    throw invalid(
        "max_tokens", fmt::format("{} in {} processes", d.max_tokens, processes),
        fmt::format("{} tokens of all processes, since rows are numbered in 32 bits", kMaxInt32 / d.topk),
        "cut the step into several");
  }
  const double widest = static_cast<double>(std::max({d.hidden, 2 * d.mlp_dim, 2 * d.shared_dim}));
  require_countable({static_cast<double>(tokens) * d.topk, widest});
  require_countable(
      {static_cast<double>(d.hidden), static_cast<double>(std::max(d.experts * d.mlp_dim, d.shared_dim)), 3});
  config.shape = {
      tokens, d.hidden, d.mlp_dim, d.experts, d.topk, d.shared_dim, dtype_named(d.dtype, "dtype")};
  config.block.pass = d.training == 1 ? Pass::forward_backward : Pass::forward;
  config.block.remat = remat_of(d.recompute);
  config.num_devices = devices;
  config.threads_per_device = context.threads_per_device();
  return config;
}

}  // namespace moehill
