// Tests the public interface over a communicator of the program's own: every path, with different tokens in
// each process, against the plain block of all tokens; and mistakes of one process, about which all of them
// are told.
//
//     mpirun -n 3 mpi_library    # exit status 0 if all is right
#include <mpi.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "examples/plain_moe.h"
#include "moehill/moehill.hpp"

namespace {

using namespace moehill;

int rank = 0, size = 1, failures = 0;

void expect(bool holds, const char* what, int detail = 0) {
  if (holds) return;
  ++failures;
  std::fprintf(stderr, "rank %d of %d: %s does not hold (%d)\n", rank, size, what, detail);
}

struct Tokens {
  plain::Values x, dy;
  std::vector<int32_t> ids;
  std::vector<float> gates;
};

// Returns the tokens of all processes, on each of them.
Tokens make_tokens(const BlockDesc& d, int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Tokens t;
  const auto draw = [&](plain::Values& v) {
    for (int64_t i = 0; i < count * d.hidden; ++i) v.push_back(static_cast<double>(normal(random)));
  };
  draw(t.x);
  draw(t.dy);
  for (int64_t i = 0; i < count * d.topk; ++i) {
    t.ids.push_back(random() % 7 == 0
                        ? -1
                        : static_cast<int32_t>(random() % static_cast<uint32_t>(d.experts + d.zero_experts)));
    t.gates.push_back(normal(random));
  }
  return t;
}

std::vector<float> narrow(const plain::Values& v, int64_t begin, int64_t end) {
  std::vector<float> part;
  for (int64_t i = begin; i < end; ++i) part.push_back(static_cast<float>(v[static_cast<size_t>(i)]));
  return part;
}

bool are_near(const std::vector<float>& got, const plain::Values& expected, int64_t begin) {
  const plain::Values part(expected.begin() + begin,
                           expected.begin() + begin + static_cast<int64_t>(got.size()));
  plain::Values wide;
  for (const float g : got) wide.push_back(static_cast<double>(g));
  double scale = 1e-3;
  for (const double e : expected) scale = std::max(scale, std::fabs(e));
  for (size_t i = 0; i < wide.size(); ++i) {
    if (!(std::fabs(wide[i] - part[i]) <= 3e-5 * scale)) return false;
  }
  return true;
}

plain::Moe make_moe(const BlockDesc& d) {
  plain::Moe moe;
  moe.sizes = {d.hidden, d.mlp_dim, d.experts, d.topk, d.shared_dim};
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 0.25f);
  const auto draw = [&](int64_t n) {
    plain::Values v;
    for (int64_t i = 0; i < n; ++i) v.push_back(static_cast<double>(normal(random)));
    return v;
  };
  const auto mlp = [&](int64_t width) {
    return plain::Mlp{draw(width * d.hidden), draw(width * d.hidden), draw(width * d.hidden)};
  };
  moe.form.activation = static_cast<plain::Form::Activation>(d.activation);
  for (int e = 0; e < d.experts; ++e) {
    moe.experts.push_back(mlp(d.mlp_dim));
    if (!d.biases) continue;
    moe.experts.back().gate_bias = draw(d.mlp_dim);
    moe.experts.back().up_bias = draw(d.mlp_dim);
    moe.experts.back().down_bias = draw(d.hidden);
  }
  moe.shared = mlp(d.shared_dim);
  if (d.shared_gate) moe.shared.shared_gate = draw(d.hidden);
  return moe;
}

// Calls use(data, its place in Weights or Gradients) for each tensor of an MLP.
template <typename Struct, typename Mlp, typename Use>
void for_each_tensor(Struct& s, Mlp& mlp, const Use& use) {
  use(mlp.gate, s.gate);
  use(mlp.up, s.up);
  use(mlp.down, s.down);
  use(mlp.gate_bias, s.gate_bias);
  use(mlp.up_bias, s.up_bias);
  use(mlp.down_bias, s.down_bias);
  use(mlp.shared_gate, s.shared_gate);
}

void load(Block& block, const plain::Moe& moe) {
  const auto weights = [](const plain::Mlp& m, auto&& use) {
    Weights w;
    std::vector<std::vector<float>> all;
    for_each_tensor(w, m, [&](const plain::Values& values, const void*& place) {
      if (values.empty()) return;
      all.push_back(narrow(values, 0, static_cast<int64_t>(values.size())));
      place = all.back().data();
    });
    use(w);
  };
  for (int e = block.first_expert(); e < block.first_expert() + block.num_experts(); ++e)
    weights(moe.experts[static_cast<size_t>(e)], [&](const Weights& w) { block.load_experts(e, 1, w); });
  weights(moe.shared, [&](const Weights& w) { block.load_shared(w); });
}

void expect_mlp(const plain::Mlp& expected, const char* what, auto&& store) {
  Gradients g;
  std::vector<std::vector<float>> got;
  for_each_tensor(g, expected, [&](const plain::Values& values, void*& place) {
    if (values.empty()) return;
    got.emplace_back(values.size());
    place = got.back().data();
  });
  store(g);
  size_t next = 0;
  for_each_tensor(g, expected, [&](const plain::Values& values, void*&) {
    if (values.empty()) return;
    expect(are_near(got[next], values, 0), what, static_cast<int>(next));
    ++next;
  });
}

// Runs a step and compares it with the plain block. The tokens of process r begin at offsets[r].
void check_step(Block& block, const plain::Moe& moe, const BlockDesc& d,
                const std::vector<int64_t>& offsets) {
  const int64_t all = offsets.back();
  const Tokens t = make_tokens(d, all, static_cast<uint32_t>(all) + 3);
  const plain::Result expected = moe.run(all, t.x, t.ids, t.gates, &t.dy);
  const bool replicated = block.tokens_are_replicated();
  const int64_t begin = replicated ? 0 : offsets[static_cast<size_t>(rank)];
  const int64_t count = (replicated ? all : offsets[static_cast<size_t>(rank) + 1]) - begin;
  const std::vector<float> x = narrow(t.x, begin * d.hidden, (begin + count) * d.hidden);
  const std::vector<float> dy = narrow(t.dy, begin * d.hidden, (begin + count) * d.hidden);
  std::vector<float> y(x.size()), dx(x.size()), d_gates(static_cast<size_t>(count * d.topk));
  block.plan(count, t.ids.data() + begin * d.topk, t.gates.data() + begin * d.topk);
  block.forward(x.data(), y.data());
  block.backward(x.data(), dy.data(), dx.data(), d_gates.data());
  const int path = static_cast<int>(block.path());
  expect(are_near(y, expected.y, begin * d.hidden), "y", path);
  expect(are_near(dx, expected.dx, begin * d.hidden), "dx", path);
  expect(are_near(d_gates, expected.d_gates, begin * d.topk), "d_gates", path);
  for (int e = block.first_expert(); e < block.first_expert() + block.num_experts(); ++e) {
    expect_mlp(expected.d_experts[static_cast<size_t>(e)], "gradient of an expert",
               [&](const Gradients& g) { block.store_expert_gradients(e, 1, g); });
  }
  expect_mlp(expected.d_shared, "gradient of the shared expert",
             [&](const Gradients& g) { block.store_shared_gradients(g); });
}

std::vector<int64_t> offsets_of(const std::vector<int64_t>& counts) {
  std::vector<int64_t> offsets = {0};
  for (int r = 0; r < size; ++r)
    offsets.push_back(offsets.back() + counts[static_cast<size_t>(r) % counts.size()]);
  return offsets;
}

BlockDesc small_block() {
  return {.hidden = 12,
          .mlp_dim = 9,
          .experts = 5,
          .topk = 3,
          .shared_dim = 7,
          .max_tokens = 11,
          .dtype = DType::f32};
}

void check_paths(const Context& context, bool of_another_form) {
  BlockDesc d = small_block();
  if (of_another_form) {
    d.activation = Activation::swiglu_oai;
    d.biases = d.shared_gate = true;
    d.zero_experts = 2;
  }
  const plain::Moe moe = make_moe(d);
  for (const Path path : {Path::automatic, Path::data_parallel, Path::compact_psum, Path::dense_masked,
                          Path::ring_ag_rs, Path::ragged_a2a, Path::fused, Path::hierarchical}) {
    d.path = path;
    d.max_tokens = path == Path::compact_psum || path == Path::dense_masked ? 11 * size : 11;
    Block block(context, d);
    expect(block.path() != Path::automatic, "a path");
    load(block, moe);
    for (const std::vector<int64_t>& counts : {std::vector<int64_t>{11, 3, 0}, {0, 5}, {0}, {4, 11, 7}})
      check_step(block, moe, d, offsets_of(counts));
  }
}

template <typename Body>
bool fails_with(Status status, const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    if (error.status() == status) return true;
    std::fprintf(stderr, "rank %d: status %d: %s\n", rank, static_cast<int>(error.status()), error.what());
  }
  return false;
}

// The last process makes mistakes. The others are told, nobody waits, and the block can be used again.
void check_mistakes(const Context& context) {
  if (size == 1) return;
  BlockDesc d{.hidden = 12,
              .mlp_dim = 9,
              .experts = 5,
              .topk = 3,
              .shared_dim = 7,
              .max_tokens = 11,
              .dtype = DType::f32,
              .path = Path::fused};
  const plain::Moe moe = make_moe(d);
  const bool errs = rank == size - 1;
  const Status heard = errs ? Status::invalid_argument : Status::peer_failed;
  BlockDesc other = d;
  if (errs) other.hidden = -1;
  expect(fails_with(heard, [&] { Block block(context, other); }), "a bad description is heard of");
  other.hidden = errs ? 13 : 12;
  expect(fails_with(Status::invalid_argument, [&] { Block block(context, other); }), "descriptions differ");
  Block block(context, d);
  load(block, moe);
  const std::vector<int32_t> ids(33, errs ? 5 : 1);
  const std::vector<float> gates(33, 1), x(132, 1);
  std::vector<float> y(132);
  expect(fails_with(heard, [&] { block.plan(11, ids.data(), gates.data()); }), "bad ids are heard of");
  expect(fails_with(Status::wrong_order, [&] { block.forward(x.data(), y.data()); }), "no plan");
  const std::vector<int32_t> good(33, 1);
  block.plan(11, good.data(), gates.data());
  expect(fails_with(heard, [&] { block.forward(errs ? nullptr : x.data(), y.data()); }), "null is heard of");
  block.forward(x.data(), y.data());
  std::vector<float> dx(132);
  expect(fails_with(Status::wrong_order,
                    [&] {
                      errs ? block.plan(11, good.data(), gates.data())
                           : block.backward(x.data(), y.data(), dx.data());
                    }),
         "different calls");
  expect(fails_with(Status::wrong_order,
                    [&] {
                      if (!errs) return block.plan(11, good.data(), gates.data());
                      const Block unmade(context, d);
                    }),
         "a block that one process makes");
  Block twin(context, d);
  load(twin, moe);
  expect(fails_with(Status::wrong_order, [&] { (errs ? twin : block).plan(11, good.data(), gates.data()); }),
         "different blocks");
  check_step(block, moe, d, offsets_of({3, 11}));
  check_step(twin, moe, d, offsets_of({3, 11}));
}

void check_exchanges(const Context& context) {
  if (size == 1) return;
  const BlockDesc d{.hidden = 12, .experts = 5, .topk = 1, .max_tokens = 4, .dtype = DType::f32};
  Exchange one(context, d), other(context, d);
  const std::vector<int32_t> ids(4, 1);
  const std::vector<float> gates(4, 1), x(48, 2);
  for (Exchange* exchange : {&one, &other}) exchange->plan(4, ids.data(), gates.data());
  std::vector<float> rows(static_cast<size_t>(one.num_rows()) * 12), y(48);
  const auto dispatch = [&](Exchange& exchange) { exchange.dispatch(x.data(), rows.data()); };
  expect(fails_with(Status::wrong_order, [&] { dispatch(rank == size - 1 ? other : one); }),
         "different exchanges");
  dispatch(one);
  one.combine(rows.data(), y.data());
  expect(y == x, "an exchange after an error");
  // The last process has no tokens, and so no memory for their gradients.
  const int64_t count = rank == size - 1 ? 0 : 4;
  one.plan(count, ids.data(), gates.data());
  rows.resize(static_cast<size_t>(one.num_rows()) * 12);
  dispatch(one);
  std::vector<float> d_rows(rows.size()), d_gates(static_cast<size_t>(count));
  one.combine_backward(x.data(), rows.data(), d_rows.data(), d_gates.data());
  expect(d_gates == std::vector<float>(d_gates.size(), 48), "d_gates of an exchange");
  expect(d_rows == rows, "d_rows of an exchange");
  // Each process decides whether it wants them.
  d_gates.assign(d_gates.size(), 0);
  one.combine_backward(x.data(), rows.data(), d_rows.data(), rank == 0 ? d_gates.data() : nullptr);
  expect(d_gates == std::vector<float>(d_gates.size(), rank == 0 ? 48.0f : 0.0f), "d_gates of one process");
}

// A plan in which a process has no tokens leaves the gradients of the last backward as they are.
void check_gradients_stay(const Context& context) {
  BlockDesc d = small_block();
  const plain::Moe moe = make_moe(d);
  for (const Path path :
       {Path::data_parallel, Path::compact_psum, Path::ring_ag_rs, Path::ragged_a2a, Path::fused}) {
    d.path = path;
    Block block(context, d);
    load(block, moe);
    check_step(block, moe, d, offsets_of({3, 0}));
    const auto gradient = [&] {
      std::vector<float> down(static_cast<size_t>(d.hidden * d.shared_dim));
      block.store_shared_gradients({.down = down.data()});
      return down;
    };
    const std::vector<float> made = gradient();
    const int64_t count = rank == 0 || block.tokens_are_replicated() ? 0 : 2;
    const std::vector<int32_t> ids(6, 1);
    const std::vector<float> gates(6, 1);
    block.plan(count, ids.data(), gates.data());
    expect(gradient() == made, "gradients stay until the next backward", static_cast<int>(path));
  }
}

// A process without experts has no memory for their weights.
void check_few_experts(const Context& context) {
  Block block(context,
              {.hidden = 3, .mlp_dim = 2, .experts = 1, .topk = 1, .max_tokens = 1, .dtype = DType::f32});
  const int first = block.first_expert(), count = block.num_experts();
  std::vector<float> gate_up(static_cast<size_t>(count * 12), 1), down(static_cast<size_t>(count * 6), 1);
  block.load_experts(first, count, {.gate_up = gate_up.data(), .down = down.data()});
  block.store_experts(first, count, {.gate_up = gate_up.data(), .down = down.data()});
  expect(gate_up == std::vector<float>(gate_up.size(), 1), "weights of a process's experts");
  if (count > 0) return;
  std::string said;
  try {
    block.load_experts(0, 1, {.down = &count});
  } catch (const Error& error) {
    said = error.what();
  }
  expect(said.find("this process has no experts") != std::string::npos, "a process is told that it has none");
}

// If every process has all tokens, all processes must have given the same routing.
void check_replicated(const Context& context) {
  if (size == 1) return;
  const BlockDesc d{.hidden = 12,
                    .mlp_dim = 9,
                    .experts = 5,
                    .topk = 2,
                    .shared_dim = 7,
                    .max_tokens = 4,
                    .dtype = DType::f32,
                    .path = Path::compact_psum};
  const plain::Moe moe = make_moe(d);
  Block block(context, d);
  load(block, moe);
  const int32_t odd = rank == size - 1 ? 1 : 0;
  const std::vector<int32_t> ids(8, 1);
  std::vector<int32_t> other_ids = ids;
  other_ids[7] -= odd;
  const std::vector<float> gates(8, 1);
  std::vector<float> other_gates = gates;
  other_gates[0] -= static_cast<float>(odd);
  const auto differs = [&](int64_t count, const std::vector<int32_t>& i, const std::vector<float>& g) {
    expect(fails_with(Status::invalid_argument, [&] { block.plan(count, i.data(), g.data()); }),
           "another routing", static_cast<int>(count));
  };
  differs(4, other_ids, gates);
  differs(4, ids, other_gates);
  differs(3 - odd, ids, gates);
  check_step(block, moe, d, {0, 4});
}

// Between processes, only paths are considered on which each of them keeps its own tokens. One device has
// nothing to spread.
void check_suggestion(const Context& context) {
  const BlockDesc d{.hidden = 64, .mlp_dim = 32, .experts = 8, .topk = 2, .max_tokens = 64};
  const Suggestion s = suggest(context, d, 64);
  const int first = size == 1 ? 7 : static_cast<int>(Path::ring_ag_rs);
  for (int path = 0; path < 7; ++path)
    expect((s.seconds_of[static_cast<size_t>(path)] > 0) == (path >= first), "a path considered", path);
  expect(size > 1 || s.path == Path::data_parallel, "the path of one device");
}

}  // namespace

int main() {
  int level = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level);
  // The communicator differs from MPI_COMM_WORLD: its ranks are in reverse order.
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm comm = MPI_COMM_NULL;
  MPI_Comm_split(MPI_COMM_WORLD, 0, -rank, &comm);
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  {
    const Context context = Context::mpi(comm, {.threads_per_device = 1});
    expect(context.rank() == rank && context.num_processes() == size && context.num_devices() == size,
           "the context's rank");
    for (const bool of_another_form : {false, true}) check_paths(context, of_another_form);
    check_mistakes(context);
    check_exchanges(context);
    check_gradients_stay(context);
    check_few_experts(context);
    check_replicated(context);
    check_suggestion(context);
    const Context second = Context::mpi(MPI_COMM_SELF, {.threads_per_device = 2});
    Block alone(second, small_block());
    expect(alone.num_experts() == 5, "a context of one process has all experts");
  }
  MPI_Comm_free(&comm);
  int all = 0;
  MPI_Allreduce(&failures, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  MPI_Finalize();
  return all == 0 ? 0 : 1;
}
