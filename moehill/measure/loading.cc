#include "moehill/measure/loading.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// The files' reader knows the three matrices of an expert.
void refuse_unloaded(const ExpertForm& form) {
  const std::string word = !form.activation.gated ? "ungated"
                           : form.biases          ? "biases"
                           : form.shared_gate     ? "shared-gate"
                                                  : "";
  if (word.empty()) return;
  ExpertForm without = form;
  without.biases = without.shared_gate = false;
  if (!form.activation.gated) without = ExpertForm{};
  throw input_error("--weights", fmt::format("experts with {}, which are not loaded yet", word),
                    "experts of three matrices without vectors beside them",
                    fmt::format("use --expert-form {}, or leave --weights out", to_string(without)));
}

}  // namespace

void open_weights(BenchOptions& options) {
  if (options.source.path.empty()) return;
  const MoeShape& shape = options.shape;
  refuse_unloaded(shape.form);
  options.layer_weights = std::make_shared<LayerWeights>(
      options.source.path, options.source.layer,
      LayerShape{shape.hidden, shape.mlp_dim, shape.experts, shape.shared_dim});
}

RecordedLoading loading_of(const LayerWeights& weights) {
  const LoadFigures& figures = weights.figures();
  RecordedLoading loading;
  loading.layer = weights.layer();
  loading.tensors = weights.form();
  loading.encoding = name_of(weights.encoding());
  loading.unused = weights.unused();
  loading.bytes = figures.bytes;
  loading.time_s = figures.seconds;
  loading.gbps = figures.seconds > 0 ? figures.bytes / figures.seconds / 1e9 : 0;
  loading.rounding = figures.rounding;
  return loading;
}

std::string loading_line(const BenchOptions& options) {
  if (options.layer_weights == nullptr) return "";
  const RecordedLoading loading = loading_of(*options.layer_weights);
  std::string line = fmt::format(
      "weights: layer {} of {} ({}, {}), {:.3g} MB in {:.3g} s, {:.3g} GB/s; rounded to {} by at most {:.2g} "
      "of a "
      "value; hash {:016x}\n",
      loading.layer, options.source.path, loading.tensors, loading.encoding, loading.bytes / 1e6,
      loading.time_s, loading.gbps, dtype_name(options.shape.dtype), loading.rounding,
      options.layer_weights->hash());
  if (!loading.unused.empty())
    line +=
        fmt::format("weights of the block that the step does not use: {}\n", fmt::join(loading.unused, ", "));
  return line;
}

}  // namespace moehill
