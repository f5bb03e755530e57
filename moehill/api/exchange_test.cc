// Tests of the exchange of rows to experts of the caller and back, compared with plain loops. Experts here
// multiply by a number, so that every sum is known.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "moehill/api/block_fixture.h"

namespace moehill_test {
namespace {

using namespace moehill;

class EveryLayout : public testing::TestWithParam<std::tuple<int, DType>> {};

// Expert e returns (e + 1) x, and (e + 1) g in the backward pass.
TEST_P(EveryLayout, GoesThereAndBack) {
  const auto [devices, dtype] = GetParam();
  const bool bf16 = dtype == DType::bf16;
  const double tolerance = bf16 ? 2e-2 : 1e-5;
  const Context context({.devices = devices, .threads_per_device = 1});
  const BlockDesc desc{.hidden = 19, .experts = 5, .topk = 3, .max_tokens = 13, .dtype = dtype};
  Exchange exchange(context, desc);
  ASSERT_EQ(exchange.num_experts(), 5);
  for (const int64_t tokens : {13, 0, 5, 13}) {
    SCOPED_TRACE(tokens);
    const Tokens t = random_tokens(desc, tokens, static_cast<uint32_t>(tokens));
    exchange.plan(t.count, t.ids.data(), t.gates.data());
    const std::vector<int64_t>& offsets = exchange.offsets();
    const size_t h = 19, n = static_cast<size_t>(exchange.num_rows()) * h;
    plain::Tensor rows(n, bf16), out(n, bf16), d_rows(n, bf16), y(t.x.size(), bf16), dx(t.x.size(), bf16);
    std::vector<float> d_gates(t.gates.size());
    exchange.dispatch(t.x.data(), rows.data());

    // Rows of an expert are its tokens in their order.
    int64_t row = 0;
    for (int e = 0; e < 5; ++e) {
      EXPECT_EQ(offsets[static_cast<size_t>(e)], row);
      for (size_t i = 0; i < t.ids.size(); ++i) {
        if (t.ids[i] != e) continue;
        for (size_t c = 0; c < h; ++c)
          ASSERT_EQ(rows.at(static_cast<size_t>(row) * h + c), t.x.at(i / 3 * h + c));
        ++row;
      }
    }
    ASSERT_EQ(exchange.num_rows(), row);
    const auto factor = [&](size_t r) {
      int e = 0;
      while (offsets[static_cast<size_t>(e) + 1] <= static_cast<int64_t>(r)) ++e;
      return e + 1.0;
    };
    for (size_t i = 0; i < n; ++i) out.set(i, factor(i / h) * rows.at(i));
    exchange.combine(out.data(), y.data());
    exchange.combine_backward(t.dy.data(), out.data(), d_rows.data(), d_gates.data());
    for (size_t i = 0; i < n; ++i) d_rows.set(i, factor(i / h) * d_rows.at(i));
    exchange.dispatch_backward(d_rows.data(), dx.data());

    plain::Values expected_y(t.x.size()), expected_dx(t.x.size()), expected_gates(t.gates.size()), got_gates;
    for (size_t i = 0; i < t.ids.size(); ++i) {
      if (t.ids[i] < 0) continue;
      const double f = t.ids[i] + 1.0, p = static_cast<double>(t.gates[i]);
      for (size_t c = 0; c < h; ++c) {
        const size_t at = i / 3 * h + c;
        expected_y[at] += p * f * t.x.at(at);
        expected_dx[at] += p * f * t.dy.at(at);
        expected_gates[i] += f * t.x.at(at) * t.dy.at(at);
      }
    }
    for (const float g : d_gates) got_gates.push_back(static_cast<double>(g));
    EXPECT_LE(plain::difference(y.values(), expected_y), tolerance);
    EXPECT_LE(plain::difference(dx.values(), expected_dx), tolerance);
    EXPECT_LE(plain::difference(got_gates, expected_gates), tolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(Devices, EveryLayout,
                         testing::Combine(testing::Values(1, 2, 3, 7),
                                          testing::Values(DType::f32, DType::bf16)));

TEST(Exchange, AsksForAPlanFirst) {
  const Context context({.devices = 2, .threads_per_device = 1});
  Exchange exchange(context, {.hidden = 4, .experts = 2, .topk = 1, .max_tokens = 3, .dtype = DType::f32});
  std::vector<float> x(12), rows(12);
  try {
    exchange.dispatch(x.data(), rows.data());
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::wrong_order);
  }
  const int32_t ids[] = {0, 1, 0};
  const float gates[] = {1, 1, 1};
  exchange.plan(3, ids, gates);
  exchange.dispatch(x.data(), rows.data());
  EXPECT_THROW(exchange.dispatch(x.data(), nullptr), Error);
  EXPECT_THROW(exchange.combine(nullptr, x.data()), Error);
}

// A call that waits for its turn checks its tensors by the plan of that turn, not by the plan before. While
// one thread plans, the other passes null: this is right without tokens, and is refused with some.
TEST(Exchange, ChecksItsTensorsByThePlanOfItsTurn) {
  const Context context(ContextOptions::callers_thread());
  const moehill_block_desc desc =
      BlockDesc{.hidden = 4, .experts = 2, .topk = 1, .max_tokens = 3, .dtype = DType::f32}.c();
  moehill_exchange* exchange = nullptr;
  ASSERT_EQ(moehill_exchange_create(context.handle(), &desc, &exchange), MOEHILL_OK);
  const int32_t ids[] = {0, 1, 0};
  const float gates[] = {1, 1, 1};
  const auto plan = [&](int64_t tokens) {
    int64_t num_rows = -1;
    EXPECT_EQ(moehill_exchange_plan(exchange, tokens, ids, gates, &num_rows, nullptr), MOEHILL_OK);
    EXPECT_EQ(num_rows, tokens);
  };
  plan(0);
  std::atomic<bool> has_ended{false};
  std::thread planner([&] {
    for (int i = 0; i < 100; ++i) plan(i % 2 == 0 ? 3 : 0);
    has_ended = true;
  });
  std::vector<float> rows(12);
  while (!has_ended) {
    const moehill_status status = moehill_exchange_dispatch(exchange, nullptr, rows.data());
    EXPECT_TRUE(status == MOEHILL_OK || status == MOEHILL_INVALID_ARGUMENT) << moehill_last_error();
    std::this_thread::yield();
  }
  planner.join();
  moehill_exchange_destroy(exchange);
}

}  // namespace
}  // namespace moehill_test
