// Implementation of probe/probe_file.h. The part that the model reads is a hardware file (model/hardware.h)
// inside the JSON.
#include "moehill/probe/probe_file.h"

#include <cstdlib>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/json_fields.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr const char* kSchema = "moehill/probe-1";

InputError not_a_probe(const std::string& path, const std::string& reason) {
  return input_error("probe", quoted(path, 200) + " (" + reason + ")", "a file written by moehill probe",
                     "measure again: moehill probe --file " + quoted(path, 200));
}

// Throws InputError if one of these keys is there and no number that an int can hold.
void require_integers(const Json& json, std::initializer_list<const char*> keys, const std::string& path) {
  for (const char* key : keys) {
    if (json.contains(key) && !is_integer_of<int>(json.at(key)))
      throw not_a_probe(path, fmt::format("{} that is no integer", key));
  }
}

}  // namespace

std::string default_probe_file() {
  if (const char* file = std::getenv("MOEHILL_PROBE"); file != nullptr && *file != '\0') return file;
  return data_file("probe.json");
}

std::string data_file(const std::string& name) {
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data != nullptr && *data == '/') return std::string(data) + "/moehill/" + name;
  const char* home = std::getenv("HOME");
  return home == nullptr || *home == '\0' ? "" : std::string(home) + "/.local/share/moehill/" + name;
}

void write_probe(const Probe& probe, const std::string& path) {
  Json bandwidth = Json::array();
  for (const ThreadBandwidth& b : probe.bandwidth)
    bandwidth.push_back({{"threads", b.threads},
                         {"read_bytes_per_s", b.read.median},
                         {"read_min_bytes_per_s", b.read.min},
                         {"read_max_bytes_per_s", b.read.max},
                         {"copy_bytes_per_s", b.copy}});
  Json numa = Json::array();
  for (const NumaBandwidth& b : probe.numa)
    numa.push_back({{"cores_of", b.cores},
                    {"memory_of", b.memory},
                    {"read_bytes_per_s", b.read},
                    {"copy_bytes_per_s", b.copy}});
  // The model reads only hardware_toml. The other figures say from what it was made, and when it is stale.
  const Json json = {{"schema", kSchema},
                     {"time_utc", probe.time_utc},
                     {"cpu", probe.cpu},
                     {"cores", probe.cores},
                     {"build", probe.build},
                     {"simd", probe.simd},
                     {"seconds", probe.seconds},
                     {"fma_one_core", probe.f32_one},
                     {"fma_all_cores", probe.f32_all},
                     {"bf16_one_core", probe.bf16_one},
                     {"bf16_all_cores", probe.bf16_all},
                     {"tile_all_cores", probe.tile_all},
                     {"bandwidth", bandwidth},
                     {"numa_pairs", numa},
                     {"job_processes", probe.num_processes},
                     {"job_nodes", probe.num_nodes},
                     {"repeated", probe.repeated},
                     {"disturbed", probe.disturbed},
                     {"hardware_toml", hardware_toml(probe.hardware, {})}};
  make_folder_of("probe", path);
  write_text_file(path, indented_json(json));
}

Probe read_probe(const std::string& path) {
  const std::string remedy = "measure again: moehill probe --file " + quoted(path, 200);
  const std::string text = read_input_file({"probe", path, "a file written by moehill probe", remedy});
  try {
    const auto json = parse_strict_json<Json>(text, {"probe " + quoted(path, 200), remedy});
    if (json.at("schema") != kSchema) throw not_a_probe(path, "another schema");
    require_integers(json, {"cores", "job_processes", "job_nodes", "repeated", "disturbed"}, path);
    Probe probe;
    probe.time_utc = json.at("time_utc");
    probe.cpu = json.at("cpu");
    probe.cores = json.at("cores");
    probe.build = json.at("build");
    probe.seconds = json.at("seconds");
    probe.f32_one = json.at("fma_one_core");
    probe.f32_all = json.at("fma_all_cores");
    // Files of earlier builds lack the keys that have a default here.
    probe.simd = json.value("simd", std::string());
    probe.bf16_one = json.value("bf16_one_core", probe.f32_one);
    probe.bf16_all = json.value("bf16_all_cores", probe.f32_all);
    probe.tile_all = json.at("tile_all_cores");
    for (const Json& b : json.at("bandwidth")) {
      require_integers(b, {"threads"}, path);
      const double read = b.at("read_bytes_per_s");
      probe.bandwidth.push_back(
          {b.at("threads"),
           {read, b.value("read_min_bytes_per_s", read), b.value("read_max_bytes_per_s", read)},
           b.at("copy_bytes_per_s")});
    }
    for (const Json& b : json.value("numa_pairs", Json::array())) {
      require_integers(b, {"cores_of", "memory_of"}, path);
      probe.numa.push_back(
          {b.at("cores_of"), b.at("memory_of"), b.at("read_bytes_per_s"), b.at("copy_bytes_per_s")});
    }
    probe.num_processes = json.value("job_processes", 1);
    probe.num_nodes = json.value("job_nodes", 1);
    probe.repeated = json.value("repeated", 0);
    probe.disturbed = json.value("disturbed", 0);
    probe.hardware = read_hardware_text(json.at("hardware_toml"), path);
    return probe;
  } catch (const nlohmann::json::exception& error) {
    throw not_a_probe(path, words_of(error));
  }
}

std::optional<Probe> find_probe(const std::string& path) {
  if (path.empty() || !is_there(path)) return std::nullopt;
  return read_probe(path);
}

std::string stale_reason(const Probe& probe, const Environment& environment) {
  const Topology& topology = environment.topology;
  if (probe.cpu != topology.cpu_model)
    return fmt::format("made on {}, this is {}", probe.cpu, topology.cpu_model);
  if (probe.cores != topology.num_cores)
    return fmt::format("made with {}, {} there", count_text(probe.cores, "core"),
                       count_text(topology.num_cores, "is", "are"));
  if (!probe.simd.empty() && probe.simd != environment.kernel)
    return fmt::format("made with {}, this program uses {}", instruction_words(probe.simd),
                       instruction_words(environment.kernel));
  if (probe.build != environment.build)
    return fmt::format("made by build {}, this is {}", probe.build, environment.build);
  return probe.simd.empty() ? "made by an older program, which wrote down no SIMD target" : "";
}

bool is_of_machine(const Probe& probe, const Environment& environment) {
  return probe.cpu == environment.topology.cpu_model && probe.cores == environment.topology.num_cores &&
         (probe.simd.empty() || probe.simd == environment.kernel);
}

}  // namespace moehill
