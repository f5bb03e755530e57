// Implementation of cli/mesh_options.h. The short names -b -e -f -n -w -c are those of nccl-tests.
#include "moehill/cli/mesh_options.h"
#include "moehill/cli/bench_options.h"

#include "moehill/base/error.h"
#include "moehill/cli/option_set.h"

namespace moehill {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 40;

OptionSet mesh_option_set(MeshOptions& o) {
  OptionSet set("moehill mesh",
                "Checks and times the collectives of a mesh by size, in the manner of nccl-tests.",
                {"moehill mesh -b 64K -e 16M", "moehill mesh --collective all --dtype bf16 -b 1M -e 1M",
                 "moehill mesh --collective all_to_all --devices 2 -f 4 -n 10 --json -"});
  set.size("--min-bytes", &o.min_bytes, 1, kMaxBytes, "smallest size; docs/metrics.md says what it counts");
  set.size("--max-bytes", &o.max_bytes, 1, kMaxBytes, "largest size");
  set.integer("--factor", &o.factor, 2, 1024, "factor from one size to the next");
  set.integer("--iters", &o.iters, 1, 100'000, "timed calls of each size");
  set.integer("--warmup", &o.warmup, 0, 100'000, "calls of each size before the timed ones");
  set.custom("--check", "0|1", "1", "1: compare every element; 0: do not, and give no bandwidth",
             [&o](const std::string& text) {
               o.check = parse_choice("--check", text, {"0", "1"}) == 1;
             });
  set.choices("--collective", &o.collectives, {"all"}, "collective to call");
  set.choice("--dtype", &o.dtype, "type of the elements; sums are f32");
  set.integer("--devices", &o.devices, 0, 1024, "number of devices P; 0: by the cores");
  set.integer("--threads-per-device", &o.threads_per_device, 0, 1024,
              "threads of a device; 0: fill the cores");
  declare_mesh(set, &o.mesh, &o.timeout_s);
  set.output(
      "--json", &o.json, "FILE",
      "one record for each row of the table; - is standard output, the table then goes to standard error");
  set.shorten("--min-bytes", 'b');
  set.shorten("--max-bytes", 'e');
  set.shorten("--factor", 'f');
  set.shorten("--iters", 'n');
  set.shorten("--warmup", 'w');
  set.shorten("--check", 'c');
  return set;
}

}  // namespace

std::optional<MeshOptions> parse_mesh_options(const std::vector<std::string>& args) {
  MeshOptions o;
  OptionSet set = mesh_option_set(o);
  if (!set.parse(args)) return std::nullopt;
  const int64_t element = static_cast<int64_t>(dtype_bytes(o.dtype));
  if (o.min_bytes < element) {
    throw input_error("--min-bytes", std::to_string(o.min_bytes),
                      fmt::format("{}, one element, and more", element), "choose a larger one");
  }
  if (o.max_bytes < o.min_bytes) {
    throw input_error("--max-bytes", size_text(o.max_bytes),
                      fmt::format("--min-bytes ({}) and more", size_text(o.min_bytes)),
                      "give a larger one or a smaller --min-bytes");
  }
  return o;
}

}  // namespace moehill
