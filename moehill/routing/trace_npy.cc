// Reads traces in .npy: ids [T, k] or [T, L, k], and gate values of the same shape in a second file. It reads
// one token at a time.
#include "moehill/base/npy_reader.h"
#include "moehill/routing/trace_reading.h"

namespace moehill {
namespace {

const char* const kNpyRemedy =
    "save it as numpy.save('trace.npy', ids) with ids[token, choice] or ids[token, layer, choice]";

void refuse_shape(const std::vector<int64_t>& shape, const std::string& allowed, const std::string& remedy) {
  throw input_error(kTraceOption, fmt::format("an array of shape ({})", fmt::join(shape, ", ")), allowed,
                    remedy);
}

// Returns the selected layer of [T, L, k]; 0 for [T, k].
int64_t layer_of(const TraceSelection& selection, const std::vector<int64_t>& shape) {
  if (shape.size() != 2 && shape.size() != 3) refuse_shape(shape, "[T, k] or [T, L, k]", kNpyRemedy);
  if (selection.step)
    throw input_error(kTraceOption, fmt::format("step={} of an .npy file", *selection.step), "layer= alone",
                      "save each step in a file of its own");
  const int64_t num_layers = shape.size() == 3 ? shape[1] : 1;
  if (num_layers == 0)
    throw input_error(kTraceOption, "0 layers", "at least one", "record it again: it is empty");
  if (!selection.layer && num_layers != 1)
    throw input_error(kTraceOption, fmt::format("{} layers", num_layers), "one of them",
                      fmt::format("add ,layer=0 to ,layer={}", num_layers - 1));
  const int64_t layer = selection.layer.value_or(0);
  if (layer >= num_layers)
    throw input_error(kTraceOption, fmt::format("layer={}", layer),
                      fmt::format("0 to {} in this file", num_layers - 1), "choose one of these");
  return layer;
}

void require_gates_like(const NpyReader& gates, const std::vector<int64_t>& shape) {
  if (gates.has_integers())
    throw input_error(kTraceOption, "gate values of type " + gates.descr(), "f4 or f8",
                      "save them by numpy.save(FILE, gates.astype('<f4'))");
  if (gates.shape() != shape)
    refuse_shape(gates.shape(), fmt::format("({}), the shape of the ids", fmt::join(shape, ", ")),
                 "name the gate values of this file");
}

}  // namespace

Routing read_npy_trace(const TraceRequest& request) {
  NpyReader ids(kTraceOption, request.selection.file);
  if (!ids.has_integers())
    throw input_error(kTraceOption, "expert ids of type " + ids.descr(), "integers",
                      "save them by numpy.save(FILE, ids.astype('<i4'))");
  const std::vector<int64_t>& shape = ids.shape();
  const int64_t layer = layer_of(request.selection, shape);
  require_topk(request, shape.back());
  std::optional<NpyReader> gates;
  if (!request.selection.gates.empty()) {
    gates.emplace(std::string(kTraceOption) + " gates", request.selection.gates);
    require_gates_like(*gates, shape);
  }
  const int64_t num_layers = shape.size() == 3 ? shape[1] : 1;
  std::vector<int64_t> row(static_cast<size_t>(request.topk));
  std::vector<float> values(row.size());
  TraceTokens tokens(request);
  for (int64_t t = 0; t < shape[0] && !tokens.complete(); ++t) {
    const int64_t first = (t * num_layers + layer) * request.topk;
    ids.read(first, row);
    if (gates) gates->read(first, values);
    tokens.add(row.data(), gates ? values.data() : nullptr);
  }
  return tokens.take();
}

}  // namespace moehill
