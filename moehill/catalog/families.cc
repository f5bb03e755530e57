// Implementation of catalog/families.h: the table of families, and the meaning of the keys that differ
// between them.
#include "moehill/catalog/families.h"

#include <algorithm>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr int64_t kMostWidth = 1 << 24;
constexpr double kOpenAiAlpha = 1.702;  // swiglu-oai in gpt-oss's code; no key says it

// Returns a family with a softmax over all experts; keys say whether gate values are normalised.
Family softmax_family(bool normalized, bool shared_gate = false) {
  return {.known = true, .normalized = normalized, .shared_gate = shared_gate};
}

// Returns a family with a softmax over the chosen experts. The width of an expert is in the key that other
// families use for a dense layer.
Family mixtral_family() {
  return {.known = true, .score = RouterScore::chosen_softmax, .width_is_intermediate = true};
}

// Returns the family of DeepSeek-V3 and the models that followed it: experts are chosen by score plus bias,
// and gate values are normalised.
Family sigmoid_family() {
  return {.known = true, .score = RouterScore::sigmoid, .bias = true, .normalized = true};
}

Family with_intermediate_width(Family family) {
  family.width_is_intermediate = true;
  return family;
}

// The sources are the families' code in transformers (modeling_*.py) and the released configurations, as of
// 2026-09.
std::map<std::string, Family> make_families() {
  std::map<std::string, Family> families;
  const auto add = [&](std::initializer_list<const char*> names, const Family& family) {
    for (const char* name : names) families[name] = family;
  };
  // The functions above describe these families fully.
  add({"qwen2_moe"}, softmax_family(false, true));
  add({"qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_text"}, softmax_family(false));
  add({"qwen3_next", "qwen3_5_moe_text", "qwen3_5_moe"}, softmax_family(true, true));
  add({"olmoe", "jamba", "flex_olmo"}, with_intermediate_width(softmax_family(false)));
  add({"deepseek", "deepseek_v2"}, softmax_family(false));
  add({"hunyuan_v1_moe"}, softmax_family(true));
  add({"mixtral", "granitemoe", "granitemoeshared", "granitemoehybrid"}, mixtral_family());
  add({"deepseek_v3", "deepseek_v32", "kimi_k2", "kimi_linear", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa",
       "dots1", "mimo_v2_flash", "step3p5", "step3p7"},
      sigmoid_family());
  add({"minimax_m2"}, with_intermediate_width(sigmoid_family()));

  // These families are like one of the families above, with a few changes.
  Family v4 = sigmoid_family();
  v4.score = RouterScore::sqrt_softplus;
  add({"deepseek_v4"}, v4);
  Family minimax_m3 = sigmoid_family();
  minimax_m3.activation = ActivationFunction::swiglu_oai;
  add({"minimax_m3"}, minimax_m3);
  Family gpt_oss = mixtral_family();
  gpt_oss.activation = ActivationFunction::swiglu_oai;
  gpt_oss.biases = true;
  add({"gpt_oss"}, gpt_oss);
  Family phi = mixtral_family();
  phi.score = RouterScore::sparsemixer;
  add({"phimoe"}, phi);
  // Llama 4 multiplies the gate value into the input of an expert, and its shared expert is as wide as the
  // others.
  Family llama4{.known = true,
                .score = RouterScore::sigmoid,
                .width_is_intermediate = true,
                .shared = SharedWidth::expert_width,
                .input_weighted = true};
  add({"llama4_text", "llama4"}, llama4);
  // Gemma 4 has a dense MLP beside the experts, which counts as the shared expert, and a scale for each
  // expert.
  Family gemma4 = softmax_family(true);
  gemma4.scaled_experts = true;
  gemma4.shared = SharedWidth::beside;
  gemma4.activation = ActivationFunction::gelu_tanh;
  add({"gemma4_text"}, gemma4);
  Family nemotron = sigmoid_family();
  nemotron.activation = ActivationFunction::relu2;
  nemotron.ungated = true;
  add({"nemotron_h"}, nemotron);
  // The code of these models has its own least sum, which no key of a configuration gives.
  Family ernie = softmax_family(true);
  ernie.bias = true;
  ernie.least_sum = 1e-12;
  add({"ernie4_5_moe"}, ernie);
  Family lfm2 = sigmoid_family();
  lfm2.bias = false;
  lfm2.least_sum = 1e-6;
  add({"lfm2_moe"}, lfm2);
  add({"bailing_moe"}, softmax_family(true));  // Ling; its second version says by keys that it uses a sigmoid
  Family longcat = softmax_family(false);
  longcat.bias = true;
  add({"longcat_flash"}, longcat);
  return families;
}

// Notes a part of the model that a block of this library does not have.
void leave_out(ModelBlock& block, const std::string& key, const std::string& value, const std::string& what) {
  block.left_out.push_back({key, value, what});
}

RouterScore score_named(const ConfigKeys& keys, const std::string& key, RouterScore otherwise) {
  const std::string name = keys.text_or(key, "");
  if (name == "softmax" || name.empty()) return name.empty() ? otherwise : RouterScore::softmax;
  if (name == "sigmoid") return RouterScore::sigmoid;
  if (name == "sqrtsoftplus") return RouterScore::sqrt_softplus;
  keys.refuse(key, "softmax, sigmoid or sqrtsoftplus");
}

void read_groups(const ConfigKeys& keys, int num_experts, RouterRule& router) {
  const std::string groups = keys.first_of({"n_group", "num_expert_group"});
  const std::string kept = keys.first_of({"topk_group"});
  if (groups.empty()) return;
  const auto count = static_cast<int>(keys.integer(groups, 1, kMostGroups));
  const auto kept_count = static_cast<int>(kept.empty() ? 1 : keys.integer(kept, 1, count));
  if (keys.text_or("topk_method", "") == "greedy" || count == 1) return;
  if (num_experts % count != 0)
    keys.refuse(groups, fmt::format("a divisor of {}", count_text(num_experts, "expert")));
  router.groups = count;
  router.kept_groups = kept_count;
  router.best_two = router.score != RouterScore::softmax;  // DeepSeek-V2 ranks a group by its best expert
}

void read_sparsemixer(const ConfigKeys& keys, ModelBlock& block) {
  block.shape.router.jitter = keys.number_or("router_jitter_noise", RouterRule{}.jitter, 0, 1);
  if (block.shape.topk != 2) keys.refuse("num_experts_per_tok", "2, for which alone sparsemixer is defined");
  block.assumed.push_back(
      "sparsemixer chooses as in inference: in training the model draws among its best experts");
}

bool chooses_with_bias(const ConfigKeys& keys, const Family& family, const std::string& method) {
  const std::string key = keys.first_of(
      {"use_routing_bias", "use_moe_router_bias", "moe_router_enable_expert_bias", "use_expert_bias"});
  if (!key.empty()) return keys.flag_or(key, true);
  return method.empty() ? family.bias : method == "noaux_tc";
}

}  // namespace

Family family_of(const std::string& model_type) {
  static const std::map<std::string, Family> families = make_families();
  const auto found = families.find(model_type);
  return found == families.end() ? Family{} : found->second;
}

std::string Family::width_key(const ConfigKeys& keys) const {
  if (width_is_intermediate) return "intermediate_size";
  const std::string key =
      keys.first_of({"moe_intermediate_size", "expert_ffn_hidden_size", "moe_ffn_hidden_size"});
  if (!key.empty()) return key;
  if (known) return "moe_intermediate_size";  // missing; the reader will say so
  return "intermediate_size";
}

int64_t Family::shared_width(const ConfigKeys& keys, int64_t layer, int64_t mlp_dim) const {
  if (shared == SharedWidth::none) return 0;
  if (shared == SharedWidth::expert_width) return mlp_dim;
  if (shared == SharedWidth::beside) return keys.integer("intermediate_size", 1, kMostWidth);
  const std::string number = keys.first_of(
      {"n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"});
  const int64_t count = number.empty() ? 1 : keys.integer_at(number, layer, 0, 1024);
  // Some keys have the width of one shared expert, others the width of all shared experts together.
  const std::string each = keys.first_of({"moe_shared_expert_intermediate_size"});
  const std::string all =
      keys.first_of({"shared_expert_intermediate_size", "share_expert_dim", "shared_intermediate_size"});
  if (count == 0) return 0;
  if (!all.empty()) return keys.integer(all, 0, kMostWidth);
  if (!each.empty()) return keys.integer(each, 0, kMostWidth) * count;
  return number.empty() ? 0 : count * mlp_dim;
}

void read_router(const ConfigKeys& keys, const Family& family, ModelBlock& block, bool hashed) {
  RouterRule& router = block.shape.router;
  // A key of the configuration comes before what is known about the family, since a later version of a family
  // may differ.
  const std::string score = keys.first_of(
      {"scoring_func", "moe_router_activation_func", "router_score_function", "score_function"});
  router.score = score.empty() ? family.score : score_named(keys, score, family.score);
  if (!family.known && score.empty())
    block.assumed.push_back("no key says how the router scores: a softmax over all experts is taken");
  // The method says whether a bias takes part in the choice; other methods than these three are refused.
  const std::string method = keys.text_or("topk_method", "");
  if (!method.empty() && method != "noaux_tc" && method != "group_limited_greedy" && method != "greedy")
    keys.refuse("topk_method", "noaux_tc, group_limited_greedy or greedy");
  router.bias = chooses_with_bias(keys, family, method);
  // The softmax over the chosen sums to 1 already, and sparsemixer has no scores, so neither is normalised.
  const std::string normalizes = keys.first_of({"norm_topk_prob", "moe_renormalize", "norm_expert_weight"});
  const bool has_scores =
      router.score != RouterScore::chosen_softmax && router.score != RouterScore::sparsemixer;
  router.normalized = has_scores && keys.flag_or(normalizes.empty() ? "norm_topk_prob" : normalizes,
                                                 family.known ? family.normalized : true);
  if (!family.known && normalizes.empty())
    block.assumed.push_back("no key says whether gate values are normalised: they are taken to be");
  router.least_sum = router.normalized ? family.least_sum : RouterRule{}.least_sum;
  const std::string factor =
      keys.first_of({"routed_scaling_factor", "moe_router_scaling_factor", "router_scaling_factor"});
  if (!factor.empty()) router.factor = keys.number_or(factor, 1, 1e-6, 1e6);
  read_groups(keys, block.shape.experts, router);
  keys.has("use_grouped_topk");  // it says no more than the numbers of groups do, so it only counts as known
  router.expert_scale = family.scaled_experts;
  const int64_t zero = keys.integer_or("zero_expert_num", 0, 0, 65536);
  router.zero_experts = static_cast<int>(zero);
  if (zero > 0 && keys.text_or("zero_expert_type", "identity") != "identity")
    keys.refuse("zero_expert_type", "identity");
  router.input_weighted = family.input_weighted;
  // A table of token ids chooses the experts, so neither a bias nor groups take part.
  if (hashed) {
    router.hash_ids = keys.integer("vocab_size", 1, 1 << 24);
    router.bias = false;
    router.groups = router.kept_groups = 1;
  }
  if (router.score == RouterScore::sparsemixer) read_sparsemixer(keys, block);
}

namespace {

// Returns the activation that a key names, or else the family's activation. Notes an unknown one as left out.
Activation read_activation(const ConfigKeys& keys, const Family& family, ModelBlock& block) {
  using F = ActivationFunction;
  static const std::map<std::string, F> kNames = {{"silu", F::silu},
                                                  {"swish", F::silu},
                                                  {"swigluoai", F::swiglu_oai},
                                                  {"gelu_pytorch_tanh", F::gelu_tanh},
                                                  {"gelu_new", F::gelu_tanh},
                                                  {"relu2", F::relu2},
                                                  {"situ", F::situ}};
  const std::string key = keys.first_of({"mlp_hidden_act", "hidden_act", "hidden_activation"});
  const std::string name = key.empty() ? "" : keys.text_or(key, "");
  const auto named = kNames.find(name);
  if (!name.empty() && named == kNames.end()) leave_out(block, key, name, "an activation that is not known");
  Activation a;
  a.function = named == kNames.end() ? family.activation : named->second;
  // gpt-oss's configuration says silu, but its code computes swiglu-oai.
  if (a.function == F::silu && family.activation == F::swiglu_oai) a.function = F::swiglu_oai;
  a.gated = !family.ungated;
  if (!a.gated && a.function != F::relu2) leave_out(block, key, name, "experts without a second up matrix");
  const bool clamps = a.function == F::silu || a.function == F::swiglu_oai;
  a.limit = keys.number_or("swiglu_limit", 0, 0, 1e9);
  if (a.limit > 0 && !clamps)
    leave_out(block, "swiglu_limit", fmt::format("{}", a.limit), "a limit with " + name);
  if (a.function == F::swiglu_oai) a.alpha = keys.number_or("swiglu_alpha", kOpenAiAlpha, 1e-3, 1e3);
  if (a.function != F::situ) return a;
  const auto number = [&](const char* of) {
    if (!keys.has(of)) keys.refuse(of, "a number above 0, which situ needs", "add it");
    return keys.number_or(of, 0, 1e-6, 1e6);
  };
  a.beta = number("activation_situ_beta");
  a.linear_beta = number("activation_situ_linear_beta");
  return a;
}

}  // namespace

void read_expert_form(const ConfigKeys& keys, const Family& family, ModelBlock& block) {
  ExpertForm& form = block.shape.form;
  form.activation = read_activation(keys, family, block);
  form.biases = family.biases || keys.flag_or("mlp_bias", false) || keys.flag_or("moe_bias", false);
  const std::string latent = keys.first_of({"routed_expert_hidden_size", "moe_latent_size"});
  if (!latent.empty()) form.latent = keys.integer(latent, 1, kMostWidth);
  // Some models have a norm between the experts' sum and the product back to the model's width.
  if (keys.flag_or("latent_moe_use_norm", false) && form.latent > 0)
    form.latent_norm = keys.number_or("rms_norm_eps", 1e-6, 1e-30, 1);
  form.shared_gate = family.shared_gate && block.shape.shared_dim > 0;

  const auto built = [&](bool is_built, const std::string& key, const std::string& value,
                         const std::string& what) {
    if (!is_built) leave_out(block, key, value, what);
  };
  built(form.latent > 0 || !keys.flag_or("latent_moe_use_norm", false), "latent_moe_use_norm", "true",
        "a norm of the sum of experts that have the model's width");
  built(!form.biases || block.shape.shared_dim == 0, keys.has("mlp_bias") ? "mlp_bias" : "model_type",
        block.model_type, "biases of a shared expert");
  built(family.shared != SharedWidth::beside, "enable_moe_block", "true",
        "norms of the experts' sum and of the MLP beside them, before they are added");
}

}  // namespace moehill
