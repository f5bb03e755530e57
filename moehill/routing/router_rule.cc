// This file reads, writes and checks the rule of a router. words_of_a_rule() has an entry for each word of
// the text form.
#include "moehill/routing/router_rule.h"

#include "moehill/base/table.h"
#include "moehill/base/word_list.h"

namespace moehill {
namespace {

const std::string kOption = "--router";

// Reads "GROUPS/KEPT".
void set_groups(RouterRule& rule, const std::string& text, bool best_two) {
  const std::vector<std::string> parts = split(text, '/');
  if (parts.size() != 2) {
    throw input_error(kOption, "groups " + quoted(text), "GROUPS/KEPT", "give both, for example groups:8/4");
  }
  rule.groups = static_cast<int>(parse_integer(kOption + " groups", parts[0], 2, kMostGroups));
  rule.kept_groups = static_cast<int>(parse_integer(kOption + " kept groups", parts[1], 1, rule.groups));
  rule.best_two = best_two;
}

const WordList<RouterScore, RouterRule>& words_of_a_rule() {
  static const WordList<RouterScore, RouterRule> words(
      kOption, "sigmoid,bias,normalized", [](RouterRule& r) -> RouterScore& { return r.score; },
      {
          {"bias", "", [](RouterRule& r, const std::string&) { r.bias = true; }},
          {"groups", ":GROUPS/KEPT", [](RouterRule& r, const std::string& v) { set_groups(r, v, true); }},
          {"groups-max", ":GROUPS/KEPT", [](RouterRule& r, const std::string& v) { set_groups(r, v, false); },
           "groups"},
          {"jitter", ":X",
           [](RouterRule& r, const std::string& v) {
             r.jitter = parse_number(kOption + " jitter", v, 0, 1);
             if (r.score != RouterScore::sparsemixer)
               throw usage_error(std::string(kOption) + ": jitter needs sparsemixer", "leave it out");
           }},
          {"normalized", "[:LEAST_SUM]",
           [](RouterRule& r, const std::string& v) {
             r.normalized = true;
             if (!v.empty()) r.least_sum = parse_number(kOption + " normalized", v, 1e-30, 1);
           }},
          {"factor", ":F",
           [](RouterRule& r, const std::string& v) {
             r.factor = parse_number(kOption + " factor", v, 1e-6, 1e6);
           }},
          {"expert-scale", "", [](RouterRule& r, const std::string&) { r.expert_scale = true; }},
          {"zero", ":N",
           [](RouterRule& r, const std::string& v) {
             r.zero_experts = static_cast<int>(parse_integer(kOption + " zero", v, 1, 65536));
           }},
          {"input-weighted", "", [](RouterRule& r, const std::string&) { r.input_weighted = true; }},
          {"hash", ":IDS",
           [](RouterRule& r, const std::string& v) {
             r.hash_ids = parse_integer(kOption + " hash", v, 1, 1 << 24);
           }},
          // These two are no part of the rule: they say where the router runs. --router takes them, so they
          // are listed here for its messages.
          {kInStep, "", [](RouterRule&, const std::string&) {}},
          {kProduct, "", [](RouterRule&, const std::string&) {}},
      });
  return words;
}

void refuse_contradictions(const RouterRule& rule) {
  const bool of_chosen = rule.score == RouterScore::chosen_softmax;
  const auto refuse = [](bool broken, const std::string& sentence, const std::string& remedy) {
    if (broken) throw usage_error(fmt::format("{}: {}", kOption, sentence), remedy);
  };
  refuse(of_chosen && rule.bias, "bias cannot be used with chosen-softmax, which has no scores to add it to",
         "use softmax,bias");
  refuse(of_chosen && rule.groups > 1,
         "groups cannot be used with chosen-softmax, which has no scores to rank them by",
         "use softmax with groups");
  refuse(of_chosen && rule.normalized,
         "normalized has no effect with chosen-softmax, whose gate values add up to 1 already",
         "leave it out");
  // sparsemixer is a rule by itself: apart from its jitter everything must have the default value.
  RouterRule alone{.score = rule.score, .jitter = rule.jitter};
  refuse(rule.score == RouterScore::sparsemixer && !(rule == alone),
         "sparsemixer cannot be used with words of other routers", "leave all but jitter out");
  refuse(rule.hash_ids > 0 && (rule.bias || rule.groups > 1),
         "hash cannot be used with bias or groups, since the table chooses", "leave them out");
}

}  // namespace

std::string to_string(const RouterRule& rule) {
  std::string text = name_of(rule.score);
  const RouterRule plain;
  if (rule.jitter != plain.jitter) text += fmt::format(",jitter:{}", rule.jitter);
  if (rule.bias) text += ",bias";
  if (rule.groups > 1)
    text += fmt::format(",groups{}:{}/{}", rule.best_two ? "" : "-max", rule.groups, rule.kept_groups);
  if (rule.normalized) text += ",normalized";
  if (rule.normalized && rule.least_sum != plain.least_sum) text += fmt::format(":{:g}", rule.least_sum);
  if (rule.factor != plain.factor) text += fmt::format(",factor:{}", rule.factor);
  if (rule.expert_scale) text += ",expert-scale";
  if (rule.zero_experts > 0) text += fmt::format(",zero:{}", rule.zero_experts);
  if (rule.input_weighted) text += ",input-weighted";
  if (rule.hash_ids > 0) text += fmt::format(",hash:{}", rule.hash_ids);
  return text;
}

RouterRule parse_router_rule(const std::string& text) {
  const RouterRule rule = words_of_a_rule().parse(text);
  refuse_contradictions(rule);
  return rule;
}

void refuse_impossible(const RouterRule& rule, int num_experts, int topk) {
  const int choices = num_logits(rule, num_experts);
  if (topk < 1 || topk > choices) {
    throw input_error("--topk", fmt::format("{}", topk),
                      fmt::format("1 to {} (the number of experts{})", choices,
                                  rule.zero_experts > 0 ? ", zero ones too" : ""),
                      "use fewer choices or more experts");
  }
  if (rule.groups == 1) return;
  const int size = choices / rule.groups;
  if (choices % rule.groups != 0 || size < (rule.best_two ? 2 : 1)) {
    throw input_error("--router, --preset",
                      fmt::format("{} groups of {}", rule.groups, count_text(choices, "expert")),
                      rule.best_two ? "groups of one size, two experts or more" : "groups of one size",
                      "choose --experts, a multiple of the groups");
  }
  if (topk > size * rule.kept_groups) {
    throw input_error("--topk", fmt::format("{}", topk),
                      fmt::format("1 to {} (the experts of {})", size * rule.kept_groups,
                                  count_text(rule.kept_groups, "kept group")),
                      "use fewer choices or keep more groups");
  }
}

}  // namespace moehill
