// Tests placements: every expert has a place, its copies are on different devices, and loads are those
// computed by hand.
#include "moehill/routing/placement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/base/partition.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

using Loads = std::vector<int64_t>;

std::vector<int64_t> device_loads(const Loads& load, const Placement& placement, int num_devices) {
  Loads of_places;
  for (const int32_t e : placement.expert) {
    const auto copies = std::count(placement.expert.begin(), placement.expert.end(), e);
    of_places.push_back(load[static_cast<size_t>(e)] / copies);
  }
  return device_load(of_places, num_devices);
}

TEST(Placement, GreedyByHand) {
  const Loads load = {80, 60, 50, 30, 20, 10};
  EXPECT_EQ(device_load(load, 2), (Loads{190, 60}));
  // 80 | 60 ; 80 | 110 ; 110 | 110 ; 130 | 110, full on the left ; 130 | 120
  EXPECT_EQ(greedy_placement(load, 2).expert, (std::vector<int32_t>{0, 3, 4, 1, 2, 5}));
  EXPECT_EQ(device_loads(load, greedy_placement(load, 2), 2), (Loads{130, 120}));
}

TEST(Placement, EveryExpertHasAPlaceAndCopiesAreApart) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const int num_devices = 2 + static_cast<int>(seed % 4), num_copies = static_cast<int>(seed % 7);
    const Routing routing = random_routing(200, 13, 3, 2, seed);
    const Loads load = expert_load(routing);
    const Placement placement = greedy_placement(load, num_devices, num_copies);
    ASSERT_EQ(placement.num_places(), 13 + num_copies);
    for (int d = 0; d < num_devices; ++d) {
      const Range places = share(placement.num_places(), d, num_devices);
      const std::set<int32_t> distinct(placement.expert.begin() + places.begin,
                                       placement.expert.begin() + places.end);
      EXPECT_EQ(std::ssize(distinct), places.size()) << seed << ": an expert twice on device " << d;
    }
    for (int32_t e = 0; e < 13; ++e)
      EXPECT_GE(std::count(placement.expert.begin(), placement.expert.end(), e), 1) << seed;
  }
}

TEST(Placement, CopiesGoToTheBusiest) {
  const Placement placement = greedy_placement({100, 10, 10, 10}, 4, 2);
  EXPECT_EQ(std::count(placement.expert.begin(), placement.expert.end(), 0), 3);
  const Placement all = greedy_placement({100, 1}, 2, 2);  // two on each of two devices
  EXPECT_EQ(all.expert, (std::vector<int32_t>{0, 1, 0, 1}));
}

// The loads by falling size are 9 | 9 ; 9, 6 | 9, full on the left ; the first 5 goes to the right. Only the
// right has room for the second 5, but it has this expert already. So expert 1 moves there, and the second 5
// takes its place.
TEST(Placement, ACopyThatFindsRoomOnlyBesideItsExpertTakesAnothersPlace) {
  EXPECT_EQ(greedy_placement({10, 9, 9, 6}, 2, 1).expert, (std::vector<int32_t>{0, 3, 0, 1, 2}));
}

TEST(Placement, HierarchicalKeepsGroupsOnANode) {
  const Loads load = {9, 9, 1, 1, 8, 2, 7, 7};  // groups of two: 18, 2, 10, 14
  const Placement placement = hierarchical_placement(load, 4, 2, 4);
  const std::set<int32_t> first(placement.expert.begin(), placement.expert.begin() + 4);
  EXPECT_EQ(first, (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(device_loads(load, placement, 4), (Loads{10, 10, 10, 14}));
}

TEST(Placement, RoutingUnderItHasTheSameExperts) {
  const Routing routing = random_routing(100, 9, 3, 1, 4);
  const Placement placement = greedy_placement(expert_load(routing), 3, 4);
  Routing placed = place(routing, placement);
  EXPECT_EQ(placed.num_experts, 13);
  EXPECT_EQ(placed.weight, routing.weight);
  Loads of_places(13, 0);
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    ++of_places[static_cast<size_t>(placed.expert[a])];
    ASSERT_EQ(placement.expert[static_cast<size_t>(placed.expert[a])], routing.expert[a]);
  }
  for (size_t p = 0; p < 13; ++p) {  // copies take turns
    for (size_t q = 0; q < 13; ++q) {
      if (placement.expert[p] == placement.expert[q]) {
        EXPECT_LE(std::abs(of_places[p] - of_places[q]), 1);
      }
    }
  }
  EXPECT_EQ(place(routing, contiguous_placement(9)).expert, routing.expert);
}

TEST(Placement, HomesAreTheFirstPlacesOfTheirExperts) {
  const Placement placement{{2, 0, 1, 0, 1, 2}};  // two places on each of three devices
  EXPECT_EQ(home_places(placement), (std::vector<int32_t>{0, 1, 2, 1, 2, 0}));
  EXPECT_EQ(num_copies(placement), 3);
  // Device 1 has a copy of expert 0, whose home is on device 0; device 2 has copies of experts 1 and 2.
  EXPECT_EQ(copies_by_device(placement, 3), (Loads{0, 0, 0, 1, 0, 0, 1, 1, 0}));
}

TEST(Placement, MustHaveEveryExpertAndNoneTwiceOnADevice) {
  const auto refusal = [](std::vector<int32_t> expert) -> std::string {
    try {
      require_placement("--placement", Placement{std::move(expert)}, 4, 2);
    } catch (const InputError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal({0, 1, 2, 3}), "");
  EXPECT_EQ(refusal({0, 1, 2, 0, 2, 3}), "");
  const std::pair<std::vector<int32_t>, const char*> refused[] = {
      {{0, 1, 2}, "3 places"},
      {{0, 1, 2, 4}, "expert 4 at place 3"},
      {{0, -1, 2, 3}, "expert -1 at place 1"},
      {{0, 1, 2, 0}, "no place for expert 3"},
      {{1, 0, 1, 2, 3, 0}, "expert 1 twice on device 0 of 2"}};
  for (const auto& [expert, words] : refused)
    EXPECT_NE(refusal(expert).find(words), std::string::npos) << words << ": " << refusal(expert);
}

TEST(PlacementRule, IsWhatItsTextSays) {
  EXPECT_EQ(parse_placement("greedy").kind, PlacementRule::greedy);
  EXPECT_EQ(parse_placement("greedy").copies, 0);
  EXPECT_EQ(parse_placement("greedy:3").kind, PlacementRule::greedy);
  EXPECT_EQ(parse_placement("greedy:3").copies, 3);
  const PlacementRule nodes = parse_placement("hierarchical:2,4"), file = parse_placement("a/b.json");
  EXPECT_EQ(nodes.kind, PlacementRule::hierarchical);
  EXPECT_EQ(nodes.nodes, 2);
  EXPECT_EQ(nodes.groups, 4);
  EXPECT_EQ(file.kind, PlacementRule::file);
  EXPECT_EQ(file.path, "a/b.json");
  for (const char* text : {"", "greedy:", "greedy:-1", "greedy:65537", "hierarchical", "hierarchical:2",
                           "hierarchical:0,4", "hierarchical:2,4,4"})
    EXPECT_THROW(parse_placement(text), InputError) << text;
}

TEST(PlacementRule, IsRefusedForSizesThatItDoesNotFit) {
  PlacementRule greedy;
  greedy.kind = PlacementRule::greedy;
  greedy.copies = 2;
  EXPECT_EQ(make_placement(greedy, {5, 3}, 2).num_places(), 4) << "both experts on both devices";
  greedy.copies = 3;
  EXPECT_THROW(make_placement(greedy, {5, 3}, 2), InputError);
  PlacementRule nodes;
  nodes.kind = PlacementRule::hierarchical;
  const Loads load = {9, 9, 1, 1, 8, 2, 7, 7};
  const auto make = [&](int num_nodes, int num_groups, int num_devices) {
    nodes.nodes = num_nodes;
    nodes.groups = num_groups;
    return make_placement(nodes, load, num_devices).expert;
  };
  EXPECT_EQ(make(2, 4, 4), hierarchical_placement(load, 4, 2, 4).expert);
  EXPECT_THROW(make(2, 1, 2), InputError) << "nodes that do not divide the groups";
  EXPECT_THROW(make(2, 2, 1), InputError) << "nodes that do not divide the devices";
  EXPECT_THROW(make(1, 3, 1), InputError) << "groups that do not divide the experts";
  EXPECT_THROW(make(1, 1, 3), InputError) << "devices that do not divide the experts";
}

TEST(PlacementDeathTest, MoreCopiesThanDevicesCanHold) {
  EXPECT_DEATH(greedy_placement(Loads{1, 2}, 2, 3), "3 copies, at most 2");
}

TEST(PlacementFile, IsReadAsItWasWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.file("placement.json");
  write_placement(path, Placement{{2, 0, 1, 0}});
  EXPECT_EQ(read_placement(path).expert, (std::vector<int32_t>{2, 0, 1, 0}));
  const auto read = [&](const std::string& text) {
    std::ofstream(path) << text;
    return read_placement(path).expert;
  };
  EXPECT_EQ(read(R"({"placement": [1048575]})"), (std::vector<int32_t>{1048575})) << "the largest number";
  for (const char* text :
       {R"({"placement": [1048576]})", R"({"placement": [18446744073709551615]})", R"({"placement": [-1]})",
        R"({"placement": [1.5]})", R"({"placement": ["0"]})", R"({"placement": 5})", R"({"places": [0]})",
        R"({"placement": [0], "more": 1})", "{}", "[0]"})
    EXPECT_THROW(read(text), InputError) << text;
}

TEST(Placement, WhatIsReceivedIsWhatWasNotThere) {
  const Placement from = contiguous_placement(4);
  EXPECT_EQ(received_experts(from, from, 2), (Loads{0, 0}));
  EXPECT_EQ(received_experts(from, Placement{{0, 3, 1, 2}}, 2), (Loads{1, 1}));
  EXPECT_EQ(received_experts(from, Placement{{0, 1, 2, 0, 2, 3}}, 2), (Loads{1, 1}));
}

}  // namespace
}  // namespace moehill
