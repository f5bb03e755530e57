// Tests of bad input to `moehill bench`: every line is refused in one sentence that says what is wrong, what
// it got, what is allowed, and a remedy.
#include "moehill/cli/bench_options.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/refusal_fixture.h"
#include "moehill/cli/command_fixture.h"
#include "moehill/cli/presets.h"
#include "moehill/measure/points.h"

namespace moehill {
namespace {

// Parses and expands the line on a machine of 4 cores. Returns the refusal, or "accepted".
std::string outcome(const std::vector<std::string>& args) {
  try {
    expand_points(*parse_bench_options(args), 4);
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

struct BadLine {
  const char* line;
  std::vector<std::string> fragments;
};

const BadLine kBadLines[] = {
    {"--token 5", {"unknown option", "'--token'", "did you mean --tokens?"}},
    {"--bench-past forward", {"did you mean --bench-pass?"}},
    {"--parallel-mod=ep", {"did you mean --parallel-mode?"}},
    {"--fualt none", {"unknown option", "moehill bench --help"}},
    {"forward", {"stray argument", "'forward'"}},
    {"--tokens", {"--tokens", "no value"}},
    {"--tokens=", {"--tokens", "no value"}},
    {"--tokens= 5", {"--tokens", "no value"}},
    {"--tokens --hidden 5", {"--tokens", "no value"}},
    {"--tokens 64 --tokens 128", {"--tokens", "twice", "leave one of them out"}},
    {"--shared-fused=0", {"--shared-fused", "'0'", "flag"}},
    {"--tokens 8x", {"--tokens", "'8x'", "an integer from 1 to 2147483647", "digits"}},
    {"--tokens x8", {"'x8'"}},
    {"--tokens -1", {"'-1'"}},
    {"--tokens 0", {"'0'"}},
    {"--tokens +5", {"'+5'"}},
    {"--tokens 0x10", {"'0x10'"}},
    {"--tokens 1e3", {"'1e3'"}},
    {"--tokens 5.0", {"'5.0'"}},
    {"--tokens nan", {"'nan'"}},
    {"--tokens 9223372036854775808", {"'9223372036854775808'", "2147483647"}},
    {"--tokens 18446744073709551617", {"allowed"}},
    {"--hidden 0", {"--hidden"}},
    {"--mlp-dim none", {"--mlp-dim"}},
    {"--experts 65537", {"--experts", "65536"}},
    {"--shared-expert-dim -5", {"--shared-expert-dim", "from 0"}},
    {"--topk 61", {"--topk", "got 61", "60, the number of experts"}},
    {"--topk-list 2,61", {"--topk", "got 61"}},
    {"--topk-list 2,,8", {"--topk-list", "''"}},
    {"--blocks bt=64,", {"--blocks", "''", "bt=64,bf=1024"}},
    {"--blocks bt=x", {"--blocks bt", "digits alone, such as 1"}},
    {"--blocks bt=64,bt=128", {"--blocks", "bt is given twice"}},
    {"--topk-list 2,8,", {"--topk-list"}},
    {"--topk-list 2,2", {"second 2"}},
    {"--topk 2 --topk-list 2,8", {"--topk", "with --topk-list"}},
    {"--preset qwen1.5", {"--preset", "qwen3-30b-a3b"}},
    {"--preset kimi-k3 --parallel-mode ep --ep-path compact_psum",
     {"--ep-path", "latent", "ring_ag_rs, ragged_a2a, fused or hierarchical"}},
    {"--preset kimi-k3 --parallel-mode dp",
     {"--parallel-mode", "latent", "ring_ag_rs, ragged_a2a, fused or hierarchical"}},
    {"--preset olmoe-1b-7b --config c.json", {"--config", "with --preset"}},
    {"--config /nonexistent/c.json", {"--config: got '/nonexistent/c.json'", "no such file"}},
    {"--layer 3", {"--layer", "needs --weights or --config"}},
    {"--router softmx", {"--router", "'softmx'", "chosen-softmax, softmax, sigmoid"}},
    {"--router sigmoid,groups:7/2", {"--router", "7 groups of 60 experts"}},
    {"--router sigmoid,groups:30/1 --topk 4", {"--topk", "1 to 2 (the experts of 1 kept group)"}},
    {"--router sigmoid,input-weighted --impl preweight", {"--impl", "preweight", "input-weighted"}},
    {"--router sigmoid,input-weighted --expert-form silu,biases", {"--expert-form", "input-weighted"}},
    {"--router softmx", {"hash:IDS, in-step, product"}},
    {"--router softmax,in-step,in-step", {"--router", "in-step is given twice"}},
    {"--preset deepseek-v3 --experts 60 --topk 4", {"--router, --preset", "8 groups of 60 experts"}},
    {"--preset deepseek-v3 --capacity-policy drop --capacity-factor 1 --capacity-spares 1",
     {"--capacity-spares", "--router or --preset"}},
    {"--expert-form silo", {"--expert-form", "latent-norm:EPS, shared-gate; "}},
    {"--router-grad --balance-loss balance=1,balance=2", {"--balance-loss", "balance is given twice"}},
    {"--router-grad --balance-loss z=1,sequence=1:4,sequence=1:4", {"sequence is given twice"}},
    {"--capacity-order gate", {"--capacity-order needs --capacity-policy drop"}},
    {"--capacity-spares 1 --capacity-policy pad --capacity-factor 1", {"--capacity-spares needs"}},
    {"--router softmax,product", {"--router", "in-step"}},
    {"--router softmax,in-step,product --distribution runs", {"--distribution", "product"}},
    {"--router softmax,expert-scale,in-step,product", {"--router", "expert-scale"}},
    {"--router softmax,in-step,product --overlap --parallel-mode ep --ep-path fused",
     {"--overlap", "product"}},
    {"--router in-step --parallel-mode ep --ep-path compact_psum", {"compact_psum", "shards the tokens"}},
    {"--preset mixtral-8x7", {"did you mean --preset mixtral-8x7b?"}},
    {"--dtype f16", {"--dtype", "f32, bf16"}},
    {"--impl fused", {"--impl", "fused_w13"}},
    {"--backend blas", {"--backend", "gmm, ragged_dot"}},
    {"--distribution zipf", {"--distribution", "random|runs|both"}},
    {"--distribution zipf:", {"--distribution zipf", "''"}},
    {"--distribution zipf:11", {"--distribution zipf", "'11'"}},
    {"--distribution zipf:1,2", {"zipf:1.2"}},
    {"--distribution hot-experts:4", {"--distribution", "hot-experts:4,0.5"}},
    {"--distribution hot-experts:0,0.5", {"--distribution hot-experts", "'0'"}},
    {"--distribution hot-experts:61,0.5", {"61 hot of 60 experts"}},
    {"--distribution hot-experts:2,0.6", {"2 of 60 experts at top-k 4", "0 to 0.5", "smaller --topk"}},
    {"--distribution hot-experts:58,0.1 --topk 8", {"0.75 to 1"}},
    {"--distribution hot-device:1.5", {"'1.5'"}},
    {"--distribution hot-device:0.5 --devices 1", {"60 of 60 experts", "1 to 1"}},
    {"--distribution hot-device:0.5 --devices 61 --threads-per-device 1",
     {"60 experts over 61 devices", "at most 60 devices"}},
    {"--distribution balanced --devices 7 --threads-per-device 1", {"60 experts over 7 devices"}},
    {"--distribution zipf:1 --run-alpha 0.5", {"--run-alpha", "--distribution zipf:1"}},
    {"--run-alpha 0.5", {"--run-alpha", "--distribution random", "leave it out"}},
    {"--run-noise-scale 1", {"--run-noise-scale"}},
    {"--distribution runs --run-alpha nan", {"--run-alpha", "'nan'"}},
    {"--distribution runs --run-alpha 1", {"--run-alpha", "'1'"}},
    {"--distribution runs --run-alpha inf", {"'inf'"}},
    {"--distribution runs --run-noise-scale -1", {"'-1'"}},
    {"--distribution runs --run-noise-scale 1e999", {"'1e999'"}},
    {"--queue-mode prequeue", {"--queue-mode prequeue needs --bench-pass forward"}},
    {"--queue-mode both --bench-pass forward_backward", {"--queue-mode"}},
    {"--bench-pass forward --remat-mode combine", {"--remat-mode", "combine", "forward_backward"}},
    {"--bench-pass forward --router-grad",
     {"--router-grad needs a backward pass; use --bench-pass forward_backward"}},
    {"--shared-expert-dim 0 --shared-fused", {"--shared-fused", "needs a shared expert"}},
    {"--capacity-factor 1.25", {"--capacity-factor", "--capacity-policy drop or pad"}},
    {"--capacity-policy drop",
     {"--capacity-policy", "drop needs a --capacity-factor", "--capacity-factor 1.25"}},
    {"--capacity-policy pad --capacity-factor 0", {"needs a --capacity-factor"}},
    {"--capacity-policy pad --capacity-factor -1", {"--capacity-factor", "'-1'"}},
    {"--capacity-policy pad --capacity-factor 1000000", {"--capacity-factor", "rows"}},
    {"--ep-path dense_masked", {"--ep-path", "needs --parallel-mode ep", "add --parallel-mode ep"}},
    {"--parallel-mode ep --ep-path ring_ag_rs --shared-placement replicated", {"--shared-placement", "psum"}},
    {"--parallel-mode ep --ep-path ragged_a2a --ring-split on", {"--ring-split", "ring_ag_rs"}},
    {"--ring-split off", {"--ring-split", "ring_ag_rs"}},
    {"--parallel-mode dp --ep-path ring_ag_rs", {"--ep-path", "--parallel-mode ep"}},
    {"--parallel-mode ep --ep-path fused --shared-placement replicated", {"--shared-placement", "psum"}},
    {"--wire fp8", {"--wire", "native, bf16, fp8+scales"}},
    {"--waves 2", {"--waves needs --ep-path fused"}},
    {"--waves 2 --parallel-mode ep --ep-path ragged_a2a", {"--waves needs --ep-path fused"}},
    {"--waves 0 --parallel-mode ep --ep-path fused", {"--waves", "'0'"}},
    {"--waves 3 --parallel-mode ep --ep-path fused --devices 2 --experts 4 --topk 2",
     {"--waves", "got 3", "1 to 2, the experts of a device"}},
    {"--waves 2 --parallel-mode ep --ep-path fused --devices 2 --impl fast",
     {"--waves", "got 2", "rows cannot be cut", "--impl fused_w13"}},
    {"--wire fp8+scales --devices 4 --nodes 2", {"--wire", "needs --parallel-mode ep"}},
    {"--wire fp8+scales --parallel-mode dp --devices 4 --nodes 2", {"--wire", "needs --parallel-mode ep"}},
    {"--wire fp8+scales --parallel-mode ep --devices 4", {"--wire", "on one node", "add --nodes"}},
    {"--wire fp8+scales --parallel-mode ep --ep-path ring_ag_rs --devices 4 --nodes 2",
     {"--wire", "with ring_ag_rs", "ragged_a2a, fused or hierarchical"}},
    {"--wire bf16 --parallel-mode ep --devices 4 --nodes 2", {"--wire", "with --dtype bf16", "fp8+scales"}},
    {"--parallel-mode pp", {"--parallel-mode", "none, dp, ep, both"}},
    {"--mesh sockets", {"--mesh", "threads", "mpi"}},
    {"--devices 2 --none-threads 2", {"--none-threads", "--devices"}},
    {"--parallel-mode ep --none-threads 2", {"--none-threads", "--threads-per-device"}},
    {"--parallel-mode ep --devices 0", {"--devices", "from 1"}},
    {"--parallel-mode ep --devices 1000 --threads-per-device 1000", {"1000000", "at most 1024 threads"}},
    {"--shared-placement replicated", {"--shared-placement"}},
    {"--parallel-mode ep --shared-expert-dim 0 --shared-placement replicated", {"--shared-placement"}},
    {"--tokens 2147483647 --topk 2", {"tokens * topk", "2147483647"}},
    {"--hidden 2147483647 --mlp-dim 2147483647", {"hidden", "smaller"}},
    {"--tokens 1 --hidden 2000000000 --shared-expert-dim 2000000000 --mlp-dim 1",
     {"hidden * shared-expert-dim"}},
    {"--tokens 1 --hidden 1 --mlp-dim 16777216 --experts 64 --topk 1 --expert-form silu,latent:16777216",
     {"experts * latent * mlp-dim"}},
    {"--iters 0", {"--iters"}},
    {"--warmup -1", {"--warmup"}},
    {"--min-time -1", {"--min-time"}},
    {"--ci-target 2", {"--ci-target", "from 0 to 1"}},
    {"--seed 4294967296", {"--seed"}},
    {"--seed -1", {"--seed"}},
    {"--check some", {"--check", "off, sample, full"}},
    {"--json", {"--json", "no value"}},
    {"--filter (", {"--filter", "regular expression"}},
    {"--filter nobody", {"--filter", "'nobody'", "a part of a point's name: none"}},
    {"-L topk", {"-L: got 'topk' alone", "AXIS VALUES", "write both after -L"}},
    {"-L tokens=1..", {"-L: got 'tokens=1..' alone"}},
    {"-L", {"-L: got no value"}},
    {"--parameter-list topk --iters 1", {"--parameter-list: got 'topk' alone"}},
    {"-L seed 1,2", {"-L: got 'seed'", "tokens, hidden"}},
    {"-L checked a.jsonl", {"-L: got 'checked'"}},
    {"--check off --checked a.jsonl", {"--checked needs --check sample or full"}},
    {"--checked a.jsonl --checked b.jsonl", {"--checked is given twice"}},
    {"-L topk 2,x", {"--topk", "'x'"}},
    {"-L topk 2,4 --topk 2", {"--topk is given twice"}},
    {"-L dtype f32 --weights w", {"--weights cannot be used with -L"}},
    {"-L dtype f32 --tokens auto", {"--tokens auto cannot be used with -L"}},
    {"-L tokens 128,auto", {"--tokens auto cannot be used with -L"}},
    {"-L point tokens=64 -L point tokens=auto", {"--tokens auto cannot be used with -L"}},
    {"-L point topk", {"--topk", "no value"}},
    {"-L point seed=2", {"-L: got 'seed'"}},
    {"-L blocks bt=64,bt=128", {"-L blocks: got 'bt=64,bt=128'", "-L point 'blocks="}},
    {"-L point blocks=bt=64 -L point blocks=bt=x", {"--blocks bt"}},
    {"-L point parallel_mode=ep -L point ring_split=on", {"--ring-split", "ring_ag_rs"}},
    {"-L point shared_fused=maybe", {"--shared-fused", "'maybe'"}},
};

TEST(BenchOptions, BadLinesAreRefusedWithReasons) {
  for (const BadLine& bad : kBadLines) {
    const std::string message = outcome(words(bad.line));
    EXPECT_NE(message, "accepted") << bad.line;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    for (const std::string& fragment : bad.fragments) {
      EXPECT_NE(message.find(fragment), std::string::npos)
          << bad.line << "\n  lacks: " << fragment << "\n  says: " << message;
    }
  }
}

TEST(BenchOptions, ValuesThatWordsCannotHold) {
  EXPECT_NE(outcome({"--tokens", ""}), "accepted");
  EXPECT_NE(outcome({"--tokens", " 5"}), "accepted");
  EXPECT_NE(outcome({"--tokens", "5 "}), "accepted");
  EXPECT_NE(outcome({"--tokens", "\xd9\xa3"}), "accepted") << "an Arabic digit";
  EXPECT_NE(outcome({"--json", ""}), "accepted");
  EXPECT_NE(outcome({"--dtype", "f32\n"}), "accepted");
  const std::string message = outcome({"--tokens", std::string(1 << 20, '9')});
  EXPECT_LT(message.size(), 400u);
}

TEST(BenchOptions, NeutralValuesAreNoErrors) {
  for (const char* line :
       {"--queue-mode full --remat-mode none --capacity-policy none --ep-path auto --parallel-mode none",
        "--capacity-factor 0", "--shared-expert-dim 0", "--parallel-mode none --devices 1",
        "--bench-pass forward --remat-mode none --queue-mode both", "--mesh threads",
        "--shared-placement sliced", "--tokens=64 --check=off", "--parallel-mode both --none-threads 3",
        "--distribution zipf:1.2", "--distribution balanced --devices 4", "--distribution hot-experts:4,0.5",
        "--wire native", "--wire bf16 --dtype f32 --parallel-mode both --devices 4 --nodes 2",
        "--distribution hot-device:0.9 --devices 2", "--distribution both --run-alpha 0.5", "--tokens auto",
        "--router softmax,zero:30 --topk 8 --distribution hot-experts:58,0.1"}) {
    EXPECT_EQ(outcome(words(line)), "accepted") << line;
  }
}

TEST(BenchOptions, DefaultsOfTheContract) {
  const BenchOptions o = *parse_bench_options({});
  EXPECT_EQ(o.impls, std::vector<Impl>{Impl::fused_w13});
  EXPECT_EQ(o.block.backend, Backend::gmm);
  EXPECT_EQ(o.block.pack, PackStrategy::counting_sort);
  EXPECT_EQ(o.queue_modes, std::vector<QueueMode>{QueueMode::full});
  EXPECT_EQ(o.block.pass, Pass::forward_backward);
  EXPECT_EQ(o.modes, std::vector<ParallelMode>{ParallelMode::none});
  EXPECT_EQ(o.shape.dtype, DType::bf16);
  EXPECT_EQ(o.schedule.iters, 5);
  EXPECT_EQ(o.schedule.warmup, 1);
  EXPECT_EQ(o.seed, 0u);
  EXPECT_EQ(o.check, CheckMode::sample);
  EXPECT_EQ(o.run_alpha, 0.98);
  EXPECT_EQ(o.run_noise_scale, 0.35);
}

TEST(BenchOptions, PresetFillsWhatSingleOptionsDoNotSay) {
  const BenchOptions o = *parse_bench_options(words("--mlp-dim 100 --preset mixtral-8x7b --topk 1"));
  EXPECT_EQ(o.shape.hidden, 4096);
  EXPECT_EQ(o.shape.mlp_dim, 100);
  EXPECT_EQ(o.shape.experts, 8);
  EXPECT_EQ(o.shape.topk, 1);
  EXPECT_EQ(o.shape.shared_dim, 0);
}

TEST(BenchOptions, TheRouterIsThePresetsUnlessItIsGiven) {
  const auto router = [](const std::string& line) {
    return to_string(parse_bench_options(words(line))->shape.router);
  };
  EXPECT_EQ(router(""), "chosen-softmax");
  EXPECT_EQ(router("--preset deepseek-v3 --experts 32"), "sigmoid,bias,groups:8/4,normalized,factor:2.5");
  EXPECT_EQ(router("--preset deepseek-v3 --router softmax,normalized"), "softmax,normalized");
  EXPECT_EQ(router("--preset deepseek-v3 --router in-step"), "sigmoid,bias,groups:8/4,normalized,factor:2.5");
  EXPECT_TRUE(parse_bench_options(words("--router sigmoid,in-step"))->block.route_in_step);
  EXPECT_FALSE(parse_bench_options(words("--router sigmoid"))->block.route_in_step);
  const BenchOptions phi = *parse_bench_options(words("--preset phi-3.5-moe"));
  ASSERT_EQ(phi.model_notes.size(), 1u);
  EXPECT_NE(phi.model_notes[0].find("sparsemixer"), std::string::npos);
}

TEST(BenchOptions, TheExpertFormIsThePresetsUnlessItIsGiven) {
  const auto form = [](const std::string& line) {
    return to_string(parse_bench_options(words(line))->shape.form);
  };
  EXPECT_EQ(form(""), "silu");
  EXPECT_EQ(form("--expert-form gelu-tanh"), "gelu-tanh");
  EXPECT_EQ(form("--preset gpt-oss-20b"), "swiglu-oai,limit:7,alpha:1.702,biases");
  EXPECT_EQ(form("--preset gpt-oss-20b --expert-form silu"), "silu");
  EXPECT_EQ(form("--preset qwen1.5-moe-a2.7b"), "silu,shared-gate");
  EXPECT_EQ(form("--preset qwen1.5-moe-a2.7b --shared-expert-dim 0"), "silu");
  EXPECT_EQ(form("--preset nemotron-3-nano"), "relu2,ungated");
}

TEST(BenchOptions, RefusesExpertFormsThatAreNone) {
  for (const char* line :
       {"--expert-form silly", "--expert-form silu,ungated", "--expert-form silu,latent-norm:1",
        "--expert-form silu,shared-gate --shared-expert-dim 0"}) {
    const std::string ends = outcome(words(line));
    EXPECT_NE(ends.find("--expert-form"), std::string::npos) << line << ": " << ends;
    EXPECT_TRUE(is_refusal(ends)) << line << ": " << ends;
  }
}

TEST(BenchOptions, ListsOfAnyAxisMakeAProductAndAFilterSelects) {
  const auto labels = [](const std::string& line) {
    std::vector<std::string> found;
    for (const Point& point : expand_points(*parse_bench_options(words(line)), 2))
      found.push_back(point.label);
    return found;
  };
  EXPECT_EQ(
      labels("-L dtype f32,bf16 -L remat-mode none,combine"),
      (std::vector<std::string>{"dtype=f32 remat-mode=none none", "dtype=f32 remat-mode=combine none",
                                "dtype=bf16 remat-mode=none none", "dtype=bf16 remat-mode=combine none"}));
  EXPECT_EQ(labels("-L dtype f32,bf16 --parallel-mode both --filter bf16.*ep$"),
            (std::vector<std::string>{"dtype=bf16 ep"}));
  const std::vector<Point> points = expand_points(
      *parse_bench_options(words("-L tokens 64,128 -L ep-path fused,ring_ag_rs --parallel-mode ep")), 2);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[3].config.shape.tokens, 128);
  EXPECT_EQ(points[3].config.spread, Spread::ring_ag_rs);
  EXPECT_EQ(points[3].axes,
            (std::vector<std::pair<std::string, std::string>>{{"tokens", "128"}, {"ep-path", "ring_ag_rs"}}));
}

// The option is for all points, and one of them does not take it.
TEST(BenchOptions, ARefusalOfSomeValuesNamesTheWayToGiveTheOptionToTheOthers) {
  const std::string remedy =
      "leave it out, or give it to single points: -L point \"ep_path=fused waves=2\" "
      "-L point \"ep_path=ragged_a2a\"";
  for (const char* line : {"--parallel-mode ep -L ep-path fused,ragged_a2a --waves 2",
                           "--waves=2 -L ep-path ragged_a2a,fused --parallel-mode ep"}) {
    const std::string ends = outcome(words(line));
    EXPECT_EQ(ends.find("--waves needs --ep-path fused"), 0u) << line << ": " << ends;
    EXPECT_NE(ends.find(remedy), std::string::npos) << line << ": " << ends;
  }
  EXPECT_EQ(outcome({"--parallel-mode", "ep", "-L", "point", "ep_path=fused waves=2", "-L", "point",
                     "ep_path=ragged_a2a"}),
            "accepted");
  const std::string all = outcome(words("--parallel-mode ep -L ep-path ring_ag_rs,ragged_a2a --waves 2"));
  EXPECT_NE(all.find("--waves needs"), std::string::npos) << all;
  EXPECT_EQ(all.find("-L point"), std::string::npos) << all << ": no value takes it";
  const std::string typo = outcome(words("-L topk 2,x"));
  EXPECT_EQ(typo.find("single points"), std::string::npos) << typo;
}

// Without its check before it is made, the product of these lists takes gigabytes.
TEST(BenchOptions, AProductOfManyPointsIsRefusedBeforeItIsMade) {
  std::string thousand = "1", more = "1";
  for (int i = 2; i <= 1000; ++i) thousand += fmt::format(",{}", i);
  for (int i = 2; i <= 30000; ++i) more += fmt::format(",{}", i);
  const std::string ends = outcome({"-L", "tokens", thousand, "-L", "hidden", more});
  EXPECT_NE(ends.find("got 30000000 combinations, allowed: at most 1024"), std::string::npos) << ends;
}

TEST(BenchOptions, SinglePointsStandInPlaceOfAProduct) {
  const std::vector<Point> points =
      expand_points(*parse_bench_options({"-L", "point", "topk=2 shared_fused=false", "-L", "point",
                                          "topk=4 shared_fused=true", "-L", "remat-mode", "none,combine"}),
                    2);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].label, "topk=2 shared-fused=false remat-mode=none none");
  EXPECT_EQ(points[3].label, "topk=4 shared-fused=true remat-mode=combine none");
  EXPECT_FALSE(points[1].config.block.shared_fused);
  EXPECT_TRUE(points[2].config.block.shared_fused);
  EXPECT_EQ(points[2].config.shape.topk, 4);
}

TEST(BenchOptions, SinglePointsHaveTheirOwnBlocksAndRing) {
  const std::string ring = "parallel_mode=ep ep_path=ring_ag_rs";
  const BenchOptions options =
      *parse_bench_options({"-L", "point", "blocks=bt=64,bf=512", "-L", "point", "", "-L", "point",
                            ring + " ring_split=on", "-L", "point", ring + " ring_split=off"});
  const std::vector<Point> points = expand_points(options, 2);
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[0].config.block.blocks.bt, 64);
  EXPECT_EQ(points[0].config.block.blocks.bf, 512);
  EXPECT_EQ(points[1].config.block.blocks, BlockSizes{});
  EXPECT_TRUE(points[2].config.split_rows);
  EXPECT_FALSE(points[3].config.split_rows);
  EXPECT_TRUE(own_options(options, points[0]).blocks_given);
  EXPECT_FALSE(own_options(options, points[1]).blocks_given);
}

TEST(BenchOptions, AReproIsTheCommandWithoutItsFiles) {
  EXPECT_EQ(
      parse_bench_options(words("--tokens 64 --shared-fused --json x --filter none --trace-dir d"))->repro,
      "moehill bench --tokens 64 --shared-fused");
  EXPECT_EQ(parse_bench_options(words("--tokens 64 -L dtype f32,bf16 --export-csv x"))->repro,
            "moehill bench --tokens 64 -L dtype f32,bf16");
}

TEST(BenchOptions, PresetsAreTheModels) {
  const BenchOptions o = *parse_bench_options(words("--preset qwen1.5-moe-a2.7b"));
  EXPECT_EQ((std::vector<int64_t>{o.shape.hidden, o.shape.mlp_dim, o.shape.experts, o.shape.topk,
                                  o.shape.shared_dim}),
            (std::vector<int64_t>{2048, 1408, 60, 4, 5632}));
  for (const std::string& name : preset_names()) {
    const Preset preset = load_preset(name);
    const bool runs = preset.block.left_out.empty() || preset.runs_without_left_out;
    const std::string ends = outcome({"--preset", name, "--tokens", "64"});
    if (runs) {
      EXPECT_EQ(ends, "accepted") << name;
    } else {
      EXPECT_NE(ends.find(preset.block.left_out.front().key), std::string::npos) << name << ": " << ends;
    }
  }
}

}  // namespace
}  // namespace moehill
