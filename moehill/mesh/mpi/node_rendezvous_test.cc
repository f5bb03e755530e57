// Tests the rendezvous of a node between threads, each with its own handle: the same atomics as between
// processes, but no MPI.
#include "moehill/mesh/mpi/node_rendezvous.h"

#include <gtest/gtest.h>

#include <thread>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/wait_limit.h"
#include "moehill/tensor/buffer.h"

namespace moehill {
namespace {

constexpr int kRanks = 3;

class NodeRendezvousTest : public testing::Test {
 protected:
  NodeRendezvousTest() { NodeRendezvous::prepare(memory_.data(), kRanks); }

  // Runs all ranks at once; rank r of the job is rank r - 4 of the node.
  void run(const std::function<void(NodeRendezvous&, int)>& body) {
    std::vector<std::jthread> threads;
    for (int l = 0; l < kRanks; ++l) {
      threads.emplace_back([&, l] {
        NodeRendezvous rendezvous(memory_.data(), l, {4, 5, 6}, kRanks + 4, 100, [this] { ++num_idle_; });
        body(rendezvous, l);
      });
    }
  }

  Buffer memory_{NodeRendezvous::memory_bytes(kRanks, kRanks + 4)};
  std::atomic<int> num_idle_{0};
};

std::vector<int64_t> offsets_of(int salt, int64_t count) {
  std::vector<int64_t> offsets;
  for (int64_t i = 0; i <= kRanks + 4; ++i) offsets.push_back(salt + i * count);
  return offsets;
}

TEST_F(NodeRendezvousTest, EachSeesWhatAllPublished) {
  std::atomic<int> num_wrong{0};
  run([&](NodeRendezvous& rendezvous, int l) {
    for (int step = 0; step < 300; ++step) {
      std::vector<int64_t> sends = offsets_of(1000 * l + step, 5), receives = offsets_of(step, 5);
      const Call call{
          .kind = CallKind::all_to_all, .rank = 4 + l, .offsets = sends, .receive_offsets = receives};
      const auto meeting = rendezvous.meet(call, {l, static_cast<uint64_t>(step)}, {});
      // The rendezvous has published a copy.
      sends.assign(sends.size(), -1);
      for (int other = 0; other < kRanks; ++other) {
        const size_t o = static_cast<size_t>(other);
        const std::vector<int64_t> expected = offsets_of(1000 * other + step, 5);
        const std::span<const int64_t> seen = meeting.calls[o].offsets;
        num_wrong += !std::equal(seen.begin(), seen.end(), expected.begin(), expected.end());
        num_wrong += meeting.calls[o].rank != 4 + other || meeting.inputs[o].window != other ||
                     meeting.inputs[o].offset != static_cast<uint64_t>(step) ||
                     meeting.outputs[o].reachable();
      }
      rendezvous.part();
    }
  });
  EXPECT_EQ(num_wrong, 0);
}

// Meetings without parting may follow each other: a rank that is ahead does not overwrite calls that others
// still read.
TEST_F(NodeRendezvousTest, MeetingsHoldEveryRank) {
  std::atomic<int> num_arrived{0}, num_early{0}, num_wrong{0};
  run([&](NodeRendezvous& rendezvous, int l) {
    for (int step = 1; step <= 300; ++step) {
      ++num_arrived;
      const auto meeting = rendezvous.meet({.kind = CallKind::barrier, .rank = 4 + l}, {step, 0}, {});
      if (num_arrived < step * kRanks) ++num_early;
      for (const Place& place : meeting.inputs) num_wrong += place.window != step;
    }
  });
  EXPECT_EQ(num_early, 0);
  EXPECT_EQ(num_wrong, 0);
}

TEST_F(NodeRendezvousTest, AllAreToldOfADisagreementAndMeetAgain) {
  std::atomic<int> num_told{0};
  run([&](NodeRendezvous& rendezvous, int l) {
    for (int step = 0; step < 50; ++step) {
      try {
        rendezvous.meet({.kind = CallKind::all_reduce, .rank = 4 + l, .n = l == step % kRanks ? 7 : 8}, {},
                        {});
      } catch (const CollectiveError& error) {
        if (std::string(error.what()).find("all_reduce of 7 elements") != std::string::npos) ++num_told;
      }
      rendezvous.meet({.kind = CallKind::barrier, .rank = 4 + l}, {}, {});
    }
  });
  EXPECT_EQ(num_told, 50 * kRanks);
}

TEST_F(NodeRendezvousTest, AllAreToldOfCountsThatOnlyTwoCouldSee) {
  std::atomic<int> num_told{0};
  run([&](NodeRendezvous& rendezvous, int l) {
    const std::vector<int64_t> ten = offsets_of(0, 10), more = offsets_of(0, 11);
    try {
      rendezvous.meet({.kind = CallKind::all_to_all,
                       .rank = 4 + l,
                       .offsets = l == 1 ? more : ten,
                       .receive_offsets = ten},
                      {}, {});
    } catch (const CollectiveError& error) {
      EXPECT_EQ(std::string(error.what()),
                "all_to_all: rank 5 sends 11 elements to rank 4, which expects 10");
      ++num_told;
    }
  });
  EXPECT_EQ(num_told, kRanks);
}

TEST_F(NodeRendezvousTest, WhoDoesNotComeIsNamed) {
  std::atomic<int> num_told{0};
  set_wait_limit(0.05);
  run([&](NodeRendezvous& rendezvous, int l) {
    if (l == 1) return;
    try {
      rendezvous.meet({.kind = CallKind::barrier, .rank = 4 + l}, {}, {});
    } catch (const WaitedTooLong& error) {
      num_told += std::string(error.what()).find("for rank 5;") != std::string::npos;
    }
  });
  set_wait_limit(0);
  EXPECT_EQ(num_told, kRanks - 1);
}

TEST_F(NodeRendezvousTest, ALongWaitCallsTheIdleFunction) {
  run([&](NodeRendezvous& rendezvous, int l) {
    while (l == 0 && num_idle_ < 5) std::this_thread::yield();
    rendezvous.part();
  });
  EXPECT_GE(num_idle_, 5);
}

}  // namespace
}  // namespace moehill
