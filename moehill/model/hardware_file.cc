// Implementation of model/hardware.h: reads and writes hardware files. Only known keys are allowed, needed
// ones must be there, and every number must make sense.
#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_toml.h"
#include "moehill/base/suggest.h"
#include "moehill/model/hardware.h"
#include "moehill/model/work.h"

namespace moehill {
namespace {

// kShipped is the name and text of each file in hardware/.
constexpr std::pair<const char*, const char*> kShipped[] = {
#include "shipped_hardware.inc"
};

constexpr const char* kKinds[] = {"node", "fat-tree", "torus", "dragonfly"};

// Limits are the lowest and the highest value that a figure may have. They are wide enough for ten times any
// machine that exists, and narrow enough to notice a wrong unit or a made-up figure.
struct Limits {
  double lowest, highest;
  bool or_zero = false;  // 0 is allowed too: not known, or none
};
constexpr Limits kFlops{1e6, 1e17};  // of a unit
constexpr Limits kBytesPerSecond{1e5, 1e15};
constexpr Limits kRowRate{1e5, 1e15, true};
constexpr Limits kMemory{1e6, 1e16}, kCache{1024, 1e13};  // B
constexpr Limits kLatency{1e-12, 1, true};                // s, for a message, a barrier or a stage
constexpr Limits kStart{1e-12, 10, true};
constexpr Limits kPlan{1e-15, 1e-3, true};
// A fraction may be a little above 1, because both measurements have noise.
constexpr Limits kRows{1e-3, 1e12}, kFraction{1e-6, 1.1};
constexpr Limits kBytes{1, 1e15}, kSeconds{1e-9, 1e5};  // of a collective
constexpr double kMostCount = 1 << 20;
constexpr int kMostDevicesOfNode = 1 << 12;
constexpr int kMostNodes = 1 << 16;  // product of dims; a simulation makes them all, in seconds
// A list has at most this many entries. A prediction goes through all curves for each product, and a measured
// curve has some dozens of points.
constexpr size_t kMostEntries = 4096;

std::string to_string(const Limits& limits) {
  return fmt::format("{}a number from {:g} to {:g}", limits.or_zero ? "0 or " : "", limits.lowest,
                     limits.highest);
}

// Section is one table of the file. It says where in the file something is wrong, and notices keys for which
// nobody has asked.
class Section {
 public:
  Section(const toml::table& table, std::string file, std::string path)
      : table_(table), file_(std::move(file)), path_(std::move(path)) {}

  bool has(const std::string& key) {
    known_.push_back(key);
    return table_.contains(key);
  }

  std::string text(const std::string& key, const std::string& fallback = "") {
    if (!has(key)) return fallback;
    const auto value = table_[key].value<std::string>();
    if (!value) refuse(key, "something else", "text in quotes");
    return *value;
  }

  double number(const std::string& key, const Limits& limits) {
    return has(key) ? as_number(key, *table_.get(key), limits) : missing(key);
  }
  double number(const std::string& key, const Limits& limits, double fallback) {
    return has(key) ? as_number(key, *table_.get(key), limits) : fallback;
  }

  int count(const std::string& key, int fallback, int lowest = 1) {
    return has(key) ? as_count(key, *table_.get(key), lowest) : fallback;
  }

  std::vector<double> numbers(const std::string& key, const Limits& limits) {
    std::vector<double> values;
    each(key, [&](const toml::node& node) { values.push_back(as_number(key, node, limits)); });
    return values;
  }
  std::vector<int> counts(const std::string& key) {
    std::vector<int> values;
    each(key, [&](const toml::node& node) { values.push_back(as_count(key, node, 1)); });
    return values;
  }

  std::vector<Section> tables(const std::string& key) {
    std::vector<Section> sections;
    if (!has(key)) return sections;
    const toml::array* array = table_[key].as_array();
    if (array == nullptr) refuse(key, "something else", "a list of tables");
    refuse_long(key, *array);
    for (const toml::node& node : *array) {
      if (!node.is_table()) refuse(key, "something else", "a list of tables");
      sections.emplace_back(*node.as_table(), file_, path_ + key + ".");
    }
    return sections;
  }

  Section table(const std::string& key) {
    static const toml::table empty;
    if (!has(key)) return {empty, file_, path_ + key + "."};
    if (!table_[key].is_table()) refuse(key, "something else", "a table");
    return {*table_[key].as_table(), file_, path_ + key + "."};
  }

  // Throws for keys for which nobody has asked.
  void finish() const {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(known_.begin(), known_.end(), name) != known_.end()) continue;
      const std::string nearest = nearest_name(name, known_);
      throw input_error(place(node.source().begin.line), path_ + name,
                        fmt::format("{}", fmt::join(known_, ", ")),
                        nearest.empty() ? "leave it out" : "did you mean " + nearest + "?");
    }
  }

  [[noreturn]] void refuse(const std::string& key, const std::string& got, const std::string& allowed) const {
    const toml::node* node = table_.get(key);
    throw input_error(place(node == nullptr ? 0 : node->source().begin.line), path_ + key + " = " + got,
                      allowed, "correct the file");
  }

 private:
  [[noreturn]] double missing(const std::string& key) const {
    throw input_error(place(table_.source().begin.line), "no " + path_ + key, "a hardware file with it",
                      "add it");
  }

  template <typename Take>
  void each(const std::string& key, const Take& take) {
    if (!has(key)) return;
    const toml::array* array = table_[key].as_array();
    if (array == nullptr) refuse(key, "something else", "a list of numbers");
    refuse_long(key, *array);
    for (const toml::node& node : *array) take(node);
  }

  void refuse_long(const std::string& key, const toml::array& array) const {
    if (array.size() > kMostEntries)
      refuse(key, fmt::format("{} entries", array.size()), fmt::format("at most {}", kMostEntries));
  }

  // Returns a number within the limits; NaN and infinity are refused.
  double as_number(const std::string& key, const toml::node& node, const Limits& limits) const {
    const auto value = node.value<double>();
    if (!value) refuse(key, "something else", to_string(limits));
    const bool within = *value >= limits.lowest && *value <= limits.highest;
    if (!within && !(limits.or_zero && *value == 0))
      refuse(key, fmt::format("{}", *value), to_string(limits));
    return *value;
  }

  int as_count(const std::string& key, const toml::node& node, int lowest) const {
    const auto value = node.value<double>();
    const bool whole = value && *value >= lowest && *value <= kMostCount && *value == std::floor(*value);
    if (!whole)
      refuse(key, value ? fmt::format("{}", *value) : "something else",
             fmt::format("a whole number from {} to {}", lowest, kMostCount));
    return static_cast<int>(*value);
  }

  std::string place(uint32_t line) const { return line == 0 ? file_ : fmt::format("{}:{}", file_, line); }

  const toml::table& table_;
  std::string file_, path_;
  std::vector<std::string> known_;
};

DType read_dtype(Section& section, const char* fallback) {
  const std::string name = section.text("dtype", fallback);
  if (name == "bf16") return DType::bf16;
  if (name != "f32") section.refuse("dtype", name, "bf16 or f32");
  return DType::f32;
}

GemmCurve read_curve(Section section) {
  GemmCurve curve;
  curve.dtype = read_dtype(section, "bf16");
  curve.k = section.count("k", 1);
  curve.n = section.count("n", 1);
  curve.units = section.has("units") ? section.count("units", 1) : 0;
  const int groups = section.has("groups") ? section.count("groups", 1) : 0;
  if (groups > 1) section.refuse("groups", std::to_string(groups), "1, or none for several");
  curve.one_group = groups == 1;
  curve.rows = section.numbers("rows", kRows);
  if (curve.rows.empty() ||
      std::adjacent_find(curve.rows.begin(), curve.rows.end(), std::greater_equal<>()) != curve.rows.end())
    section.refuse("rows", "no rising numbers", "rising numbers above 0");
  for (int d = 0; d < kNumGemmDirections; ++d) {
    const std::string key = name_of(static_cast<GemmDirection>(d));
    curve.fraction[d] = section.numbers(key, kFraction);
    if (curve.fraction[d].size() != curve.rows.size())
      section.refuse(key, fmt::format("{} of them", curve.fraction[d].size()),
                     "one fraction of the peak for each of rows");
  }
  section.finish();
  return curve;
}

Collective read_op(Section& section) {
  const std::string op = section.text("op");
  const std::optional<Collective> named = value_named<Collective>(op);
  if (!named)
    section.refuse("op", "\"" + op + "\"", fmt::format("{}", fmt::join(words(Collective::all_reduce), ", ")));
  return *named;
}

CollectiveCurve read_collective(Section section) {
  CollectiveCurve curve{read_op(section), section.count("devices", 1), section.numbers("bytes", kBytes),
                        section.numbers("seconds", kSeconds), read_dtype(section, "f32")};
  const bool rising =
      std::adjacent_find(curve.bytes.begin(), curve.bytes.end(), std::greater_equal<>()) == curve.bytes.end();
  if (curve.bytes.empty() || !rising) section.refuse("bytes", "no rising numbers", "rising numbers");
  if (curve.seconds.size() != curve.bytes.size())
    section.refuse("seconds", fmt::format("{} of them", curve.seconds.size()), "one time for each of bytes");
  for (size_t i = 0; i < curve.bytes.size(); ++i) {
    const double rate = curve.bytes[i] / curve.seconds[i];
    if (rate > kBytesPerSecond.highest)
      section.refuse("seconds", fmt::format("{:g} for {:g} bytes", curve.seconds[i], curve.bytes[i]),
                     fmt::format("times of at most {:g} B/s", kBytesPerSecond.highest));
  }
  section.finish();
  return curve;
}

// Throws InputError for a number of sizes that the kind does not have.
void refuse_bad_dims(const Section& section, const ClusterTopology& topology) {
  const size_t num = topology.dims.size();
  const auto refuse = [&](bool bad, const char* allowed) {
    if (bad) section.refuse("dims", fmt::format("[{}]", fmt::join(topology.dims, ", ")), allowed);
  };
  if (topology.kind == TopologyKind::node) refuse(num > 0, "none with the kind node");
  if (topology.kind == TopologyKind::fat_tree)
    refuse(num > 2, "nodes under a leaf switch, and uplinks of a leaf");
  if (topology.kind == TopologyKind::dragonfly)
    refuse(num != 0 && num != 3, "three: groups, routers of a group, nodes of a router");
  double num_nodes = 1;
  for (const int dim : topology.dims) num_nodes *= dim;
  refuse(num_nodes > kMostNodes, fmt::format("counts whose product is at most {}", kMostNodes).c_str());
}

ClusterTopology read_topology(Section section) {
  ClusterTopology topology;
  const std::string kind = section.text("kind", "node");
  const auto found = std::find(std::begin(kKinds), std::end(kKinds), kind);
  if (found == std::end(kKinds)) section.refuse("kind", kind, "node, fat-tree, torus or dragonfly");
  topology.kind = static_cast<TopologyKind>(found - std::begin(kKinds));
  topology.devices_per_node = section.count("devices_per_node", 1);
  if (topology.devices_per_node > kMostDevicesOfNode)
    section.refuse("devices_per_node", std::to_string(topology.devices_per_node),
                   fmt::format("at most {}", kMostDevicesOfNode));
  topology.max_devices = section.count("max_devices", 0, 0);
  topology.dims = section.counts("dims");
  refuse_bad_dims(section, topology);
  for (Section level : section.tables("levels")) {
    topology.levels.push_back({level.text("name"), level.number("latency_s", kLatency),
                               level.number("bytes_per_s", kBytesPerSecond)});
    level.finish();
  }
  if (topology.levels.empty()) section.refuse("levels", "none", "at least one level");
  const bool needs_network =
      topology.kind == TopologyKind::fat_tree || topology.kind == TopologyKind::dragonfly;
  if (needs_network && topology.levels.size() < 2)
    section.refuse("levels", "one", "two at least: inside a node, and between nodes");
  section.finish();
  return topology;
}

void read_memory(Section memory, Hardware& h) {
  h.memory_bytes_per_s = memory.number("bytes_per_s", kBytesPerSecond);
  h.node_memory_bytes_per_s = memory.number("node_bytes_per_s", kBytesPerSecond);
  if (h.node_memory_bytes_per_s < h.memory_bytes_per_s)
    memory.refuse("node_bytes_per_s", fmt::format("{:g}", h.node_memory_bytes_per_s),
                  fmt::format("at least the {:g} of one unit", h.memory_bytes_per_s));
  h.memory_bytes = memory.number("bytes", kMemory);
  memory.finish();
}

void read_costs(Section costs, Hardware& h) {
  h.rows = {costs.number("gather_bytes_per_s", kRowRate, 0), costs.number("combine_bytes_per_s", kRowRate, 0),
            costs.number("swiglu_bytes_per_s", kRowRate, 0), costs.number("zero_bytes_per_s", kRowRate, 0)};
  h.plan_s_per_assignment = costs.number("plan_s_per_assignment", kPlan, 0);
  h.barrier_s = costs.number("barrier_s", kLatency, 0);
  h.start_s = costs.number("start_s", kStart, 0);
  h.stage_s = costs.number("stage_s", kLatency, 0);
  costs.finish();
}

// Writes every digit: rising numbers have to rise in the file as well.
std::string list_text(const std::vector<double>& values) {
  return fmt::format("[{}]", fmt::join(values, ", "));
}

std::string quote(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte == 0x7f ? ' ' : c;  // which TOML has in no text
  }
  return result + "\"";
}

std::string curve_text(const GemmCurve& curve) {
  std::string text =
      fmt::format("\n[[gemm]]\ndtype = \"{}\"\nk = {}\nn = {}\n", dtype_name(curve.dtype), curve.k, curve.n);
  if (curve.units > 0) text += fmt::format("units = {}\n", curve.units);
  if (curve.one_group) text += "groups = 1\n";
  text += fmt::format("rows = {}\n", list_text(curve.rows));
  for (int d = 0; d < kNumGemmDirections; ++d)
    text += fmt::format("{} = {}\n", name_of(static_cast<GemmDirection>(d)), list_text(curve.fraction[d]));
  return text;
}

std::string topology_text(const ClusterTopology& topology) {
  std::string text = fmt::format("\n[topology]\nkind = \"{}\"\ndevices_per_node = {}\n",
                                 name_of(topology.kind), topology.devices_per_node);
  if (topology.max_devices > 0) text += fmt::format("max_devices = {}\n", topology.max_devices);
  if (!topology.dims.empty()) text += fmt::format("dims = [{}]\n", fmt::join(topology.dims, ", "));
  for (const LinkLevel& level : topology.levels) {
    text += fmt::format("[[topology.levels]]\nname = {}\nlatency_s = {:.6g}\nbytes_per_s = {:.6g}\n",
                        quote(level.name), level.latency_s, level.bytes_per_s);
  }
  return text;
}

}  // namespace

const char* name_of(GemmDirection direction) {
  constexpr const char* kNames[] = {"forward", "input_grad", "weight_grad"};
  return kNames[static_cast<int>(direction)];
}

const char* name_of(TopologyKind kind) { return kKinds[static_cast<int>(kind)]; }

int ClusterTopology::most_devices() const {
  if (!has_network()) return max_devices > 0 ? std::min(max_devices, devices_per_node) : devices_per_node;
  // A fat tree has as many leaf switches as its nodes need.
  if (dims.empty() || kind == TopologyKind::fat_tree) return max_devices;
  const int room = std::accumulate(dims.begin(), dims.end(), devices_per_node, std::multiplies<>());
  return max_devices > 0 ? std::min(max_devices, room) : room;
}

void require_devices(const Hardware& hardware, int num_devices, bool as_nodes) {
  const int most = hardware.topology.most_devices(), each = as_nodes ? hardware.topology.devices_per_node : 1;
  if (most == 0 || num_devices <= most) return;
  throw input_error(as_nodes ? "--nodes" : "--devices", std::to_string(num_devices / each),
                    fmt::format("at most {} on {}", most / each, hardware.name), "choose larger --hardware");
}

Hardware read_hardware_text(const std::string& text, const std::string& name_of_source) {
  toml::table table;
  try {
    refuse_deep_toml(text, name_of_source);
    table = toml::parse(text, name_of_source);
  } catch (const toml::parse_error& error) {
    throw input_error(fmt::format("{}:{}", name_of_source, error.source().begin.line),
                      std::string(error.description()), "TOML", "correct the file");
  }
  // Sections remember which keys were read. finish() throws for a key that was not read, so a misspelt key is
  // an error.
  Section root(table, name_of_source, "");
  Hardware h;
  h.name = root.text("name");
  h.source = root.text("source");
  const std::string unit = root.text("unit", name_of(HardwareUnit::core));
  const auto known_unit = value_named<HardwareUnit>(unit);
  if (!known_unit) root.refuse("unit", unit, "core or chip");
  h.unit = *known_unit;
  h.units_per_device = root.count("units_per_device", 1);
  Section peak = root.table("peak_flops");
  h.peak_f32 = peak.number("f32", kFlops);
  h.peak_bf16 = peak.number("bf16", kFlops, h.peak_f32);  // if no instruction multiplies bf16 faster
  h.f32_instruction = peak.text("f32_instruction");
  h.bf16_instruction = peak.text("bf16_instruction", h.f32_instruction);
  peak.finish();
  read_memory(root.table("memory"), h);
  for (Section cache : root.tables("cache")) {
    h.caches.push_back({cache.text("name"), cache.number("bytes", kCache), cache.count("units", 1)});
    cache.finish();
  }
  h.topology = read_topology(root.table("topology"));
  // Measured curves follow; without any curve of products nothing could be predicted.
  h.efficiency_source = root.text("efficiency_source");
  for (Section& curve : root.tables("gemm")) h.gemm.push_back(read_curve(curve));
  for (Section& curve : root.tables("collective")) h.collectives.push_back(read_collective(curve));
  if (h.gemm.empty()) root.refuse("gemm", "none", "at least one table [[gemm]]");
  read_costs(root.table("costs"), h);
  root.finish();
  return h;
}

Hardware load_hardware(const std::string& name_or_path, const char* what) {
  namespace fs = std::filesystem;
  const auto read_file = [&](const fs::path& path) {
    const InputFile file{what, path.string(), "a hardware file (TOML)",
                         "write one of this machine by moehill probe"};
    return read_hardware_text(read_input_file(file), path.string());
  };
  // A file in the user's folder MOEHILL_HARDWARE comes before a shipped description of the same name, and a
  // shipped description comes before a path.
  const std::string folder = folder_of_variable("MOEHILL_HARDWARE", "a folder of hardware files (TOML)");
  if (!folder.empty()) {
    const fs::path path = fs::path(folder) / (name_or_path + ".toml");
    if (is_there(path.string())) return read_file(path);
  }
  std::vector<std::string> shipped;
  for (const auto& [name, text] : kShipped) {
    if (name == name_or_path) return read_hardware_text(text, std::string("the shipped ") + name);
    shipped.push_back(name);
  }
  if (is_there(name_or_path)) return read_file(name_or_path);
  throw input_error(what, quoted(name_or_path, 200),
                    fmt::format("the path of a file, or one of {}", fmt::join(shipped, ", ")),
                    "write one of this machine by moehill probe");
}

std::string hardware_toml(const Hardware& h, const std::vector<std::string>& comments) {
  std::string text;
  for (const std::string& comment : comments) text += "# " + comment + "\n";
  text += fmt::format("name = {}\nsource = {}\nunit = {}\nunits_per_device = {}\nefficiency_source = {}\n",
                      quote(h.name), quote(h.source), quote(name_of(h.unit)), h.units_per_device,
                      quote(h.efficiency_source));
  text += fmt::format("\n[peak_flops]\nf32 = {:.6g}\nbf16 = {:.6g}\n", h.peak_f32, h.peak_bf16);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    if (!h.instruction(dtype).empty())
      text += fmt::format("{}_instruction = {}\n", dtype_name(dtype), quote(h.instruction(dtype)));
  }
  text += fmt::format("\n[memory]\nbytes_per_s = {:.6g}\nnode_bytes_per_s = {:.6g}\nbytes = {:.6g}\n",
                      h.memory_bytes_per_s, h.node_memory_bytes_per_s, h.memory_bytes);
  for (const CacheLevel& cache : h.caches) {
    text += fmt::format("\n[[cache]]\nname = {}\nbytes = {:.6g}\nunits = {}\n", quote(cache.name),
                        cache.bytes, cache.units);
  }
  text += topology_text(h.topology);
  text += fmt::format(
      "\n[costs]\ngather_bytes_per_s = {:.6g}\ncombine_bytes_per_s = {:.6g}\nswiglu_bytes_per_s = {:.6g}\n"
      "zero_bytes_per_s = {:.6g}\nplan_s_per_assignment = {:.6g}\n"
      "barrier_s = {:.6g}\nstart_s = {:.6g}\nstage_s = {:.6g}\n",
      h.rows.gather, h.rows.combine, h.rows.swiglu, h.rows.zero, h.plan_s_per_assignment, h.barrier_s,
      h.start_s, h.stage_s);
  for (const GemmCurve& curve : h.gemm) text += curve_text(curve);
  for (const CollectiveCurve& c : h.collectives) {
    text += fmt::format("\n[[collective]]\nop = {}\ndtype = \"{}\"\ndevices = {}\nbytes = {}\nseconds = {}\n",
                        quote(name_of(c.op)), dtype_name(c.dtype), c.devices, list_text(c.bytes),
                        list_text(c.seconds));
  }
  return text;
}

}  // namespace moehill
