// This file has the tests of the conformance suite, and no checks: those are in conformance_checks.h. Only
// conformance.h includes it.
//
//   TEST_P(MeshConformance, AllReduce) { run_([](Group& group) { check_all_reduce(group, ...); }); }
#pragma once

#include "moehill/base/rng.h"
#include "moehill/mesh/conformance.h"

namespace moehill {

// MeshConformance runs a program on all devices of the mesh of its instance.
class MeshConformance : public testing::TestWithParam<MeshMaker> {
 protected:
  MeshRun run_ = GetParam().make();
};

inline constexpr DType kDTypes[] = {DType::f32, DType::bf16};
// These counts are near a line of 64 bytes, and near a block of partial sums for a few ranks and threads; one
// is zero.
inline constexpr int64_t kCounts[] = {0, 1, 31, 32, 33, 127, 1000, 4097, 20011};
inline constexpr int64_t kLargeCount = (int64_t{3} << 18) + 5;  // 3 MiB of f32

TEST_P(MeshConformance, RanksAreNumberedAndHaveATeam) {
  run_([](Group& group) {
    EXPECT_GE(group.rank(), 0);
    EXPECT_LT(group.rank(), group.size());
    EXPECT_GE(group.team().size(), 1);
    EXPECT_TRUE(all_ranks_agree(group, static_cast<uint64_t>(group.size())));
    EXPECT_TRUE(all_ranks_agree(group, static_cast<uint64_t>(group.reach())));
    EXPECT_EQ(all_ranks_agree(group, static_cast<uint64_t>(group.rank())), group.size() == 1);
  });
}

TEST_P(MeshConformance, BarriersComeInAnyNumberAndMoveNothing) {
  run_([](Group& group) {
    const Traffic before = group.traffic();
    for (int i = 0; i < 50; ++i) group.barrier();
    EXPECT_EQ(group.traffic().sent_bytes, before.sent_bytes);
    EXPECT_EQ(group.traffic().received_bytes, before.received_bytes);
    if (group.size() > 1) {
      EXPECT_GT(group.traffic().wait_seconds, before.wait_seconds);
    }
  });
}

TEST_P(MeshConformance, AllReduceAddsInRankOrderAndRoundsOnce) {
  run_([](Group& group) {
    for (const DType input : kDTypes) {
      for (const DType output : kDTypes) {
        for (const int64_t n : kCounts) check_all_reduce(group, input, output, n);
      }
    }
    check_all_reduce(group, DType::f32, DType::bf16, kLargeCount);
    check_all_reduce(group, DType::f32, DType::f32, kLargeCount);
  });
}

TEST_P(MeshConformance, AllReduceWorksInPlace) {
  run_([](Group& group) {
    for (const DType dtype : kDTypes) {
      for (const int64_t n : kCounts) check_all_reduce_in_place(group, dtype, n);
      check_all_reduce_in_place(group, dtype, kLargeCount);
    }
  });
}

// Sums of small integers are exact in any order, so there is only one right result.
TEST_P(MeshConformance, SumsOfSmallIntegersAreExact) {
  run_([](Group& group) {
    for (const DType dtype : kDTypes) {
      GuardedArray array(dtype, 5000);
      for (int64_t i = 0; i < array.size(); ++i)
        array.set(i, static_cast<float>((i + group.rank()) % 17 - 8));
      group.all_reduce(array.data(), dtype, array.data(), dtype, array.size());
      EXPECT_EQ(array.num_wrong([&](int64_t i) {
        int64_t sum = 0;
        for (int r = 0; r < group.size(); ++r) sum += (i + r) % 17 - 8;
        return static_cast<float>(sum);
      }),
                0);
    }
  });
}

TEST_P(MeshConformance, ReduceScatterGivesEachRankItsUnevenPart) {
  run_([](Group& group) {
    for (const DType input : kDTypes) {
      for (const DType output : kDTypes) {
        for (const int64_t scale : kCounts) {
          for (int salt = 0; salt < 3; ++salt) {
            check_reduce_scatter(group, input, output, uneven_offsets(group.size(), scale, salt));
          }
        }
      }
    }
    check_reduce_scatter(group, DType::f32, DType::bf16,
                         uneven_offsets(group.size(), kLargeCount / group.size()));
  });
}

TEST_P(MeshConformance, AllGatherPutsUnevenPartsInTheirPlaces) {
  run_([](Group& group) {
    for (const bool in_place : {false, true}) {
      for (const DType dtype : kDTypes) {
        for (const int64_t row : {1, 3, 64}) {
          for (int salt = 0; salt < 3; ++salt) {
            check_all_gather(group, dtype, row, uneven_offsets(group.size(), 100, salt), in_place);
          }
        }
        check_all_gather(group, dtype, 2048, uneven_offsets(group.size(), 300), in_place);
      }
      const std::vector<int64_t> nothing(static_cast<size_t>(group.size()) + 1, 0);
      check_all_gather(group, DType::f32, 4, nothing, in_place);
    }
  });
}

TEST_P(MeshConformance, AllToAllDeliversEveryPairsRows) {
  run_([](Group& group) {
    for (const DType dtype : kDTypes) {
      for (const int64_t row : {1, 3, 64}) {
        for (const int64_t scale : {0, 1, 40}) check_all_to_all(group, dtype, row, scale);
      }
      check_all_to_all(group, dtype, 2048, 100);
    }
  });
}

TEST_P(MeshConformance, CountsGoToThoseTheyAreFor) {
  run_([](Group& group) {
    for (int salt = 0; salt < 12; ++salt) check_exchange_counts(group, salt);
    check_all_to_all(group, DType::f32, 3, 10, {});
    check_exchange_counts(group, 12);
  });
}

TEST_P(MeshConformance, SplitPhaseDoesWhatOneCallDoes) {
  run_([](Group& group) {
    for (How how : {How{}, How{true, true}}) {
      how.split_phase = true;
      for (const DType dtype : kDTypes) {
        for (int salt = 0; salt < 3; ++salt) {
          const std::vector<int64_t> offsets = uneven_offsets(group.size(), 100, salt);
          for (const bool in_place : {false, true})
            check_all_gather(group, dtype, 64, offsets, in_place, how);
          check_all_to_all(group, dtype, 3, 40 * salt, how);
          check_reduce_scatter(group, dtype, DType::bf16, offsets, how);
        }
      }
    }
    const How how{true, true, true};
    check_all_gather(group, DType::f32, 2048, uneven_offsets(group.size(), 100), false, how);
    check_all_to_all(group, DType::f32, 2048, 50, how);
    check_reduce_scatter(group, DType::f32, DType::f32, uneven_offsets(group.size(), 100'000), how);
  });
}

// There are uneven and empty parts, more parts than rows, and parts of many messages. The test awaits a part
// by itself or together with the next.
TEST_P(MeshConformance, RoundTripsComeBackInParts) {
  run_([](Group& group) {
    for (const How how : {How{}, How{true, true}, How{true, true, true}, How{false, true, true}}) {
      for (const int num_parts : {1, 2, 5, 13}) {
        for (const int64_t scale : {0, 1, 40}) check_round_trip(group, 3, scale, num_parts, how);
      }
      check_round_trip(group, 2048, 50, 4, how);
    }
    for (const bool split_phase : {false, true}) {
      for (const int num_parts : {1, 5})
        check_round_trip(group, 3, 40, num_parts, {true, true, split_phase, true});
    }
    check_all_to_all(group, DType::f32, 3, 10);
  });
}

TEST_P(MeshConformance, SumsOnExchangeMemory) {
  run_([](Group& group) {
    for (const How how : kExchangeHows) {
      for (const int64_t n : {int64_t{0}, int64_t{1}, int64_t{33}, int64_t{4097}}) {
        check_all_reduce(group, DType::f32, DType::bf16, n, how);
        check_all_reduce(group, DType::bf16, DType::f32, n, how);
        check_all_reduce_in_place(group, DType::f32, n, how);
        check_reduce_scatter(group, DType::f32, DType::bf16, uneven_offsets(group.size(), n), how);
      }
    }
    check_all_reduce(group, DType::f32, DType::bf16, kLargeCount, {true, true});
    check_all_reduce_in_place(group, DType::f32, kLargeCount, {true, true});
  });
}

TEST_P(MeshConformance, RowsOnExchangeMemory) {
  run_([](Group& group) {
    const std::vector<int64_t> nothing(static_cast<size_t>(group.size()) + 1, 0);
    for (const How how : kExchangeHows) {
      for (const bool in_place : {false, true}) {
        for (int salt = 0; salt < 3; ++salt) {
          check_all_gather(group, DType::bf16, 3, uneven_offsets(group.size(), 100, salt), in_place, how);
        }
        check_all_gather(group, DType::f32, 64, nothing, in_place, how);
      }
      for (const int64_t scale : {0, 1, 40}) check_all_to_all(group, DType::bf16, 7, scale, how);
      check_all_to_all(group, DType::f32, 2048, 100, how);
    }
  });
}

// Some ranks have exchange memory and some do not. Where one collective could otherwise work in one go, it
// has to work piece by piece.
TEST_P(MeshConformance, EachRankChoosesItsMemory) {
  run_([](Group& group) {
    constexpr int64_t kN = 5000;
    const size_t bytes = static_cast<size_t>(kN) * sizeof(float);
    for (int choice = 0; choice < 4; ++choice) {
      std::shared_ptr<void> input = group.exchange_memory(bytes), output = group.exchange_memory(bytes);
      if ((group.rank() + choice) % 2 == 1) input = make_exchange_buffer(bytes);
      if ((group.rank() + choice) % 4 > 1) output = make_exchange_buffer(bytes);
      float* const values = static_cast<float*>(input.get());
      const float* const sums = static_cast<const float*>(output.get());
      for (int64_t i = 0; i < kN; ++i) values[i] = test_value(group.rank(), i);
      group.all_reduce(values, DType::f32, output.get(), DType::f32, kN);
      int64_t num_wrong = 0;
      for (int64_t i = 0; i < kN; ++i)
        num_wrong += sums[i] != test_sum(group.size(), DType::f32, DType::f32, i);
      EXPECT_EQ(num_wrong, 0);
    }
  });
}

TEST_P(MeshConformance, ExchangeMemoryIsZeroAndAlignedAndComesBack) {
  run_([](Group& group) {
    for (int round = 0; round < 10; ++round) {
      for (const size_t bytes : {size_t{0}, size_t{1}, size_t{5000}, (size_t{2} << 20) + 3}) {
        const size_t own = group.rank() % 2 == round % 2 ? bytes : bytes / 2;
        const std::shared_ptr<void> memory = group.exchange_memory(own);
        const size_t alignment = own >= size_t{2} << 20 ? size_t{2} << 20 : 64;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(memory.get()) % alignment, 0u);
        char* const start = static_cast<char*>(memory.get());
        EXPECT_TRUE(std::all_of(start, start + own, [](char byte) { return byte == 0; }));
        std::fill_n(start, own, char{1});
      }
    }
  });
}

// Each rank leaves a number in its place. Either all ranks see all numbers, or no rank has such memory.
TEST_P(MeshConformance, CommonMemoryIsTheSameOnAllRanksOrNowhere) {
  run_([](Group& group) {
    const size_t ranks = static_cast<size_t>(group.size());
    const std::shared_ptr<void> memory = group.common_memory(ranks * sizeof(int));
    int* const numbers = static_cast<int*>(memory.get());
    if (numbers != nullptr) numbers[group.rank()] += group.rank() + 7;
    group.barrier();
    if (numbers == nullptr) return;
    for (int r = 0; r < group.size(); ++r) EXPECT_EQ(numbers[r], r + 7);
    group.barrier();
  });
}

TEST_P(MeshConformance, ReadsCountAsAnAllToAll) {
  run_([](Group& group) {
    std::vector<int64_t> offsets;
    for (int r = 0; r <= group.size(); ++r) offsets.push_back(3 * r);
    const Traffic before = group.traffic();
    group.count_reads(offsets, offsets, 4);
    const uint64_t bytes = static_cast<uint64_t>(group.size() - 1) * 12;
    EXPECT_EQ(group.traffic().sent_bytes - before.sent_bytes, bytes);
    EXPECT_EQ(group.traffic().received_bytes - before.received_bytes, bytes);
  });
}

// The ranks of a node may call collectives of their own, as often as they like, between the collectives of
// all ranks.
TEST_P(MeshConformance, RanksOfANodeAreAMeshOfTheirOwn) {
  run_([](Group& group) {
    Group& node = group.on_node();
    const Nodes& nodes = group.nodes();
    EXPECT_EQ(&node == &group, nodes.num() == 1);
    if (nodes.num() == 1) return;
    EXPECT_EQ(node.rank(), nodes.place(group.rank()));
    EXPECT_EQ(node.size(), std::ssize(nodes.ranks_of(nodes.of(group.rank()))));
    EXPECT_EQ(node.nodes().num(), 1);
    for (int i = 0; i < 3; ++i) {
      check_all_to_all(group, DType::bf16, 3, 10);
      for (int j = 0; j <= nodes.of(group.rank()); ++j) check_all_to_all(node, DType::f32, 5, 20, {true});
      check_all_gather(node, DType::f32, 2, uneven_offsets(node.size(), 7), false);
      check_all_reduce(group, DType::f32, DType::bf16, 100);
    }
  });
}

// Bytes to other nodes are counted for each pair; bytes between the ranks of a node are in the group's sum.
TEST_P(MeshConformance, CountsBytesToOtherNodes) {
  run_([](Group& group) {
    const Nodes& nodes = group.nodes();
    const auto sent = [&](const auto& call) {
      const Traffic before = group.traffic();
      call();
      return std::pair{group.traffic().sent_bytes - before.sent_bytes,
                       group.traffic().network_bytes - before.network_bytes};
    };
    uint64_t far = 0;
    for (int r = 0; r < group.size(); ++r) far += nodes.of(r) != nodes.of(group.rank()) ? 1 : 0;
    // Each rank sends one float to each other rank, so the counts are 4 bytes for each.
    const uint64_t others = static_cast<uint64_t>(group.size()) - 1;
    std::vector<int64_t> one_each;
    for (int r = 0; r <= group.size(); ++r) one_each.push_back(r);
    const std::vector<float> in(static_cast<size_t>(group.size()));
    std::vector<float> out(in.size());
    EXPECT_EQ(sent([&] { group.all_to_all(in.data(), one_each, out.data(), one_each, 4); }),
              std::pair(4 * others, 4 * far));
    EXPECT_EQ(sent([&] { group.all_gather(in.data(), one_each, 4, out.data()); }),
              std::pair(4 * others, 4 * far));
    EXPECT_EQ(sent([&] { group.reduce_scatter(in.data(), DType::f32, one_each, out.data(), DType::f32); }),
              std::pair(4 * others, 4 * far));
    EXPECT_EQ(sent([&] { group.count_reads(one_each, one_each, 4); }), std::pair(4 * others, 4 * far));
    std::vector<int64_t> cuts;  // all rows are in the first of two parts
    for (int64_t r = 0; r < group.size(); ++r) cuts.insert(cuts.end(), {r, r + 1, r + 1});
    std::vector<float> answered(in.size());
    EXPECT_EQ(sent([&] {
                group.start_round_trip({.num_parts = 2,
                                        .row_bytes = 4,
                                        .send_offsets = one_each,
                                        .receive_offsets = one_each,
                                        .sent = in.data(),
                                        .received = out.data(),
                                        .answer = out.data(),
                                        .answered = answered.data(),
                                        .sent_cuts = cuts,
                                        .received_cuts = cuts,
                                        .answer_cuts = cuts,
                                        .answered_cuts = cuts});
                for (const int part : {0, 1}) group.await(part), group.answer(part);
                group.finish_round_trip();
              }),
              std::pair(8 * others, 8 * far));
    EXPECT_EQ(sent([&] {
                group.on_node().all_gather(in.data(),
                                           {one_each.data(), static_cast<size_t>(group.on_node().size()) + 1},
                                           4, out.data());
              }),
              std::pair(4 * (others - far), uint64_t{0}));
    const int64_t n = 32 * group.size();
    std::vector<float> values(static_cast<size_t>(n));
    EXPECT_EQ(sent([&] { group.all_reduce(values.data(), DType::f32, values.data(), DType::f32, n); }),
              std::pair(256 * others, 256 * far));
  });
}

// Null pointers are allowed if there is nothing to move.
TEST_P(MeshConformance, EmptyCollectivesNeedNoMemory) {
  run_([](Group& group) {
    const std::vector<int64_t> nothing(static_cast<size_t>(group.size()) + 1, 0);
    group.all_reduce(nullptr, DType::f32, nullptr, DType::bf16, 0);
    group.reduce_scatter(nullptr, DType::bf16, nothing, nullptr, DType::f32);
    group.all_gather(nullptr, nothing, 8, nullptr);
    group.all_to_all(nullptr, nothing, nullptr, nothing, 8);
    EXPECT_EQ(group.traffic().sent_bytes, 0u);
    EXPECT_EQ(group.traffic().received_bytes, 0u);
  });
}

// A collective may start on one rank while another rank is still leaving the one before.
TEST_P(MeshConformance, RandomSequencesOfCollectives) {
  run_([](Group& group) {
    for (uint64_t step = 0; step < 150; ++step) {
      // One random number chooses the collective and its variant, the other one the types and sizes.
      const auto [choice, size] = threefry(11, Stream::kSampleRows, step);
      const DType input = kDTypes[size % 2], output = kDTypes[size / 2 % 2];
      const int64_t n = size / 4 % 3000;
      const How how{choice / 8 % 3 == 0, choice / 32 % 3 == 0, choice / 128 % 2 == 0};
      switch (choice % 7) {
        case 0:
          group.barrier();
          break;
        case 1:
          check_all_reduce(group, input, output, n, how);
          break;
        case 2:
          check_all_reduce_in_place(group, input, n, how);
          break;
        case 3:
          check_reduce_scatter(group, input, output,
                               uneven_offsets(group.size(), n, static_cast<int>(size % 3)), how);
          break;
        case 4:
          check_all_gather(group, input, 1 + n % 5, uneven_offsets(group.size(), n / 5), size % 3 == 0, how);
          break;
        case 5:
          check_round_trip(group, 1 + n % 5, n / 20, 1 + static_cast<int>(n % 4), how);
          break;
        default:
          check_all_to_all(group, input, 1 + n % 5, n / 20, how);
      }
    }
  });
}

}  // namespace moehill
