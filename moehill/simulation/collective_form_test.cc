// Tests of the forms of collectives: every device gets every slice, in the steps and with the bytes of the
// formulas.
#include "moehill/simulation/collective_form.h"

#include <gtest/gtest.h>

#include <bit>

namespace moehill {
namespace {

constexpr int kDevicesPerNode = 4;
constexpr int kNumDevices[] = {2, 4, 7, 8, 11, 16, 18};

Nodes nodes_of(int num_devices) { return Nodes::of_size(num_devices, kDevicesPerNode); }
int log2_ceil(int n) { return static_cast<int>(std::bit_width(static_cast<unsigned>(n - 1))); }

// Each slice is represented by a bit of its own, so "bytes" are the set of slices that travel.
std::vector<int64_t> bits(int num_devices) {
  std::vector<int64_t> slices;
  for (int d = 0; d < num_devices; ++d) slices.push_back(int64_t{1} << d);
  return slices;
}

int64_t sent_by(const ByteMatrix& bytes, int device) {
  int64_t sum = 0;
  for (int to = 0; to < bytes.num_devices(); ++to) sum += bytes.at(device, to);
  return sum;
}

int peers_of(const ByteMatrix& bytes, int device) {
  int peers = 0;
  for (int to = 0; to < bytes.num_devices(); ++to) peers += bytes.at(device, to) > 0;
  return peers;
}

int64_t across(const ByteMatrix& bytes) {
  int64_t sum = 0;
  for (int from = 0; from < bytes.num_devices(); ++from) {
    for (int to = 0; to < bytes.num_devices(); ++to)
      if (from / kDevicesPerNode != to / kDevicesPerNode) sum += bytes.at(from, to);
  }
  return sum;
}

TEST(CollectiveForm, EverySliceReachesEveryDeviceOnce) {
  for (const int num : kNumDevices) {
    const Nodes nodes = nodes_of(num);
    for (const CollectiveForm form : all_values<CollectiveForm>()) {
      const CollectiveSteps steps(form, nodes, num);
      std::vector<int64_t> has = bits(num);
      for (int s = 0; s < steps.num_gather_steps(); ++s) {
        const ByteMatrix bytes = steps.gather_step(bits(num), s);
        std::vector<int64_t> now = has;
        for (int from = 0; from < num; ++from) {
          for (int to = 0; to < num; ++to) {
            const int64_t sent = bytes.at(from, to);
            // In a ring a device forwards the slices that its last message brought.
            EXPECT_EQ(form == CollectiveForm::ring ? 0 : sent & ~has[static_cast<size_t>(from)], 0);
            EXPECT_EQ(sent & now[static_cast<size_t>(to)], 0) << name_of(form) << " twice at " << to;
            now[static_cast<size_t>(to)] |= sent;
          }
        }
        has = now;
      }
      for (const int64_t all : has) EXPECT_EQ(all, (int64_t{1} << num) - 1) << name_of(form) << " of " << num;
    }
  }
}

TEST(CollectiveForm, AScatterIsAGatherBackwards) {
  const Nodes nodes = nodes_of(11);
  for (const CollectiveForm form : all_values<CollectiveForm>()) {
    const CollectiveSteps steps(form, nodes, 11);
    for (int s = 0; s < steps.num_gather_steps(); ++s) {
      const ByteMatrix there = steps.gather_step(bits(11), s);
      const ByteMatrix back = steps.scatter_step(bits(11), steps.num_gather_steps() - 1 - s);
      for (int i = 0; i < 11 * 11; ++i) EXPECT_EQ(there.at(i / 11, i % 11), back.at(i % 11, i / 11));
    }
  }
}

// With slices of b bytes every form sends (P - 1) b from each device, in its own number of steps, messages
// and bytes between nodes.
TEST(CollectiveForm, StepsAndBytesAreThoseOfTheFormulas) {
  constexpr int64_t kBytes = 1000;
  constexpr int kNum = 16, kNodes = kNum / kDevicesPerNode;
  const Nodes nodes = nodes_of(kNum);
  struct Expected {
    CollectiveForm form;
    int steps, messages, peers;  // peers: of a device over all steps
    int64_t across;
  };
  // In step s of a tree, a message has 2^s slices. Such a message leaves the node from 2^s of its 4 devices,
  // and from all 4 in later steps.
  const Expected expected[] = {
      {CollectiveForm::direct, 1, 1, kNum - 1, kNum * (kNum - kDevicesPerNode) * kBytes},
      {CollectiveForm::ring, 1, kNum - 1, 1, kNodes * (kNum - 1) * kBytes},
      {CollectiveForm::tree, log2_ceil(kNum), 1, log2_ceil(kNum),
       kNodes * (1 * 1 + 2 * 2 + 4 * 4 + 4 * 8) * kBytes},
      {CollectiveForm::two_level, 2, 1, kNodes - 1 + kDevicesPerNode - 1, kNum * (kNodes - 1) * kBytes}};
  for (const Expected& e : expected) {
    const CollectiveSteps steps(e.form, nodes, kNum);
    EXPECT_EQ(steps.num_gather_steps(), e.steps) << name_of(e.form);
    EXPECT_EQ(steps.messages_of_pair(), e.messages) << name_of(e.form);
    for (int device = 0; device < kNum; ++device) {
      int64_t sent = 0;
      int peers = 0;
      for (int s = 0; s < e.steps; ++s) {
        const ByteMatrix bytes = steps.gather_step(std::vector<int64_t>(kNum, kBytes), s);
        sent += sent_by(bytes, device), peers += peers_of(bytes, device);
      }
      EXPECT_EQ(sent, (kNum - 1) * kBytes) << name_of(e.form);
      EXPECT_EQ(peers, e.peers) << name_of(e.form);
    }
    int64_t crossed = 0;
    for (int s = 0; s < e.steps; ++s)
      crossed += across(steps.gather_step(std::vector<int64_t>(kNum, kBytes), s));
    EXPECT_EQ(crossed, e.across) << name_of(e.form);
  }
}

ByteMatrix uneven_pairs(int num) {
  ByteMatrix pairs(num);
  for (int from = 0; from < num; ++from) {
    for (int to = 0; to < num; ++to) pairs.at(from, to) = from == to ? 0 : 1 + from * 31 + to * 17;
  }
  return pairs;
}

// A device's received minus sent bytes are equal in every form, because all other bytes only pass through.
TEST(CollectiveForm, WhatGoesToOneDeviceEndsThere) {
  for (const int num : kNumDevices) {
    const Nodes nodes = nodes_of(num);
    const ByteMatrix pairs = uneven_pairs(num);
    for (const CollectiveForm form : all_values<CollectiveForm>()) {
      const CollectiveSteps steps(form, nodes, num);
      std::vector<int64_t> net(static_cast<size_t>(num));
      for (int s = 0; s < steps.num_pair_steps(); ++s) {
        const ByteMatrix bytes = steps.pair_step(pairs, s);
        for (int i = 0; i < num * num; ++i) {
          net[static_cast<size_t>(i % num)] += bytes.at(i / num, i % num);
          net[static_cast<size_t>(i / num)] -= bytes.at(i / num, i % num);
        }
      }
      for (int d = 0; d < num; ++d) {
        int64_t expected = -sent_by(pairs, d);
        for (int from = 0; from < num; ++from) expected += pairs.at(from, d);
        EXPECT_EQ(net[static_cast<size_t>(d)], expected) << name_of(form) << " of " << num;
      }
    }
  }
}

TEST(CollectiveForm, PairsTravelAsFarAsTheFormulasSay) {
  for (const int num : kNumDevices) {
    const Nodes nodes = nodes_of(num);
    const ByteMatrix pairs = uneven_pairs(num);
    int64_t by_digits = 0;
    for (int i = 0; i < num * num; ++i) {
      const int way = (i % num - i / num + num) % num;
      by_digits += pairs.at(i / num, i % num) * std::popcount(static_cast<unsigned>(way));
    }
    const CollectiveSteps tree(CollectiveForm::tree, nodes, num);
    EXPECT_EQ(tree.num_pair_steps(), log2_ceil(num));
    int64_t sent = 0;
    for (int s = 0; s < tree.num_pair_steps(); ++s) sent += tree.pair_step(pairs, s).total();
    EXPECT_EQ(sent, by_digits) << num;
    const CollectiveSteps two(CollectiveForm::two_level, nodes, num);
    EXPECT_EQ(across(two.pair_step(pairs, 0)), 0);
    EXPECT_EQ(across(two.pair_step(pairs, 1)), across(pairs));
    EXPECT_EQ(two.pair_step(pairs, 1).total(), across(pairs));
    for (int d = 0; d < num / kDevicesPerNode * kDevicesPerNode; ++d)
      EXPECT_LE(peers_of(two.pair_step(pairs, 1), d), 2 * nodes.num());
  }
}

}  // namespace
}  // namespace moehill
