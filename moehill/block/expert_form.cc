// Reads and writes the text form of an expert form. Each word is one line of words_of_a_form().
#include "moehill/block/expert_form.h"

#include <fmt/format.h>

#include "moehill/base/word_list.h"

namespace moehill {
namespace {

const std::string kOption = "--expert-form";
constexpr double kAlpha = 1.702;               // the value of gpt-oss
constexpr double kBeta = 4, kLinearBeta = 25;  // the values of Kimi-K3
constexpr int64_t kMostWidth = 1 << 24;

using FormWord = ListWord<ExpertForm>;

// Returns the words of the option. The first word is the activation; `number` makes a word that sets one
// constant of it.
const WordList<ActivationFunction, ExpertForm>& words_of_a_form() {
  const auto number = [](const char* name, double Activation::*member, double lo, double hi) {
    return FormWord{name, ":X", [=](ExpertForm& f, const std::string& v) {
                      f.activation.*member = parse_number(kOption + " " + name, v, lo, hi);
                    }};
  };
  static const WordList<ActivationFunction, ExpertForm> words(
      kOption, "swiglu-oai,limit:7",
      [](ExpertForm& f) -> ActivationFunction& { return f.activation.function; },
      {
          number("limit", &Activation::limit, 1e-6, 1e9),
          number("alpha", &Activation::alpha, 1e-3, 1e3),
          number("beta", &Activation::beta, 1e-6, 1e6),
          number("linear-beta", &Activation::linear_beta, 1e-6, 1e6),
          {"ungated", "", [](ExpertForm& f, const std::string&) { f.activation.gated = false; }},
          {"biases", "", [](ExpertForm& f, const std::string&) { f.biases = true; }},
          {"latent", ":N",
           [](ExpertForm& f, const std::string& v) {
             f.latent = parse_integer(kOption + " latent", v, 1, kMostWidth);
           }},
          {"latent-norm", ":EPS",
           [](ExpertForm& f, const std::string& v) {
             f.latent_norm = parse_number(kOption + " latent-norm", v, 1e-30, 1);
           }},
          {"shared-gate", "", [](ExpertForm& f, const std::string&) { f.shared_gate = true; }},
      });
  return words;
}

// Throws InputError for a word that the activation does not use.
void refuse_contradictions(const Activation& a) {
  const auto refuse = [&](bool broken, const std::string& word, const std::string& needed) {
    if (!broken) return;
    throw usage_error(fmt::format("{}: {} needs {}, and not {}", kOption, word, needed, name_of(a.function)),
                      fmt::format("leave {} out", word));
  };
  const bool oai = a.function == ActivationFunction::swiglu_oai,
             situ = a.function == ActivationFunction::situ;
  refuse(a.limit != 0 && !oai && a.function != ActivationFunction::silu, "limit", "silu or swiglu-oai");
  refuse(a.alpha != 0 && !oai, "alpha", "swiglu-oai");
  refuse(a.beta != 0 && !situ, "beta", "situ");
  refuse(a.linear_beta != 0 && !situ, "linear-beta", "situ");
  refuse(!a.gated && a.function != ActivationFunction::relu2, "ungated", "relu2");
}

}  // namespace

std::string to_string(const ExpertForm& form) {
  const Activation& activation = form.activation;
  std::string text = name_of(activation.function);
  const auto add = [&](bool differs, const std::string& word) {
    if (differs) text += "," + word;
  };
  add(activation.limit != 0, fmt::format("limit:{}", activation.limit));
  add(activation.alpha != 0, fmt::format("alpha:{}", activation.alpha));
  add(activation.beta != 0, fmt::format("beta:{}", activation.beta));
  add(activation.linear_beta != 0, fmt::format("linear-beta:{}", activation.linear_beta));
  add(!activation.gated, "ungated");
  add(form.biases, "biases");
  add(form.latent != 0, fmt::format("latent:{}", form.latent));
  add(form.latent_norm != 0, fmt::format("latent-norm:{}", form.latent_norm));
  add(form.shared_gate, "shared-gate");
  return text;
}

ExpertForm parse_expert_form(const std::string& text) {
  ExpertForm form = words_of_a_form().parse(text);
  Activation& activation = form.activation;
  refuse_contradictions(activation);
  if (form.latent_norm != 0 && form.latent == 0)
    throw usage_error(std::string(kOption) + ": latent-norm needs latent", "add latent:N");
  if (activation.function == ActivationFunction::swiglu_oai && activation.alpha == 0)
    activation.alpha = kAlpha;
  if (activation.function != ActivationFunction::situ) return form;
  if (activation.beta == 0) activation.beta = kBeta;
  if (activation.linear_beta == 0) activation.linear_beta = kLinearBeta;
  return form;
}

}  // namespace moehill
