// Fuzz targets give bytes from libFuzzer to every function that reads what others wrote, and to the routing
// plans. A target may throw InputError; any other exception, crash or broken promise is a finding.
// MOEHILL_FUZZ_TARGET names the target of this process.
//
//     MOEHILL_FUZZ_TARGET=experiment moehill_fuzz fuzz/corpus/experiment
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <span>
#include <string>

#include "moehill/base/error.h"
#include "moehill/base/npy_reader.h"
#include "moehill/base/parse.h"
#include "moehill/catalog/model_block.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/sweep_host.h"
#include "moehill/climb/climbed_table.h"
#include "moehill/experiments/experiment_file.h"
#include "moehill/kernels/rows.h"
#include "moehill/measure/recorded_step.h"
#include "moehill/model/hardware.h"
#include "moehill/predict/pick_score.h"
#include "moehill/probe/probe_file.h"
#include "moehill/report/exports.h"
#include "moehill/report/matching.h"
#include "moehill/report/page_data.h"
#include "moehill/report/peer_samples.h"
#include "moehill/report/picture.h"
#include "moehill/report/published.h"
#include "moehill/routing/placement.h"
#include "moehill/routing/trace.h"
#include "moehill/tune/tuned_table.h"
#include "moehill/weights/checkpoint.h"
#include "moehill/weights/layer_weights.h"

namespace moehill {
namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  fmt::print(stderr, "fuzz: {}\n", what);
  std::abort();
}

// MemoryFile is a file in memory that has a path, for readers that open a path.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& bytes) : file_(memfd_create("fuzz", 0)) {
    require(file_ >= 0 && write(file_, bytes.data(), bytes.size()) == std::ssize(bytes), "no file in memory");
  }
  ~MemoryFile() { close(file_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  std::string path() const { return fmt::format("/proc/self/fd/{}", file_); }

 private:
  int file_;
};

void experiment(const std::string& text) { parse_experiment("fuzz.toml", text, sweep_option_names); }

void hardware(const std::string& text) {
  const Hardware h = read_hardware_text(text, "fuzz");
  bool is_readable = true;
  try {
    read_hardware_text(hardware_toml(h, {}), "what was written");
  } catch (const InputError&) {
    is_readable = false;  // a refusal of what we write ourselves is a finding
  }
  require(is_readable, "a hardware file that cannot be read again");
}

void probe(const std::string& text) { read_probe(MemoryFile(text).path()); }
void tuned(const std::string& text) { read_tuned(MemoryFile(text).path()); }
void records(const std::string& text) { steps_of_records(MemoryFile(text).path()); }
void compare(const std::string& text) { read_results(MemoryFile(text).path()); }
void placement(const std::string& text) { read_placement(MemoryFile(text).path()); }
void climbed(const std::string& text) { read_climbed(MemoryFile(text).path()); }
void scores(const std::string& text) { score_report(read_scores(MemoryFile(text).path())); }
void published(const std::string& text) { parse_published(text, "fuzz"); }

void peers(const std::string& text) {
  const MemoryFile file(text);
  if (!has_peer_samples(file.path())) return;
  const PeerPanels panels = peer_panels(file.path());
  curve_picture("fuzz", panels.x_title, panels.panels);
}

// SQLite locks and links files by their names, so a path in /proc does not suffice: this target writes a real
// file.
void database(const std::string& bytes) {
  const std::string path = fmt::format("{}/moehill-fuzz-{}.sqlite", P_tmpdir, getpid());
  std::FILE* file = std::fopen(path.c_str(), "wb");
  require(file != nullptr && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size(), "no file");
  std::fclose(file);
  try {
    Store store = Store::open_existing(path);
    export_csv(load_views(store, {}));
    page_data(store, {});
  } catch (...) {
    unlink(path.c_str());
    throw;
  }
  unlink(path.c_str());
}

void config(const std::string& text) {
  const ModelBlock block = read_model_block(ConfigKeys(text, "fuzz"), std::nullopt);
  flops_per_token(block);
}

void safetensors(const std::string& bytes) {
  const MemoryFile file(bytes);
  // The reader chooses the format by the name, so the file gets one by a link.
  const std::string path = fmt::format("{}/moehill-fuzz-{}.safetensors", P_tmpdir, getpid());
  unlink(path.c_str());
  require(symlink(file.path().c_str(), path.c_str()) == 0, "no link");
  try {
    Checkpoint checkpoint(path);
    checkpoint.visit_names("", [&](const std::string& name) { checkpoint.tensor(name); });
    LayerWeights(path, std::nullopt, {.hidden = 8, .mlp_dim = 4, .experts = 2});
  } catch (...) {
    unlink(path.c_str());
    throw;
  }
  unlink(path.c_str());
}

void npy(const std::string& bytes) {
  const MemoryFile file(bytes);
  NpyReader reader("--fuzz", file.path());
  int64_t size = 1;
  for (const int64_t n : reader.shape()) size *= n;
  const auto most = static_cast<size_t>(std::min<int64_t>(size, 1 << 16));
  if (reader.has_integers()) {
    std::vector<int64_t> values(most);
    reader.read(0, values);
  } else {
    std::vector<float> values(most);
    reader.read(0, values);
  }
}

void trace(const std::string& bytes) {
  const MemoryFile file(bytes);
  const Routing routing = read_trace({.file = file.path(), .layer = {}, .step = {}, .gates = {}}, 4, 8, 2);
  for (const int32_t expert : routing.expert)
    require(expert >= kNoExpert && expert < 8, "an expert out of range");
}

void command_line(const std::string& text) { parse_bench_options(split(text, '\n')); }

// Bytes turns fuzz input into small numbers; after the end of the input all numbers are 0.
class Bytes {
 public:
  explicit Bytes(const std::string& bytes) : bytes_(bytes) {}
  int up_to(int most) {
    return at_ < bytes_.size() ? static_cast<unsigned char>(bytes_[at_++]) % (most + 1) : 0;
  }

 private:
  const std::string& bytes_;
  size_t at_ = 0;
};

// Sends the rows of x there and back by the kernels of the block, and compares the sums of each token with a
// plain loop over its kept assignments. The expert of group g multiplies rows by 1 + g. All sums are exact.
void require_rows_there_and_back(const Routing& routing, const RoutingPlan& made, ThreadTeam& team) {
  constexpr int64_t kColumns = 5;  // some vectors and a rest
  if (routing.num_tokens == 0) return;
  const auto matrix = [](std::vector<float>& values) {
    const int64_t rows = std::ssize(values) / kColumns;
    return MatView{values.data(), DType::f32, rows, kColumns, kColumns};
  };
  std::vector<float> x(static_cast<size_t>(routing.num_tokens * kColumns)), y(x.size()), expected(x.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  std::vector<float> packed(static_cast<size_t>(made.num_rows() * kColumns));
  gather_rows(team, {matrix(x), made.row_token.data()}, matrix(packed));
  for (int g = 0; g < made.num_groups(); ++g) {
    const auto group = static_cast<size_t>(g);
    for (int64_t i = made.group_offset[group] * kColumns; i < made.group_offset[group + 1] * kColumns; ++i)
      packed[static_cast<size_t>(i)] *= static_cast<float>(1 + g);
  }
  combine_rows(team,
               {.rows = matrix(packed),
                .row_of = made.assignment_row.data(),
                .weight = routing.weight.data(),
                .topk = routing.topk},
               matrix(y));
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    if (made.assignment_row[a] < 0) continue;
    const auto factor = static_cast<float>(1 + routing.expert[a] - made.expert_begin);
    const size_t first = a / static_cast<size_t>(routing.topk) * kColumns;
    for (size_t i = first; i < first + kColumns; ++i) expected[i] += routing.weight[a] * factor * x[i];
  }
  require(y == expected, "other sums come back from the kernels");
}

// Plans a routing, sends rows there and back, and compares the result with plain loops that make no plan.
void plan(const std::string& bytes) {
  Bytes in(bytes);
  const int tokens = in.up_to(40), experts = 1 + in.up_to(12), topk = 1 + in.up_to(std::min(experts, 4) - 1);
  PlanSpec spec{.num_tokens = tokens, .num_experts = experts, .topk = topk};
  spec.expert_begin = in.up_to(experts - 1);
  spec.expert_end = spec.expert_begin + 1 + in.up_to(experts - spec.expert_begin - 1);
  spec.strategy = all_values<PackStrategy>()[static_cast<size_t>(in.up_to(3))];
  spec.capacity.policy = all_values<CapacityPolicy>()[static_cast<size_t>(in.up_to(2))];
  spec.capacity.rows = spec.capacity.policy == CapacityPolicy::none ? 0 : 1 + in.up_to(8);
  spec.capacity.factor = 1;
  spec.num_threads = 1 + in.up_to(3);
  Routing routing{.num_tokens = tokens, .num_experts = experts, .topk = topk, .expert = {}, .weight = {}};
  for (int t = 0; t < tokens; ++t) {
    std::set<int> of_token;
    for (int j = 0; j < topk; ++j) {
      int expert = in.up_to(experts) - 1;  // kNoExpert is one of them
      if (expert >= 0 && !of_token.insert(expert).second) expert = kNoExpert;
      routing.expert.push_back(expert);
      routing.weight.push_back(static_cast<float>(in.up_to(7)) / 8);
    }
  }
  static ThreadTeam team(1);
  PlanBuilder builder(spec);
  RoutingPlan made = builder.make_plan();
  builder.build(routing, team, made);

  // Each held expert keeps its first C assignments in token order.
  const int64_t most = spec.capacity.policy == CapacityPolicy::none ? tokens * topk : spec.capacity.rows;
  std::map<int, std::set<int32_t>> kept;
  int64_t dropped = 0;
  for (int32_t a = 0; a < tokens * topk; ++a) {
    const int e = routing.expert[static_cast<size_t>(a)];
    if (e < spec.expert_begin || e >= spec.expert_end) continue;
    if (std::ssize(kept[e]) < most) {
      kept[e].insert(a);
    } else {
      ++dropped;
    }
  }
  require(made.num_dropped == dropped, "another number is dropped");
  require(made.num_groups() == spec.expert_end - spec.expert_begin, "another number of groups");
  require(made.group_offset[0] == 0, "rows before the first group");
  std::vector<double> combined(static_cast<size_t>(tokens)), expected(static_cast<size_t>(tokens));
  for (int g = 0; g < made.num_groups(); ++g) {
    const auto group = static_cast<size_t>(g);
    std::set<int32_t> found;
    for (int64_t row = made.group_offset[group]; row < made.group_offset[group + 1]; ++row) {
      const int32_t a = made.row_assignment[static_cast<size_t>(row)],
                    t = made.row_token[static_cast<size_t>(row)];
      require((a < 0) == (t < 0), "a padding row with a token");
      if (a < 0) {
        require(spec.capacity.policy == CapacityPolicy::pad, "padding without pad");
        continue;
      }
      require(a / topk == t, "a row of another token");
      require(made.assignment_row[static_cast<size_t>(a)] == row, "a row that its assignment does not know");
      require(found.insert(a).second, "an assignment twice");
      combined[static_cast<size_t>(t)] +=
          static_cast<double>(routing.weight[static_cast<size_t>(a)]) * (1 + g);
    }
    require(found == kept[spec.expert_begin + g], "other assignments in a group");
    if (spec.capacity.policy == CapacityPolicy::pad)
      require(made.group_offset[group + 1] - made.group_offset[group] == most,
              "a group that is not padded to C");
  }
  for (const auto& [e, assignments] : kept) {
    for (const int32_t a : assignments)
      expected[static_cast<size_t>(a / topk)] +=
          static_cast<double>(routing.weight[static_cast<size_t>(a)]) * (1 + e - spec.expert_begin);
  }
  require(combined == expected, "another sum comes back");  // sums of eighths and small integers are exact
  for (int32_t a = 0; a < tokens * topk; ++a) {
    const int e = routing.expert[static_cast<size_t>(a)];
    const bool is_kept = kept.contains(e) && kept[e].contains(a);
    require((made.assignment_row[static_cast<size_t>(a)] >= 0) == is_kept,
            "a row of an assignment that has none");
  }
  require_rows_there_and_back(routing, made, team);
}

using Target = void (*)(const std::string&);
const std::map<std::string, Target> kTargets = {{"experiment", experiment},
                                                {"hardware", hardware},
                                                {"probe", probe},
                                                {"tuned", tuned},
                                                {"records", records},
                                                {"compare", compare},
                                                {"placement", placement},
                                                {"climbed", climbed},
                                                {"scores", scores},
                                                {"published", published},
                                                {"peers", peers},
                                                {"database", database},
                                                {"config", config},
                                                {"safetensors", safetensors},
                                                {"npy", npy},
                                                {"trace", trace},
                                                {"command_line", command_line},
                                                {"plan", plan}};

Target target = nullptr;

}  // namespace
}  // namespace moehill

// Chooses the target by the environment. Without a name, or with an unknown one, prints the names and ends.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const char* name = std::getenv("MOEHILL_FUZZ_TARGET");
  const auto found = moehill::kTargets.find(name == nullptr ? "" : name);
  if (found == moehill::kTargets.end()) {
    for (const auto& [known, run] : moehill::kTargets) fmt::print("{}\n", known);
    std::exit(name == nullptr ? 0 : 2);
  }
  moehill::target = found->second;
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    moehill::target({reinterpret_cast<const char*>(data), size});
  } catch (const moehill::InputError& error) {
    moehill::require(std::strlen(error.what()) < 1100, "a message without end");
  }
  return 0;
}
