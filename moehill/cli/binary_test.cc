// Tests of the program itself: exit statuses, one-line errors, no output file after bad input, and the
// command lines of the reference logbook.
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <map>
#include <nlohmann/json.hpp>

#include "moehill/base/refusal_fixture.h"
#include "moehill/cli/command_fixture.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

Outcome run(const std::string& arguments, const std::string& environment = "",
            const std::string& redirection = "") {
  static const fs::path folder = fresh_folder();
  return run_program(folder, arguments, environment, redirection);
}

const char* const kTiny =
    "bench --tokens 48 --hidden 32 --mlp-dim 24 --experts 8 --topk 2 --shared-expert-dim 16 ";

std::vector<nlohmann::json> records(const std::string& lines) {
  std::vector<nlohmann::json> result;
  std::istringstream stream(lines);
  for (std::string line; std::getline(stream, line);) result.push_back(nlohmann::json::parse(line));
  return result;
}

TEST(Binary, BadInputIsOneLineAndStatusTwo) {
  const fs::path folder = fresh_folder();
  const std::string json =
      " --json " + (folder / "x.jsonl").string() + " --dump " + (folder / "dump").string();
  const std::string long_name = "bench --table " + std::string(5000, 'a');
  for (const std::string& arguments :
       std::vector<std::string>{"",
                                "bnech",
                                "help bench climb",
                                "--version bench",
                                "tune --budget 0s",
                                "sweep x.toml",
                                "bench --token 5",
                                "bench --tokens 8x",
                                "bench --topk 61",
                                "bench --mesh mpi",
                                "bench --queue-mode prequeue",
                                "bench --tokens 20000 --hidden 100000 --mlp-dim 100000 --experts 60",
                                "check --case 99999",
                                "predict --parallel-mode none --ep-path fused",
                                "predict --probe x --hardware tpu-v5p",
                                "predict --probe /",
                                "predict --crossover --tokens 64",
                                "roofline --parallel-mode dp --ep-path fused",
                                "roofline --hardware tpu-v5p --probe x",
                                "roofline --hardware tpu-v5p --parallel-mode both --time-s 1",
                                "roofline --hardware tpu-v5p --comm-s 1",
                                "roofline --hardware tpu-v5p --parallel-mode ep --comm-s 2 --time-s 1",
                                "check --quick --case 3",
                                "check --quick=1",
                                "compare --point x y",
                                "bench --table '\033[31m'",
                                long_name,
                                "tune --candidates 'bt=64;'",
                                "profile --explain-blocks --iters 3",
                                "probe --show --keep-disturbed",
                                "bench --json /nowhere/x.jsonl",
                                "bench --dump /nowhere/x/y",
                                "bench --trace-dir /dev/null"}) {
    const bool with_output = arguments.rfind("bench --t", 0) == 0 || arguments.rfind("bench --q", 0) == 0;
    const Outcome outcome = run(arguments + (with_output ? json : ""));
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << arguments << "\n"
                                                                           << outcome.err;
    EXPECT_EQ(outcome.out, "") << arguments;
    EXPECT_EQ(outcome.err.find('\033'), std::string::npos) << arguments;
    EXPECT_LT(outcome.err.size(), 700u) << outcome.err;
    EXPECT_TRUE(is_refusal(outcome.err)) << outcome.err;
  }
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Binary, NoFileIsTheOutputOfTwoOptions) {
  for (const auto& [options, arguments] : std::vector<std::pair<std::string, std::string>>{
           {"--json, --save-routing", "bench --json x.npy --save-routing ./x.npy"},
           {"--json, --save-routing", "bench --save-routing x.npy --json x.gates.npy"},
           {"--json, --dump", "bench --json x --dump x"},
           {"--dump, --trace-dir", "bench --dump x --trace-dir x/"},
           {"--trace-dir, --json", "profile --json x --trace-dir x"},
           {"--save-placement, --json", "balance --hardware tpu-v5p --json x --save-placement x"},
           {"--file, --as-hardware", "probe --file x --as-hardware x"},
           {"--probe, --json", "predict --probe x --json x"},
           {"--record, --json", "roofline --record x --json x"},
           {"--record, --json", "simulate --record x --json x"},
           {"--db, --output", "report --db x -o x"},
           {"--config, --json", "models --config x --json x"}}) {
    const fs::path folder = fresh_folder();
    const Outcome outcome = run_program(folder, arguments);
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_NE(outcome.err.find(options + ": got 'x"), std::string::npos) << arguments << "\n" << outcome.err;
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 2);  // out and err
  }
}

TEST(Binary, NoOutputIsAFileThatIsReadUnasked) {
  for (const auto& [environment, arguments] : std::vector<std::pair<std::string, std::string>>{
           {"MOEHILL_DB=x", "report -o x"},
           {"MOEHILL_DB=report.html", "report"},
           {"", "report --db report.html"},
           {"", "report --published report.html"},
           {"", "report -o moehill.sqlite"},
           {"MOEHILL_PROBE=x", "predict --json ./x"},
           {"MOEHILL_PROBE=x", "bench --json x"},
           {"MOEHILL_TUNED=x", "bench --export-csv x"},
           {"MOEHILL_CLIMBED=x.npy", "bench --save-routing x.npy"},
           {"MOEHILL_SCORE=x", "bench --json x"}}) {
    const fs::path folder = fresh_folder();
    for (const char* name : {"x", "x.npy", "report.html", "moehill.sqlite"})
      std::ofstream(folder / name) << "kept";
    const Outcome outcome = run_program(folder, arguments, environment);
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_NE(outcome.err.find("which are one"), std::string::npos) << arguments << "\n" << outcome.err;
    for (const char* name : {"x", "x.npy", "report.html", "moehill.sqlite"})
      EXPECT_EQ(contents(folder / name), "kept") << arguments;
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which take terabytes of address space
TEST(Binary, ALimitOfAddressSpaceEndsInWordsAndNotInWaiting) {
  const std::string limit = "ulimit -v 300000 && exec timeout 30";
  EXPECT_EQ(run("--help", limit).status, 0);
  const Outcome outcome = run(kTiny + std::string("--iters 1 --backend ragged_dot"), limit);
  EXPECT_EQ(outcome.status, 2);
  EXPECT_EQ(outcome.err.rfind("moehill: predicted memory: got ", 0), 0u) << outcome.err;
}
#endif

// A soft limit sends SIGXCPU, which leaves time to write.
TEST(Binary, ALimitOfCpuTimeKeepsTheCompleteRounds) {
  const std::string json = (fresh_folder() / "x.jsonl").string();
  const Outcome outcome = run(kTiny + std::string("--iters 100000 --json ") + json, "ulimit -S -t 2 && exec");
  EXPECT_EQ(outcome.status, 128 + SIGXCPU);
  EXPECT_NE((outcome.out + outcome.err).find("interrupted by SIGXCPU"), std::string::npos)
      << outcome.out << outcome.err;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which reach no round in that time
  const std::vector<nlohmann::json> kept = records(contents(json));
  ASSERT_EQ(kept.size(), 1u) << outcome.err;
  EXPECT_EQ(kept[0]["schedule"]["stop_reason"], "interrupted");
#endif
}

TEST(Binary, LostOutputIsAnErrorAndNotInTheRecords) {
  const std::string json = (fresh_folder() / "x.jsonl").string();
  for (const std::string redirection : {">/dev/full", ">&-"}) {
    for (const std::string& arguments : {std::string("--help"), std::string("bench --help"),
                                         kTiny + std::string("--iters 1 --json ") + json}) {
      const Outcome outcome = run(arguments, "", redirection);
      EXPECT_EQ(outcome.status, 5) << arguments << redirection;
      EXPECT_NE(outcome.err.find("cannot write to standard output"), std::string::npos) << outcome.err;
    }
    EXPECT_EQ(records(contents(json)).size(), 1u) << redirection;
  }
}

// Returns what sends standard output to a pipe whose reader has gone, as `head` does after its lines, or to
// such a socket.
std::string to_a_reader_that_has_gone(bool is_socket = false) {
  constexpr int kGone = 9;  // a number of one digit, which every shell takes
  int ends[2];
  EXPECT_EQ(is_socket ? socketpair(AF_UNIX, SOCK_STREAM, 0, ends) : pipe(ends), 0);
  EXPECT_EQ(dup2(ends[1], kGone), kGone);
  close(ends[0]);
  close(ends[1]);
  return fmt::format(">&{}", kGone);
}

TEST(Binary, AReaderThatHasGoneTakesNoFiles) {
  const std::string gone = to_a_reader_that_has_gone(), json = (fresh_folder() / "x.jsonl").string();
  for (const std::string& arguments :
       {std::string("--help"), std::string(kTiny) + "--iters 1 --json -",
        "kernels --rows 3 --groups 2 --hidden 32 --mlp-dim 24 --threads 1 --iters 1 --json " + json}) {
    const Outcome outcome = run(arguments, "", gone);
    EXPECT_EQ(outcome.status, 128 + SIGPIPE) << arguments;
    EXPECT_EQ(outcome.err.find("cannot write"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(records(contents(json)).size(), 3u);
}

// Some programs start others with sockets in place of pipes.
TEST(Binary, AReaderOfASocketThatHasGoneIsNoErrorEither) {
  const Outcome outcome = run("--help", "", to_a_reader_that_has_gone(true));
  EXPECT_EQ(outcome.status, 128 + SIGPIPE);
  EXPECT_EQ(outcome.err, "");
}

// Both tables would take far longer than a minute.
TEST(Binary, AReaderThatHasGoneEndsATableThatNobodySees) {
  const std::string gone = to_a_reader_that_has_gone();
  for (const char* arguments :
       {"kernels --rows 256,1024 --groups 8 --hidden 1024 --mlp-dim 1024 --threads 1 --iters 1000",
        "mesh -b 64M -e 64M -n 100000 --devices 2 --threads-per-device 1"})
    EXPECT_EQ(run(arguments, "timeout 60", gone).status, 128 + SIGPIPE) << arguments;
}

// Without a refusal, each of several processes would run the whole command alone.
TEST(Binary, RefusesToRunAloneUnderTheLauncherOfAnotherMpi) {
  const fs::path folder = fresh_folder();
  const Outcome outcome =
      run(std::string(kTiny) + "--json " + (folder / "x.jsonl").string(), "PMI_RANK=0 PMI_SIZE=2");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("launcher"), std::string::npos) << outcome.err;
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(Binary, KernelsRecordsHoldEveryLineOfTheTable) {
  const Outcome outcome = run(
      "kernels --rows 3,7 --groups 2 --hidden 32 --mlp-dim 24 --threads 1 --iters 1 --dtype both --json -");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::vector<nlohmann::json> lines = records(outcome.out);
  ASSERT_EQ(lines.size(), 2u * 2 * 3);  // types, sizes, directions
  for (const nlohmann::json& record : lines) {
    EXPECT_EQ(record["columns"], 48);
    EXPECT_EQ(record["total_rows"], record["mean_rows"].get<int64_t>() * 2);
    for (const char* rate : {"gmm_gflops", "ragged_dot_gflops", "dense_gflops", "peak_gflops"})
      EXPECT_GT(record[rate], 0) << rate;
  }
  EXPECT_NE(outcome.err.find("register tile"), std::string::npos);
}

TEST(Binary, RefusesMoreMemoryThanThereIsWithTheParts) {
  const Outcome outcome = run("bench --tokens 20000 --hidden 100000 --mlp-dim 100000 --experts 60");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("predicted memory: got "), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("90 % of the"), std::string::npos) << outcome.err;
  const Outcome kernels = run("kernels --rows 1 --groups 60000 --hidden 100000 --mlp-dim 100000");
  EXPECT_EQ(kernels.status, 2);
  EXPECT_NE(kernels.err.find("smaller --hidden"), std::string::npos) << kernels.err;
}

TEST(Binary, HelpEndsInThreeExamples) {
  for (const char* command : {"", "bench", "check"}) {
    const Outcome outcome = run(std::string(command) + " --help");
    EXPECT_EQ(outcome.status, 0);
    const size_t examples = outcome.out.find("Examples:");
    ASSERT_NE(examples, std::string::npos) << command;
    std::istringstream lines(outcome.out.substr(examples));
    int num_examples = 0;
    for (std::string line; std::getline(lines, line);) num_examples += line.find("  moehill ") == 0;
    EXPECT_EQ(num_examples, 3) << command;
  }
}

// OptionSet ends the program if a default is outside its own range, so the help of every command tests its
// defaults.
TEST(Binary, EveryCommandHasDefaultsInTheirRanges) {
  for (const char* command : {"bench",    "profile",  "check",  "tune",    "predict", "advise", "balance",
                              "simulate", "roofline", "probe",  "kernels", "mesh",    "models", "climb",
                              "sweep",    "logbook",  "report", "plot",    "compare", "replay"})
    EXPECT_EQ(run(std::string(command) + " --help").status, 0) << command;
  EXPECT_NE(run("balance --help").out.find("--groups 1..65536=none"), std::string::npos)
      << run("balance --help").out;
  // An installed program has no folder of the sources.
  const std::string help = run("predict --help-all").out;
  EXPECT_NE(help.find("$MOEHILL_HARDWARE"), std::string::npos) << help;
  EXPECT_EQ(help.find(" hardware/"), std::string::npos) << help;
}

TEST(Binary, RecordsOnStandardOutputTableOnStandardError) {
  std::string tiny = kTiny;
  tiny.erase(tiny.find("--topk 2 "), 9);
  const Outcome good =
      run(tiny + "--topk-list 2,4 --parallel-mode both --stage-timing --json - --check full --iters 3");
  ASSERT_EQ(good.status, 0) << good.err;
  const std::vector<nlohmann::json> lines = records(good.out);
  ASSERT_EQ(lines.size(), 4u);
  for (const nlohmann::json& record : lines) {
    EXPECT_EQ(record["check"]["status"], "passed") << record.dump(1);
    EXPECT_GT(record["tflops"], 0);
    EXPECT_EQ(record["time_s"]["n"], 3);
    EXPECT_EQ(record["layout"]["devices"].get<int>() * record["layout"]["threads_per_device"].get<int>(),
              lines[0]["layout"]["threads_per_device"]);
    double sum = record["stages"]["unaccounted_s"];
    for (const char* pass : {"forward", "backward"}) {
      for (const auto& stage : record["stages"][pass].items()) sum += stage.value().get<double>();
    }
    EXPECT_NEAR(sum, record["time_s"]["median"], 1e-9);
  }
  EXPECT_TRUE(lines[1].contains("comparison"));
  EXPECT_NE(good.err.find("ep/none"), std::string::npos) << good.err;
}

TEST(Binary, RunsOfOneSeedAgree) {
  const std::string arguments = std::string(kTiny) + "--dtype f32 --iters 1 --warmup 0 --seed 5 --json -";
  const auto first = records(run(arguments).out), second = records(run(arguments).out);
  ASSERT_EQ(first.size(), 1u);
  EXPECT_EQ(first[0]["hash"], second[0]["hash"]);
}

TEST(Binary, WavesAreCheckedAndStandInTheRecord) {
  const std::string fused = std::string(kTiny) +
                            "--iters 1 --dtype f32 --parallel-mode ep --ep-path fused "
                            "--devices 2 --threads-per-device 1 --check full --json - ";
  const nlohmann::json in_place = records(run(fused).out).at(0),
                       waves = records(run(fused + "--waves 2").out).at(0);
  EXPECT_FALSE(in_place["config"].contains("waves"));
  EXPECT_EQ(waves["config"]["waves"], 2);
  EXPECT_EQ(waves["check"]["status"], "passed") << waves["check"].dump();
  EXPECT_EQ(waves["hash"]["output"], in_place["hash"]["output"]) << "the order of the sums is the same";
}

TEST(Binary, DumpAndTraceAreFilesOfTheirKind) {
  const fs::path folder = fresh_folder();
  const Outcome outcome = run(std::string(kTiny) + "--iters 1 --dump " + (folder / "dump").string() +
                              " --trace-dir " + (folder / "trace").string());
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const std::map<std::string, int> num_values = {
      {"x", 48 * 32},       {"w1", 8 * 32 * 24},  {"w2", 8 * 24 * 32},
      {"w3", 8 * 32 * 24},  {"s1", 32 * 16},      {"s2", 16 * 32},
      {"s3", 32 * 16},      {"topk_idx", 96},     {"topk_weights", 96},
      {"y", 48 * 32},       {"dx", 48 * 32},      {"dw1", 8 * 32 * 24},
      {"dw2", 8 * 24 * 32}, {"dw3", 8 * 32 * 24}, {"ds1", 32 * 16},
      {"ds2", 16 * 32},     {"ds3", 32 * 16},     {"dp", 96}};
  size_t num_files = 0;
  for (const auto& [name, count] : num_values) {
    const std::string bytes = contents(folder / "dump" / (name + ".npy"));
    ASSERT_GT(bytes.size(), 10u) << name;
    const size_t header =
        10 + static_cast<unsigned char>(bytes[8]) + 256u * static_cast<unsigned char>(bytes[9]);
    EXPECT_EQ(bytes.size(), header + 4u * static_cast<size_t>(count)) << name;
  }
  for ([[maybe_unused]] const auto& file : fs::directory_iterator(folder / "dump")) ++num_files;
  EXPECT_EQ(num_files, num_values.size());
  EXPECT_TRUE(nlohmann::json::parse(contents(folder / "trace" / "none.json")).contains("traceEvents"));
}

// A model's own configuration works, with the router in the step and its gradient; a mistake in the file is
// reported as bad input.
TEST(Binary, ABlockOfAConfigIsMeasuredWithItsRouter) {
  const fs::path folder = fresh_folder();
  const std::string good = (folder / "config.json").string(), bad = (folder / "bad.json").string();
  std::ofstream(good) << R"({"model_type": "deepseek_v3", "hidden_size": 32, "intermediate_size": 64,
      "moe_intermediate_size": 24, "n_routed_experts": 16, "n_shared_experts": 1, "num_experts_per_tok": 4,
      "num_hidden_layers": 4, "first_k_dense_replace": 1, "n_group": 4, "topk_group": 2, "norm_topk_prob": true,
      "routed_scaling_factor": 2.5, "scoring_func": "sigmoid", "topk_method": "noaux_tc", "hidden_act": "silu"})";
  const std::string bench =
      "bench --tokens 48 --iters 1 --check full --json - --router-grad --config " + good;
  for (const std::string more :
       {"", " --router in-step", " --parallel-mode ep --devices 2 --router in-step --ep-path fused"}) {
    const Outcome outcome = run(bench + more);
    ASSERT_EQ(outcome.status, 0) << outcome.err;
    const nlohmann::json record = records(outcome.out).at(0);
    EXPECT_EQ(record["config"]["router"], "sigmoid,bias,groups:4/2,normalized,factor:2.5");
    EXPECT_EQ(record["config"]["experts"], 16);
    EXPECT_EQ(record["config"]["shared_expert_dim"], 24);
    EXPECT_EQ(record["check"]["status"], "passed") << record["check"].dump();
  }
  std::ofstream(bad) << R"({"hidden_size": 32, "num_experts": 4})";
  const std::string json = (folder / "x.jsonl").string();
  for (const std::string& arguments : {"bench --config " + bad, "bench --config " + good + " --layer 0",
                                       "models --config " + bad, "bench --config " + json}) {
    const Outcome outcome = run(arguments + " --json " + json);
    EXPECT_EQ(outcome.status, 2) << arguments;
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_FALSE(fs::exists(json)) << arguments;
  }
}

// A name may have bytes that are not UTF-8, and characters that a terminal obeys.
TEST(Binary, RecordsAreJsonWhateverTheNamesOfFiles) {
  const fs::path folder = fresh_folder();
  for (const std::string name : {"caf\xe9.json", "caf\xc2\x9b.json"}) {
    std::ofstream(folder / name) << R"({"model_type": "qwen3_moe", "hidden_size": 32,
      "moe_intermediate_size": 32, "intermediate_size": 64, "num_experts": 4, "num_experts_per_tok": 2,
      "norm_topk_prob": true, "num_hidden_layers": 2, "decoder_sparse_step": 1, "mlp_only_layers": [],
      "hidden_act": "silu"})";
    const Outcome outcome = run("models --json - --config " + (folder / name).string());
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(records(outcome.out).size(), 1u);
    EXPECT_EQ(outcome.out.find("\xc2\x9b"), std::string::npos);
  }
}

TEST(Binary, UncheckedHasNoThroughput) {
  const std::vector<nlohmann::json> lines = records(run(std::string(kTiny) + "--check off --json -").out);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(lines[0]["check"]["status"], "off");
  EXPECT_TRUE(lines[0]["tflops"].is_null());
}

// Returns a line of the logbook that is small enough for a test: it has the same choices and small
// dimensions.
std::string shrunk(const std::string& line) {
  const std::map<std::string, std::string> small = {{"--tokens", "48"},
                                                    {"--hidden", "32"},
                                                    {"--mlp-dim", "24"},
                                                    {"--experts", "8"},
                                                    {"--shared-expert-dim", "16"}};
  std::istringstream stream(line);
  std::string result, option;
  for (std::string word; stream >> word; option = word) {
    const auto found = small.find(option);
    result += (found != small.end() && word != "0" ? found->second : word) + " ";
  }
  return result;
}

TEST(Binary, ReferenceCommandLinesRun) {
  std::ifstream file(MOEHILL_SOURCE_DIR "/tests/data/reference_commands.txt");
  std::map<std::string, int> statuses;  // shrinking makes some lines equal; those run once
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::string arguments = shrunk(line);
    if (statuses.count(arguments) > 0) continue;
    const bool refused = line.find("--queue-mode prequeue") != std::string::npos;
    const Outcome outcome = run("bench " + arguments);
    statuses[arguments] = outcome.status;
    EXPECT_EQ(outcome.status, refused ? 2 : 0) << arguments << "\n" << outcome.out << outcome.err;
    EXPECT_TRUE(refused || outcome.out.find("passed") != std::string::npos) << outcome.out;
  }
  EXPECT_GT(statuses.size(), 30u);
}

}  // namespace
}  // namespace moehill
