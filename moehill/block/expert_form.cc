#include "moehill/block/expert_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

const std::string kOption = "--expert-form";
constexpr double kAlpha = 1.702;               // of gpt-oss
constexpr double kBeta = 4, kLinearBeta = 25;  // of Kimi-K3
constexpr int64_t kMostWidth = 1 << 24;

// A word of a form behind its activation: "biases", or "limit:7" with a number behind a colon.
struct Word {
  const char* name;
  const char* number;  // null: none
  std::function<void(ExpertForm&, const std::string&)> set;
};

const std::vector<Word>& words_of_a_form() {
  const auto number = [](const char* name, double Activation::*member, double lo, double hi) {
    return Word{name, "X", [=](ExpertForm& f, const std::string& v) {
                  f.activation.*member = parse_number(kOption + " " + name, v, lo, hi);
                }};
  };
  const auto width = [](const char* name, int64_t ExpertForm::*member) {
    return Word{name, "N", [=](ExpertForm& f, const std::string& v) {
                  f.*member = parse_integer(kOption + " " + name, v, 1, kMostWidth);
                }};
  };
  static const std::vector<Word> words = {
      number("limit", &Activation::limit, 1e-6, 1e9),
      number("alpha", &Activation::alpha, 1e-3, 1e3),
      number("beta", &Activation::beta, 1e-6, 1e6),
      number("linear-beta", &Activation::linear_beta, 1e-6, 1e6),
      {"ungated", nullptr, [](ExpertForm& f, const std::string&) { f.activation.gated = false; }},
      {"biases", nullptr, [](ExpertForm& f, const std::string&) { f.biases = true; }},
      width("latent", &ExpertForm::latent),
      {"shared-gate", nullptr, [](ExpertForm& f, const std::string&) { f.shared_gate = true; }},
      width("parallel-mlp", &ExpertForm::parallel_mlp),
  };
  return words;
}

std::string allowed_words() {
  std::string allowed = fmt::format("{}", fmt::join(words(ActivationFunction{}), ", ")) + ", then any of ";
  for (const Word& word : words_of_a_form()) {
    if (word.name != words_of_a_form().front().name) allowed += ", ";
    allowed += word.name;
    if (word.number != nullptr) allowed += fmt::format(":{}", word.number);
  }
  return allowed;
}

void take_word(ExpertForm& form, const std::string& text, std::vector<std::string>& taken) {
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon);
  const std::vector<Word>& known = words_of_a_form();
  const auto word = std::find_if(known.begin(), known.end(), [&](const Word& w) { return name == w.name; });
  const bool has_number = colon != std::string::npos && colon + 1 < text.size();
  if (word == known.end() || has_number != (word->number != nullptr) ||
      (colon != std::string::npos && !has_number))
    throw input_error(kOption, quoted(text), allowed_words(), "correct the word or leave it out");
  if (std::find(taken.begin(), taken.end(), name) != taken.end())
    throw input_error(kOption, name + " twice", "it once", "leave one of them out");
  taken.push_back(name);
  word->set(form, has_number ? text.substr(colon + 1) : "");
}

void refuse_contradictions(const Activation& a) {
  const std::string name = name_of(a.function);
  const auto refuse = [&](bool broken, const std::string& word, const std::string& allowed) {
    if (broken) throw input_error(kOption, name + " with " + word, allowed, "leave " + word + " out");
  };
  const bool oai = a.function == ActivationFunction::swiglu_oai,
             situ = a.function == ActivationFunction::situ;
  refuse(a.limit != 0 && !oai && a.function != ActivationFunction::silu, "limit",
         "silu or swiglu-oai with it");
  refuse(a.alpha != 0 && !oai, "alpha", "swiglu-oai with it");
  refuse(a.beta != 0 && !situ, "beta", "situ with it");
  refuse(a.linear_beta != 0 && !situ, "linear-beta", "situ with it");
  refuse(!a.gated && a.function != ActivationFunction::relu2, "ungated", "relu2 with it");
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
  add(form.shared_gate, "shared-gate");
  add(form.parallel_mlp != 0, fmt::format("parallel-mlp:{}", form.parallel_mlp));
  return text;
}

ExpertForm parse_expert_form(const std::string& text) {
  const std::vector<std::string> parts = split(text, ',');
  const auto function = value_named<ActivationFunction>(parts.front());
  if (!function) {
    throw input_error(kOption, quoted(parts.front()), allowed_words(),
                      "begin with the activation, for example swiglu-oai,limit:7");
  }
  ExpertForm form;
  Activation& activation = form.activation;
  activation.function = *function;
  std::vector<std::string> taken;
  for (size_t i = 1; i < parts.size(); ++i) take_word(form, parts[i], taken);
  refuse_contradictions(activation);
  if (*function == ActivationFunction::swiglu_oai && activation.alpha == 0) activation.alpha = kAlpha;
  if (*function != ActivationFunction::situ) return form;
  if (activation.beta == 0) activation.beta = kBeta;
  if (activation.linear_beta == 0) activation.linear_beta = kLinearBeta;
  return form;
}

void refuse_unbuilt(const ExpertForm& form) {
  const auto refuse = [](bool asked, const std::string& word, const std::string& remedy) {
    if (asked)
      throw input_error(kOption, word + ", which is not supported yet",
                        "an activation, with limit, alpha, beta, linear-beta, ungated, biases or shared-gate",
                        remedy);
  };
  refuse(form.latent != 0, "latent", "leave it out: experts then see rows of --hidden");
  refuse(form.parallel_mlp != 0, "parallel-mlp", "leave it out: the step is then without it");
}

ExpertForm built_part(ExpertForm form) {
  form.latent = form.parallel_mlp = 0;
  return form;
}

}  // namespace moehill
