// Implements layer_weights.h: tries the names that model families use, checks sizes, and fills stacks.
#include "moehill/weights/layer_weights.h"

#include <algorithm>
#include <array>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/machine/clock.h"
#include "moehill/tensor/content_hash.h"
#include "moehill/weights/fill.h"

namespace moehill {
namespace {

// Returns the parts of the file that belong to an expert, each once.
std::vector<std::span<const std::byte>> pieces_of(const MlpSource& mlp) {
  std::vector<std::span<const std::byte>> pieces;
  for (const SourceMatrix* matrix :
       {&mlp.gate, &mlp.up, &mlp.down, &mlp.gate_bias, &mlp.up_bias, &mlp.down_bias}) {
    for (const std::span<const std::byte> bytes : {matrix->bytes, matrix->scales.bytes}) {
      const bool known = std::any_of(pieces.begin(), pieces.end(),
                                     [&](const auto& piece) { return piece.data() == bytes.data(); });
      if (!bytes.empty() && !known) pieces.push_back(bytes);
    }
  }
  return pieces;
}

uint64_t combine(uint64_t a, uint64_t b) { return (a ^ b) * 1099511628211u; }  // one step of FNV-1a

// Replaces the number of an expert, which follows `before`, by *.
std::string with_star(std::string name, const std::string& before) {
  const size_t end = name.find('.', before.size());
  return end == std::string::npos ? name : before + "*" + name.substr(end);
}

}  // namespace

// Finds all tensors. The names that no reader has used are known only at the end.
LayerWeights::LayerWeights(const std::string& path, std::optional<int64_t> layer, const LayerShape& shape)
    : checkpoint_(path), names_(find_layer(checkpoint_, layer)) {
  MatrixReader reader(checkpoint_);
  read_experts(reader, shape);
  read_router(reader, shape);
  read_router_vectors(reader, shape);
  read_shared(reader, shape);
  read_latent(reader, shape);
  const std::set<std::string> unused = unused_names(checkpoint_, names_, reader.used());
  unused_.assign(unused.begin(), unused.end());
  hashes_.resize(experts_.size() + 1);
}

void LayerWeights::read_experts(MatrixReader& reader, const LayerShape& shape) {
  const Dimension hidden{shape.expert_hidden(), shape.latent > 0 ? "--expert-form latent" : "--hidden"},
      width{shape.mlp_dim, "--mlp-dim"};
  // Stacked experts: all experts of the layer in two tensors.
  for (const StackNames& stacks :
       {StackNames{names_.of_block("experts.gate_up_proj"), names_.of_block("experts.down_proj")},
        StackNames{names_.of_block("input_linear"), names_.of_block("output_linear")}}) {
    if (!reader.has(stacks.gate_up)) continue;
    experts_ = reader.stacks(stacks, {shape.experts, "--experts"}, hidden, width, shape.form);
    return;
  }
  require_experts(shape.experts);
  for (int64_t e = 0; e < shape.experts; ++e) {
    const std::string base = names_.of_block(fmt::format("experts.{}.", e));
    const std::optional<MlpSource> mlp = reader.mlp(base, hidden, width, shape.form);
    if (!mlp)
      throw input_error(
          fmt::format("--weights {}: {}", checkpoint_.path(), quoted(base, 120)),
          "none of the known matrices",
          shape.form.gated ? "gate_proj, up_proj and down_proj, or w1, w3 and w2" : "up_proj and down_proj",
          "name another model");
    experts_.push_back(*mlp);
  }
}

// Refuses a checkpoint whose experts are not numbered from 0 to wanted - 1, and says which --experts would
// fit.
void LayerWeights::require_experts(int64_t wanted) {
  const std::set<int64_t> numbers = expert_numbers(checkpoint_, names_);
  const std::string what =
      fmt::format("--weights {}: {}", checkpoint_.path(), quoted(names_.of_block("experts"), 120));
  const int64_t found = std::ssize(numbers);
  for (int64_t e = 0; e < found; ++e) {
    if (numbers.count(e) == 0)
      throw input_error(what, fmt::format("{}, and none of number {}", count_text(found, "expert"), e),
                        "experts from 0 on", "download the model anew");
  }
  if (found != wanted)
    throw input_error(what, count_text(found, "expert"), fmt::format("{}, by --experts", wanted),
                      found > 0 ? fmt::format("use --experts {}", found) : "name another model");
}

void LayerWeights::read_router(MatrixReader& reader, const LayerShape& shape) {
  for (const char* name : {"gate", "router", "gate.wg", "router.layer", "router.proj", "router.classifier"}) {
    const std::string base = names_.of_block(name);
    if (!reader.has(base)) continue;
    router_ =
        reader.matrix(base, {shape.experts + shape.zero_experts, "--experts"}, {shape.hidden, "--hidden"});
    router_has_bias_ = !shape.selection_bias && reader.has_tensor(base + ".bias");
    return;
  }
}

namespace {

std::vector<float> values_of(const SourceMatrix& vector) {
  std::vector<float> values(static_cast<size_t>(vector.columns.count));
  decode_row(vector, 0, 0, vector.columns.count, values.data());
  require_finite(vector, values);
  return values;
}

}  // namespace

// Models give the bias of the selection different names; some call a bias of the logits "gate.bias", so it is
// only read if the model's configuration says that it selects with a bias.
void LayerWeights::read_router_vectors(MatrixReader& reader, const LayerShape& shape) {
  for (const char* name :
       {"gate.e_score_correction_bias", "e_score_correction_bias", "router.e_score_correction_bias",
        "moe_statics.e_score_correction_bias", "gate.bias", "expert_bias"}) {
    if (!shape.selection_bias || !reader.has_tensor(names_.of_block(name))) continue;
    router_vectors_.selection_bias =
        values_of(reader.vector(names_.of_block(name), {shape.experts + shape.zero_experts, "--experts"}));
    break;
  }
  const std::string scale = names_.of_block("router.per_expert_scale");
  if (shape.expert_scale && reader.has_tensor(scale))
    router_vectors_.expert_scale = values_of(reader.vector(scale, {shape.experts, "--experts"}));
}

void LayerWeights::read_shared(MatrixReader& reader, const LayerShape& shape) {
  const Dimension hidden{shape.hidden, "--hidden"};
  const int64_t width = shape.shared_dim;
  if (shape.shared_gate && width > 0)
    shared_gate_ = reader.matrix(names_.of_block("shared_expert_gate"), {1, "a gate"}, hidden);
  // Families put the shared expert at different places.
  std::vector<std::string> bases;
  for (const char* name : {"shared_expert.", "shared_experts.", "shared_mlp."})
    bases.push_back(names_.of_block(name));
  bases.push_back(names_.prefix + "shared_mlp.");  // Granite
  // Gemma, which has a dense MLP beside its experts.
  if (names_.block.empty()) bases.push_back(names_.prefix + "mlp.");
  for (const std::string& base : bases) {
    bool found = false;
    checkpoint_.visit_names(base, [&](const std::string&) { found = true; });
    if (!found) continue;
    shared_ = reader.mlp(base, hidden, {width, "--shared-expert-dim"}, {shape.form.gated, false});
    if (shared_) return;
  }
  if (width > 0)
    throw input_error(
        "--shared-expert-dim", std::to_string(width),
        fmt::format("0, since layer {} of {} has no shared expert", names_.layer, checkpoint_.path()),
        "use --shared-expert-dim 0");
}

void LayerWeights::read_latent(MatrixReader& reader, const LayerShape& shape) {
  if (shape.latent == 0) return;
  const Dimension hidden{shape.hidden, "--hidden"}, latent{shape.latent, "--expert-form latent"};
  // Nemotron calls these products fc1 and fc2; other families name them by their purpose.
  const bool fc =
      reader.has(names_.of_block("fc1_latent_proj")) || reader.has(names_.of_block("fc2_latent_proj"));
  latent_down_ =
      reader.matrix(names_.of_block(fc ? "fc1_latent_proj" : "routed_expert_down_proj"), latent, hidden);
  latent_up_ =
      reader.matrix(names_.of_block(fc ? "fc2_latent_proj" : "routed_expert_up_proj"), hidden, latent);
  latent_up_->inputs_first = !latent_up_->inputs_first;  // its target is the transposed matrix
  if (shape.latent_norm) latent_norm_ = reader.vector(names_.of_block("routed_expert_norm.weight"), latent);
}

// Returns the name of the gates. If each expert has its own tensor, the number is replaced by *.
std::string LayerWeights::form() const {
  const std::string before = names_.of_block("experts.");
  const std::string& name = experts_.front().gate.name;
  const bool numbered = experts_.size() > 1 && experts_[1].gate.name != name;
  return numbered ? with_star(name, before) : name;
}

void LayerWeights::fill_experts(ThreadTeam& team, Range range, const LayerTargets& targets) {
  for (int64_t e = range.begin; e < range.end; ++e) {
    // While one expert is decoded, the system already reads the next one from disk.
    if (e + 1 < range.end) {
      for (const auto& piece : pieces_of(experts_[static_cast<size_t>(e) + 1])) prefetch_pages(piece);
    }
    hashes_[static_cast<size_t>(e)] = load(team, experts_[static_cast<size_t>(e)], targets, e - range.begin);
  }
}

void LayerWeights::fill_shared(ThreadTeam& team, const LayerTargets& targets) {
  MOEHILL_CHECK(shared_.has_value(), "no shared expert to fill");
  hashes_.back() = load(team, *shared_, targets, 0);
  if (!shared_gate_ || targets.row_gate.stack.data == nullptr) return;
  fill_vector(*shared_gate_, targets.row_gate, 0);
  hashes_.back() =
      combine(hashes_.back(), content_hash(team, shared_gate_->bytes.data(), shared_gate_->bytes.size()));
}

void LayerWeights::fill_latent(ThreadTeam& team, const LatentTargets& targets) {
  const double begin = seconds();
  const std::vector<FillTask> tasks = {{&*latent_down_, targets.down, 0}, {&*latent_up_, targets.up, 0}};
  figures_.rounding = std::max(figures_.rounding, static_cast<double>(fill_weights(team, tasks)));
  if (latent_norm_) fill_vector(*latent_norm_, targets.norm, 0);
  uint64_t hash = 1;
  for (const auto* source : {&latent_down_, &latent_up_, &latent_norm_}) {
    if (!*source) continue;
    for (const std::span<const std::byte> bytes : {(*source)->bytes, (*source)->scales.bytes}) {
      if (bytes.empty()) continue;
      hash = combine(hash, content_hash(team, bytes.data(), bytes.size()));
      figures_.bytes += static_cast<double>(bytes.size());
    }
  }
  latent_hash_ = hash;
  figures_.seconds += seconds() - begin;
}

// Hashes the bytes that it reads, and fills the stacks from them while they are still in the caches.
uint64_t LayerWeights::load(ThreadTeam& team, const MlpSource& mlp, const LayerTargets& targets,
                            int64_t group) {
  const double begin = seconds();
  uint64_t hash = 1;
  const auto pieces = pieces_of(mlp);
  for (const auto& piece : pieces) {
    hash = combine(hash, content_hash(team, piece.data(), piece.size()));
    figures_.bytes += static_cast<double>(piece.size());
  }
  std::vector<FillTask> tasks = {{&mlp.gate, targets.w1, group}, {&mlp.down, targets.w2, group}};
  if (!mlp.up.bytes.empty()) tasks.push_back({&mlp.up, targets.w3, group});
  figures_.rounding = std::max(figures_.rounding, static_cast<double>(fill_weights(team, tasks)));
  if (!mlp.gate_bias.bytes.empty()) fill_vector(mlp.gate_bias, targets.b1, group);
  if (!mlp.up_bias.bytes.empty()) fill_vector(mlp.up_bias, targets.b3, group);
  if (!mlp.down_bias.bytes.empty()) fill_vector(mlp.down_bias, targets.b2, group);
  // The pages were read once and are not needed again, so the system may use them for others.
  for (const auto& piece : pieces) release_pages(piece);
  figures_.seconds += seconds() - begin;
  return hash;
}

std::optional<std::vector<float>> LayerWeights::router() const {
  if (!router_) return std::nullopt;
  const int64_t rows = router_->rows.count, columns = router_->columns.count;
  std::vector<float> values(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r) decode_row(*router_, r, 0, columns, values.data() + r * columns);
  return values;
}

LayerSources LayerWeights::sources() const {
  const auto matrix = [](const std::optional<SourceMatrix>& source) { return source ? &*source : nullptr; };
  return {shared_ ? &*shared_ : nullptr, matrix(shared_gate_), matrix(router_),
          matrix(latent_down_),          matrix(latent_up_),   matrix(latent_norm_)};
}

void LayerWeights::take(const std::vector<uint64_t>& hashes) {
  for (size_t i = 0; i < hashes_.size() && i < hashes.size(); ++i) {
    if (hashes_[i] == 0) hashes_[i] = hashes[i];
  }
}

uint64_t LayerWeights::hash() const {
  uint64_t all = 1;
  for (const uint64_t hash : hashes_) all = combine(all, hash);
  return latent_hash_ == 0 ? all : combine(all, latent_hash_);
}

}  // namespace moehill
