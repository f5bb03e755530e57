// Implementation of api/description.h: ranges of single members first, then members that exclude each other.
#include "moehill/api/description.h"

#include <fmt/ranges.h>

#include <bit>
#include <cctype>
#include <limits>
#include <string>
#include <vector>

#include "moehill/api/sized_struct.h"
#include "moehill/base/error.h"
#include "moehill/base/hash.h"
#include "moehill/base/table.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {
namespace {

// Checks the members that say what an expert computes, each by itself.
void require_form(const moehill_block_desc& d) {
  require_between("activation", d.activation, MOEHILL_SILU, MOEHILL_SITU, "take a moehill_activation");
  for (const auto& [what, value] : {std::pair{"gated", d.gated},
                                    {"biases", d.biases},
                                    {"shared_gate", d.shared_gate},
                                    {"input_weighted", d.input_weighted}})
    require_between(what, value, 0, 1, "1 or 0");
  require_between("zero_experts", d.zero_experts, 0, 65536, "give the number of zero experts");
  const auto number = [](const char* what, double got, double lo, double hi) {
    if (got == 0 || (got >= lo && got <= hi)) return;
    throw invalid(what, fmt::format("{}", got), fmt::format("0, or {} to {}", lo, hi), "0 is the default");
  };
  number("limit", d.limit, 1e-6, 1e9);
  number("alpha", d.alpha, 1e-3, 1e3);
  number("beta", d.beta, 1e-6, 1e6);
  number("linear_beta", d.linear_beta, 1e-6, 1e6);
  number("latent_norm", d.latent_norm, 1e-30, 1);
}

// Refuses members that the activation, or the rest of the block, has no use for. A value that is ignored
// would be a mistake of the caller.
void require_together(const moehill_block_desc& d) {
  const auto refuse = [](bool broken, const char* sentence, const char* remedy) {
    if (broken) throw usage_error(sentence, remedy);
  };
  const bool silu = d.activation == MOEHILL_SILU, oai = d.activation == MOEHILL_SWIGLU_OAI,
             relu2 = d.activation == MOEHILL_RELU2, situ = d.activation == MOEHILL_SITU;
  refuse(d.limit != 0 && !silu && !oai, "limit needs MOEHILL_SILU or MOEHILL_SWIGLU_OAI", "leave it out");
  refuse(d.alpha != 0 && !oai, "alpha needs MOEHILL_SWIGLU_OAI", "leave it out");
  refuse(d.beta != 0 && !situ, "beta needs MOEHILL_SITU", "leave it out");
  refuse(d.linear_beta != 0 && !situ, "linear_beta needs MOEHILL_SITU", "leave it out");
  refuse(d.gated == 0 && !relu2, "gated = 0 needs MOEHILL_RELU2", "take that activation, or gated = 1");
  refuse(d.shared_gate == 1 && d.shared_dim == 0, "shared_gate needs a shared expert",
         "give a shared_dim above 0, or leave shared_gate out");
  refuse(d.latent_norm != 0 && d.latent_dim == 0, "latent_norm needs a latent_dim above 0",
         "give one, or leave latent_norm out");
  refuse(d.latent_dim > 0 && d.zero_experts > 0, "latent_dim cannot be used with zero_experts",
         "leave one of the two out");
  refuse(d.input_weighted == 1 && d.biases == 1,
         "input_weighted cannot be used with biases: a bias is no part of the product that is scaled",
         "leave one of the two out");
}

// Checks each member by itself, then those that exclude each other.
void require_legal(const moehill_block_desc& d) {
  const int64_t max = std::numeric_limits<int32_t>::max();
  require_between("hidden", d.hidden, 1, max, "give the width of a token's row");
  require_between("mlp_dim", d.mlp_dim, 1, max, "give the width of an expert");
  require_between("experts", d.experts, 1, 65536, "give the number of experts of all processes");
  require_between("topk", d.topk, 1, std::min(d.experts, 1024), "give the choices of a token");
  require_between("shared_dim", d.shared_dim, 0, max, "0 means no shared expert");
  require_between("latent_dim", d.latent_dim, 0, max, "0 means the width of a token's row");
  require_between("max_tokens", d.max_tokens, 1, max, "give the most tokens of a step in one process");
  require_between("training", d.training, 0, 1, "1 with backward, 0 without");
  require_between("path", d.path, MOEHILL_PATH_AUTO, MOEHILL_PATH_HIERARCHICAL, "take a moehill_path");
  require_between("recompute", d.recompute, MOEHILL_RECOMPUTE_NONE, MOEHILL_RECOMPUTE_EXPERT_MLP,
                  "take a moehill_recompute");
  (void)dtype_named(d.dtype, "dtype");
  require_form(d);
  require_together(d);
}

ExpertForm form_of(const moehill_block_desc& d) {
  // In the C struct 0 stands for the usual value, because a program that does not know a member leaves it 0.
  const auto given = [](double value, double usual) { return value == 0 ? usual : value; };
  ExpertForm form;
  form.activation = {static_cast<ActivationFunction>(d.activation), d.gated == 1, d.limit};
  if (d.activation == MOEHILL_SWIGLU_OAI) form.activation.alpha = given(d.alpha, 1.702);
  if (d.activation == MOEHILL_SITU) {
    form.activation.beta = given(d.beta, 4);
    form.activation.linear_beta = given(d.linear_beta, 25);
  }
  form.biases = d.biases == 1;
  form.shared_gate = d.shared_gate == 1;
  form.latent = d.latent_dim;
  form.latent_norm = d.latent_norm;
  return form;
}
// The enums of the interface and of the library have the same numbers, so they can be cast.
static_assert(static_cast<int>(ActivationFunction::silu) == MOEHILL_SILU &&
              static_cast<int>(ActivationFunction::swiglu_oai) == MOEHILL_SWIGLU_OAI &&
              static_cast<int>(ActivationFunction::gelu_tanh) == MOEHILL_GELU_TANH &&
              static_cast<int>(ActivationFunction::relu2) == MOEHILL_RELU2 &&
              static_cast<int>(ActivationFunction::situ) == MOEHILL_SITU);

// Returns the description with defaults for members that the caller's version of the struct does not have.
moehill_block_desc known_members(const moehill_block_desc* desc) {
  moehill_block_desc full;
  moehill_block_desc_init(&full);
  return over_defaults(desc, full, "the block's description", offsetof(moehill_block_desc, dtype),
                       "moehill_block_desc_init");
}

// Names the paths that move rows, as moehill.h does.
std::string paths_that_move_rows() {
  std::vector<std::string> names;
  for (const Spread path : kEpPaths) {
    if (!moves_rows(path)) continue;
    std::string& name = names.emplace_back("MOEHILL_PATH_");
    for (const char* c = name_of(path); *c != '\0'; ++c)
      name += static_cast<char>(std::toupper(static_cast<unsigned char>(*c)));
  }
  return fmt::format("{}", fmt::join(names, ", "));
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

// Returns the library's name for a path. With one device no path moves anything, so it is `none`.
Spread spread_of(int32_t path, int num_devices) {
  if (num_devices == 1) return Spread::none;
  return static_cast<Spread>(path);
}

moehill_path path_of(Spread spread) {
  return spread == Spread::none ? MOEHILL_PATH_DATA_PARALLEL : static_cast<moehill_path>(spread);
}
static_assert(static_cast<int>(Spread::dp) == MOEHILL_PATH_DATA_PARALLEL &&
              static_cast<int>(Spread::hierarchical) == MOEHILL_PATH_HIERARCHICAL);

moehill_block_desc complete(const moehill_block_desc* desc) {
  const moehill_block_desc full = known_members(desc);
  require_legal(full);
  return full;
}

moehill_block_desc complete_without_path(const moehill_block_desc* desc) {
  moehill_block_desc full = known_members(desc);
  full.path = MOEHILL_PATH_AUTO;
  require_legal(full);
  return full;
}

// An exchange has no experts of its own, so members about them are set to the smallest legal values.
moehill_block_desc complete_for_exchange(const moehill_block_desc* desc) {
  const moehill_block_desc given = known_members(desc);
  moehill_block_desc full;
  moehill_block_desc_init(&full);
  full.hidden = given.hidden;
  full.mlp_dim = 1;
  full.experts = given.experts;
  full.topk = given.topk;
  full.max_tokens = given.max_tokens;
  full.dtype = given.dtype;
  full.path = MOEHILL_PATH_RAGGED_A2A;
  require_legal(full);
  return full;
}

// Returns a hash of all members. Processes compare these to learn whether they described the same block.
int64_t fingerprint(const moehill_block_desc& d) {
  uint64_t hash = kFnvStart;
  for (const int64_t value :
       {d.hidden, d.mlp_dim, int64_t{d.experts}, int64_t{d.topk}, d.shared_dim, d.max_tokens,
        int64_t{d.dtype}, int64_t{d.training}, int64_t{d.path}, int64_t{d.recompute}, int64_t{d.activation},
        int64_t{d.gated}, int64_t{d.biases}, int64_t{d.shared_gate}, int64_t{d.input_weighted},
        int64_t{d.zero_experts}, d.latent_dim})
    hash = fnv1a(hash, static_cast<uint64_t>(value));
  for (const double value : {d.limit, d.alpha, d.beta, d.linear_beta, d.latent_norm})
    hash = fnv1a(hash, std::bit_cast<uint64_t>(value));
  return static_cast<int64_t>(hash);
}

// Throws if a tensor with these dimensions has more than 2^50 elements, whose bytes could overflow 64 bits.
void require_countable(std::initializer_list<double> factors) {
  double elements = 1;
  for (const double factor : factors) elements *= factor;
  if (elements <= 0x1p50) return;
  throw Failure(MOEHILL_OUT_OF_MEMORY,
                input_error("memory", fmt::format("a tensor of {:.3g} elements", elements),
                            "up to 2^50 elements", "take smaller sizes")
                    .what());
}

// Each device has room for its part of the largest number of tokens, cut evenly.
RunConfig run_config(const moehill_block_desc& d, const Context& context) {
  RunConfig config;
  const int devices = context.num_devices();
  config.spread = spread_of(d.path, devices);
  const int64_t processes = replicates_tokens(config, context) ? 1 : context.num_processes();
  const int64_t tokens = round_up(d.max_tokens * processes, devices);
  if (tokens > std::numeric_limits<int32_t>::max() / d.topk) {
    throw invalid("max_tokens",
                  fmt::format("{} in {}", d.max_tokens, count_text(processes, "process", "processes")),
                  fmt::format("{} tokens of all processes, since rows are numbered in 32 bits",
                              std::numeric_limits<int32_t>::max() / d.topk),
                  "cut the step into several");
  }
  // Rows are counted in 32 bits, bytes in 64; what passes here cannot overflow either. Rows of experts have
  // the width latent_dim, if there is one.
  const int64_t row = std::max(d.hidden, d.latent_dim);
  const int64_t outputs = std::max(d.experts * d.mlp_dim, d.shared_dim);
  require_countable({static_cast<double>(tokens) * d.topk,
                     static_cast<double>(std::max({row, 2 * d.mlp_dim, 2 * d.shared_dim}))});
  require_countable({static_cast<double>(row), static_cast<double>(outputs), 3});
  require_countable({static_cast<double>(d.hidden), static_cast<double>(d.latent_dim)});
  config.shape = {
      tokens, d.hidden, d.mlp_dim, d.experts, d.topk, d.shared_dim, dtype_named(d.dtype, "dtype")};
  config.shape.form = form_of(d);
  config.shape.router.input_weighted = d.input_weighted == 1;
  config.shape.router.zero_experts = d.zero_experts;
  config.block.pass = d.training == 1 ? Pass::forward_backward : Pass::forward;
  config.block.remat = remat_of(d.recompute);
  config.num_devices = devices;
  if (d.latent_dim > 0 && config.spread != Spread::none && !moves_rows(config.spread))
    throw invalid("path", "one that moves no rows, with a latent_dim", paths_that_move_rows(),
                  "take one of them, or AUTO");
  config.threads_per_device = context.threads_per_device();
  return config;
}

}  // namespace moehill
