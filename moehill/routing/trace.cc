// This file has what the two kinds of traces (trace.h) have in common: it recognises the kind of a file, and
// files that people take for traces; it checks ids and gate values; and it writes traces. trace_json.cc and
// trace_npy.cc read them.
#include "moehill/routing/trace.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "moehill/base/input_file.h"
#include "moehill/base/npy.h"
#include "moehill/base/npy_reader.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"
#include "moehill/routing/trace_reading.h"

namespace moehill {
namespace {

// ForeignKind is a kind of file that people have: its first bytes, and the command that converts it.
struct ForeignKind {
  std::string start, name, remedy;
};
const ForeignKind kForeign[] = {
    {"PK\x03\x04", "a zip file, such as torch.save() and numpy.savez() write",
     "convert it: python -c \"import numpy, torch; numpy.save('trace.npy', torch.load('trace.pt', "
     "weights_only=True).numpy())\""},
    {"\x80", "a pickle, which runs code when it is read",
     "convert it where you trust it: python -c \"import numpy, pickle; numpy.save('trace.npy', "
     "numpy.asarray(pickle.load(open('trace.pkl', 'rb'))))\""},
    {"\x1f\x8b", "a file compressed by gzip", "uncompress it by gunzip"},
    {"PAR1", "a Parquet file",
     "convert it: python -c \"import numpy, pandas; "
     "numpy.save('trace.npy', numpy.stack(pandas.read_parquet('trace.parquet')['indices']))\""},
};

}  // namespace

TraceTokens::TraceTokens(const TraceRequest& request)
    : routing_{request.num_tokens, request.num_experts, request.topk, {}, {}} {
  routing_.expert.resize(static_cast<size_t>(request.num_tokens * request.topk));
  routing_.weight.resize(routing_.expert.size());
}

// Ids come from a file, so each is checked before it is used as an index anywhere.
void TraceTokens::add(const int64_t* ids, const float* gates) {
  for (int j = 0; j < routing_.topk; ++j) {
    const bool is_known = ids[j] >= kNoExpert && ids[j] < routing_.num_experts;
    if (!is_known) {
      throw input_error(kTraceOption, fmt::format("expert {} of token {}", ids[j], next_),
                        fmt::format("0 to {}, or -1 for nobody", routing_.num_experts - 1),
                        "set --experts to the number that the model has");
    }
    const bool is_new = ids[j] == kNoExpert || std::find(ids, ids + j, ids[j]) == ids + j;
    if (!is_new)
      throw input_error(kTraceOption, fmt::format("expert {} twice in token {}", ids[j], next_),
                        "distinct experts in a token", "record it again, or mark the second by -1");
    ids_of_next()[j] = static_cast<int32_t>(ids[j]);
  }
  add_gates(gates);
  ++next_;
}

// Without recorded gate values, the experts of a token get equal gate values with the sum 1.
void TraceTokens::add_gates(const float* gates) {
  const int32_t* ids = ids_of_next();
  float* weight = routing_.weight.data() + next_ * routing_.topk;
  const auto num_experts = routing_.topk - std::count(ids, ids + routing_.topk, kNoExpert);
  for (int j = 0; j < routing_.topk; ++j) {
    if (ids[j] == kNoExpert) continue;
    weight[j] = gates != nullptr ? gates[j] : 1 / static_cast<float>(num_experts);
    if (!std::isfinite(weight[j]))
      throw input_error(kTraceOption,
                        fmt::format("gate value {} of token {}", unsigned_nan(weight[j]), next_),
                        "finite numbers", "record it again, or leave its gate values out");
  }
}

Routing TraceTokens::take() {
  if (!complete())
    throw input_error(kTraceOption, count_text(next_, "token"),
                      fmt::format("at least the {} of --tokens", routing_.num_tokens),
                      next_ > 0 ? fmt::format("use --tokens {}", next_) : "record it again: it is empty");
  return std::move(routing_);
}

void require_topk(const TraceRequest& request, int64_t topk) {
  if (topk == request.topk) return;
  throw input_error(kTraceOption, count_text(topk, "choice") + " a token",
                    fmt::format("--topk {}", request.topk), fmt::format("use --topk {}", topk));
}

Routing read_trace(const TraceSelection& selection, int64_t num_tokens, int num_experts, int topk) {
  const TraceRequest request{selection, num_tokens, num_experts, topk};
  std::ifstream file = open_input_file(
      {kTraceOption, selection.file, "JSON lines or .npy", "name a file of recorded routing"});
  // The first bytes tell the kind of file, whatever its name is.
  std::string start(6, ' ');
  file.read(start.data(), static_cast<std::streamsize>(start.size()));
  start.resize(static_cast<size_t>(file.gcount()));
  if (start == "\x93NUMPY") return read_npy_trace(request);
  for (const ForeignKind& kind : kForeign) {
    if (start.compare(0, kind.start.size(), kind.start) == 0)
      throw input_error(kTraceOption, kind.name, "JSON lines or .npy", kind.remedy);
  }
  return read_json_trace(request);
}

bool is_npy_name(const std::string& path) { return std::filesystem::path(path).extension() == ".npy"; }

std::string gates_file_of(const std::string& path) {
  return std::filesystem::path(path).replace_extension(".gates.npy").string();
}

std::vector<std::string> routing_files(const std::string& path) {
  return is_npy_name(path) ? std::vector{path, gates_file_of(path)} : std::vector{path};
}

std::string replay_text(const std::string& path) {
  return "trace:" + to_string(TraceSelection{path, {}, {}, is_npy_name(path) ? gates_file_of(path) : ""});
}

namespace {

std::string json_line(const Routing& routing) {
  std::string ids, gates;
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    const char* before = t > 0 ? ",[" : "[";
    ids += before, gates += before;
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      const char* comma = a > t * routing.topk ? "," : "";
      ids += fmt::format("{}{}", comma, routing.expert[static_cast<size_t>(a)]);
      gates += fmt::format("{}{}", comma, routing.weight[static_cast<size_t>(a)]);
    }
    ids += "]", gates += "]";
  }
  return fmt::format(
      "{{\"step\":0,\"stage\":\"pre_dispatch\",\"block\":\"decoder\",\"layer\":0,\"rank\":0,\"num_tokens\":{}"
      ","
      "\"topk\":{},\"num_experts\":{},\"top_indices\":[{}],\"gate_values\":[{}]}}\n",
      routing.num_tokens, routing.topk, routing.num_experts, ids, gates);
}

}  // namespace

void write_trace(const std::string& path, const Routing& routing) {
  if (!is_npy_name(path)) return write_text_file(path, json_line(routing));
  const std::vector<int64_t> shape = {routing.num_tokens, routing.topk};
  NewFile ids(path), gates(gates_file_of(path));
  write_npy(ids, shape, routing.expert);
  write_npy(gates, shape, [&](int64_t token, std::span<float> values) {
    std::copy_n(routing.weight.begin() + token * routing.topk, routing.topk, values.begin());
  });
  // Both files are complete before either replaces an older one.
  ids.keep();
  gates.keep();
}

}  // namespace moehill
