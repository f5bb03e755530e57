// Tests of the public interface's block against the plain one (examples/plain_moe.h): every path, device
// count, type and recomputation, over steps with changing numbers of tokens.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "moehill/api/block_fixture.h"

namespace moehill_test {
namespace {

using namespace moehill;

constexpr Path kPaths[] = {Path::automatic,  Path::data_parallel, Path::compact_psum, Path::dense_masked,
                           Path::ring_ag_rs, Path::ragged_a2a,    Path::fused,        Path::hierarchical};

struct Tolerance {
  double forward, backward;
};
Tolerance tolerance_of(DType dtype) {
  return dtype == DType::f32 ? Tolerance{1e-5, 2e-5} : Tolerance{2e-2, 4e-2};
}

BlockDesc small(DType dtype, Path path, int64_t shared) {
  return {.hidden = 20,
          .mlp_dim = 11,
          .experts = 5,
          .topk = 3,
          .shared_dim = shared,
          .max_tokens = 13,
          .dtype = dtype,
          .path = path};
}

class EveryPath : public testing::TestWithParam<std::tuple<int, DType, int64_t>> {};

TEST_P(EveryPath, EqualsThePlainBlockInSteps) {
  const auto [devices, dtype, shared] = GetParam();
  const Context context({.devices = devices, .threads_per_device = devices == 1 ? 2 : 1});
  for (const Path path : kPaths) {
    SCOPED_TRACE(static_cast<int>(path));
    Pair pair(context, small(dtype, path, shared), 7);
    const auto [forward, backward] = tolerance_of(dtype);
    for (const int64_t tokens : {13, 4, 0, 1}) {
      SCOPED_TRACE(tokens);
      pair.expect_step(random_tokens(pair.d, tokens, static_cast<uint32_t>(100 + tokens)), forward, backward);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, EveryPath,
                         testing::Values(std::tuple(1, DType::f32, 9), std::tuple(2, DType::f32, 9),
                                         std::tuple(3, DType::f32, 0), std::tuple(7, DType::f32, 9),
                                         std::tuple(1, DType::bf16, 0), std::tuple(2, DType::bf16, 9),
                                         std::tuple(7, DType::bf16, 9)));

TEST(Block, KeepsLessAndGivesTheSame) {
  const Context context({.devices = 2, .threads_per_device = 1});
  for (const Recompute recompute : {Recompute::combine, Recompute::expert_mlp}) {
    for (const Path path : {Path::compact_psum, Path::fused}) {
      BlockDesc desc = small(DType::f32, path, 9);
      desc.recompute = recompute;
      Pair pair(context, desc, 3);
      for (const int64_t tokens : {13, 5}) pair.expect_step(random_tokens(desc, tokens, 4), 1e-5, 2e-5);
    }
  }
}

struct NamedForm {
  const char* name;
  void (*set)(BlockDesc&);
  friend void PrintTo(const NamedForm& form, std::ostream* out) { *out << form.name; }
};

// The limits are so low that many values exceed them.
constexpr NamedForm kForms[] = {
    {"silu, limit", [](BlockDesc& d) { d.limit = 0.6; }},
    {"swiglu_oai, biases",
     [](BlockDesc& d) { d.activation = Activation::swiglu_oai, d.limit = 0.7, d.biases = true; }},
    {"gelu_tanh, shared_gate",
     [](BlockDesc& d) { d.activation = Activation::gelu_tanh, d.shared_gate = true; }},
    {"relu2, input_weighted",
     [](BlockDesc& d) { d.activation = Activation::relu2, d.input_weighted = true; }},
    {"ungated relu2, biases, shared_gate",
     [](BlockDesc& d) {
       d.activation = Activation::relu2;
       d.gated = false;
       d.biases = d.shared_gate = true;
     }},
    {"zero experts", [](BlockDesc& d) { d.zero_experts = 3; }},
    {"situ", [](BlockDesc& d) { d.activation = Activation::situ, d.linear_beta = 2; }},
    {"swiglu_oai, alpha, shared_gate, input_weighted", [](BlockDesc& d) {
       d.activation = Activation::swiglu_oai;
       d.alpha = 1.1;
       d.shared_gate = d.input_weighted = true;
     }}};

class EveryForm : public testing::TestWithParam<std::tuple<NamedForm, int, DType>> {};

TEST_P(EveryForm, EqualsThePlainBlockOnEveryPath) {
  const auto [form, devices, dtype] = GetParam();
  const Context context({.devices = devices, .threads_per_device = devices == 1 ? 2 : 1});
  for (const Path path : kPaths) {
    for (const Recompute recompute : {Recompute::none, Recompute::combine, Recompute::expert_mlp}) {
      SCOPED_TRACE(testing::Message() << form.name << ", path " << static_cast<int>(path) << ", recompute "
                                      << static_cast<int>(recompute));
      BlockDesc desc = small(dtype, path, 9);
      desc.recompute = recompute;
      form.set(desc);
      Pair pair(context, desc, 7);
      auto [forward, backward] = tolerance_of(dtype);
      // Rounded to bf16, a g may end up on the other side of the limit, where the slope is different.
      if (desc.limit > 0 && dtype == DType::bf16) backward = 0.1;
      for (const int64_t tokens : {13, 0, 4}) {
        SCOPED_TRACE(tokens);
        pair.expect_step(random_tokens(desc, tokens, static_cast<uint32_t>(100 + tokens)), forward, backward);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, EveryForm,
                         testing::Combine(testing::ValuesIn(kForms), testing::Values(1, 3),
                                          testing::Values(DType::f32, DType::bf16)));

TEST(Block, ForwardAloneNeedsLessMemory) {
  const Context context({.devices = 2, .threads_per_device = 1});
  BlockDesc desc = small(DType::f32, Path::fused, 9);
  const int64_t trained = Block(context, desc).bytes();
  desc.training = false;
  Pair pair(context, desc, 3);
  EXPECT_LT(pair.block.bytes(), trained);
  EXPECT_EQ(pair.block.gradient_bytes(), 0);
  pair.expect_step(random_tokens(desc, 13, 4), 1e-5, 2e-5);
}

TEST(Block, MemoryNeedsNoMoreAlignmentThanItsElements) {
  const Context context({.devices = 2, .threads_per_device = 1});
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const Path path : {Path::compact_psum, Path::ring_ag_rs, Path::fused}) {
      Pair pair(context, small(dtype, path, 9), 3);
      const auto [forward, backward] = tolerance_of(dtype);
      pair.expect_step(random_tokens(pair.d, 13, 4, 1), forward, backward);
    }
  }
}

// A plan can be used for any number of passes; a backward belongs to the last forward.
TEST(Block, PlansAreReused) {
  const Context context({.devices = 2, .threads_per_device = 1});
  Pair pair(context, small(DType::f32, Path::fused, 9), 3);
  const Tokens one = random_tokens(pair.d, 13, 4);
  Tokens other = random_tokens(pair.d, 13, 5);
  other.ids = one.ids;
  other.gates = one.gates;
  pair.block.plan(13, one.ids.data(), one.gates.data());
  for (const Tokens* t : std::initializer_list<const Tokens*>{&one, &other, &one}) {
    const plain::Values dy = t->dy.values();
    const plain::Result expected = pair.moe.run(13, t->x.values(), t->ids, t->gates, &dy);
    plain::Tensor y(t->x.size(), false), dx(t->x.size(), false);
    pair.block.forward(t->x.data(), y.data());
    pair.block.forward(t->x.data(), y.data());
    pair.block.backward(t->x.data(), t->dy.data(), dx.data());
    EXPECT_LE(plain::difference(y.values(), expected.y), 1e-5);
    EXPECT_LE(plain::difference(dx.values(), expected.dx), 2e-5);
    pair.expect_gradients(expected, 2e-5);
  }
}

// A plan and a forward leave the gradients of the last backward as they are, even if there are fewer tokens
// than devices or none.
TEST(Block, GradientsStayUntilTheNextBackward) {
  for (const int devices : {1, 3}) {
    const Context context({.devices = devices, .threads_per_device = 1});
    for (const Path path : kPaths) {
      SCOPED_TRACE(static_cast<int>(path));
      Pair pair(context, small(DType::f32, path, 9), 3);
      const Tokens t = random_tokens(pair.d, 13, 4);
      pair.expect_step(t, 1e-5, 2e-5);
      const plain::Values dy = t.dy.values();
      const plain::Result expected = pair.moe.run(t.count, t.x.values(), t.ids, t.gates, &dy);
      for (const int64_t tokens : {1, 0}) {
        const Tokens next = random_tokens(pair.d, tokens, 5);
        plain::Tensor y(next.x.size(), false);
        pair.block.plan(next.count, next.ids.data(), next.gates.data());
        pair.block.forward(next.x.data(), y.data());
        pair.expect_gradients(expected, 2e-5);
      }
    }
  }
}

TEST(Block, GradientsBesideLatentExpertsStayToo) {
  const Context context(ContextOptions::callers_thread());
  BlockDesc desc = small(DType::f32, Path::automatic, 9);
  desc.latent_dim = 8;
  Block block(context, desc);
  const std::vector<float> gate_up(2 * 9 * 20, 0.1f), down(20 * 9, 0.1f);
  block.load_shared({.gate_up = gate_up.data(), .down = down.data()});
  const Tokens t = random_tokens(desc, 13, 4);
  plain::Tensor y(t.x.size(), false), dx(t.x.size(), false);
  const auto gradient = [&] {
    std::vector<float> values(down.size());
    block.store_shared_gradients({.down = values.data()});
    return values;
  };
  block.plan(t.count, t.ids.data(), t.gates.data());
  block.forward(t.x.data(), y.data());
  block.backward(t.x.data(), t.dy.data(), dx.data());
  const std::vector<float> made = gradient(), zeros(made.size());
  EXPECT_NE(made, zeros);
  block.plan(0, nullptr, nullptr);
  block.forward(nullptr, nullptr);
  EXPECT_EQ(gradient(), made);
  block.backward(nullptr, nullptr, nullptr);
  EXPECT_EQ(gradient(), zeros);
}

TEST(Block, TwoTakeTurnsOnOneContext) {
  const Context context({.devices = 2, .threads_per_device = 1});
  Pair one(context, small(DType::f32, Path::fused, 9), 3),
      two(context, small(DType::bf16, Path::ring_ag_rs, 0), 4);
  for (const int64_t tokens : {13, 2, 7}) {
    one.expect_step(random_tokens(one.d, tokens, 4), 1e-5, 2e-5);
    two.expect_step(random_tokens(two.d, tokens, 5), 2e-2, 4e-2);
  }
}

TEST(Block, OutlivesTheHandleOfItsContext) {
  std::optional<Context> context(ContextOptions{.devices = 2, .threads_per_device = 1});
  Pair pair(*context, small(DType::f32, Path::fused, 9), 3);
  context.reset();
  pair.expect_step(random_tokens(pair.d, 13, 4), 1e-5, 2e-5);
}

TEST(Block, GradientsAreAddedWhereThatIsWanted) {
  const Context context(ContextOptions::callers_thread());
  Pair pair(context, small(DType::f32, Path::automatic, 0), 3);
  pair.expect_step(random_tokens(pair.d, 13, 4), 1e-5, 2e-5);
  const size_t n = static_cast<size_t>(pair.d.experts * pair.d.mlp_dim * pair.d.hidden);
  std::vector<float> once(n), twice(n, 1.0f);
  pair.block.store_expert_gradients(0, pair.d.experts, {.down = once.data()});
  for (int i = 0; i < 2; ++i)
    pair.block.store_expert_gradients(0, pair.d.experts, {.down = twice.data(), .accumulate = true});
  for (size_t i = 0; i < n; ++i) EXPECT_FLOAT_EQ(twice[i], 1.0f + once[i] + once[i]);
}

// For every order and type of the caller's memory, the values stored back are those that were loaded.
TEST(Block, TakesWeightsInEveryOrder) {
  const Context context({.devices = 3, .threads_per_device = 1});
  const BlockDesc desc = small(DType::f32, Path::fused, 0);
  const size_t n = static_cast<size_t>(desc.mlp_dim * desc.hidden);
  const size_t m = static_cast<size_t>(desc.mlp_dim), h = static_cast<size_t>(desc.hidden);
  std::mt19937 random(5);
  plain::Tensor gate(n, true), up(n, true), down(n, true);
  for (plain::Tensor* t : {&gate, &up, &down}) plain::fill(*t, random, 1);
  for (const bool bf16 : {false, true}) {
    for (const bool apart : {false, true}) {
      Block block(context, desc);
      // x W, so [H, M]; both: [H, 2 M].
      plain::Tensor g(n, bf16), u(n, bf16), both(2 * n, bf16), d(n, bf16);
      for (size_t i = 0; i < m; ++i) {
        for (size_t c = 0; c < h; ++c) {
          g.set(c * m + i, gate.at(i * h + c));
          u.set(c * m + i, up.at(i * h + c));
          both.set(c * 2 * m + i, gate.at(i * h + c));
          both.set(c * 2 * m + m + i, up.at(i * h + c));
          d.set(i * h + c, down.at(c * m + i));
        }
      }
      const DType dtype = bf16 ? DType::bf16 : DType::f32;
      Weights w{.down = d.data(), .dtype = dtype, .order = Order::in_out};
      if (apart) {
        w.gate = g.data();
        w.up = u.data();
      } else {
        w.gate_up = both.data();
      }
      block.load_experts(3, 1, w);
      plain::Tensor back(2 * n, false), back_down(n, false), zero(n, false);
      block.store_experts(3, 1, {.gate_up = back.data(), .down = back_down.data()});
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(back.at(i), gate.at(i));
        ASSERT_EQ(back.at(n + i), up.at(i));
        ASSERT_EQ(back_down.at(i), down.at(i));
      }
      block.store_experts(2, 1, {.down = zero.data()});
      for (size_t i = 0; i < n; ++i) ASSERT_EQ(zero.at(i), 0);
    }
  }
}

// Biases are stored back as they were loaded, each for its expert, whether they are separate or in one array,
// f32 or bf16. Values that the caller does not give stay as they are.
TEST(Block, TakesVectorsApartOrInOne) {
  const Context context({.devices = 3, .threads_per_device = 1});
  BlockDesc desc = small(DType::bf16, Path::fused, 9);
  desc.biases = desc.shared_gate = true;
  const size_t m = static_cast<size_t>(desc.mlp_dim), h = static_cast<size_t>(desc.hidden);
  std::mt19937 random(5);
  for (const bool bf16 : {false, true}) {
    Block block(context, desc);
    const DType dtype = bf16 ? DType::bf16 : DType::f32;
    plain::Tensor both(2 * 2 * m, bf16), down(2 * h, bf16), gate(h, bf16), other(m, bf16);
    for (plain::Tensor* t : {&both, &down, &gate, &other}) plain::fill(*t, random, 1);
    block.load_experts(2, 2, {.dtype = dtype, .gate_up_bias = both.data(), .down_bias = down.data()});
    block.load_shared({.dtype = dtype, .shared_gate = gate.data()});
    block.load_experts(3, 1, {.dtype = dtype, .up_bias = other.data()});
    plain::Tensor g(2 * m, false), u(2 * m, false), d(2 * h, false), zero(m, false);
    block.store_experts(2, 2, {.gate_bias = g.data(), .up_bias = u.data(), .down_bias = d.data()});
    for (size_t i = 0; i < m; ++i) {
      ASSERT_EQ(g.at(i), both.at(i));
      ASSERT_EQ(u.at(i), both.at(m + i));
      ASSERT_EQ(g.at(m + i), both.at(2 * m + i));
      ASSERT_EQ(u.at(m + i), other.at(i));
    }
    ASSERT_EQ(d.values(), down.values());
    block.store_experts(1, 1, {.gate_bias = zero.data()});
    ASSERT_EQ(zero.values(), plain::Values(m));
  }
}

int64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t all = 0, resident = 0;
  statm >> all >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// In the routing that needs most memory, all tokens go to the experts of one device. It must stay within the
// announced size.
TEST(Block, TakesNoMoreMemoryThanItSays) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers' own memory is larger";
#endif
  for (const Path path : {Path::compact_psum, Path::ring_ag_rs, Path::ragged_a2a, Path::fused}) {
    const Context context({.devices = 2, .threads_per_device = 1});
    const BlockDesc desc{.hidden = 512,
                         .mlp_dim = 256,
                         .experts = 8,
                         .topk = 4,
                         .max_tokens = 2048,
                         .dtype = DType::f32,
                         .path = path};
    Tokens t = random_tokens(desc, desc.max_tokens, 1);
    for (size_t i = 0; i < t.ids.size(); ++i) t.ids[i] = static_cast<int32_t>(i % 4);
    plain::Tensor y(t.x.size(), false), dx(t.x.size(), false);
    for (plain::Tensor* result : {&y, &dx}) std::memset(result->data(), 1, t.x.size() * 4);
    const int64_t before = resident_bytes();
    Block block(context, desc);
    block.plan(t.count, t.ids.data(), t.gates.data());
    block.forward(t.x.data(), y.data());
    block.backward(t.x.data(), t.dy.data(), dx.data());
    const int64_t taken = resident_bytes() - before;
    EXPECT_LE(taken, block.bytes() + (int64_t{4} << 20))
        << static_cast<int>(path);  // huge pages are rounded up
    EXPECT_GE(taken, block.bytes() / 8) << static_cast<int>(path);
  }
}

// A block may have room for many more tokens than a step has. A step touches the rows of its own tokens only.
TEST(Block, AStepOfFewTokensTouchesFewRows) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizers' own memory is larger";
#endif
  const Context context(ContextOptions::callers_thread());
  const BlockDesc desc{.hidden = 16,
                       .mlp_dim = 8,
                       .experts = 2,
                       .topk = 1,
                       .shared_dim = 256,
                       .max_tokens = 1 << 16,
                       .dtype = DType::f32};
  Block block(context, desc);
  const Tokens t = random_tokens(desc, 1, 4);
  plain::Tensor y(t.x.size(), false), dx(t.x.size(), false);
  const int64_t before = resident_bytes();
  block.plan(t.count, t.ids.data(), t.gates.data());
  block.forward(t.x.data(), y.data());
  block.backward(t.x.data(), t.dy.data(), dx.data());
  // Three matrices of all rows of the shared expert have 192 MiB.
  EXPECT_LT(resident_bytes() - before, int64_t{64} << 20);
}

TEST(Suggest, NamesAPathThatWasPredictedToBeTheFastest) {
  const Context context({.devices = 2, .threads_per_device = 1});
  const BlockDesc desc{.hidden = 256, .mlp_dim = 128, .experts = 8, .topk = 2, .max_tokens = 512};
  const Suggestion s = suggest(context, desc, 512);
  EXPECT_NE(s.path, Path::automatic);
  EXPECT_GT(s.seconds, 0);
  for (const double seconds : s.seconds_of) EXPECT_TRUE(seconds == 0 || seconds >= s.seconds);
  EXPECT_EQ(Block(context, desc).path(), s.path);
}

// Threads of one process may all have the same tokens. What is considered between processes is a test of
// tests/mpi_library.cc.
TEST(Suggest, ConsidersThePathsThatItsCommentNames) {
  const Context context({.devices = 2, .threads_per_device = 1});
  BlockDesc desc{.hidden = 256, .mlp_dim = 128, .experts = 8, .topk = 2, .max_tokens = 512};
  for (const int64_t latent : {0, 64}) {
    desc.latent_dim = latent;
    const Suggestion s = suggest(context, desc, 512);
    const std::vector<bool> considered = {false, false, latent == 0, false, true, true, true};
    for (size_t path = 0; path < considered.size(); ++path)
      EXPECT_EQ(s.seconds_of[path] > 0, considered[path]) << path << ", latent_dim " << latent;
  }
}

// Three of four choices go to zero experts, which have no rows.
TEST(Suggest, ChoicesOfZeroExpertsTakeNoTimeOfExperts) {
  const Context context({.devices = 2, .threads_per_device = 1});
  BlockDesc desc{.hidden = 256, .mlp_dim = 128, .experts = 8, .topk = 2, .max_tokens = 512};
  const Suggestion all_rows = suggest(context, desc, 512);
  desc.zero_experts = 24;
  const Suggestion few_rows = suggest(context, desc, 512);
  EXPECT_GT(few_rows.seconds, 0);
  EXPECT_LT(few_rows.seconds, 0.8 * all_rows.seconds);
}

TEST(Suggest, DoesNotReadThePath) {
  const Context context({.devices = 2, .threads_per_device = 1});
  BlockDesc desc{.hidden = 256, .mlp_dim = 128, .experts = 8, .topk = 2, .max_tokens = 512};
  const Path path = suggest(context, desc, 512).path;
  for (const int any : {static_cast<int>(Path::compact_psum), 99}) {
    desc.path = static_cast<Path>(any);
    EXPECT_EQ(suggest(context, desc, 512).path, path) << any;
  }
}

}  // namespace
}  // namespace moehill_test
