// Reads traces in JSON lines, as Megatron-LM records them. Lines are read one at a time, and only the
// selected step and layer is kept, so that a file may be larger than memory. Traces in .npy are read by
// trace_npy.cc; routing/trace.h shows how a trace is read.
#include <cmath>
#include <map>
#include <set>

#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"
#include "moehill/routing/trace_reading.h"

namespace moehill {
namespace {

using nlohmann::json;

constexpr double kPastFloat = 0x1.ffffffp127;  // from here on, a number is rounded to an infinite f32
constexpr int64_t kMaxLine = int64_t{64} << 20;
const char* const kJsonRemedy =
    "record it by Megatron-LM's --moe-routing-trace-path or by moehill bench --save-routing";

// Part has the tokens of one rank in the selected step and layer.
struct Part {
  std::vector<int64_t> ids;
  std::vector<float> gates;  // empty: no gate values were recorded
};

// JsonTrace collects the parts of all ranks and then joins them in the order of the ranks.
class JsonTrace {
 public:
  explicit JsonTrace(const TraceRequest& request) : request_(request) {}

  Routing read() {
    const InputFile source{kTraceOption, request_.selection.file, "lines of JSON, each of one step and layer",
                           kJsonRemedy};
    std::ifstream file = open_input_file(source);
    for (std::string line; read_input_line(file, line, source, kMaxLine);) {
      ++line_;
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      take(parse_strict_json(line, {place(), kJsonRemedy}));
    }
    refuse_several();
    TraceTokens tokens(request_);
    for (const auto& [rank, part] : parts_) add(part, tokens);
    return tokens.take();
  }

 private:
  std::string place() const {
    return fmt::format("{} {} line {}", kTraceOption, request_.selection.file, line_);
  }

  [[noreturn]] void refuse(const std::string& got, const std::string& allowed) const {
    throw input_error(place(), got, allowed, kJsonRemedy);
  }

  int64_t integer(const json& record, const char* name, int64_t lo, int64_t hi) const {
    const auto found = record.find(name);
    if (found == record.end()) refuse(std::string("no ") + name, "step, layer, rank, topk and top_indices");
    if (!found->is_number_integer())
      refuse(fmt::format("{} {}", name, moehill::quoted(found->dump())), "an integer");
    const int64_t value = found->get<int64_t>();
    const bool is_huge = found->is_number_unsigned() && value < 0;
    if (is_huge || value < lo || value > hi)
      refuse(fmt::format("{} {}", name, found->dump()), fmt::format("{} to {}", lo, hi));
    return value;
  }

  // Takes one line. It also notes the steps and layers of lines that are not selected, for the error
  // messages.
  void take(const json& record) {
    if (record.contains("block") && record["block"] != "decoder") return;
    constexpr int64_t kMost = 2147483647;
    const int64_t step = integer(record, "step", 0, kMost), layer = integer(record, "layer", 0, kMost),
                  rank = integer(record, "rank", 0, kMost);
    steps_.insert(step);
    layers_.insert(layer);
    const TraceSelection& wanted = request_.selection;
    if (step != wanted.step.value_or(step) || layer != wanted.layer.value_or(layer)) return;
    if (selected_ && *selected_ != std::pair(step, layer)) several_ = true;
    if (several_) return;
    selected_ = {step, layer};
    if (parts_.contains(rank))
      refuse(fmt::format("step {}, layer {} of rank {} once more", step, layer, rank), "each once");
    require_topk(request_, integer(record, "topk", 1, kMost));
    parts_[rank] = part_of(record);
  }

  Part part_of(const json& record) const {
    Part part;
    const json& rows = array_of(record, "top_indices");
    for (const json& row : rows) {
      require_row(row, "top_indices");
      for (const json& id : row) part.ids.push_back(id_of(id, part.ids.size()));
    }
    if (record.contains("num_tokens") &&
        integer(record, "num_tokens", 0, 2147483647) != static_cast<int64_t>(rows.size()))
      refuse(fmt::format("num_tokens {} with {}", record["num_tokens"].dump(),
                         count_text(std::ssize(rows), "row")),
             "the same of both");
    if (!record.contains("gate_values")) return part;
    const json& gate_rows = array_of(record, "gate_values");
    for (const json& row : gate_rows) {
      require_row(row, "gate_values");
      for (const json& gate : row) part.gates.push_back(gate_of(gate, part.gates.size()));
    }
    if (part.gates.size() != part.ids.size())
      refuse(fmt::format("{} of gate_values, {} of top_indices", count_text(std::ssize(gate_rows), "row"),
                         rows.size()),
             "as many");
    return part;
  }

  const json& array_of(const json& record, const char* name) const {
    const auto found = record.find(name);
    if (found == record.end() || !found->is_array())
      refuse(std::string("no array ") + name, "[num_tokens][topk]");
    return *found;
  }
  void require_row(const json& row, const char* name) const {
    if (row.is_array() && row.size() == static_cast<size_t>(request_.topk)) return;
    refuse(fmt::format("{} with {}", name, moehill::quoted(row.dump())),
           fmt::format("rows of {}, the topk", request_.topk));
  }
  // Names the token of this rank to which an assignment belongs.
  std::string of_token(const json& value, size_t assignment) const {
    return fmt::format("{} of token {}", moehill::quoted(value.dump()),
                       assignment / static_cast<size_t>(request_.topk));
  }
  int64_t id_of(const json& id, size_t assignment) const {
    if (!id.is_number_integer()) refuse("the expert id " + of_token(id, assignment), "an integer");
    return id.is_number_unsigned() ? static_cast<int64_t>(std::min<uint64_t>(id.get<uint64_t>(), INT64_MAX))
                                   : id.get<int64_t>();
  }
  float gate_of(const json& gate, size_t assignment) const {
    if (!gate.is_number()) refuse("the gate value " + of_token(gate, assignment), "a number");
    const double value = gate.get<double>();
    if (std::abs(value) >= kPastFloat) refuse("the gate value " + of_token(gate, assignment), "an f32");
    return static_cast<float>(value);
  }

  void refuse_several() const {
    const auto range = [](const std::set<int64_t>& of) {
      return of.size() == 1 ? std::to_string(*of.begin())
                            : fmt::format("{} to {}", *of.begin(), *of.rbegin());
    };
    const std::string what = std::string(kTraceOption) + " " + request_.selection.file;
    if (steps_.empty()) throw input_error(what, "no line of a decoder's layer", "at least one", kJsonRemedy);
    const std::string has = fmt::format("steps {}, layers {}", range(steps_), range(layers_));
    if (several_) throw input_error(what, has, "one step and one layer", "add ,layer=L and ,step=S");
    if (parts_.empty())
      throw input_error(what, "nothing of this step and layer", has + " in this file", "choose others");
  }

  void add(const Part& part, TraceTokens& tokens) const {
    const size_t topk = static_cast<size_t>(request_.topk);
    for (size_t first = 0; first < part.ids.size() && !tokens.complete(); first += topk)
      tokens.add(part.ids.data() + first, part.gates.empty() ? nullptr : part.gates.data() + first);
  }

  const TraceRequest& request_;
  int64_t line_ = 0;
  std::set<int64_t> steps_, layers_;
  std::optional<std::pair<int64_t, int64_t>> selected_;
  bool several_ = false;
  std::map<int64_t, Part> parts_;  // by rank
};

}  // namespace

Routing read_json_trace(const TraceRequest& request) {
  if (!request.selection.gates.empty())
    throw usage_error(std::string(kTraceOption) + ": gates= needs a trace in .npy",
                      "put gate_values into the JSON lines");
  return JsonTrace(request).read();
}

}  // namespace moehill
