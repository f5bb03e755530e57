// Tests that each path moves as many bytes as its formula, worked out by hand, says for each device and
// direction.
#include <gtest/gtest.h>

#include <set>

#include "moehill/api/measuring.h"
#include "moehill/routing/router_rule.h"

namespace moehill {
namespace {

constexpr MoeShape kShape{37, 45, 27, 7, 3, 19, DType::bf16};
constexpr int64_t kRow = 45 * 2, kSumRow = 45 * 4;  // bytes of a row of x, and of a row of f32 partial sums
constexpr int64_t kChoices = 3 * (4 + 4);           // expert ids and gate values of a token

class TrafficTest : public testing::TestWithParam<int> {
 protected:
  std::vector<Traffic> traffic(Spread spread, Pass pass, int64_t shared_dim = 0, int num_waves = 0) {
    RunConfig config{.shape = kShape, .spread = spread, .num_waves = num_waves, .num_devices = num_devices()};
    config.shape.shared_dim = shared_dim;
    return traffic(config, pass);
  }
  std::vector<Traffic> traffic(RunConfig config, Pass pass) {
    config.block.pass = pass;
    run_ = factory_.make(config);
    run_->step({});
    run_->collect();
    uint64_t sent = 0, moved = 0;
    for (const Traffic& t : run_->traffic()) sent += t.sent_bytes;
    for (const uint64_t bytes : run_->moved_bytes()) moved += bytes;
    EXPECT_EQ(moved, sent);
    return run_->traffic();
  }

  int num_devices() const { return GetParam(); }
  int64_t others() const { return num_devices() - 1; }
  int64_t own(int rank) const { return share(kShape.tokens, rank, num_devices()).size(); }

  // Counts distinct (token, device) pairs where the token is on `from` and one of its experts on another
  // device `to`.
  int64_t pairs(int from, int to) const {
    const Routing& routing = run_->routing();
    const Range tokens = share(kShape.tokens, from, num_devices()), experts = share(7, to, num_devices());
    std::set<int64_t> sent;
    for (int64_t a = tokens.begin * 3; a < tokens.end * 3; ++a) {
      const int expert = routing.expert[static_cast<size_t>(a)];
      if (expert >= experts.begin && expert < experts.end) sent.insert(a / 3);
    }
    return from == to ? 0 : static_cast<int64_t>(sent.size());
  }
  int64_t pairs_sent(int rank) const {
    int64_t n = 0;
    for (int d = 0; d < num_devices(); ++d) n += pairs(rank, d);
    return n;
  }
  int64_t pairs_received(int rank) const {
    int64_t n = 0;
    for (int d = 0; d < num_devices(); ++d) n += pairs(d, rank);
    return n;
  }

  // Counts the rows of a device by level, for its own tokens and for others': `far` go to other nodes, `near`
  // to ranks of its own node.
  struct LevelRows {
    int64_t out_far = 0, in_far = 0, out_near = 0, in_near = 0;
  };
  std::vector<LevelRows> level_rows(int ranks) const {
    std::vector<LevelRows> rows(static_cast<size_t>(num_devices()));
    const Routing& routing = run_->routing();
    const auto owner = [&](int64_t i, int64_t n) {
      int device = 0;
      while (i >= share(n, device, num_devices()).end) ++device;
      return device;
    };
    for (int64_t t = 0; t < kShape.tokens; ++t) {
      const int from = owner(t, kShape.tokens);
      std::set<int> nodes, devices;
      for (int64_t a = 3 * t; a < 3 * (t + 1); ++a) {
        devices.insert(owner(routing.expert[static_cast<size_t>(a)], 7));
        nodes.insert(owner(routing.expert[static_cast<size_t>(a)], 7) / ranks);
      }
      for (const int node : nodes) {
        const int first = node * ranks, here = std::min(ranks, num_devices() - first);
        const int landing = first + from % ranks % here;
        if (landing != from)
          ++rows[static_cast<size_t>(from)].out_far, ++rows[static_cast<size_t>(landing)].in_far;
        for (const int to : devices) {
          if (to / ranks != node || to == landing) continue;
          ++rows[static_cast<size_t>(landing)].out_near;
          ++rows[static_cast<size_t>(to)].in_near;
        }
      }
    }
    return rows;
  }

  RunFactory factory_{{}, 5, {}};
  std::unique_ptr<moehill::Run> run_;
};

void expect_bytes(const Traffic& traffic, int64_t sent, int64_t received, int rank) {
  EXPECT_EQ(traffic.sent_bytes, static_cast<uint64_t>(sent)) << "rank " << rank;
  EXPECT_EQ(traffic.received_bytes, static_cast<uint64_t>(received)) << "rank " << rank;
}

// A rank's slice of a sum is cut at cache lines, so only the total is as the formula says: 2 (P-1)/P T rows
// for each device, the first half of which are f32 partial sums.
TEST_P(TrafficTest, PsumIsAnAllReduce) {
  const std::vector<Traffic> forward = traffic(Spread::compact_psum, Pass::forward);
  int64_t sent = 0, received = 0;
  for (const Traffic& t : forward) {
    sent += static_cast<int64_t>(t.sent_bytes);
    received += static_cast<int64_t>(t.received_bytes);
  }
  EXPECT_EQ(sent, others() * kShape.tokens * (kSumRow + kRow));
  EXPECT_EQ(received, sent);
}

TEST_P(TrafficTest, RingIsAnAllGatherAndAReduceScatter) {
  const std::vector<Traffic> forward = traffic(Spread::ring_ag_rs, Pass::forward);
  const std::vector<Traffic> both = traffic(Spread::ring_ag_rs, Pass::forward_backward);
  const int64_t dp = 3 * 4;  // bytes of a token's gradients of the gate values
  for (int r = 0; r < num_devices(); ++r) {
    const int64_t mine = own(r), rest = kShape.tokens - mine;
    const Traffic& f = forward[static_cast<size_t>(r)];
    const int64_t sent = mine * others() * (kRow + kChoices) + rest * kSumRow;
    const int64_t received = rest * (kRow + kChoices) + mine * others() * kSumRow;
    expect_bytes(f, sent, received, r);
    const int64_t sent_back = mine * others() * kRow + rest * (kSumRow + dp);
    const int64_t received_back = rest * kRow + mine * others() * (kSumRow + dp);
    expect_bytes(both[static_cast<size_t>(r)], sent + sent_back, received + received_back, r);
  }
}

// A device that reads rows in place must be told where they begin on each other device.
TEST_P(TrafficTest, FusedReadsWhatRaggedMovesAndNamesEachToken) {
  const std::vector<Traffic> ragged = traffic(Spread::ragged_a2a, Pass::forward_backward);
  const std::vector<Traffic> fused = traffic(Spread::fused, Pass::forward_backward);
  for (int r = 0; r < num_devices(); ++r) {
    const Traffic& t = ragged[static_cast<size_t>(r)];
    const int64_t places = others() * 8;
    expect_bytes(fused[static_cast<size_t>(r)],
                 static_cast<int64_t>(t.sent_bytes) + 4 * pairs_sent(r) + places,
                 static_cast<int64_t>(t.received_bytes) + 4 * pairs_received(r) + places, r);
  }
}

// A row is sent once, with the first wave that needs it, and its sum comes back once. If rows are read in
// place, only their positions are sent.
TEST_P(TrafficTest, WavesMoveNoByteMore) {
  for (const Pass pass : {Pass::forward, Pass::forward_backward}) {
    const std::vector<Traffic> in_place = traffic(Spread::fused, pass);
    const int64_t places = others() * 8;
    auto moves = run_->moved_bytes();
    moves[static_cast<size_t>(Move::metadata)] -= static_cast<uint64_t>(num_devices() * places);
    for (const int num_waves : {1, 2, 5}) {
      const std::vector<Traffic> waves = traffic(Spread::fused, pass, 0, num_waves);
      EXPECT_EQ(run_->moved_bytes(), moves);
      for (int r = 0; r < num_devices(); ++r) {
        const Traffic& t = in_place[static_cast<size_t>(r)];
        expect_bytes(waves[static_cast<size_t>(r)], static_cast<int64_t>(t.sent_bytes) - places,
                     static_cast<int64_t>(t.received_bytes) - places, r);
      }
    }
  }
}

TEST_P(TrafficTest, RaggedMovesATokenOnceADevice) {
  const std::vector<Traffic> forward = traffic(Spread::ragged_a2a, Pass::forward);
  const std::vector<Traffic> both = traffic(Spread::ragged_a2a, Pass::forward_backward);
  for (int r = 0; r < num_devices(); ++r) {
    const int64_t out = pairs_sent(r), in = pairs_received(r), counts = others() * 8;
    const int64_t sent = out * (kRow + kChoices) + in * kRow + counts;
    const int64_t received = in * (kRow + kChoices) + out * kRow + counts;
    expect_bytes(forward[static_cast<size_t>(r)], sent, received, r);
    const int64_t dp = 3 * 4;
    expect_bytes(both[static_cast<size_t>(r)], sent + out * kRow + in * (kRow + dp),
                 received + in * kRow + out * (kRow + dp), r);
  }
}

// Counts by level, by hand. A token is sent once to each other node that has one of its experts, to the rank
// with the sender's position there, and from that rank once to each other rank with one of its experts. As
// many sums come back. Each row also has choices, a token's number and the gradients of its gate values.
TEST_P(TrafficTest, HierarchicalMovesATokenOnceANode) {
  for (const int ranks : {1, 2, 3, num_devices()}) {
    RunConfig config{.shape = kShape,
                     .spread = Spread::hierarchical,
                     .ranks_per_node = ranks,
                     .num_devices = num_devices()};
    config.shape.shared_dim = 0;
    const std::vector<Traffic> forward = traffic(config, Pass::forward);
    const std::vector<Traffic> both = traffic(config, Pass::forward_backward);
    const std::vector<LevelRows> rows = level_rows(ranks);
    const int64_t named = kRow + kChoices + 4, dp = 3 * 4;
    for (int r = 0; r < num_devices(); ++r) {
      const LevelRows& n = rows[static_cast<size_t>(r)];
      const int64_t here = std::min(ranks, num_devices() - r / ranks * ranks);
      const int64_t counts_out = others() * 8, counts_inside = (here - 1) * 8;
      const int64_t sent = (n.out_far + n.out_near) * named + (n.in_far + n.in_near) * kRow;
      const int64_t received = (n.in_far + n.in_near) * named + (n.out_far + n.out_near) * kRow;
      const Traffic& f = forward[static_cast<size_t>(r)];
      const int64_t counts = num_devices() == 1 ? 0 : counts_out + counts_inside;
      expect_bytes(f, sent + counts, received + counts, r);
      const int64_t far_counts = (num_devices() - here) * 8;
      EXPECT_EQ(f.network_bytes, static_cast<uint64_t>(n.out_far * named + n.in_far * kRow + far_counts));
      const int64_t back = (n.out_far + n.out_near) * kRow + (n.in_far + n.in_near) * (kRow + dp);
      const int64_t got_back = (n.in_far + n.in_near) * kRow + (n.out_far + n.out_near) * (kRow + dp);
      const Traffic& b = both[static_cast<size_t>(r)];
      expect_bytes(b, sent + counts + back, received + counts + got_back, r);
      EXPECT_EQ(b.network_bytes,
                f.network_bytes + static_cast<uint64_t>(n.out_far * kRow + n.in_far * (kRow + dp)));
    }
  }
}

// Sums come back in the type in which they are stored. A row of 45 values that crosses nodes in the wire's
// form has one byte for each value and a scale of 4 bytes.
TEST_P(TrafficTest, TheWireIsOfRowsBetweenNodesAlone) {
  const int64_t saved = kRow - (45 + 4);
  for (const int ranks : {1, 2, 3}) {
    if (ranks >= num_devices()) continue;
    for (const Spread path : {Spread::ragged_a2a, Spread::fused, Spread::hierarchical}) {
      for (const Pass pass : {Pass::forward, Pass::forward_backward}) {
        RunConfig config{.shape = kShape,
                         .spread = path,
                         .num_waves = path == Spread::fused ? 2 : 0,
                         .ranks_per_node = ranks,
                         .num_devices = num_devices()};
        const std::vector<Traffic> native = traffic(config, pass);
        const auto native_moves = run_->moved_bytes();
        config.wire = Wire::fp8_scales;
        const std::vector<Traffic> wired = traffic(config, pass);
        const std::vector<LevelRows> rows = level_rows(ranks);
        const int64_t times = pass == Pass::forward ? 1 : 2;
        int64_t all = 0;
        for (int r = 0; r < num_devices(); ++r) {
          int64_t out = 0, in = 0;
          for (int d = 0; d < num_devices(); ++d) {
            if (d / ranks != r / ranks) out += pairs(r, d), in += pairs(d, r);
          }
          const LevelRows& levels = rows[static_cast<size_t>(r)];
          if (path == Spread::hierarchical) out = levels.out_far, in = levels.in_far;
          all += out;
          const Traffic &before = native[static_cast<size_t>(r)], &after = wired[static_cast<size_t>(r)];
          expect_bytes(after, static_cast<int64_t>(before.sent_bytes) - times * out * saved,
                       static_cast<int64_t>(before.received_bytes) - times * in * saved, r);
          EXPECT_EQ(after.network_bytes + static_cast<uint64_t>(times * out * saved), before.network_bytes);
        }
        EXPECT_GT(all, 0);
        auto moves = run_->moved_bytes();
        moves[static_cast<size_t>(Move::dispatch)] += static_cast<uint64_t>(times * all * saved);
        EXPECT_EQ(moves, native_moves) << name_of(path);
      }
    }
  }
}

// If each group of the router's experts is on one node, a token goes to no more nodes than the router chooses
// groups.
TEST(HierarchicalTraffic, NodeLimitedTokensCrossTheNetworkOnceAGroup) {
  RunFactory factory{{}, 5, {}};
  RunConfig config{.shape = {61, 32, 16, 16, 6, 0, DType::bf16},
                   .spread = Spread::hierarchical,
                   .ranks_per_node = 2,
                   .num_devices = 8};
  for (const int kept : {1, 2, 4}) {
    config.shape.router = parse_router_rule(fmt::format("sigmoid,groups:4/{},normalized", kept));
    config.shape.topk = std::min(4 * kept, 6);
    config.block.pass = Pass::forward;
    const auto run = factory.make(config);
    run->step({});
    run->collect();
    uint64_t far = 0;
    for (const Traffic& t : run->traffic()) far += t.network_bytes;
    const uint64_t row = 32 * 2, choices = 8 * static_cast<uint64_t>(config.shape.topk) + 4;
    const uint64_t counts = 8 * 6 * 8;
    EXPECT_LE(far, 61 * static_cast<uint64_t>(kept) * (2 * row + choices) + counts) << kept;
    EXPECT_GT(far, counts);
  }
}

// A forward pass moves nothing. A backward pass moves every weight gradient, with panels padded to 16 columns
// and to pairs of rows, and gate-up to pairs of 8.
TEST_P(TrafficTest, DataParallelReducesAllGradients) {
  for (const Traffic& t : traffic(Spread::dp, Pass::forward)) {
    EXPECT_EQ(t.sent_bytes, 0u);
    EXPECT_EQ(t.received_bytes, 0u);
  }
  int64_t sent = 0;
  for (const Traffic& t : traffic(Spread::dp, Pass::forward_backward))
    sent += static_cast<int64_t>(t.sent_bytes);
  const int64_t elements = 7 * (46 * 64 + 28 * 48);  // 27 + 27 columns in 4 panels, 45 columns in 3
  EXPECT_EQ(sent, others() * elements * (2 + 2));
}

TEST_P(TrafficTest, SharedGradientsAreReducedOnce) {
  const auto total = [&](int64_t shared_dim) {
    int64_t sent = 0;
    for (const Traffic& t : traffic(Spread::ragged_a2a, Pass::forward_backward, shared_dim)) {
      sent += static_cast<int64_t>(t.sent_bytes);
    }
    return sent;
  };
  const int64_t elements = 2 * 46 * 32 + 20 * 48;  // S1 and S3 of 19 columns, S2 of 45
  EXPECT_EQ(total(19) - total(0), others() * elements * 2);
}

INSTANTIATE_TEST_SUITE_P(Devices, TrafficTest, testing::Values(1, 2, 3, 4, 9));

}  // namespace
}  // namespace moehill
