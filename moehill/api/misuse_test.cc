// Tests of mistakes that a caller may make: the interface answers each with a status and a sentence, and its
// objects can still be used.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "moehill/api/block_fixture.h"

namespace moehill_test {
namespace {

using namespace moehill;

const BlockDesc kDesc{.hidden = 20,
                      .mlp_dim = 11,
                      .experts = 5,
                      .topk = 3,
                      .shared_dim = 9,
                      .max_tokens = 13,
                      .dtype = DType::f32,
                      .path = Path::fused};

Context two_devices() { return Context({.devices = 2, .threads_per_device = 1}); }

// Expects an error of this status. Its sentence must contain `part` and mention no option of the command
// line.
template <typename Body>
void expect_error(Status status, const std::string& part, const Body& body) {
  try {
    body();
    ADD_FAILURE() << "no error; expected " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.what();
    const std::string text = error.what();
    EXPECT_NE(text.find(part), std::string::npos) << text;
    EXPECT_EQ(text.find("--"), std::string::npos) << text;
  }
}

TEST(Misuse, DescriptionsOutOfRange) {
  const Context context = two_devices();
  const auto expect = [&](const std::string& part, auto change) {
    BlockDesc desc = kDesc;
    change(desc);
    expect_error(Status::invalid_argument, part, [&] { Block block(context, desc); });
    if (part != "mlp_dim" && part != "shared_dim" && part != "path" && part != "recompute")
      expect_error(Status::invalid_argument, part, [&] { Exchange exchange(context, desc); });
  };
  expect("hidden", [](BlockDesc& d) { d.hidden = 0; });
  expect("mlp_dim", [](BlockDesc& d) { d.mlp_dim = -3; });
  expect("experts", [](BlockDesc& d) { d.experts = 0; });
  expect("topk", [](BlockDesc& d) { d.topk = 6; });
  expect("shared_dim", [](BlockDesc& d) { d.shared_dim = -1; });
  expect("max_tokens", [](BlockDesc& d) { d.max_tokens = 0; });
  expect("max_tokens", [](BlockDesc& d) { d.max_tokens = 2147483000; });
  expect("dtype", [](BlockDesc& d) { d.dtype = static_cast<DType>(2); });
  expect("path", [](BlockDesc& d) { d.path = static_cast<Path>(9); });
  expect("recompute", [](BlockDesc& d) { d.recompute = static_cast<Recompute>(3); });
}

TEST(Misuse, FormsThatContradictThemselves) {
  const Context context = two_devices();
  const auto expect = [&](const std::string& part, auto change) {
    BlockDesc desc = kDesc;
    change(desc);
    expect_error(Status::invalid_argument, part, [&] { Block block(context, desc); });
    Exchange exchange(context, desc);  // it has no experts
  };
  expect("activation", [](BlockDesc& d) { d.activation = static_cast<Activation>(5); });
  expect("limit: got -1", [](BlockDesc& d) { d.limit = -1; });
  expect("limit: got nan", [](BlockDesc& d) { d.limit = NAN; });
  expect("limit needs MOEHILL_SILU or", [](BlockDesc& d) { d.activation = Activation::relu2, d.limit = 1; });
  expect("alpha needs MOEHILL_SWIGLU_OAI;", [](BlockDesc& d) { d.alpha = 1.7; });
  expect("beta needs MOEHILL_SITU;", [](BlockDesc& d) { d.activation = Activation::gelu_tanh, d.beta = 4; });
  expect("linear_beta needs MOEHILL_SITU;",
         [](BlockDesc& d) { d.activation = Activation::swiglu_oai, d.linear_beta = 4; });
  expect("zero_experts: got -1", [](BlockDesc& d) { d.zero_experts = -1; });
  expect("gated = 0 needs MOEHILL_RELU2;", [](BlockDesc& d) { d.gated = false; });
  expect("shared_gate needs a shared expert;", [](BlockDesc& d) { d.shared_gate = true, d.shared_dim = 0; });
  expect("input_weighted cannot be used with biases",
         [](BlockDesc& d) { d.input_weighted = d.biases = true; });
  expect("latent_dim: got -1", [](BlockDesc& d) { d.latent_dim = -1; });
  expect("latent_dim cannot be used with zero_experts;",
         [](BlockDesc& d) { d.latent_dim = 4, d.zero_experts = 1; });
  expect("latent_norm needs a latent_dim", [](BlockDesc& d) { d.latent_norm = 1e-5; });
  for (const Path path : {Path::data_parallel, Path::compact_psum, Path::dense_masked})
    expect(
        "allowed: MOEHILL_PATH_RING_AG_RS, MOEHILL_PATH_RAGGED_A2A, MOEHILL_PATH_FUSED, "
        "MOEHILL_PATH_HIERARCHICAL;",
        [path](BlockDesc& d) { d.latent_dim = 4, d.path = path; });
}

TEST(Misuse, WeightsOfAnotherForm) {
  const Context context = two_devices();
  std::vector<float> w(3000);
  const auto expect = [&](const std::string& part, Weights weights, auto change) {
    BlockDesc desc = kDesc;
    change(desc);
    Block block(context, desc);
    expect_error(Status::invalid_argument, part, [&] { block.load_experts(0, 1, weights); });
  };
  const auto same = [](BlockDesc&) {};
  const auto ungated = [](BlockDesc& d) { d.activation = Activation::relu2, d.gated = false; };
  const auto biased = [](BlockDesc& d) { d.biases = true; };
  expect("down_bias: got memory", {.down_bias = w.data()}, same);
  expect("shared_gate: got memory", {.shared_gate = w.data()}, biased);
  expect("up: got memory", {.up = w.data()}, ungated);
  expect("gate_up: got memory", {.gate_up = w.data()}, ungated);
  expect("latent_down: got memory", {.latent_down = w.data()}, same);
  expect("gate_bias and up_bias", {.up_bias = w.data(), .gate_up_bias = w.data() + 99}, biased);
  BlockDesc desc = kDesc;
  desc.biases = desc.shared_gate = true;
  Block block(context, desc);
  expect_error(Status::invalid_argument, "down_bias: got memory",
               [&] { block.load_shared({.down_bias = w.data()}); });
  expect_error(Status::invalid_argument, "overlaps",
               [&] { block.store_experts(0, 1, {.gate_bias = w.data(), .down_bias = w.data() + 10}); });
}

TEST(Misuse, ContextsOutOfRange) {
  expect_error(Status::invalid_argument, "devices", [] { Context context({.devices = 0}); });
  expect_error(Status::invalid_argument, "threads_per_device",
               [] { Context context({.threads_per_device = -1}); });
  expect_error(Status::invalid_argument, "pinning",
               [] { Context context({.pinning = static_cast<Pinning>(5)}); });
}

TEST(Misuse, StructsThatWereNotInitialised) {
  moehill_context* context = nullptr;
  moehill_context_options options{};
  EXPECT_EQ(moehill_context_create(&options, &context), MOEHILL_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moehill_last_error()).find("moehill_context_options_init"), std::string::npos);
  ASSERT_EQ(moehill_context_create(nullptr, &context), MOEHILL_OK);
  moehill_block_desc desc{};
  moehill_block* block = nullptr;
  EXPECT_EQ(moehill_block_create(context, &desc, &block), MOEHILL_INVALID_ARGUMENT);
  EXPECT_NE(std::string(moehill_last_error()).find("moehill_block_desc_init"), std::string::npos);
  moehill_context_info info{};
  EXPECT_EQ(moehill_context_get_info(context, &info), MOEHILL_INVALID_ARGUMENT);
  moehill_context_destroy(context);
}

TEST(Misuse, OperandsWithoutTheirSize) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  float one = 1;
  const int64_t offsets[] = {0, 0};
  const moehill_weights weights{};
  const moehill_gradients gradients{};
  const moehill_rows rows{};
  expect_error(Status::invalid_argument, "struct_size of weights: got 0, allowed: 40 to 112",
               [&] { require(moehill_block_load_experts(pair.block.handle(), 0, 1, &weights)); });
  expect_error(Status::invalid_argument, "struct_size of gradients: got 0, allowed: 40 to 120",
               [&] { require(moehill_block_store_experts(pair.block.handle(), 0, 1, &gradients)); });
  moehill_stack* handle = nullptr;
  require(moehill_stack_create(context.handle(), 1, 1, 1, MOEHILL_F32, &handle));
  expect_error(Status::invalid_argument, "struct_size of a: got 0, allowed: 24 to 32",
               [&] { require(moehill_gemm_forward(handle, offsets, &rows, &one)); });
  moehill_stack_destroy(handle);
}

// The description is followed by other memory of the program, as if the caller's version of the struct ended
// at an earlier member.
struct Framed {
  explicit Framed(size_t size) {
    std::memset(&desc, 0x55, sizeof desc + sizeof after);
    moehill_block_desc_init_sized(&desc, size);
    desc.hidden = desc.mlp_dim = desc.max_tokens = 4;
    desc.experts = desc.topk = 4;
  }
  moehill_block_desc desc;
  unsigned char after[16];
};

TEST(Misuse, ProgramsOfOtherVersionsOfTheStructs) {
  const Context context = two_devices();
  moehill_block* block = nullptr;
  Framed older(offsetof(moehill_block_desc, dtype));
  EXPECT_EQ(older.desc.dtype, 0x55555555);  // not the struct's any more
  EXPECT_EQ(older.desc.shared_dim, 0);
  require(moehill_block_create(context.handle(), &older.desc, &block));
  moehill_block_info info{};
  info.struct_size = offsetof(moehill_block_info, work_bytes);
  info.work_bytes = 7;
  require(moehill_block_get_info(block, &info));
  EXPECT_EQ(info.weight_bytes, info.gradient_bytes);  // it trains
  EXPECT_EQ(info.work_bytes, 7);
  EXPECT_EQ(info.struct_size, offsetof(moehill_block_info, work_bytes));
  moehill_block_destroy(block);

  Framed newer(sizeof newer.desc + 8);
  EXPECT_EQ(newer.desc.training, 1);
  EXPECT_EQ(newer.after[7], 0);
  EXPECT_EQ(newer.after[8], 0x55);
  expect_error(Status::invalid_argument, "allowed: 48 to 136",
               [&] { require(moehill_block_create(context.handle(), &newer.desc, &block)); });
  EXPECT_NE(std::string(moehill_last_error()).find("install a newer one"), std::string::npos);
}

// A size that ends inside of a member would give the library half of a pointer or of a number.
TEST(Misuse, SizesThatEndInsideOfAMember) {
  const Context context = two_devices();
  const Pair pair(context, kDesc, 3);
  const std::vector<float> down(220);
  for (size_t size = offsetof(moehill_weights, dtype); size <= sizeof(moehill_weights); ++size) {
    moehill_weights weights{};
    weights.struct_size = size;
    weights.down = down.data();
    EXPECT_EQ(moehill_block_load_experts(pair.block.handle(), 0, 1, &weights),
              size % 8 == 0 ? MOEHILL_OK : MOEHILL_INVALID_ARGUMENT)
        << size;
  }
  moehill_block* block = nullptr;
  Framed cut(offsetof(moehill_block_desc, limit) + 4);
  expect_error(Status::invalid_argument, "48 to 136 in steps of 8; set it by moehill_block_desc_init",
               [&] { require(moehill_block_create(context.handle(), &cut.desc, &block)); });
  moehill_block_info info{};
  info.struct_size = offsetof(moehill_block_info, weight_bytes) + 1;
  expect_error(Status::invalid_argument, "in steps of 8",
               [&] { require(moehill_block_get_info(pair.block.handle(), &info)); });
}

TEST(Misuse, NullHandlesAndPointers) {
  EXPECT_EQ(moehill_context_create(nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  moehill_block* block = nullptr;
  EXPECT_EQ(moehill_block_create(nullptr, nullptr, &block), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_block_plan(nullptr, 0, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_block_forward(nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_block_backward(nullptr, nullptr, nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_block_load_experts(nullptr, 0, 1, nullptr), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_exchange_dispatch(nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  EXPECT_EQ(moehill_gemm_forward(nullptr, nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  moehill_block_destroy(nullptr);
  moehill_context_destroy(nullptr);
  moehill_exchange_destroy(nullptr);
  moehill_stack_destroy(nullptr);
}

TEST(Misuse, TheBlockGoesOnAfterEachError) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  const Tokens t = random_tokens(kDesc, 13, 4);
  plain::Tensor y(t.x.size(), false), dx(t.x.size(), false);
  Block& block = pair.block;
  const auto plan = [&] { block.plan(13, t.ids.data(), t.gates.data()); };
  const auto forward = [&] { block.forward(t.x.data(), y.data()); };
  const auto backward = [&] { block.backward(t.x.data(), t.dy.data(), dx.data()); };
  const auto step = [&] { pair.expect_step(t, 1e-5, 2e-5); };

  expect_error(Status::wrong_order, "moehill_block_plan", forward);
  expect_error(Status::wrong_order, "moehill_block_forward", backward);
  expect_error(Status::wrong_order, "backward",
               [&] { block.store_expert_gradients(0, 5, {.down = y.data()}); });
  step();
  expect_error(Status::wrong_order, "once after", backward);
  step();
  expect_error(Status::invalid_argument, "0 to 13", [&] { block.plan(14, t.ids.data(), t.gates.data()); });
  expect_error(Status::wrong_order, "plan", forward);  // the plan of before is gone
  expect_error(Status::invalid_argument, "tokens", [&] { block.plan(-1, t.ids.data(), t.gates.data()); });
  expect_error(Status::invalid_argument, "expert_ids", [&] { block.plan(13, nullptr, t.gates.data()); });
  expect_error(Status::invalid_argument, "gates", [&] { block.plan(13, t.ids.data(), nullptr); });
  for (const int32_t bad : {5, -2}) {
    std::vector<int32_t> ids = t.ids;
    ids[4] = bad;
    expect_error(Status::invalid_argument, "for token 1",
                 [&] { block.plan(13, ids.data(), t.gates.data()); });
  }
  step();
  plan();
  expect_error(Status::invalid_argument, "x: got null", [&] { block.forward(nullptr, y.data()); });
  expect_error(Status::invalid_argument, "y: got null", [&] { block.forward(t.x.data(), nullptr); });
  expect_error(Status::invalid_argument, "overlaps", [&] { block.forward(y.data(), y.data()); });
  expect_error(Status::invalid_argument, "multiple of 4",
               [&] { block.forward(static_cast<const char*>(t.x.data()) + 2, y.data()); });
  forward();
  expect_error(Status::invalid_argument, "dy: got null",
               [&] { block.backward(t.x.data(), nullptr, dx.data()); });
  expect_error(Status::invalid_argument, "overlaps",
               [&] { block.backward(t.x.data(), dx.data(), dx.data()); });
  backward();  // nothing was done by the two before
  step();
}

// A backward is refused if weights were set after the forward whose results it would use.
TEST(Misuse, WeightsLoadedBetweenForwardAndBackward) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  Block& block = pair.block;
  const Tokens t = random_tokens(kDesc, 13, 4);
  plain::Tensor y(t.x.size(), false), dx(t.x.size(), false);
  const auto backward = [&] { block.backward(t.x.data(), t.dy.data(), dx.data()); };
  block.plan(13, t.ids.data(), t.gates.data());
  for (const bool loads_shared : {false, true}) {
    block.forward(t.x.data(), y.data());
    loads_shared ? block.load_shared({.down = pair.shared.down.data()})
                 : block.load_experts(4, 1, {.down = pair.experts.down.data()});
    expect_error(Status::wrong_order, "load of weights", backward);
    block.forward(t.x.data(), y.data());
    backward();
  }
}

TEST(Misuse, ResultsThatOverlap) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  Block& block = pair.block;
  const Tokens t = random_tokens(kDesc, 13, 4);
  std::vector<float> x(260), dy(260), y(260), dx(260), w(1320);
  block.plan(13, t.ids.data(), t.gates.data());
  block.forward(x.data(), y.data());
  for (float* const d_gates : {x.data() + 259, dy.data(), dx.data() + 200}) {
    expect_error(Status::invalid_argument, "d_gates: got memory that overlaps",
                 [&] { block.backward(x.data(), dy.data(), dx.data(), d_gates); });
  }
  const auto store = [&](Gradients to) {
    expect_error(Status::invalid_argument, "overlaps", [&] { block.store_experts(1, 2, to); });
  };
  store({.gate_up = w.data(), .down = w.data() + 879});  // two experts of [22, 20]
  store({.gate = w.data(), .up = w.data() + 439});       // of [11, 20]
  block.store_experts(1, 2, {.gate_up = w.data(), .down = w.data() + 880});
  Exchange exchange(context, kDesc);
  exchange.plan(13, t.ids.data(), t.gates.data());
  std::vector<float> rows(static_cast<size_t>(exchange.num_rows() * 20)), d_rows(rows.size());
  expect_error(Status::invalid_argument, "d_gates: got memory that overlaps d_rows",
               [&] { exchange.combine_backward(dy.data(), rows.data(), d_rows.data(), d_rows.data()); });
}

// A process may have no experts, and then no memory for their weights.
TEST(Misuse, NothingNeedsNoMemory) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  pair.block.load_experts(2, 0, {});
  pair.block.store_experts(2, 0, {});
  pair.expect_step(random_tokens(kDesc, 13, 4), 1e-5, 2e-5);
  pair.block.store_expert_gradients(2, 0, {});
  Stack stack(context, 2, 9, 11, DType::f32);
  stack.load(1, 0, nullptr, DType::f32, Order::in_out);
  stack.store(1, 0, nullptr, DType::f32, Order::in_out);
  pair.block.plan(0, nullptr, nullptr);
}

TEST(Misuse, WeightsThatDoNotFit) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  std::vector<float> w(3000);
  Block& block = pair.block;
  const auto load = [&](int first, int count, Weights weights) {
    return [&block, first, count, weights] { block.load_experts(first, count, weights); };
  };
  expect_error(Status::invalid_argument, "0 to 4", load(4, 2, {.down = w.data()}));
  expect_error(Status::invalid_argument, "0 to 4", load(-1, 1, {.down = w.data()}));
  expect_error(Status::invalid_argument, "0 to 4", load(0, -1, {.down = w.data()}));
  expect_error(Status::invalid_argument, "null", load(0, 1, {}));
  expect_error(Status::invalid_argument, "one of these two ways",
               load(0, 1, {.gate = w.data(), .gate_up = w.data()}));
  expect_error(Status::invalid_argument, "dtype",
               load(0, 1, {.down = w.data(), .dtype = static_cast<DType>(7)}));
  expect_error(Status::invalid_argument, "order",
               load(0, 1, {.down = w.data(), .order = static_cast<Order>(7)}));
  BlockDesc desc = kDesc;
  desc.shared_dim = 0;
  Block without(context, desc);
  expect_error(Status::invalid_argument, "shared expert", [&] { without.load_shared({.down = w.data()}); });
  pair.expect_step(random_tokens(kDesc, 13, 4), 1e-5, 2e-5);
}

TEST(Misuse, BackwardOfABlockForForwardAlone) {
  BlockDesc desc = kDesc;
  desc.training = false;
  Pair pair(two_devices(), desc, 3);
  const Tokens t = random_tokens(desc, 13, 4);
  plain::Tensor dx(t.x.size(), false);
  pair.expect_step(t, 1e-5, 2e-5);
  expect_error(Status::wrong_order, "training",
               [&] { pair.block.backward(t.x.data(), t.dy.data(), dx.data()); });
}

TEST(Misuse, SizesThatNoMemoryHas) {
  const Context context = two_devices();
  const auto expect = [&](auto change) {
    BlockDesc desc = kDesc;
    change(desc);
    expect_error(Status::out_of_memory, "up to 2^50", [&] { Block block(context, desc); });
  };
  BlockDesc huge = kDesc;
  huge.hidden = huge.mlp_dim = 2147483647;
  expect_error(Status::out_of_memory, "up to 2^50", [&] { suggest(context, huge, 1); });
  expect([](BlockDesc& d) { d.hidden = d.mlp_dim = 2147483647; });
  expect([](BlockDesc& d) { d.hidden = d.shared_dim = 2147483647; });
  expect([](BlockDesc& d) { d.hidden = 2147483647, d.max_tokens = 700000000; });
  // Rows and weights of experts have the width latent_dim.
  expect([](BlockDesc& d) { d.latent_dim = d.mlp_dim = 2147483647; });
  expect([](BlockDesc& d) { d.latent_dim = 2147483647, d.max_tokens = 700000000; });
  expect([](BlockDesc& d) { d.latent_dim = d.hidden = 2147483647; });
  expect_error(Status::out_of_memory, "memory",
               [&] { Stack stack(context, 65536, 2147483647, 2147483647, DType::bf16); });
  expect_error(Status::out_of_memory, "memory", [&] {
    Exchange exchange(context, {.hidden = 2147483647, .experts = 5, .topk = 3, .max_tokens = 700000000});
  });
}

TEST(Misuse, MemoryOfWeightsThatIsNotAligned) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  std::vector<float> w(3000);
  const void* const odd = reinterpret_cast<const char*>(w.data()) + 2;
  expect_error(Status::invalid_argument, "down: got", [&] { pair.block.load_experts(0, 1, {.down = odd}); });
  Stack stack(context, 1, 9, 11, DType::f32);
  expect_error(Status::invalid_argument, "data: got",
               [&] { stack.load(0, 1, odd, DType::f32, Order::in_out); });
  expect_error(Status::invalid_argument, "expert_ids: got the address",
               [&] { pair.block.plan(1, static_cast<const int32_t*>(odd), w.data()); });
  expect_error(Status::invalid_argument, "gates: got the address",
               [&] { pair.block.plan(1, std::vector<int32_t>(3).data(), static_cast<const float*>(odd)); });
  const int64_t offsets[] = {0, 1};
  expect_error(Status::invalid_argument, "index: got the address", [&] {
    stack.forward(offsets, {w.data(), 1, static_cast<const int32_t*>(odd)}, w.data() + 9);
  });
}

// These numbers are no constants of an enum. The functions take integers, so passing them is not undefined
// behaviour.
TEST(Misuse, ConstantsThatNobodyKnows) {
  const Context context = two_devices();
  const auto dtype = static_cast<DType>(7);
  const auto order = static_cast<Order>(-7);
  std::vector<float> w(99);
  expect_error(Status::invalid_argument, "dtype: got 7", [&] { Stack stack(context, 1, 9, 11, dtype); });
  Stack stack(context, 1, 9, 11, DType::f32);
  const auto load = [&](DType d, Order o) { return [&, d, o] { stack.load(0, 1, w.data(), d, o); }; };
  const auto store = [&](DType d, Order o) { return [&, d, o] { stack.store(0, 1, w.data(), d, o); }; };
  expect_error(Status::invalid_argument, "dtype of the data: got 7", load(dtype, Order::in_out));
  expect_error(Status::invalid_argument, "order: got -7", load(DType::f32, order));
  expect_error(Status::invalid_argument, "dtype of the data: got 7", store(dtype, Order::in_out));
  expect_error(Status::invalid_argument, "order: got -7", store(DType::f32, order));
  EXPECT_STREQ(moehill_status_name(99), "unknown status");
  EXPECT_STREQ(moehill_status_name(MOEHILL_FORKED), "forked");
}

TEST(Misuse, HardwareThatNobodyKnows) {
  for (const int devices : {1, 2}) {
    const Context context({.devices = devices, .threads_per_device = 1});
    expect_error(Status::invalid_argument, "hardware: got", [&] { suggest(context, kDesc, 13, "no such"); });
  }
}

// A NaN in x changes only its token's row of y. A NaN among gate values of choices that no expert gets is not
// read.
TEST(Misuse, NotANumberStaysWithItsToken) {
  const Context context = two_devices();
  for (const Path path : {Path::compact_psum, Path::ring_ag_rs, Path::ragged_a2a, Path::fused}) {
    BlockDesc desc = kDesc;
    desc.path = path;
    Pair pair(context, desc, 3);
    Tokens t = random_tokens(desc, 13, 4);
    t.ids[5] = -1;  // of token 1
    t.gates[5] = NAN;
    pair.block.plan(13, t.ids.data(), t.gates.data());
    plain::Tensor y(t.x.size(), false), spoilt(t.x.size(), false);
    pair.block.forward(t.x.data(), y.data());
    for (size_t i = 0; i < y.size(); ++i) EXPECT_TRUE(std::isfinite(y.at(i)));
    t.x.set(7 * 20 + 3, NAN);
    pair.block.forward(t.x.data(), spoilt.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const bool same = i / 20 == 7 ? std::isnan(spoilt.at(i)) : spoilt.at(i) == y.at(i);
      EXPECT_TRUE(same) << i;
    }
  }
}

TEST(Misuse, GateValuesThatAreNotFiniteAreRefusedWithTheToken) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  Tokens t = random_tokens(kDesc, 13, 4);
  const size_t slot = static_cast<size_t>(7 * kDesc.topk + 1);
  for (const float bad : {NAN, -NAN, HUGE_VALF, -HUGE_VALF}) {
    t.gates[slot] = bad;
    expect_error(Status::invalid_argument, "gates: got ",
                 [&] { pair.block.plan(13, t.ids.data(), t.gates.data()); });
    try {
      pair.block.plan(13, t.ids.data(), t.gates.data());
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("for token 7"), std::string::npos) << error.what();
    }
  }
}

// A forked child destroys the objects that it inherited, without waiting for threads that exist only in its
// parent, and makes objects of its own.
TEST(Misuse, AForkedChildDestroysWhatItInherited) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer of threads lets no thread start after a fork";
#endif
  const pid_t child = [] {
    std::optional<Context> context(two_devices());
    std::optional<Pair> pair;
    pair.emplace(*context, kDesc, 3);
    std::optional<Exchange> exchange;
    exchange.emplace(*context, kDesc);
    std::optional<Stack> stack;
    stack.emplace(*context, 1, 9, 11, DType::f32);
    pair->expect_step(random_tokens(kDesc, 13, 4), 1e-5, 2e-5);
    const pid_t forked = fork();
    if (forked != 0) return forked;
    alarm(60);
    context.reset();
    pair.reset();
    exchange.reset();
    stack.reset();
    Pair own(two_devices(), kDesc, 3);
    own.expect_step(random_tokens(kDesc, 13, 4), 1e-5, 2e-5);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }();
  ASSERT_GT(child, 0);
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
}

TEST(Misuse, AForkedChildIsTold) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  const Tokens t = random_tokens(kDesc, 13, 4);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const moehill_status status = moehill_block_plan(pair.block.handle(), 13, t.ids.data(), t.gates.data());
    const bool said = std::string(moehill_last_error()).find("fork") != std::string::npos;
    _exit(status == MOEHILL_FORKED && said ? 0 : 1);
  }
  int ended = 0;
  ASSERT_EQ(waitpid(child, &ended, 0), child);
  EXPECT_TRUE(WIFEXITED(ended) && WEXITSTATUS(ended) == 0);
  pair.expect_step(t, 1e-5, 2e-5);
}

TEST(Misuse, ErrorsAreOfTheirThread) {
  EXPECT_EQ(moehill_block_forward(nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  const std::string here = moehill_last_error();
  EXPECT_NE(here, "");
  std::thread([] {
    EXPECT_EQ(std::string(moehill_last_error()), "");
    EXPECT_EQ(moehill_gemm_forward(nullptr, nullptr, nullptr, nullptr), MOEHILL_INVALID_ARGUMENT);
  }).join();
  EXPECT_EQ(here, moehill_last_error());
}

// Threads of the caller use a context each, or all use one; two threads use one block.
TEST(Threads, WorkAtOnceOnContextsOfTheirOwn) {
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([i] {
      const Context context = i == 0 ? Context(ContextOptions::callers_thread()) : two_devices();
      Pair pair(context, kDesc, i);
      for (uint32_t step = 0; step < 5; ++step)
        pair.expect_step(random_tokens(kDesc, 13 - step, step), 1e-5, 2e-5);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, TakeTurnsOnOneContext) {
  const Context context = two_devices();
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([i, &context] {
      Pair pair(context, kDesc, i);
      for (uint32_t step = 0; step < 5; ++step)
        pair.expect_step(random_tokens(kDesc, 13 - step, step), 1e-5, 2e-5);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Threads, OneBlockServesTwoForwardAlone) {
  const Context context = two_devices();
  Pair pair(context, kDesc, 3);
  const Tokens t = random_tokens(kDesc, 13, 4);
  const plain::Values expected = pair.moe.run(13, t.x.values(), t.ids, t.gates, nullptr).y;
  pair.block.plan(13, t.ids.data(), t.gates.data());
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([&] {
      for (int step = 0; step < 20; ++step) {
        plain::Tensor y(t.x.size(), false);
        pair.block.forward(t.x.data(), y.data());
        EXPECT_LE(plain::difference(y.values(), expected), 1e-5);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace moehill_test
