// Tests meshes of threads: runs, barriers, failures that reach all devices, and errors when devices disagree.
// The values that collectives compute are tested by the conformance suite.
#include "moehill/mesh/threads/thread_mesh.h"

#include <fmt/format.h>
#include <sched.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <tuple>

#include "moehill/machine/topology.h"
#include "moehill/mesh/conformance.h"
#include "moehill/mesh/errors.h"

namespace moehill {
namespace {

std::vector<MeshMaker> thread_meshes() {
  std::vector<MeshMaker> makers;
  for (const int devices : {1, 2, 3, 4, 5}) {
    for (const int threads : {1, 2}) {
      makers.push_back({fmt::format("P{}_N{}", devices, threads), [=]() -> MeshRun {
                          const auto mesh = std::make_shared<ThreadMesh>(devices, threads);
                          return [mesh](const std::function<void(Group&)>& device_main) {
                            mesh->run(device_main);
                          };
                        }});
    }
  }
  for (const std::vector<int>& node_of : {std::vector{0, 0, 1, 1}, {0, 1, 0, 1, 1}, {0, 1, 2}}) {
    const int devices = static_cast<int>(node_of.size());
    makers.push_back(
        {fmt::format("Nodes{}", fmt::join(node_of, "")), [=]() -> MeshRun {
           const auto mesh = std::make_shared<ThreadMesh>(devices, 1, std::vector<int>{}, Nodes(node_of));
           return [mesh](const std::function<void(Group&)>& device_main) { mesh->run(device_main); };
         }});
  }
  return makers;
}
INSTANTIATE_TEST_SUITE_P(Threads, MeshConformance, testing::ValuesIn(thread_meshes()),
                         [](const auto& test) { return test.param.name; });

class ThreadMeshOf : public testing::TestWithParam<int> {
 protected:
  ThreadMesh mesh_{GetParam(), 1};
  // The mesh does its work after whatever happened to it.
  void expect_usable() {
    mesh_.run([](Group& group) {
      check_all_reduce(group, DType::f32, DType::bf16, 1000);
      check_all_to_all(group, DType::bf16, 3, 10);
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, ThreadMeshOf, testing::Values(1, 2, 3, 5));

TEST_P(ThreadMeshOf, EveryDeviceRunsOnceAndTheCallerLeadsTheFirst) {
  std::vector<std::thread::id> leaders(static_cast<size_t>(GetParam()));
  mesh_.run([&](Group& group) {
    EXPECT_EQ(group.size(), GetParam());
    EXPECT_EQ(&group.team(), &mesh_.team(group.rank()));
    EXPECT_EQ(leaders[static_cast<size_t>(group.rank())], std::thread::id());
    leaders[static_cast<size_t>(group.rank())] = std::this_thread::get_id();
  });
  EXPECT_EQ(leaders[0], std::this_thread::get_id());
  for (const std::thread::id& leader : leaders) EXPECT_NE(leader, std::thread::id());
  EXPECT_EQ(mesh_.num_devices(), GetParam());
  EXPECT_EQ(mesh_.threads_per_device(), 1);
}

// No device leaves barrier i before all devices have reached it.
TEST_P(ThreadMeshOf, BarriersHoldEveryDevice) {
  std::atomic<int> num_arrived{0}, num_early{0};
  mesh_.run([&](Group& group) {
    for (int i = 1; i <= 200; ++i) {
      ++num_arrived;
      group.barrier();
      if (num_arrived < i * group.size()) ++num_early;
      group.barrier();
    }
  });
  EXPECT_EQ(num_early, 0);
}

TEST_P(ThreadMeshOf, OneFailureWakesTheOthersAndIsRethrown) {
  for (int failing = 0; failing < GetParam(); ++failing) {
    for (int good_steps = 0; good_steps < 4; ++good_steps) {
      std::atomic<int> num_woken{0};
      std::string caught;
      try {
        mesh_.run([&](Group& group) {
          std::vector<float> values(300, 1.0f);
          for (int step = 0; step < good_steps; ++step) {
            group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, 300);
          }
          if (group.rank() == failing) throw std::runtime_error("device " + std::to_string(failing));
          try {
            group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, 300);
          } catch (const PeerFailed&) {
            ++num_woken;
            EXPECT_THROW(group.barrier(), PeerFailed);
            throw;
          }
        });
      } catch (const std::runtime_error& error) {
        caught = error.what();
      }
      EXPECT_EQ(caught, "device " + std::to_string(failing));
      EXPECT_EQ(num_woken, GetParam() - 1);
      expect_usable();
    }
  }
}

TEST_P(ThreadMeshOf, WhenAllDevicesFailOneExceptionArrives) {
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(mesh_.run([](Group& group) { throw group.rank(); }), int);
  }
  expect_usable();
}

TEST_P(ThreadMeshOf, AnExceptionInATeamsTaskIsAFailureOfTheDevice) {
  EXPECT_THROW(mesh_.run([](Group& group) {
    if (group.rank() == 0) group.team().run([](int) { throw std::domain_error("in a task"); });
    group.barrier();
  }),
               std::domain_error);
  expect_usable();
}

TEST_P(ThreadMeshOf, MalformedOffsetsAreAnError) {
  const std::vector<int64_t> too_few(static_cast<size_t>(GetParam()), 0);
  std::vector<int64_t> falling(static_cast<size_t>(GetParam()) + 1, 0);
  falling.back() = -1;
  for (const std::vector<int64_t>& offsets : {too_few, falling}) {
    EXPECT_THROW(mesh_.run([&](Group& group) { group.all_gather(nullptr, offsets, 4, nullptr); }),
                 CollectiveError);
  }
  EXPECT_THROW(
      mesh_.run([](Group& group) { group.all_reduce(nullptr, DType::f32, nullptr, DType::f32, -1); }),
      CollectiveError);
  expect_usable();
}

// Runs `collective` on every device with arguments that disagree, and returns the error that each device got.
std::vector<std::string> disagreements(ThreadMesh& mesh, const std::function<void(Group&)>& collective) {
  std::vector<std::string> told(static_cast<size_t>(mesh.num_devices()));
  EXPECT_THROW(mesh.run([&](Group& group) {
    try {
      collective(group);
    } catch (const CollectiveError& error) {
      told[static_cast<size_t>(group.rank())] = error.what();
      throw;
    }
  }),
               CollectiveError);
  return told;
}

// Buffers and offsets are on the stacks of the devices, so a sanitizer sees a device that leaves too early.
class ThreadMeshDisagreements : public ThreadMeshOf {
 protected:
  void expect_all_told(const std::string& part, const std::function<void(Group&)>& collective) {
    for (int round = 0; round < 10; ++round) {
      for (const std::string& text : disagreements(mesh_, collective))
        EXPECT_NE(text.find(part), text.npos) << text;
      expect_usable();
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Devices, ThreadMeshDisagreements, testing::Values(2, 3, 5));

TEST_P(ThreadMeshDisagreements, CountsOfAllReduce) {
  expect_all_told("all_reduce of 100 elements f32 to f32", [](Group& group) {
    std::vector<float> values(100, 1.0f);
    group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, group.rank() == 1 ? 99 : 100);
  });
}

TEST_P(ThreadMeshDisagreements, TypesOfAllReduce) {
  expect_all_told("all_reduce of 100 elements bf16 to f32", [](Group& group) {
    std::vector<float> input(100, 1.0f), output(100);
    group.all_reduce(input.data(), group.rank() == 0 ? DType::bf16 : DType::f32, output.data(), DType::f32,
                     100);
  });
}

TEST_P(ThreadMeshDisagreements, CountsOfAllToAll) {
  expect_all_told("all_to_all: rank 1 sends 11 elements to rank 0, which expects 10", [](Group& group) {
    std::vector<int64_t> sends, receives;
    for (int r = 0; r <= group.size(); ++r) receives.push_back(10 * r);
    sends = receives;
    if (group.rank() == 1) {
      for (size_t r = 1; r < sends.size(); ++r) ++sends[r];
    }
    std::vector<float> input(static_cast<size_t>(sends.back()), 1.0f),
        output(static_cast<size_t>(receives.back()));
    group.all_to_all(input.data(), sends, output.data(), receives, sizeof(float));
  });
}

TEST_P(ThreadMeshDisagreements, OffsetsOfReduceScatterAndAllGather) {
  const auto offsets_of = [](const Group& group) {
    std::vector<int64_t> offsets = uneven_offsets(group.size(), 10);
    if (group.rank() == group.size() - 1) ++offsets.back();
    return offsets;
  };
  expect_all_told("reduce_scatter f32 to f32, offsets 0 10", [&](Group& group) {
    const std::vector<int64_t> offsets = offsets_of(group);
    std::vector<float> input(static_cast<size_t>(offsets.back()), 1.0f), output(100);
    group.reduce_scatter(input.data(), DType::f32, offsets, output.data(), DType::f32);
  });
  expect_all_told("all_gather of 4 byte elements, offsets 0 10", [&](Group& group) {
    const std::vector<int64_t> offsets = offsets_of(group);
    std::vector<float> input(100, 1.0f), output(static_cast<size_t>(offsets.back()));
    group.all_gather(input.data(), offsets, sizeof(float), output.data());
  });
}

TEST_P(ThreadMeshDisagreements, DifferentCollectives) {
  expect_all_told("rank 0 is at barrier, rank", [](Group& group) {
    float value = 1;
    if (group.rank() == 0) return group.barrier();
    group.all_reduce(&value, DType::f32, &value, DType::f32, 1);
  });
}

TEST_P(ThreadMeshDisagreements, ADeviceThatEndsEarlyLeavesNobodyWaiting) {
  EXPECT_THROW(mesh_.run([](Group& group) {
    if (group.rank() != 0) group.barrier();
  }),
               CollectiveError);
  expect_usable();
}

TEST(ThreadMesh, TrafficOfAllReduceIsTheRings) {
  constexpr int64_t kElements = 4 * 3200;
  ThreadMesh mesh(4, 1);
  mesh.run([](Group& group) {
    std::vector<float> values(kElements, 1.0f);
    group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, kElements);
    EXPECT_EQ(group.traffic().sent_bytes, 2u * 3 * kElements / 4 * sizeof(float));
    EXPECT_EQ(group.traffic().received_bytes, group.traffic().sent_bytes);
  });
}

TEST(Traffic, SumsAndDifferencesAreOfAllCounts) {
  const auto all = [](const Traffic& t) {
    return std::tuple(t.sent_bytes, t.received_bytes, t.wait_seconds, t.flight_seconds, t.progress_calls,
                      t.num_messages, t.message_bytes, t.network_bytes);
  };
  const Traffic one{1, 2, 3, 4, 5, 6, 7, 8}, other{10, 20, 30, 40, 50, 60, 70, 80};
  Traffic sum = one;
  sum += other;
  EXPECT_EQ(all(sum), all(Traffic{11, 22, 33, 44, 55, 66, 77, 88}));
  EXPECT_EQ(all(sum.since(other)), all(one));
}

TEST(ThreadMesh, PinsItsThreadsAndLeavesTheCallerAsItWas) {
  const std::vector<int> cpus = core_cpus();
  ThreadMesh mesh(static_cast<int>(cpus.size()), 1, cpus);
  std::vector<int> seen(cpus.size());
  mesh.run([&](Group& group) { seen[static_cast<size_t>(group.rank())] = sched_getcpu(); });
  EXPECT_EQ(seen, cpus);
  EXPECT_EQ(core_cpus().size(), cpus.size());
}

// A failure between start and finish leaves no message for the next run.
TEST_P(ThreadMeshOf, AFailureInSplitPhaseIsForgotten) {
  for (int round = 0; round < 3; ++round) {
    EXPECT_THROW(mesh_.run([](Group& group) {
      const std::vector<int64_t> nothing(static_cast<size_t>(group.size()) + 1, 0);
      group.start_all_gather(nullptr, nothing, 4, nullptr);
      if (group.rank() == 0) throw std::runtime_error("between");
      group.finish();
    }),
                 std::runtime_error);
    expect_usable();
  }
}

TEST(ThreadMeshDeathTest, NothingMayComeBetweenStartAndFinish) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<int64_t> nothing(3, 0);
  const auto run_between = [&](const std::function<void(Group&)>& call) {
    ThreadMesh mesh(2, 1);
    mesh.run([&](Group& group) {
      group.start_all_gather(nullptr, nothing, 4, nullptr);
      call(group);
    });
  };
  EXPECT_DEATH(run_between([](Group& group) { group.barrier(); }),
               "barrier .* before finish.. of all_gather");
  EXPECT_DEATH(
      run_between([&](Group& group) { group.start_all_to_all(nullptr, nothing, nullptr, nothing, 4); }),
      "all_to_all .* before finish.. of all_gather");
  EXPECT_DEATH(run_between([](Group&) {}), "the end of its program .* before finish");
  EXPECT_DEATH(ThreadMesh(2, 1).run([](Group& group) { group.finish(); }), "without a start");
}

TEST(ThreadMeshDeathTest, ImpossibleMeshesAreBugs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(ThreadMesh(0, 1), "a mesh of 0 devices");
  EXPECT_DEATH(ThreadMesh(2, 2, {0, 1}), "2 CPUs for 2 devices with 2 threads");
}

}  // namespace
}  // namespace moehill
