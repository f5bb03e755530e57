// This file has the checks of the conformance suite, one for each collective. Only conformance.h includes it,
// which has their declarations. The file makes no meshes: conformance_tests.h calls the checks on each device
// of a mesh.
//
//   check_all_reduce(group, DType::bf16, DType::f32, 1000, {});   // values and bytes are as they must be
#pragma once

#include "moehill/base/hash.h"
#include "moehill/mesh/conformance.h"

namespace moehill {

// Calls `collective` and expects it to count exactly these bytes.
template <typename Collective>
void expect_traffic(Group& group, int64_t sent, int64_t received, const Collective& collective) {
  const Traffic before = group.traffic();
  collective();
  const Traffic after = group.traffic();
  EXPECT_EQ(after.sent_bytes - before.sent_bytes, static_cast<uint64_t>(sent));
  EXPECT_EQ(after.received_bytes - before.received_bytes, static_cast<uint64_t>(received));
}

inline uint64_t hash_of(const GuardedArray& array) {
  uint64_t hash = kFnvStart;
  for (int64_t i = 0; i < array.size(); ++i) {
    hash = fnv1a(hash, std::bit_cast<uint32_t>(array.at(i)));
  }
  return hash;
}

// Uses the team between a start and its finish, as a path does.
inline void use_the_team(Group& group) {
  std::vector<int> seen(static_cast<size_t>(group.team().size()));
  group.team().run([&](int i) { seen[static_cast<size_t>(i)] = 1; });
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), group.team().size());
}

inline void check_all_reduce(Group& group, DType input_dtype, DType output_dtype, int64_t n, How how) {
  const int num_ranks = group.size();
  GuardedArray input = test_array(group, how.exchange_input, input_dtype, n);
  GuardedArray output(group, how.exchange_output, output_dtype, n);
  const int64_t in_bytes = static_cast<int64_t>(dtype_bytes(input_dtype));
  const int64_t out_bytes = static_cast<int64_t>(dtype_bytes(output_dtype));
  const int64_t own = line_share({0, n}, group.rank(), num_ranks, kLineElements).size();
  const int64_t sent = (n - own) * in_bytes + (num_ranks - 1) * own * out_bytes;
  const int64_t received = (num_ranks - 1) * own * in_bytes + (n - own) * out_bytes;
  expect_traffic(group, sent, received,
                 [&] { group.all_reduce(input.data(), input_dtype, output.data(), output_dtype, n); });
  EXPECT_EQ(output.num_wrong([&](int64_t i) { return test_sum(num_ranks, input_dtype, output_dtype, i); }),
            0);
  EXPECT_EQ(input.num_wrong([&](int64_t i) { return rounded_to(input_dtype, test_value(group.rank(), i)); }),
            0);
  EXPECT_TRUE(all_ranks_agree(group, hash_of(output)));
}

inline void check_all_reduce_in_place(Group& group, DType dtype, int64_t n, How how) {
  GuardedArray array = test_array(group, how.exchange_output, dtype, n);
  group.all_reduce(array.data(), dtype, array.data(), dtype, n);
  EXPECT_EQ(array.num_wrong([&](int64_t i) { return test_sum(group.size(), dtype, dtype, i); }), 0);
}

inline void check_reduce_scatter(Group& group, DType input_dtype, DType output_dtype,
                                 const std::vector<int64_t>& offsets, How how) {
  const size_t rank = static_cast<size_t>(group.rank());
  const int64_t own = offsets[rank + 1] - offsets[rank];
  GuardedArray input = test_array(group, how.exchange_input, input_dtype, offsets.back());
  GuardedArray output(group, how.exchange_output, output_dtype, own);
  const int64_t in_bytes = static_cast<int64_t>(dtype_bytes(input_dtype));
  expect_traffic(group, (offsets.back() - own) * in_bytes, (group.size() - 1) * own * in_bytes, [&] {
    if (!how.split_phase)
      return group.reduce_scatter(input.data(), input_dtype, offsets, output.data(), output_dtype);
    for (int64_t i = offsets[rank]; i < offsets[rank + 1]; ++i)
      input.set(i, 0);  // finish() must be the first to read the own part
    group.start_reduce_scatter(input.data(), input_dtype, offsets, output.data(), output_dtype);
    use_the_team(group);
    for (int64_t i = offsets[rank]; i < offsets[rank + 1]; ++i) input.set(i, test_value(group.rank(), i));
    group.finish();
  });
  EXPECT_EQ(output.num_wrong([&](int64_t i) {
    return test_sum(group.size(), input_dtype, output_dtype, offsets[rank] + i);
  }),
            0);
}

// Rows have `row` elements; offsets count rows.
inline void check_all_gather(Group& group, DType dtype, int64_t row, const std::vector<int64_t>& offsets,
                             bool in_place, How how) {
  const size_t rank = static_cast<size_t>(group.rank());
  const int64_t own = (offsets[rank + 1] - offsets[rank]) * row;
  const size_t row_bytes = static_cast<size_t>(row) * dtype_bytes(dtype);
  GuardedArray input = test_array(group, how.exchange_input, dtype, own);
  GuardedArray output(group, how.exchange_output, dtype, offsets.back() * row);
  char* const place = static_cast<char*>(output.data()) + static_cast<size_t>(offsets[rank]) * row_bytes;
  if (in_place) std::memcpy(place, input.data(), static_cast<size_t>(own) * dtype_bytes(dtype));
  const int64_t bytes = static_cast<int64_t>(dtype_bytes(dtype));
  expect_traffic(group, (group.size() - 1) * own * bytes, (offsets.back() * row - own) * bytes, [&] {
    const void* const source = in_place ? place : input.data();
    if (!how.split_phase) return group.all_gather(source, offsets, row_bytes, output.data());
    group.start_all_gather(source, offsets, row_bytes, output.data());
    use_the_team(group);
    group.finish();
  });
  EXPECT_EQ(output.num_wrong([&](int64_t i) {
    const auto next = std::upper_bound(offsets.begin(), offsets.end(), i / row);
    const int source = static_cast<int>(next - offsets.begin()) - 1;
    return rounded_to(dtype, test_value(source, i - offsets[static_cast<size_t>(source)] * row));
  }),
            0);
}

// Returns the rows that rank `from` sends to rank `to`: uneven, sometimes none, also to itself.
inline int64_t rows_between(int from, int to, int64_t scale) {
  return (from + 2 * to) % 4 == 1 ? 0 : scale + 5 * from + to;
}
inline std::vector<int64_t> sends_of(int from, int num_ranks, int64_t scale) {
  std::vector<int64_t> offsets = {0};
  for (int to = 0; to < num_ranks; ++to) offsets.push_back(offsets.back() + rows_between(from, to, scale));
  return offsets;
}

inline void check_all_to_all(Group& group, DType dtype, int64_t row, int64_t scale, How how) {
  const int num_ranks = group.size(), rank = group.rank();
  const std::vector<int64_t> sends = sends_of(rank, num_ranks, scale);
  std::vector<int64_t> receives = {0};
  for (int from = 0; from < num_ranks; ++from)
    receives.push_back(receives.back() + rows_between(from, rank, scale));
  GuardedArray input = test_array(group, how.exchange_input, dtype, sends.back() * row);
  GuardedArray output(group, how.exchange_output, dtype, receives.back() * row);
  const int64_t row_bytes = row * static_cast<int64_t>(dtype_bytes(dtype));
  // Rows that a rank sends to itself are no traffic.
  const int64_t kept = rows_between(rank, rank, scale);
  expect_traffic(group, (sends.back() - kept) * row_bytes, (receives.back() - kept) * row_bytes, [&] {
    const size_t element_bytes = static_cast<size_t>(row_bytes);
    if (!how.split_phase) {
      return group.all_to_all(input.data(), sends, output.data(), receives, element_bytes);
    }
    group.start_all_to_all(input.data(), sends, output.data(), receives, element_bytes);
    use_the_team(group);
    group.finish();
  });
  int64_t num_wrong = output.guards_intact() ? 0 : 1;
  // Each rank knows what every other rank has sent, because the values follow from the rank and the place.
  for (int from = 0; from < num_ranks; ++from) {
    const int64_t first_sent = sends_of(from, num_ranks, scale)[static_cast<size_t>(rank)] * row;
    const int64_t first_received = receives[static_cast<size_t>(from)] * row;
    for (int64_t i = 0; i < rows_between(from, rank, scale) * row; ++i) {
      num_wrong += output.at(first_received + i) != rounded_to(dtype, test_value(from, first_sent + i));
    }
  }
  EXPECT_EQ(num_wrong, 0);
}

// Returns numbers of all sizes; every third one is 0.
inline int64_t number_between(int from, int to, int salt) {
  const int64_t n = from * 31 + to * 7 + salt;
  return n % 3 == 0 ? 0 : n * n * n * 1'000'003;
}

inline void check_exchange_counts(Group& group, int salt) {
  const int num_ranks = group.size(), rank = group.rank();
  std::vector<int64_t> own, theirs(static_cast<size_t>(num_ranks) + 1, -1), expected;
  for (int r = 0; r < num_ranks; ++r) {
    own.push_back(number_between(rank, r, salt));
    expected.push_back(number_between(r, rank, salt));
  }
  expected.push_back(-1);
  const int64_t bytes = (num_ranks - 1) * static_cast<int64_t>(sizeof(int64_t));
  expect_traffic(group, bytes, bytes, [&] { group.exchange_counts(own.data(), theirs.data()); });
  EXPECT_EQ(theirs, expected);
}

// Returns the first row of part `part` among the n rows of a pair of ranks. Parts grow, so that the first
// ones are empty if n is small; for answers they shrink.
inline int64_t cut_at(int64_t n, int num_parts, int part, bool answers) {
  const int64_t p = answers ? num_parts - part : part, all = int64_t{num_parts} * num_parts;
  return answers ? n - n * p * p / all : n * p * p / all;
}
inline std::vector<int64_t> cuts_of(const std::vector<int64_t>& offsets, int num_parts, bool answers) {
  std::vector<int64_t> cuts;
  for (size_t r = 0; r + 1 < offsets.size(); ++r) {
    for (int p = 0; p <= num_parts; ++p)
      cuts.push_back(offsets[r] + cut_at(offsets[r + 1] - offsets[r], num_parts, p, answers));
  }
  return cuts;
}

// RoundTripCheck makes a round trip: rows go in parts, and each rank answers with their negatives. Between
// nodes rows may have another form; then they are longer and hold other values.
struct RoundTripCheck {
  RoundTripCheck(Group& its_group, int64_t row_elements, int64_t row_scale, int parts, How how)
      : group(its_group),
        row(row_elements),
        scale(row_scale),
        num_parts(parts),
        sends(sends_of(group.rank(), group.size(), scale)),
        receives{0},
        sent(test_array(group, how.exchange_input, DType::f32, sends.back() * row)),
        received(group, how.exchange_output, DType::f32, num_received() * row),
        answer(group, how.exchange_input, DType::f32, num_received() * row),
        answered(group, how.exchange_output, DType::f32, sends.back() * row),
        far_row(how.far_rows ? row + 2 : 0),
        far_sent(test_array(group, false, DType::f32, sends.back() * far_row)),
        far_received(group, false, DType::f32, num_received() * far_row) {
    sent_cuts = cuts_of(sends, num_parts, false);
    received_cuts = cuts_of(receives, num_parts, false);
    answer_cuts = cuts_of(receives, num_parts, true);
    answered_cuts = cuts_of(sends, num_parts, true);
  }
  int64_t num_received() {
    if (receives.size() == 1) {
      for (int from = 0; from < group.size(); ++from)
        receives.push_back(receives.back() + rows_between(from, group.rank(), scale));
    }
    return receives.back();
  }
  RoundTrip arguments() {
    return {num_parts,
            static_cast<size_t>(row) * sizeof(float),
            sends,
            receives,
            sent.data(),
            received.data(),
            answer.data(),
            answered.data(),
            sent_cuts,
            received_cuts,
            answer_cuts,
            answered_cuts,
            {static_cast<size_t>(far_row) * sizeof(float), far_sent.data(), far_received.data()}};
  }
  bool is_far(int from) const {
    return far_row > 0 && group.nodes().of(from) != group.nodes().of(group.rank());
  }
  // Calls body(index of an element, its value when it was sent) for one part of the rows from each rank with
  // asked(rank). A row has `row_elements` elements.
  template <typename Asked, typename Body>
  void for_each_received(const std::vector<int64_t>& cuts, int part, int64_t row_elements, const Asked& asked,
                         const Body& body) {
    for (int from = 0; from < group.size(); ++from) {
      if (!asked(from)) continue;
      const size_t f = static_cast<size_t>(from),
                   at = f * static_cast<size_t>(num_parts + 1) + static_cast<size_t>(part);
      const int64_t first_sent =
          sends_of(from, group.size(), scale)[static_cast<size_t>(group.rank())] * row_elements;
      for (int64_t i = cuts[at] * row_elements; i < cuts[at + 1] * row_elements; ++i)
        body(i, test_value(from, first_sent + i - receives[f] * row_elements));
    }
  }
  void run(bool works_between) {
    int64_t num_wrong = 0;
    group.start_round_trip(arguments());
    for (int part = 0; part < num_parts; ++part) {
      for (int i = 0; works_between && i < 20 && !group.has_landed(part); ++i) use_the_team(group);
      if (part % 3 == 1 && part + 1 < num_parts) continue;  // awaited and answered with the next part
      group.await(part);
      for (int p = std::max(0, part - 1); p <= part; ++p) {
        for_each_received(
            received_cuts, p, row, [&](int from) { return !is_far(from); },
            [&](int64_t i, float value) { num_wrong += received.at(i) != value; });
        for_each_received(
            received_cuts, p, far_row, [&](int from) { return is_far(from); },
            [&](int64_t i, float value) { num_wrong += far_received.at(i) != value; });
        for_each_received(
            answer_cuts, p, row, [](int) { return true; },
            [&](int64_t i, float value) { answer.set(i, -value); });
      }
      group.answer(part);
    }
    group.finish_round_trip();
    EXPECT_EQ(num_wrong, 0);
  }

  Group& group;
  int64_t row, scale;
  int num_parts;
  std::vector<int64_t> sends, receives, sent_cuts, received_cuts, answer_cuts, answered_cuts;
  GuardedArray sent, received, answer, answered;
  int64_t far_row;
  GuardedArray far_sent, far_received;
};

inline void check_round_trip(Group& group, int64_t row, int64_t scale, int num_parts, How how) {
  RoundTripCheck check(group, row, scale, num_parts, how);
  const int64_t row_bytes = row * static_cast<int64_t>(sizeof(float));
  const int64_t kept = rows_between(group.rank(), group.rank(), scale);
  const int64_t bytes = (check.sends.back() + check.receives.back() - 2 * kept) * row_bytes;
  const int64_t more = check.far_row > 0 ? (check.far_row - row) * static_cast<int64_t>(sizeof(float)) : 0;
  const auto far = [&](const std::vector<int64_t>& rows) {
    return more * group.nodes().elsewhere(rows, group.rank());
  };
  expect_traffic(group, bytes + far(check.sends), bytes + far(check.receives),
                 [&] { check.run(how.split_phase); });
  EXPECT_EQ(check.answered.num_wrong([&](int64_t i) { return -test_value(group.rank(), i); }), 0);
  EXPECT_EQ(check.sent.num_wrong([&](int64_t i) { return test_value(group.rank(), i); }), 0);
  EXPECT_TRUE(check.received.guards_intact() && check.answer.guards_intact());
  EXPECT_TRUE(check.far_received.guards_intact());
}

}  // namespace moehill
