// Runs the conformance suite on the MPI mesh, and tests that concern MPI only. All ranks of a job run this
// program, with the same tests in the same order. An exception that leaves a test ends the job.
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <thread>

#include "moehill/base/error.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/topology.h"
#include "moehill/mesh/conformance.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/message_formulas_fixture.h"
#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/exchange_windows.h"
#include "moehill/mesh/session.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

Session*& session_of_main() {
  static Session* session = nullptr;
  return session;
}
Session& session() { return *session_of_main(); }

MeshRun make_run(const MpiMeshOptions& options) {
  const std::shared_ptr<Mesh> mesh = session().make_mesh(options);
  return [mesh](const std::function<void(Group&)>& device_main) { mesh->run(device_main); };
}

std::vector<MeshMaker> mpi_meshes() {
  const auto maker = [](std::string name, MpiMeshOptions options) {
    return MeshMaker{std::move(name), [options] { return make_run(options); }};
  };
  return {maker("OneNode", {}), maker("OneNodeTwoThreads", {.threads_per_device = 2}),
          maker("TwoRanksPerNode", {.ranks_per_node = 2}), maker("EachRankAlone", {.ranks_per_node = 1}),
          maker("SmallPieces", {.ranks_per_node = 2, .piece_bytes = 4099})};
}
INSTANTIATE_TEST_SUITE_P(Mpi, MeshConformance, testing::ValuesIn(mpi_meshes()),
                         [](const auto& test) { return test.param.name; });

TEST(MpiMesh, HasOneDeviceHere) {
  const auto mesh = session().make_mesh({.threads_per_device = 2});
  EXPECT_EQ(mesh->num_devices(), session().size());
  EXPECT_EQ(mesh->threads_per_device(), 2);
  EXPECT_EQ(mesh->local_devices().begin, session().rank());
  EXPECT_EQ(mesh->local_devices().size(), 1);
  mesh->run([](Group& group) { EXPECT_EQ(group.rank(), session().rank()); });
}

// Each process has its own CPUs; if there are too few, none is pinned.
TEST(MpiMesh, RanksOfANodeShareItsCpus) {
  if (session().num_nodes() > 1) GTEST_SKIP() << "the expectation is for one node";
  const std::vector<int> cpus = core_cpus();
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  const auto mesh = session().make_mesh({.node_cpus = cpus});
  mesh->run([&](Group& group) {
    const size_t rank = static_cast<size_t>(group.rank());
    cpu_set_t set;
    ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
    const bool enough = static_cast<size_t>(group.size()) <= cpus.size();
    EXPECT_EQ(CPU_COUNT(&set), enough ? 1 : CPU_COUNT(&all)) << group.rank();
    EXPECT_TRUE(!enough || CPU_ISSET(static_cast<size_t>(cpus[rank]), &set)) << group.rank();
  });
  EXPECT_EQ(core_cpus(), cpus);
}

// One rank passes something else than the others. All get the same error, before any of them leaves the call.
void expect_all_told(const std::string& part, const std::function<void(Group&)>& collective) {
  const auto mesh = session().make_mesh({});
  for (int round = 0; round < 5; ++round) {
    mesh->run([&](Group& group) {
      try {
        collective(group);
        ADD_FAILURE() << "nobody saw: " << part;
      } catch (const CollectiveError& error) {
        EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      }
      check_all_reduce(group, DType::f32, DType::bf16, 1000);
      check_all_to_all(group, DType::bf16, 3, 10);
    });
  }
}

class MpiDisagreements : public testing::Test {
 protected:
  static void check_works_on_a_new_mesh() {
    const auto mesh = session().make_mesh({.ranks_per_node = 1});
    mesh->run([](Group& group) { check_all_reduce(group, DType::f32, DType::bf16, 1000); });
  }

  void SetUp() override {
    if (session().size() < 2 || session().num_nodes() > 1) GTEST_SKIP() << "needs two ranks on one node";
  }
};

TEST_F(MpiDisagreements, CountsAndTypesOfSums) {
  std::vector<float> values(100, 1.0f), sums(100);
  expect_all_told("all_reduce of 100 elements f32 to f32", [&](Group& group) {
    const int64_t n = group.rank() == 1 ? 99 : 100;
    group.all_reduce(values.data(), DType::f32, sums.data(), DType::f32, n);
  });
  expect_all_told("all_reduce of 100 elements bf16 to f32", [&](Group& group) {
    const DType dtype = group.rank() == 0 ? DType::bf16 : DType::f32;
    group.all_reduce(values.data(), dtype, sums.data(), DType::f32, 100);
  });
}

TEST_F(MpiDisagreements, OffsetsOfReduceScatterAndAllGather) {
  std::vector<float> input(200, 1.0f), output(200);
  const auto offsets_of = [](const Group& group) {
    std::vector<int64_t> offsets = uneven_offsets(group.size(), 10);
    if (group.rank() == group.size() - 1) ++offsets.back();
    return offsets;
  };
  expect_all_told("reduce_scatter f32 to f32, offsets 0 10", [&](Group& group) {
    group.reduce_scatter(input.data(), DType::f32, offsets_of(group), output.data(), DType::f32);
  });
  expect_all_told("all_gather of 4 byte elements, offsets 0 10", [&](Group& group) {
    const std::vector<int64_t> offsets = offsets_of(group);
    group.all_gather(input.data(), offsets, sizeof(float), output.data());
  });
}

TEST_F(MpiDisagreements, CountsOfAllToAll) {
  std::vector<float> input(200, 1.0f), output(200);
  expect_all_told("all_to_all: rank 1 sends 11 elements to rank 0, which expects 10", [&](Group& group) {
    std::vector<int64_t> sends, receives;
    for (int r = 0; r <= group.size(); ++r) {
      receives.push_back(10 * r);
      sends.push_back(r > 0 && group.rank() == 1 ? 10 * r + 1 : 10 * r);
    }
    group.all_to_all(input.data(), sends, output.data(), receives, sizeof(float));
  });
}

TEST_F(MpiDisagreements, DifferentCollectives) {
  float value = 1;
  expect_all_told("rank 0 is at barrier, rank", [&](Group& group) {
    if (group.rank() == 0) return group.barrier();
    group.all_reduce(&value, DType::f32, &value, DType::f32, 1);
  });
}

// Between nodes a disagreement shows in the messages between the ranks that disagree.
TEST_F(MpiDisagreements, MessagesOfAnotherSize) {
  for (const int64_t sent : {0, 9, 11}) {
    const auto mesh = session().make_mesh({.ranks_per_node = 1});
    mesh->run([&](Group& group) {
      const int64_t own = group.rank() == 1 ? sent : 10;
      std::vector<int64_t> sends, receives;
      for (int r = 0; r <= group.size(); ++r) {
        receives.push_back(10 * r);
        sends.push_back(own * r);
      }
      receives[static_cast<size_t>(group.rank()) + 1] +=
          own - 10;  // the rows that a rank sends to itself agree
      for (size_t r = static_cast<size_t>(group.rank()) + 2; r < receives.size(); ++r)
        receives[r] += own - 10;
      std::vector<float> input(200, 1.0f), output(200);
      std::string told;
      try {
        group.all_to_all(input.data(), sends, output.data(), receives, sizeof(float));
      } catch (const CollectiveError& error) {
        told = error.what();
      }
      const int64_t other = group.rank() == 1 ? 0 : group.rank();
      EXPECT_EQ(told, count_disagreement(1, sent, static_cast<int>(other), 10));
    });
  }
}

// Makes one call of each kind, by its number; the last one is the end of the program. Some sizes are sent by
// MPI at once, and for some the sender waits for the receiver.
constexpr int kNumCalls = 7;
void call_collective(Group& group, int which, int64_t n) {
  std::vector<float> input(static_cast<size_t>(n * group.size()), 1.0f), output(input.size());
  std::vector<int64_t> offsets;
  for (int r = 0; r <= group.size(); ++r) offsets.push_back(n * r);
  switch (which) {
    case 0:
      return group.all_reduce(input.data(), DType::f32, output.data(), DType::f32, n * group.size());
    case 1:
      return group.reduce_scatter(input.data(), DType::f32, offsets, output.data(), DType::f32);
    case 2:
      return group.all_gather(input.data(), offsets, sizeof(float), output.data());
    case 3:
      return group.all_to_all(input.data(), offsets, output.data(), offsets, sizeof(float));
    case 4:
      return group.barrier();
    case 5:
      group.exchange_memory(100);
      return;
  }
}

// Returns the error that a rank gets when the ranks from `first_other` on make another call than those
// before.
std::string told_at_different_calls(const MpiMeshOptions& options, int low, int high, int first_other,
                                    int64_t n) {
  const auto mesh = session().make_mesh(options);
  try {
    mesh->run([&](Group& group) { call_collective(group, group.rank() < first_other ? low : high, n); });
  } catch (const CollectiveError& error) {
    return error.what();
  }
  return "nothing";
}

TEST_F(MpiDisagreements, DifferentCollectivesOnDifferentNodes) {
  for (int pair = 0; pair < kNumCalls * kNumCalls; ++pair) {
    const int low = pair / kNumCalls, high = pair % kNumCalls;
    for (const int64_t n : {int64_t{3}, int64_t{100'000}}) {
      const std::string told = told_at_different_calls({.ranks_per_node = 1}, low, high, 1, n);
      const bool named = told.starts_with("the devices disagree: rank 0 is at ");
      EXPECT_EQ(named, low != high) << low << " and " << high << ": " << told;
    }
  }
  check_works_on_a_new_mesh();
}

// Messages of different calls have different tags, so no call receives the rows of another one.
TEST_F(MpiDisagreements, RowsOfAnotherCallAreNotTaken) {
  constexpr int64_t kRows = 3;
  const int64_t ranks = session().size(), rank = session().rank();
  const std::vector<float> input(static_cast<size_t>(kRows * ranks), 7);
  std::vector<float> output(input.size(), -1);
  std::vector<int64_t> offsets;
  for (int64_t r = 0; r <= ranks; ++r) offsets.push_back(kRows * r);
  {
    const auto mesh = session().make_mesh({.ranks_per_node = 1});
    EXPECT_THROW(mesh->run([&](Group& group) {
      if (group.rank() == 0) return group.all_gather(input.data(), offsets, sizeof(float), output.data());
      group.all_to_all(input.data(), offsets, output.data(), offsets, sizeof(float));
    }),
                 CollectiveError);
  }
  // Rank 0 has none of the others' rows, and the others have none of rank 0.
  for (int64_t i = 0; i < kRows * ranks; ++i) {
    const int64_t from = i / kRows;
    if ((from == 0) == (rank == 0)) continue;
    EXPECT_EQ(output[static_cast<size_t>(i)], -1) << "from rank " << from;
  }
  check_works_on_a_new_mesh();
}

TEST_F(MpiDisagreements, NodesOfSeveralRanks) {
  if (session().size() != 3) GTEST_SKIP() << "three ranks on two nodes";
  for (const int first_other : {1, 2}) {
    const std::string told = told_at_different_calls({.ranks_per_node = 2}, 0, 2, first_other, 100'000);
    EXPECT_TRUE(told.starts_with("the devices disagree: rank ")) << told;
    EXPECT_NE(told.find(" is at all_reduce of 300000 elements"), std::string::npos) << told;
    EXPECT_NE(told.find(" is at all_gather of 4 byte elements"), std::string::npos) << told;
  }
}

TEST_F(MpiDisagreements, SizesOnDifferentNodes) {
  const auto mesh = session().make_mesh({.ranks_per_node = 1});
  std::vector<float> values(100, 1.0f);
  std::string told;
  mesh->run([&](Group& group) {
    const int64_t n = group.rank() == 0 ? 100 : 99;
    try {
      group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, n);
    } catch (const CollectiveError& error) {
      told = error.what();
    }
  });
  EXPECT_TRUE(told.starts_with("the devices disagree: rank 0 is at all_reduce of 100 elements")) << told;
  EXPECT_TRUE(told.ends_with("is at all_reduce of 99 elements f32 to f32")) << told;
}

// Returns the messages and bytes that all ranks together passed to the MPI library in a call.
MessageCount count_call(Group& group, const std::function<void()>& call) {
  group.barrier();
  const Traffic before = group.traffic();
  call();
  const Traffic after = group.traffic();
  double messages = 0, bytes = 0;
  for (const double own : session().share(static_cast<double>(after.num_messages - before.num_messages)))
    messages += own;
  for (const double own : session().share(static_cast<double>(after.message_bytes - before.message_bytes)))
    bytes += own;
  return {static_cast<int64_t>(messages), static_cast<uint64_t>(bytes)};
}

MessageCount sum_of(const MessageCount& a, const MessageCount& b) {
  return {a.messages + b.messages, a.bytes + b.bytes};
}

// Counts the messages between nodes for each call of a mesh; in shared memory there are none.
TEST(MpiMesh, MessagesAreThoseOfTheFormula) {
  if (session().num_nodes() > 1) GTEST_SKIP() << "the expectation is for one node, divided into some";
  constexpr size_t kPieceBytes = 1000;
  constexpr int64_t kElements = 1024;  // from one rank to another
  for (const int ranks_per_node : {1, 2, 3}) {
    const RanksOfNodes ranks{session().size(), ranks_per_node};
    const MessageCount agreement = agreement_messages(ranks.num_nodes());
    const int64_t all = kElements * session().size();
    std::vector<int64_t> offsets, nothing(static_cast<size_t>(session().size()) + 1, 0);
    for (int r = 0; r <= session().size(); ++r) offsets.push_back(kElements * r);
    const auto mesh = session().make_mesh({.ranks_per_node = ranks_per_node, .piece_bytes = kPieceBytes});
    mesh->run([&](Group& group) {
      const size_t bytes = static_cast<size_t>(all) * sizeof(float);
      const std::shared_ptr<void> input = group.exchange_memory(bytes), output = group.exchange_memory(bytes);
      const auto expect = [&](Collective collective, const std::function<void()>& call) {
        const MessageCount rows = row_messages(collective, ranks, kElements * sizeof(float), kPieceBytes);
        EXPECT_EQ(count_call(group, call), sum_of(rows, agreement)) << name_of(collective) << ranks_per_node;
      };
      expect(Collective::all_to_all,
             [&] { group.all_to_all(input.get(), offsets, output.get(), offsets, sizeof(float)); });
      expect(Collective::all_gather,
             [&] { group.all_gather(input.get(), offsets, sizeof(float), output.get()); });
      expect(Collective::reduce_scatter,
             [&] { group.reduce_scatter(input.get(), DType::f32, offsets, output.get(), DType::f32); });
      expect(Collective::all_reduce,
             [&] { group.all_reduce(input.get(), DType::f32, output.get(), DType::f32, all); });
      EXPECT_EQ(count_call(group, [&] { group.barrier(); }), agreement);
      const auto of_nothing = [&] {
        group.all_to_all(input.get(), nothing, output.get(), nothing, sizeof(float));
      };
      EXPECT_EQ(count_call(group, of_nothing), agreement);
      std::vector<int64_t> ones(offsets.size(), 1), theirs(offsets.size());
      const auto counts = [&] { group.exchange_counts(ones.data(), theirs.data()); };
      EXPECT_EQ(count_call(group, counts), sum_of(count_messages(ranks), agreement));
      // Nodes agree once on a round trip, and not on each of its parts.
      const std::vector<int64_t> no_cuts(static_cast<size_t>(session().size()) * 3, 0);
      const auto trip_of_nothing = [&] {
        group.start_round_trip({.num_parts = 2,
                                .row_bytes = sizeof(float),
                                .send_offsets = nothing,
                                .receive_offsets = nothing,
                                .sent_cuts = no_cuts,
                                .received_cuts = no_cuts,
                                .answer_cuts = no_cuts,
                                .answered_cuts = no_cuts});
        for (const int part : {0, 1}) group.await(part), group.answer(part);
        group.finish_round_trip();
      };
      EXPECT_EQ(count_call(group, trip_of_nothing), agreement);
      const auto no_counts = [&] { group.exchange_counts(nothing.data(), theirs.data()); };
      EXPECT_EQ(count_call(group, no_counts), sum_of({count_messages(ranks).messages, 0}, agreement));
    });
  }
}

// The library moves messages only in calls of it. The team makes such calls as long as rows are in flight.
TEST(MpiMesh, AFlightLastsFromTheStartToTheFinish) {
  if (session().num_nodes() > 1) GTEST_SKIP() << "the expectation is for one node, divided into some";
  for (const int ranks_per_node : {1, session().size()}) {
    const auto mesh = session().make_mesh({.ranks_per_node = ranks_per_node});
    mesh->run([&](Group& group) {
      const bool flies = group.nodes().num() > 1;
      std::vector<int64_t> one_each;
      for (int r = 0; r <= group.size(); ++r) one_each.push_back(r);
      const std::vector<float> in(static_cast<size_t>(group.size()));
      std::vector<float> out(in.size());
      const Traffic before = group.traffic();
      const double begin = seconds();
      group.start_all_to_all(in.data(), one_each, out.data(), one_each, sizeof(float));
      group.team().poll();
      group.finish();
      const double longest = seconds() - begin;
      const Traffic flight = group.traffic().since(before);
      EXPECT_EQ(flight.progress_calls, flies ? 1 : 0);
      EXPECT_EQ(flight.flight_seconds > 0, flies);
      EXPECT_LE(flight.flight_seconds, longest);
      group.team().poll();
      EXPECT_EQ(group.traffic().since(before).progress_calls, flies ? 1 : 0);
    });
  }
}

// The windows of memory that is still used move up.
TEST(ExchangeWindows, GiveBackMemoryThatNoRankUses) {
  if (session().num_nodes() > 1) GTEST_SKIP() << "the ranks of one node have windows in common";
  ExchangeWindows windows(MPI_COMM_WORLD);
  const auto window_of = [&](const std::shared_ptr<void>& memory) {
    return windows.locate(memory.get(), 100).window;
  };
  std::shared_ptr<void> first = windows.make(100);
  const std::shared_ptr<void> second = windows.make(100);
  EXPECT_EQ(window_of(first), 0);
  EXPECT_EQ(window_of(second), 1);
  if (session().rank() == 0) first.reset();
  const std::shared_ptr<void> third = windows.make(100);
  EXPECT_EQ(window_of(third), session().size() > 1 ? 2 : 1) << "the other ranks use the first one";
  first.reset();
  const std::shared_ptr<void> fourth = windows.make(100);
  EXPECT_EQ(window_of(second), 0);
  EXPECT_EQ(window_of(third), 1);
  EXPECT_EQ(window_of(fourth), 2);
}

TEST(MpiMesh, MalformedOffsetsAreAnError) {
  const auto mesh = session().make_mesh({});
  const std::vector<int64_t> too_few(static_cast<size_t>(session().size()), 0);
  mesh->run([&](Group& group) {
    EXPECT_THROW(group.all_gather(nullptr, too_few, 4, nullptr), CollectiveError);
    EXPECT_THROW(group.all_reduce(nullptr, DType::f32, nullptr, DType::f32, -1), CollectiveError);
    check_all_reduce(group, DType::f32, DType::bf16, 1000);
  });
}

TEST(MpiSession, KnowsTheJob) {
  EXPECT_GE(session().rank(), 0);
  EXPECT_LT(session().rank(), session().size());
  EXPECT_GE(session().num_nodes(), 1);
  EXPECT_LE(session().num_nodes(), session().size());
  EXPECT_NE(session().library().find("MPI"), std::string::npos) << session().library();
}

TEST(MpiSession, BroadcastGivesRankZerosText) {
  const std::string own = session().rank() == 0 ? std::string("of\0rank 0", 9) : "another";
  EXPECT_EQ(session().broadcast(own), std::string("of\0rank 0", 9));
  EXPECT_EQ(session().broadcast(""), "");
  EXPECT_EQ(session().broadcast(std::string(3'000'000, 'x')).size(), 3'000'000u);
}

TEST(MpiSession, GatherBringsAllTextsToRankZero) {
  const auto text_of = [](int rank) { return rank % 3 == 1 ? "" : std::string(1000 * rank, 'a') + "!"; };
  const std::vector<std::string> texts = session().gather(text_of(session().rank()));
  ASSERT_EQ(texts.size(), session().rank() == 0 ? static_cast<size_t>(session().size()) : 0);
  for (size_t r = 0; r < texts.size(); ++r) EXPECT_EQ(texts[r], text_of(static_cast<int>(r)));
}

// Sends messages of different lengths: some are empty, and some are longer than a library sends at once.
TEST(MpiSession, ExchangeBringsEachRankItsMessages) {
  const auto message = [](int from, int to) {
    const size_t length =
        (from + to) % 3 == 0 ? 0 : static_cast<size_t>(100 * from + to + 70'000 * (from % 2));
    return std::string(length, static_cast<char>('a' + from % 20)) + (length > 0 ? std::to_string(to) : "");
  };
  std::vector<std::string> sent;
  for (int r = 0; r < session().size(); ++r) sent.push_back(message(session().rank(), r));
  for (int call = 0; call < 3; ++call) {
    const std::vector<std::string> came = session().exchange({sent.begin(), sent.end()});
    ASSERT_EQ(came.size(), sent.size());
    for (size_t r = 0; r < came.size(); ++r)
      EXPECT_EQ(came[r], message(static_cast<int>(r), session().rank())) << "from rank " << r;
  }
}

// The processes of one machine share a clock, whatever network connects them.
TEST(MpiSession, ClocksOfOneMachineAgreeWithinTheUncertainty) {
  const std::vector<ClockReading> readings = session().read_clocks();
  ASSERT_EQ(readings.size(), session().rank() == 0 ? static_cast<size_t>(session().size()) : 0);
  for (size_t r = 0; r < readings.size(); ++r) {
    EXPECT_LE(std::abs(readings[r].offset), readings[r].uncertainty) << "rank " << r;
    EXPECT_LT(readings[r].uncertainty, 1) << "rank " << r;
    EXPECT_NEAR(readings[r].own, seconds(), 60) << "rank " << r;
  }
}

TEST(MpiSession, BothBarriersHoldEveryRank) {
  if (session().num_nodes() > 1) GTEST_SKIP() << "counts in memory of one node";
  const SharedWindow window(MPI_COMM_WORLD, session().rank() == 0 ? sizeof(std::atomic<int>) : 0, 64);
  auto& num_arrived = *reinterpret_cast<std::atomic<int>*>(window.part(0));
  if (session().rank() == 0) num_arrived = 0;
  session().wait_quietly();
  for (int step = 1; step <= 20; ++step) {
    ++num_arrived;
    session().wait_quietly();
    EXPECT_GE(num_arrived, step * session().size());
    session().start_together();
  }
}

// This measures CPU time, which does not depend on other programs. A rank that spins uses CPU time for almost
// all of its wait.
TEST(MpiSession, WhoWaitsSleeps) {
  constexpr auto kLate = std::chrono::milliseconds(300);
  const std::string text = "text";
  const std::vector<std::string_view> messages(static_cast<size_t>(session().size()), text);
  const std::vector<std::pair<const char*, std::function<void()>>> waits = {
      {"wait_quietly", [] { session().wait_quietly(); }},
      {"wait_quietly, short naps", [] { session().wait_quietly(Naps::kShortest); }},
      {"share", [] { session().share(1); }},
      {"broadcast", [&] { session().broadcast(text); }},
      {"gather", [&] { session().gather(text), session().wait_quietly(); }},
      {"exchange", [&] { session().exchange(messages); }}};
  for (const auto& [name, wait] : waits) {
    session().wait_quietly();
    if (session().rank() == 0) std::this_thread::sleep_for(kLate);
    const double before = process_cpu_seconds();
    wait();
    EXPECT_LT(process_cpu_seconds() - before, 0.1) << name;
  }
}

TEST(MpiCall, AFailureNamesTheCallAndTheRank) {
  try {
    check_mpi("MPI_Send", MPI_Send(nullptr, 0, MPI_BYTE, session().size(), 0, MPI_COMM_WORLD));
    ADD_FAILURE() << "there is no such rank";
  } catch (const MpiError& error) {
    const std::string start = "MPI_Send failed on rank " + std::to_string(session().rank()) + ": ";
    EXPECT_EQ(std::string(error.what()).substr(0, start.size()), start);
    EXPECT_GT(std::string(error.what()).size(), start.size());
  }
}

// Prints only failures, with the rank: one report of what succeeds is enough.
class FailurePrinter : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", session().rank(), result.file_name(), result.line_number(),
                 result.message());
  }
};

}  // namespace
}  // namespace moehill

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  GTEST_FLAG_SET(catch_exceptions, false);
  const std::unique_ptr<moehill::Session> session = moehill::open_mpi_session();
  moehill::set_wait_limit(60);  // if a rank has died, by a signal or with its launcher, this ends the others
  moehill::session_of_main() = session.get();
  if (session->rank() != 0) {
    testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new moehill::FailurePrinter);
  }
  return RUN_ALL_TESTS();
}
