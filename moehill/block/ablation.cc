// Reads the words of --ablate (ablation.h), and knows which stages a step of a configuration has.
#include "moehill/block/ablation.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/block/run_config.h"

namespace moehill {
namespace {

// Group is a word that stands for several stages.
struct Group {
  const char* word;
  StageSet stages;
};

const std::vector<Group>& groups() {
  static const std::vector<Group> all = {
      {"exchange", {Stage::dispatch, Stage::reduce, Stage::dispatch_grad, Stage::reduce_grad}},
      {"rows",
       {Stage::dispatch, Stage::pack, Stage::combine, Stage::reduce, Stage::dispatch_grad, Stage::pack_grad,
        Stage::combine_grad, Stage::reduce_grad}},
      {"experts",
       {Stage::up, Stage::act, Stage::down, Stage::recompute, Stage::down_grad, Stage::act_grad,
        Stage::w2_grad, Stage::up_grad, Stage::w13_grad}},
      {"weight_grad", {Stage::w2_grad, Stage::w13_grad}}};
  return all;
}

// True if the stage can be left out by itself. The plan cannot, because all other stages walk over its rows.
// A single stage of the exchange cannot either, because the exchange is one operation from its first stage to
// its last.
bool stands_alone(Stage stage) { return stage != Stage::plan && !groups().front().stages.has(stage); }

[[noreturn]] void refuse(const std::string& word) {
  std::string remedy = "choose among these";
  if (word == name_of(Stage::plan))
    remedy = "all other stages walk the plan's rows; --stage-timing says what it takes";
  else if (value_named<Stage>(word))
    remedy = "take exchange, which stands for these stages together";
  throw input_error("--ablate", quoted(word), ablation_words() + ", joined by commas", remedy);
}

}  // namespace

Ablation parse_ablation(const std::string& word) {
  if (word.empty()) return {};
  for (const Group& group : groups())
    if (word == group.word) return {word, group.stages};
  const auto stage = value_named<Stage>(word);
  if (!stage || !stands_alone(*stage)) refuse(word);
  Ablation ablation{word, {*stage}};
  if (const auto grad = value_named<Stage>(word + "_grad")) ablation.stages.add(*grad);
  return ablation;
}

std::vector<Ablation> parse_ablations(const std::string& words) {
  std::vector<Ablation> all;
  for (const std::string& word : split(words, ',')) {
    if (word.empty()) refuse(word);
    const Ablation ablation = parse_ablation(word);
    if (std::find(all.begin(), all.end(), ablation) != all.end())
      throw usage_error("--ablate: " + word + " is given twice", "leave one of them out");
    all.push_back(ablation);
  }
  return all;
}

std::string ablation_words() {
  std::string text;
  for (const Group& group : groups()) text += std::string(text.empty() ? "" : "|") + group.word;
  for (const Stage stage : all_values<Stage>())
    if (stands_alone(stage)) text += std::string("|") + name_of(stage);
  return text;
}

// Lists the stages in the order of a step; each condition says when the stage has work.
StageSet stages_of_step(const RunConfig& config) {
  const BlockOptions& block = config.block;
  const MoeShape& shape = config.shape;
  const bool backward = block.pass == Pass::forward_backward, gathers = block.backend == Backend::gmm;
  const bool several = config.num_devices > 1, moves = several && config.spread != Spread::dp;
  StageSet stages;
  const auto add = [&](bool there, std::initializer_list<Stage> of) {
    for (const Stage stage : of)
      if (there) stages.add(stage);
  };
  add(block.route_in_step, {Stage::router});
  // A plan or packed rows that were made before the step (prequeue) are not a stage of the step.
  add(!block.prequeue, {Stage::plan});
  add(moves && shards_tokens(config), {Stage::dispatch});
  add(!gathers && !block.prequeue, {Stage::pack});
  add(true, {Stage::up, Stage::down, Stage::combine});
  add(!gathers || !has_fused_w13(block.impl), {Stage::act});
  add(shape.shared_dim > 0, {Stage::shared});
  add(shape.form.latent > 0, {Stage::latent});
  add(moves, {Stage::reduce});
  if (!backward) return stages;
  // The stages of a backward pass follow.
  add(moves && shards_tokens(config), {Stage::dispatch_grad});
  add(block.remat == Remat::expert_mlp, {Stage::recompute});
  add(!gathers, {Stage::pack_grad});
  add(true, {Stage::down_grad, Stage::act_grad, Stage::w2_grad, Stage::up_grad, Stage::w13_grad,
             Stage::combine_grad});
  add(shape.shared_dim > 0, {Stage::shared_grad});
  add(shape.form.latent > 0, {Stage::latent_grad});
  add(block.router_grad || block.router_product, {Stage::router_grad});
  add(several, {Stage::reduce_grad});
  return stages;
}

}  // namespace moehill
