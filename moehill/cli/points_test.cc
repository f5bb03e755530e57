// Tests of the expansion of a command line to points, and of the lines of the reference logbook.
#include "moehill/measure/points.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "moehill/base/error.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

std::vector<Point> points_of(const std::string& line, int num_cores = 4) {
  return expand_points(*parse_bench_options(words(line)), num_cores);
}

TEST(Points, NoneAndEpOfEqualSettingsAreNeighbours) {
  const std::vector<Point> points = points_of(
      "--topk-list 2,8 --parallel-mode both --distribution both --impl all --bench-pass forward --queue-mode "
      "both");
  ASSERT_EQ(points.size(), 2u * 2 * 2 * 6 * 2);
  std::set<std::string> labels;
  for (size_t i = 0; i < points.size(); i += 2) {
    EXPECT_TRUE(differ_in_mode_only(points[i], points[i + 1]));
    EXPECT_EQ(points[i].config.spread, Spread::none);
    EXPECT_TRUE(i == 0 || !differ_in_mode_only(points[i - 1], points[i]));
  }
  for (const Point& point : points) {
    labels.insert(point.label);
    EXPECT_EQ(point.folder.find_first_of(" =/"), std::string::npos);
  }
  EXPECT_EQ(labels.size(), points.size());
  EXPECT_EQ(points.front().config.shape.topk, 2);
  EXPECT_EQ(points.back().config.shape.topk, 8);
}

// The mode may be an axis of -L, and a point of one device lacks the axes that only several devices have.
TEST(Points, NoneAndEpOfAxesDifferInTheirModeOnly) {
  const std::vector<Point> points = points_of("-L topk 2,8 -L parallel-mode none,ep");
  ASSERT_EQ(points.size(), 4u);
  EXPECT_TRUE(differ_in_mode_only(points[0], points[1]));
  EXPECT_TRUE(differ_in_mode_only(points[2], points[3]));
  EXPECT_FALSE(differ_in_mode_only(points[0], points[3])) << "another top-k";
  const std::vector<std::string> arguments = {"-L", "point", "parallel_mode=none",
                                              "-L", "point", "parallel_mode=ep ep_path=fused",
                                              "-L", "point", "parallel_mode=ep backend=ragged_dot",
                                              "-L", "point", "parallel_mode=ep ep_path=fused waves=2"};
  const std::vector<Point> named = expand_points(*parse_bench_options(arguments), 4);
  ASSERT_EQ(named.size(), 4u);
  EXPECT_TRUE(differ_in_mode_only(named[0], named[1]));
  EXPECT_FALSE(differ_in_mode_only(named[0], named[2])) << "another backend";
  EXPECT_TRUE(differ_in_mode_only(named[0], named[3])) << "only ep has waves";
}

// One device has no wire and no path, so `none` does the same work for every value of these axes.
TEST(Points, NoneIsOnePointForAllValuesOfWhatOnlyEpHas) {
  const std::string line =
      "--parallel-mode both --ep-path fused --devices 2 --nodes 2 --threads-per-device 1 "
      "-L wire native,fp8+scales -L topk 2,4 -L waves 1,2";
  std::vector<std::string> labels;
  for (const Point& point : points_of(line)) labels.push_back(point.label);
  EXPECT_EQ(labels, (std::vector<std::string>{
                        "topk=2 none", "wire=native topk=2 waves=1 ep", "wire=native topk=2 waves=2 ep",
                        "topk=4 none", "wire=native topk=4 waves=1 ep", "wire=native topk=4 waves=2 ep",
                        "wire=fp8+scales topk=2 waves=1 ep", "wire=fp8+scales topk=2 waves=2 ep",
                        "wire=fp8+scales topk=4 waves=1 ep", "wire=fp8+scales topk=4 waves=2 ep"}));
  const std::vector<Point> one = points_of(line + " --filter ^topk=4.none$");
  ASSERT_EQ(one.size(), 1u);
  EXPECT_EQ(one[0].config.spread, Spread::none);
  EXPECT_EQ(one[0].config.shape.topk, 4);
  EXPECT_EQ(points_of("--parallel-mode both -L remat-mode none,combine").size(), 4u) << "none has these, too";
  EXPECT_EQ(points_of("-L topk 2,2").size(), 2u) << "as often as it was asked for";
}

TEST(Points, ALabelHasTheModeOnce) {
  const std::vector<Point> points = points_of("-L topk 2,4 -L parallel-mode none,ep");
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].label, "topk=2 none");
  EXPECT_EQ(points[1].label, "topk=2 ep");
  EXPECT_EQ(points_of("-L parallel-mode none,both").size(), 2u) << "one none";
}

// A zero expert is a choice like any other, and no device has one.
TEST(Points, ZeroExpertsMakeNoDistributionImpossible) {
  const std::string point = "--parallel-mode ep --experts 8 --topk 4 --devices 4 --threads-per-device 1 ";
  EXPECT_THROW(points_of(point + "--distribution hot-experts:8,0.5"), InputError);
  EXPECT_EQ(points_of(point + "--router softmax,zero:8 --distribution hot-experts:8,0.5").size(), 1u);
  EXPECT_EQ(points_of(point + "--router softmax,zero:2 --distribution balanced").size(), 1u);
  const std::vector<Point> points = points_of(point + "--router softmax,zero:2 --distribution balanced");
  EXPECT_NO_THROW(routing_of(points.front().config.shape, points.front().distribution, 0));
}

// A point with one device has no wire. If the path is left open, the program chooses a path that has a wire.
TEST(Points, TheWireIsThatOfSeveralDevices) {
  const std::vector<Point> points =
      points_of("--parallel-mode both --devices 4 --nodes 2 --wire fp8+scales --threads-per-device 1");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].config.wire, Wire::native);
  EXPECT_EQ(points[1].config.wire, Wire::fp8_scales);
  EXPECT_TRUE(routes_rows(points[1].config));
  EXPECT_TRUE(differ_in_mode_only(points[0], points[1]));
}

TEST(Points, AutoIsThePathOfThosePointsThatNameNone) {
  const std::vector<std::string> arguments = {
      "-L", "point", "parallel_mode=none ep_path=auto",       "-L", "point", "parallel_mode=ep",
      "-L", "point", "parallel_mode=ep ep_path=dense_masked", "-L", "point", "parallel_mode=ep ep_path=auto"};
  std::vector<bool> are_auto;
  for (const Point& point : expand_points(*parse_bench_options(arguments), 4))
    are_auto.push_back(point.path_is_auto);
  EXPECT_EQ(are_auto, (std::vector<bool>{false, true, false, true}));
}

// Nodes have neighbouring devices, equally many on each but the last.
TEST(Points, NodesAreAsManyAsWereAskedForOrRefused) {
  const auto nodes_of_point = [](int devices, int nodes) {
    const std::string line = fmt::format("--parallel-mode ep --devices {} --nodes {}", devices, nodes);
    try {
      const RunConfig config = points_of(line + " --threads-per-device 1").front().config;
      return config.ranks_per_node == 0 ? 1 : (devices + config.ranks_per_node - 1) / config.ranks_per_node;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find("--nodes"), std::string::npos) << error.what();
      return 0;
    }
  };
  const std::map<int, std::set<int>> refused = {{2, {}},     {3, {}},     {4, {3}},       {5, {4}},
                                                {6, {4, 5}}, {7, {5, 6}}, {8, {5, 6, 7}}, {9, {4, 6, 7, 8}}};
  for (const auto& [devices, numbers] : refused) {
    for (int nodes = 1; nodes <= devices; ++nodes)
      EXPECT_EQ(nodes_of_point(devices, nodes), numbers.contains(nodes) ? 0 : nodes)
          << devices << ", " << nodes;
  }
}

// The first two traces have paths that a folder's name would spell alike, and the last two points are equal.
TEST(Points, NoTwoPointsHaveOneFolder) {
  const TemporaryFolder folder;
  std::vector<std::string> arguments = {"--tokens=1", "--experts=4", "--topk=1"};
  std::filesystem::create_directory(folder.file("a"));
  for (const char* name : {"a/b.jsonl", "a-b.jsonl", "a-b.jsonl"}) {
    std::ofstream(folder.file(name)) << R"({"step":0,"layer":0,"rank":0,"topk":1,"top_indices":[[0]]})";
    arguments.insert(arguments.end(), {"-L", "point", "distribution=trace:" + folder.file(name)});
  }
  std::set<std::string> folders;
  for (const Point& point : expand_points(*parse_bench_options(arguments), 4)) folders.insert(point.folder);
  EXPECT_EQ(folders.size(), 3u);
}

// Otherwise the timelines of a measurement could not be written when it is over.
TEST(Points, AFolderHasAShortNameHoweverLongThePathsInItsLabel) {
  const TemporaryFolder folder;
  const std::string place = folder.file(std::string(150, 'x') + "/" + std::string(150, 'y'));
  std::filesystem::create_directories(place);
  std::vector<std::string> arguments = {"--tokens", "1", "--topk", "1"};
  for (const char* name : {"a", "b"}) {
    std::ofstream(place + "/" + name) << R"({"step":0,"layer":0,"rank":0,"topk":1,"top_indices":[[0]]})";
    arguments.insert(arguments.end(), {"-L", "point", "distribution=trace:" + place + "/" + name});
  }
  const std::vector<Point> points = expand_points(*parse_bench_options(arguments), 4);
  ASSERT_EQ(points.size(), 2u);
  EXPECT_NE(points[0].folder, points[1].folder);
  for (const Point& point : points) EXPECT_LT(point.folder.size(), 240u) << point.folder;
}

// The biases of a model are read later, and the step routes by them.
TEST(Points, APlacementIsNotFittedToARoutingThatTheStepDoesNotHave) {
  const std::string line =
      "--tokens 16 --experts 4 --topk 1 --router sigmoid,bias --parallel-mode ep --devices 2 --placement "
      "greedy";
  EXPECT_EQ(points_of(line).size(), 1u);
  EXPECT_THROW(points_of(line + " --weights w"), InputError);
}

TEST(Points, BothAndAllAreEveryImpl) {
  EXPECT_EQ(points_of("--impl both").size(), 6u);
  EXPECT_EQ(points_of("--impl all").size(), 6u);
}

TEST(Points, EveryOptionReachesTheConfig) {
  const Point p = points_of(
      "--tokens 10 --hidden 20 --mlp-dim 30 --experts 40 --topk 5 --shared-expert-dim 60 --shared-fused "
      "--dtype f32 --distribution runs --run-alpha 0.5 --run-noise-scale 2 --backend ragged_dot --impl fast "
      "--routing-pack-strategy tuple_sort --remat-mode combine --capacity-factor 1.5 --capacity-policy pad "
      "--parallel-mode ep --ep-path dense_masked --shared-placement replicated --devices 3 "
      "--threads-per-device 2 --router-grad")[0];
  EXPECT_EQ(p.config.shape, (MoeShape{10, 20, 30, 40, 5, 60, DType::f32}));
  EXPECT_EQ(p.distribution.kind, Distribution::runs);
  EXPECT_EQ(p.distribution.run_alpha, 0.5);
  EXPECT_EQ(p.distribution.run_noise_scale, 2);
  const BlockOptions& b = p.config.block;
  EXPECT_EQ(b.backend, Backend::ragged_dot);
  EXPECT_EQ(b.impl, Impl::fast);
  EXPECT_EQ(b.pack, PackStrategy::tuple_sort);
  EXPECT_EQ(b.remat, Remat::combine);
  EXPECT_EQ(b.capacity.policy, CapacityPolicy::pad);
  EXPECT_EQ(b.capacity.factor, 1.5);
  EXPECT_TRUE(b.shared_fused && b.router_grad && !b.prequeue);
  EXPECT_EQ(p.config.spread, Spread::dense_masked);
  EXPECT_EQ(p.config.shared_placement, SharedPlacement::replicated);
  EXPECT_EQ(p.config.num_devices, 3);
  EXPECT_EQ(p.config.threads_per_device, 2);
}

TEST(Points, WavesAreThoseOfFused) {
  const std::string line = "--parallel-mode both --ep-path fused --devices 2 --threads-per-device 1 ";
  const std::vector<Point> points = points_of(line + "--waves 3");
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].config.num_waves, 0);
  EXPECT_EQ(points[1].config.num_waves, 3);
  EXPECT_TRUE(differ_in_mode_only(points[0], points[1]));
  EXPECT_EQ(points_of(line)[1].config.num_waves, 0);
  EXPECT_EQ(points_of("--waves auto")[0].config.num_waves, 0) << "without fused, too";
  EXPECT_EQ(points_of(line + "--impl fast --waves 1")[1].config.num_waves, 1) << "messages in one wave";
}

TEST(Points, LayoutFillsTheCores) {
  const auto layout = [](const std::string& line, int num_cores) {
    const Layout l = resolve_layout(*parse_bench_options(words("--parallel-mode both " + line)), num_cores);
    return std::vector<int>{l.num_devices, l.threads_per_device, l.none_threads};
  };
  EXPECT_EQ(layout("", 2), (std::vector<int>{2, 1, 2}));
  EXPECT_EQ(layout("--devices 2", 8), (std::vector<int>{2, 4, 8}));
  EXPECT_EQ(layout("--devices 3", 8), (std::vector<int>{3, 2, 6}));
  EXPECT_EQ(layout("--devices 4", 2), (std::vector<int>{4, 1, 2}));
  EXPECT_EQ(layout("--threads-per-device 2", 8), (std::vector<int>{4, 2, 8}));
  EXPECT_EQ(layout("--threads-per-device 4", 2), (std::vector<int>{1, 4, 2}));
  EXPECT_EQ(layout("--devices 2 --threads-per-device 3 --none-threads 5", 2), (std::vector<int>{2, 3, 5}));
}

// The threads of a job are in processes of their own, so a cluster may have more of them than a process.
TEST(Points, AJobMayHaveMoreThreadsThanAProcess) {
  const auto outcome = [](MeshKind mesh, int64_t devices, int64_t threads) {
    BenchOptions options;
    options.mesh = mesh;
    options.devices = devices;
    options.threads_per_device = threads;
    try {
      const Layout layout = resolve_layout(options, 16);
      return fmt::format("{} x {}", layout.num_devices, layout.threads_per_device);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
  };
  EXPECT_EQ(outcome(MeshKind::mpi, 128, 16), "128 x 16");
  EXPECT_EQ(outcome(MeshKind::mpi, 1024, 128), "1024 x 128");
  EXPECT_NE(outcome(MeshKind::mpi, 1025, 1).find("--devices: got 1025"), std::string::npos);
  EXPECT_NE(outcome(MeshKind::mpi, 2, 1025).find("--threads-per-device: got 1025"), std::string::npos);
  EXPECT_NE(outcome(MeshKind::threads, 128, 16).find("--devices times --threads-per-device: got 2048"),
            std::string::npos);
}

TEST(Points, BothModesUseTheSameCores) {
  const std::vector<Point> points = points_of("--parallel-mode both", 6);
  EXPECT_EQ(points[0].config.num_devices * points[0].config.threads_per_device, 6);
  EXPECT_EQ(points[1].config.num_devices * points[1].config.threads_per_device, 6);
}

// Every command line of the logbook resolves, except that the lines of 13:51 that ask for prequeue in a
// training step are refused.
TEST(Points, ReferenceCommandLines) {
  std::ifstream file(MOEHILL_SOURCE_DIR "/tests/data/reference_commands.txt");
  ASSERT_TRUE(file.is_open());
  std::string stamp;
  int num_lines = 0, num_refused = 0, num_points = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("# 2026", 0) == 0) stamp = line.substr(2);
    if (line.empty() || line[0] == '#') continue;
    ++num_lines;
    const bool prequeue = line.find("prequeue") != std::string::npos;
    if (prequeue) {
      EXPECT_EQ(stamp, "2026-02-09 13:51");
      EXPECT_THROW(points_of(line), InputError) << line;
      ++num_refused;
    } else {
      EXPECT_NO_THROW(num_points += static_cast<int>(points_of(line).size())) << line;
    }
  }
  EXPECT_EQ(num_lines, 98);
  EXPECT_EQ(num_refused, 4);
  EXPECT_EQ(num_points, 98 - 4 + 4) << "the four lines of 15:52 ask for both queue modes";
}

}  // namespace
}  // namespace moehill
