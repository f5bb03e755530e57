// This header has the routers of known models, for tests and checks: one rule for each, in the text form of
// --router.
#pragma once

#include <string>

namespace moehill {

// RouterFamily is a rule, and the models that have it.
struct RouterFamily {
  const char* models;
  const char* rule;
};

// The rules are for 12 experts and up to 4 choices.
inline constexpr RouterFamily kRouterFamilies[] = {
    {"Qwen1.5-MoE, DeepSeek-V2-Lite, OLMoE", "softmax"},
    {"Qwen3, Hunyuan", "softmax,normalized"},
    {"Mixtral, gpt-oss, Granite", "chosen-softmax"},
    {"Kimi-K2, GLM-4.5, MiniMax-M2", "sigmoid,bias,normalized,factor:2.827"},
    {"DeepSeek-V3", "sigmoid,bias,groups:4/2,normalized,factor:2.5"},
    {"DeepSeek-V2", "softmax,groups-max:4/2,factor:16"},
    {"Ernie 4.5", "softmax,bias,normalized:1e-12"},
    {"DeepSeek-V4", "sqrt-softplus,bias,normalized,factor:1.5"},
    {"DeepSeek-V4, first layers", "sqrt-softplus,normalized,factor:1.5,hash:50"},
    {"LongCat", "softmax,bias,factor:6,zero:4"},
    {"Llama 4", "sigmoid,input-weighted"},
    {"Gemma 4", "softmax,normalized,expert-scale"},
    // More jitter than the model has, so that several experts are near the best.
    {"Phi-3.5-MoE", "sparsemixer,jitter:0.2"},
};

}  // namespace moehill
