// This file makes, reads, checks and applies placements (placement.h). Packing is greedy, largest load first,
// which is the usual heuristic for this problem (longest processing time first).
#include "moehill/routing/placement.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/parse.h"
#include "moehill/base/partition.h"
#include "moehill/base/strict_json.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

// Item is an expert (or a group of experts) with its load. A bin is a device or a node.
struct Item {
  int32_t id;
  double load;
};

using Bin = std::vector<Item>;

bool has(const Bin& bin, int32_t id) {
  return std::any_of(bin.begin(), bin.end(), [=](const Item& item) { return item.id == id; });
}

double load_of(const Bin& bin) {
  return std::accumulate(bin.begin(), bin.end(), 0.0,
                         [](double sum, const Item& item) { return sum + item.load; });
}

// All bins with room have `item` already, and a bin must not have an item twice. So an item of another bin
// moves to the bin with room, and `item` takes its place.
void put_by_exchange(const Item& item, Bin& with_room, std::vector<Bin>& bins) {
  for (Bin& other : bins) {
    if (has(other, item.id)) continue;
    for (Item& moved : other) {
      if (has(with_room, moved.id)) continue;
      with_room.push_back(moved);
      moved = item;
      return;
    }
  }
  with_room.push_back(item);
}

// Packs items into bins that hold `room` items each. Items go by falling load, each to the bin with the least
// load among the bins that have room and do not have this id yet.
std::vector<Bin> pack(std::vector<Item> items, const std::vector<int64_t>& room) {
  std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) { return a.load > b.load; });
  std::vector<Bin> bins(room.size());
  for (const Item& item : items) {
    Bin *best = nullptr, *with_room = nullptr;
    for (size_t b = 0; b < bins.size(); ++b) {
      if (std::ssize(bins[b]) == room[b]) continue;
      with_room = &bins[b];
      if (!has(bins[b], item.id) && (best == nullptr || load_of(bins[b]) < load_of(*best))) best = &bins[b];
    }
    MOEHILL_CHECK(with_room != nullptr, "no room for item {}", item.id);
    if (best != nullptr) {
      best->push_back(item);
    } else {
      put_by_exchange(item, *with_room, bins);
    }
  }
  return bins;
}

// Returns the bins as a placement, the experts of each bin sorted by number.
Placement concatenated(const std::vector<Bin>& bins) {
  Placement placement;
  for (const Bin& bin : bins) {
    const auto first = std::ssize(placement.expert);
    for (const Item& item : bin) placement.expert.push_back(item.id);
    std::sort(placement.expert.begin() + first, placement.expert.end());
  }
  return placement;
}

std::vector<int64_t> shares_of(int64_t n, int num_shares) {
  std::vector<int64_t> sizes;
  for (int i = 0; i < num_shares; ++i) sizes.push_back(share(n, i, num_shares).size());
  return sizes;
}

// Returns the number of copies of each expert: the next copy always goes to the expert with the most load for
// each copy.
std::vector<int> copies_of(const std::vector<int64_t>& load, int num_devices, int num_copies) {
  std::vector<int> copies(load.size(), 1);
  // An expert that is on every device already cannot get another copy, so its load counts as -1.
  const auto each = [&](size_t e) {
    return copies[e] < num_devices ? static_cast<double>(load[e]) / copies[e] : -1.0;
  };
  for (int i = 0; i < num_copies; ++i) {
    size_t busiest = 0;
    for (size_t e = 1; e < load.size(); ++e) {
      if (each(e) > each(busiest)) busiest = e;
    }
    ++copies[busiest];
  }
  return copies;
}

std::set<int32_t> experts_of_device(const Placement& placement, int device, int num_devices) {
  const Range places = share(placement.num_places(), device, num_devices);
  return {placement.expert.begin() + places.begin, placement.expert.begin() + places.end};
}

}  // namespace

Placement contiguous_placement(int num_experts) {
  Placement placement;
  placement.expert.resize(static_cast<size_t>(num_experts));
  std::iota(placement.expert.begin(), placement.expert.end(), 0);
  return placement;
}

Placement greedy_placement(const std::vector<int64_t>& load, int num_devices, int num_copies) {
  const int64_t most = std::ssize(load) * (num_devices - 1);
  MOEHILL_CHECK(num_copies >= 0 && num_copies <= most, "{} copies, at most {}", num_copies, most);
  const std::vector<int> copies = copies_of(load, num_devices, num_copies);
  std::vector<Item> items;
  for (size_t e = 0; e < load.size(); ++e) {
    for (int c = 0; c < copies[e]; ++c)
      items.push_back({static_cast<int32_t>(e), static_cast<double>(load[e]) / copies[e]});
  }
  return concatenated(pack(items, shares_of(std::ssize(items), num_devices)));
}

Placement hierarchical_placement(const std::vector<int64_t>& load, int num_devices, int num_nodes,
                                 int num_groups) {
  const int64_t num_experts = std::ssize(load);
  MOEHILL_CHECK(num_groups % num_nodes == 0 && num_devices % num_nodes == 0 &&
                    num_experts % num_groups == 0 && num_experts % num_devices == 0,
                "{} experts, {} groups, {} devices, {} nodes", num_experts, num_groups, num_devices,
                num_nodes);
  const int64_t group_size = num_experts / num_groups;
  // First the groups go to nodes; then the experts of each node go to its devices.
  std::vector<Item> groups;
  for (int g = 0; g < num_groups; ++g) {
    const auto first = load.begin() + g * group_size;
    groups.push_back({g, static_cast<double>(std::accumulate(first, first + group_size, int64_t{0}))});
  }
  Placement placement;
  for (const Bin& node : pack(groups, shares_of(num_groups, num_nodes))) {
    std::vector<Item> experts;
    for (const Item& group : node) {
      const int64_t g = group.id;
      for (int64_t e = g * group_size; e < (g + 1) * group_size; ++e)
        experts.push_back({static_cast<int32_t>(e), static_cast<double>(load[static_cast<size_t>(e)])});
    }
    const Placement part =
        concatenated(pack(experts, shares_of(std::ssize(experts), num_devices / num_nodes)));
    placement.expert.insert(placement.expert.end(), part.expert.begin(), part.expert.end());
  }
  return placement;
}

Routing place(const Routing& routing, const Placement& placement) {
  std::vector<std::vector<int32_t>> places(static_cast<size_t>(routing.num_experts));
  for (size_t p = 0; p < placement.expert.size(); ++p)
    places[static_cast<size_t>(placement.expert[p])].push_back(static_cast<int32_t>(p));
  // The copies of an expert take its tokens in turn.
  std::vector<size_t> next(places.size(), 0);
  Routing placed = routing;
  placed.num_experts = placement.num_places();
  for (int32_t& expert : placed.expert) {
    if (expert == kNoExpert) continue;
    const size_t e = static_cast<size_t>(expert);
    expert = places[e][next[e]];
    next[e] = (next[e] + 1) % places[e].size();
  }
  return placed;
}

std::vector<int32_t> home_places(const Placement& placement) {
  std::vector<int32_t> home;
  for (const int32_t expert : placement.expert) {
    const auto first = std::find(placement.expert.begin(), placement.expert.end(), expert);
    home.push_back(static_cast<int32_t>(first - placement.expert.begin()));
  }
  return home;
}

int num_copies(const Placement& placement) {
  const std::set<int32_t> experts(placement.expert.begin(), placement.expert.end());
  return placement.num_places() - static_cast<int>(experts.size());
}

std::vector<int64_t> copies_by_device(const Placement& placement, int num_devices) {
  std::vector<int> device;  // of each place so far; a place's home comes before it
  std::vector<int64_t> copies(static_cast<size_t>(num_devices) * static_cast<size_t>(num_devices));
  const std::vector<int32_t> home = home_places(placement);
  for (int d = 0; d < num_devices; ++d) {
    const Range places = share(placement.num_places(), d, num_devices);
    for (int64_t p = places.begin; p < places.end; ++p) {
      device.push_back(d);
      const int to = device[idx(home[idx(p)])];
      if (to != d) ++copies[idx(int64_t{d} * num_devices + to)];
    }
  }
  return copies;
}

void require_placement(const std::string& what, const Placement& placement, int num_experts,
                       int num_devices) {
  const auto refuse = [&](const std::string& got, const std::string& allowed) {
    throw input_error(what, got, allowed, "make it by moehill balance for this shape");
  };
  if (placement.num_places() < num_experts)
    refuse(count_text(placement.num_places(), "place"), fmt::format("{} or more", num_experts));
  // Each place must have an expert that exists, each expert a place, and no device an expert twice.
  std::set<int32_t> somewhere;
  for (int p = 0; p < placement.num_places(); ++p) {
    const int32_t expert = placement.expert[static_cast<size_t>(p)];
    if (expert < 0 || expert >= num_experts)
      refuse(fmt::format("expert {} at place {}", expert, p), fmt::format("0 to {}", num_experts - 1));
    somewhere.insert(expert);
  }
  for (int32_t e = 0; e < num_experts; ++e) {
    if (!somewhere.contains(e)) refuse(fmt::format("no place for expert {}", e), "a place for each expert");
  }
  for (int d = 0; d < num_devices; ++d) {
    const Range places = share(placement.num_places(), d, num_devices);
    std::set<int32_t> here;
    for (int64_t p = places.begin; p < places.end; ++p) {
      const int32_t expert = placement.expert[static_cast<size_t>(p)];
      if (!here.insert(expert).second)
        refuse(fmt::format("expert {} twice on device {} of {}", expert, d, num_devices),
               "an expert at most once on a device");
    }
  }
}

PlacementRule parse_placement(const std::string& text) {
  const std::vector<std::string> parts = split(text, ':');
  PlacementRule rule;
  if (parts.front() == "greedy" && parts.size() <= 2) {
    rule.kind = PlacementRule::greedy;
    if (parts.size() == 2)
      rule.copies = static_cast<int>(parse_integer("--placement greedy", parts[1], 0, 65536));
  } else if (parts.front() == "hierarchical") {
    rule.kind = PlacementRule::hierarchical;
    const std::vector<std::string> sizes =
        parts.size() == 2 ? split(parts[1], ',') : std::vector<std::string>{};
    if (sizes.size() != 2)
      throw input_error("--placement", moehill::quoted(text), kPlacementForms, "say nodes and groups");
    rule.nodes = static_cast<int>(parse_integer("--placement hierarchical: nodes", sizes[0], 1, 1024));
    rule.groups = static_cast<int>(parse_integer("--placement hierarchical: groups", sizes[1], 1, 65536));
  } else if (text.empty()) {
    throw input_error("--placement", "nothing", kPlacementForms, "choose one");
  } else {
    // Any other text is the path of a file.
    rule.path = text;
  }
  return rule;
}

Placement make_placement(const PlacementRule& rule, const std::vector<int64_t>& load, int num_devices) {
  const int64_t experts = std::ssize(load);
  if (rule.kind == PlacementRule::greedy) {
    if (rule.copies > experts * (num_devices - 1))
      throw input_error("--placement", count_text(rule.copies, "copy", "copies"),
                        fmt::format("0 to {}, an expert at most once a device", experts * (num_devices - 1)),
                        "choose fewer");
    return greedy_placement(load, num_devices, rule.copies);
  }
  if (rule.groups % rule.nodes != 0 || num_devices % rule.nodes != 0 || experts % rule.groups != 0 ||
      experts % num_devices != 0)
    throw input_error(
        "--placement",
        fmt::format("{}, {}, {}, {}", count_text(rule.nodes, "node"), count_text(rule.groups, "group"),
                    count_text(num_devices, "device"), count_text(experts, "expert")),
        "nodes that divide groups and devices, groups and devices that divide the experts", "choose others");
  return hierarchical_placement(load, num_devices, rule.nodes, rule.groups);
}

Placement read_placement(const std::string& path) {
  constexpr const char* kForm = R"({"placement": [expert of place 0, expert of place 1, ...]})";
  constexpr const char* kRemedy = "make it by moehill balance --save-placement FILE";
  const auto refuse = [&](const std::string& got) -> InputError {
    return input_error("--placement", moehill::quoted(path) + ": " + got, kForm, kRemedy);
  };
  const std::string text = read_input_file({"--placement", path, kForm, kRemedy});
  const nlohmann::json json = parse_strict_json(text, {"--placement " + moehill::quoted(path), kRemedy});
  if (json.size() != 1 || !json.contains("placement") || !json["placement"].is_array())
    throw refuse("another form");
  constexpr size_t kMost = 1 << 20;
  Placement placement;
  for (const nlohmann::json& id : json["placement"]) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= int64_t{kMost} ||
        placement.expert.size() == kMost)
      throw refuse("place " + std::to_string(placement.expert.size()) + " has " + id.dump());
    placement.expert.push_back(id.get<int32_t>());
  }
  return placement;
}

void write_placement(const std::string& path, const Placement& placement) {
  write_text_file(path, nlohmann::json{{"placement", placement.expert}}.dump() + "\n");
}

std::vector<int64_t> received_experts(const Placement& from, const Placement& to, int num_devices) {
  std::vector<int64_t> received;
  for (int d = 0; d < num_devices; ++d) {
    const std::set<int32_t> had = experts_of_device(from, d, num_devices),
                            has = experts_of_device(to, d, num_devices);
    received.push_back(std::count_if(has.begin(), has.end(), [&](int32_t e) { return !had.contains(e); }));
  }
  return received;
}

}  // namespace moehill
