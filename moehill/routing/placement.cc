#include "moehill/routing/placement.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"

namespace moehill {
namespace {

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

// All bins with room have `item` already: another bin's item goes to one of these, and `item` to its place.
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

// Puts items by falling load into bins that hold `room` each: to the bin with the least load of those that
// have room and not the same id.
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

// Counts the copies of each expert.
std::vector<int> copies_of(const std::vector<int64_t>& load, int num_devices, int num_copies) {
  std::vector<int> copies(load.size(), 1);
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
