// Implementation of climb/moves.h: for each axis, the list of its changes, and which options define the
// problem.
#include "moehill/climb/moves.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/block/options.h"
#include "moehill/block/run_config.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

// These are the options that a climb moves, beside those that only some paths have.
constexpr const char* kMoved[] = {
    "parallel_mode", "ep_path",    "devices", "threads_per_device", "impl",
    "blocks",        "remat_mode", "backend", "shared_fused",       "routing_pack_strategy"};
// A climb does not move these options, but they limit which moves can run.
constexpr const char* kLimits[] = {"none_threads", "nodes", "placement"};
// These options say where a problem comes from and how often it is measured. They do not define it.
constexpr const char* kNoProblem[] = {"preset",    "mesh", "iters", "warmup",       "min_time",
                                      "ci_target", "seed", "check", "stage_timing", "placement"};

template <size_t N>
bool is_one_of(const char* const (&names)[N], const std::string& name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

template <HasWords E>
std::vector<StoredJson> each_word(ClimbAxis axis) {
  std::vector<StoredJson> changes;
  for (const E value : all_values<E>()) changes.push_back({{name_of(axis), name_of(value)}});
  return changes;
}

std::string text_of(const StoredJson& options, const char* name) {
  return options.contains(name) && !options[name].is_null() ? value_text(options[name]) : "";
}

// DeviceSplit is the devices and the threads of each.
struct DeviceSplit {
  int64_t devices = 1, threads = 1;
};

// Returns the split that was asked for, completed as bench does it, or else every even split of the cores.
std::vector<DeviceSplit> device_splits(const StoredJson& base, int64_t cores) {
  const auto asked = [&](const char* name) -> int64_t {
    const std::string text = text_of(base, name);
    return text.empty() ? 0 : parse_integer(name, text, 1, 1024);
  };
  const int64_t devices = asked("devices"), threads = asked("threads_per_device");
  if (devices > 0) return {{devices, threads > 0 ? threads : std::max<int64_t>(1, cores / devices)}};
  if (threads > 0) return {{std::max<int64_t>(1, cores / threads), threads}};
  std::vector<DeviceSplit> splits;
  for (int64_t p = 1; p <= cores; ++p)
    if (cores % p == 0) splits.push_back({p, cores / p});
  return splits;
}

// Returns the change to a spread; `split` is null for one device. An option that was asked for stays.
StoredJson spread_change(const StoredJson& base, const std::string& mode, const std::string& path,
                         const DeviceSplit* split) {
  const auto asked_or = [&](const char* name, int64_t DeviceSplit::*chosen) {
    if (base.contains(name)) return base[name];
    return split != nullptr ? StoredJson(split->*chosen) : StoredJson(nullptr);
  };
  return {{"parallel_mode", mode},
          {"ep_path", path.empty() ? StoredJson(nullptr) : StoredJson(path)},
          {"devices", asked_or("devices", &DeviceSplit::devices)},
          {"threads_per_device", asked_or("threads_per_device", &DeviceSplit::threads)}};
}

// Returns one device, and every split of the cores over several, replicated (dp) and sharded by each path.
std::vector<StoredJson> spreads(const StoredJson& base, const ClimbSpace& space) {
  if (base.contains("parallel_mode") || base.contains("ep_path")) return {};
  // With one device, bench takes the threads of all devices that were asked for, or else all cores.
  std::vector<StoredJson> changes = {spread_change(base, "none", "", nullptr)};
  for (const DeviceSplit& split : device_splits(base, space.cores)) {
    if (split.devices < 2) continue;
    changes.push_back(spread_change(base, "dp", "", &split));
    for (const Spread path : all_values<Spread>())
      if (is_ep(path)) changes.push_back(spread_change(base, "ep", name_of(path), &split));
  }
  return changes;
}

bool by_psum(const StoredJson& resolved) {
  const std::string path = text_of(resolved, "ep_path");
  return path == name_of(Spread::compact_psum) || path == name_of(Spread::dense_masked);
}

}  // namespace

bool is_moved(const std::string& option) { return is_one_of(kMoved, option) || goes_with_path(option); }

void require_moved(const StoredJson& options, const std::string& path) {
  for (const auto& [name, value] : options.items()) {
    if (!is_moved(name))
      throw input_error("--climbed", fmt::format("the option {} in {}", quoted(name), quoted(path, 200)),
                        fmt::format("those that a climb moves: {}, {}", fmt::join(kMoved, ", "),
                                    fmt::join(kPathOptions, ", ")),
                        "remove the file and climb again, or name another by MOEHILL_CLIMBED");
  }
}

StoredJson changed(StoredJson options, const StoredJson& change) {
  for (const auto& [name, value] : change.items()) {
    if (value.is_null() || value == StoredJson(false))
      options.erase(name);
    else
      options[name] = value;
  }
  return options;
}

std::vector<StoredJson> changes_along(ClimbAxis axis, const StoredJson& base, const StoredJson& options,
                                      const StoredJson& resolved, const ClimbSpace& space) {
  const bool has_shared = text_of(resolved, "shared_expert_dim") != "0";
  // An option that the user gave is kept, so its axis has no changes. The axis `spread` stands for several
  // options and looks at them itself.
  if (axis != ClimbAxis::spread && base.contains(name_of(axis))) return {};
  switch (axis) {
    case ClimbAxis::spread:
      return spreads(base, space);
    case ClimbAxis::impl: {  // the last, fast, is usually the fastest
      std::vector<StoredJson> impls = each_word<Impl>(axis);
      std::reverse(impls.begin(), impls.end());
      return impls;
    }
    case ClimbAxis::backend:
      return each_word<Backend>(axis);
    case ClimbAxis::routing_pack_strategy:
      return each_word<PackStrategy>(axis);
    case ClimbAxis::remat_mode:
      if (text_of(resolved, "bench_pass") == name_of(Pass::forward)) return {};
      return each_word<Remat>(axis);
    case ClimbAxis::shared_placement:
      if (!has_shared || !by_psum(resolved)) return {};
      return each_word<SharedPlacement>(axis);
    case ClimbAxis::ring_split:
      if (text_of(resolved, "ep_path") != name_of(Spread::ring_ag_rs)) return {};
      return each_word<Switch>(axis);
    case ClimbAxis::waves:
      if (text_of(resolved, "ep_path") != name_of(Spread::fused)) return {};
      // Without the option, rows are read in place here, since a climb has one process.
      return std::vector<StoredJson>{
          {{"waves", nullptr}}, {{"waves", 1}}, {{"waves", 2}}, {{"waves", 4}}, {{"waves", 8}}};
    case ClimbAxis::shared_fused:
      return has_shared ? std::vector<StoredJson>{{{"shared_fused", true}}, {{"shared_fused", false}}}
                        : std::vector<StoredJson>{};
    case ClimbAxis::blocks: {
      std::vector<StoredJson> changes;
      if (text_of(resolved, "backend") != name_of(Backend::gmm)) return changes;
      for (const std::string& blocks : space.blocks(options)) changes.push_back({{"blocks", blocks}});
      return changes;
    }
  }
  return {};
}

std::vector<StoredJson> with_fallbacks(const StoredJson& options, const StoredJson& base) {
  std::vector<StoredJson> all = {options};
  StoredJson without_all = options;
  const auto try_without = [&](const char* name) {
    if (!options.contains(name) || base.contains(name)) return;
    without_all.erase(name);
    all.push_back(options);
    all.back().erase(name);
  };
  for (const char* name : kPathOptions) try_without(name);
  try_without("blocks");  // which only some values of other options have
  if (all.size() > 2) all.push_back(without_all);
  return all;
}

std::string place_on(ClimbAxis axis, const StoredJson& resolved) {
  if (axis == ClimbAxis::waves && text_of(resolved, "waves").empty()) return "rows in place";
  if (axis != ClimbAxis::spread) return fmt::format("{}={}", name_of(axis), text_of(resolved, name_of(axis)));
  const std::string path = text_of(resolved, "ep_path");
  const auto number = [&](const char* name) {
    const std::string text = text_of(resolved, name);
    return text.empty() ? 1 : parse_integer(name, text, 1, 1 << 20);
  };
  return fmt::format("{}{}{} {}", text_of(resolved, "parallel_mode"), path.empty() ? "" : " ", path,
                     layout_words(number("devices"), number("threads_per_device")));
}

std::string other_routing(const StoredJson& resolved, const StoredJson& arm) {
  const std::string before = text_of(resolved, "distribution_devices"),
                    after = text_of(arm, "distribution_devices");
  if (before == after) return "";
  return fmt::format("{} over {} {} is another routing than over {}", text_of(arm, "distribution"), after,
                     after == "1" ? "device" : "devices", before);
}

StoredJson moved_options(const StoredJson& options, const StoredJson& given) {
  StoredJson moved = StoredJson::object();
  for (const auto& [name, value] : options.items())
    if (is_moved(name) && !given.contains(name)) moved[name] = value;
  return moved;
}

std::string problem_key(const StoredJson& resolved, const StoredJson& given) {
  std::map<std::string, std::string> held;  // in one order, whatever that of the command line
  for (const auto& [name, value] : given.items())
    if (is_moved(name) || is_one_of(kLimits, name)) held[name] = value_text(value);
  std::string key = held.empty() ? "" : "given";
  for (const auto& [name, text] : held) key += fmt::format(" {}={}", name, text);
  if (!held.empty()) key += ": ";
  std::vector<std::string> problem;
  for (const auto& [name, value] : resolved.items()) {
    if (value.is_null() || is_moved(name) || is_one_of(kNoProblem, name)) continue;
    problem.push_back(fmt::format("{}={}", name, value_text(value)));
  }
  return key + fmt::format("{}", fmt::join(problem, " "));
}

}  // namespace moehill
