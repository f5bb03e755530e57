// A small replacement for libFuzzer, for compilers that have none, so that every test run tries the corpora
// and changed copies of their files. It understands the options of libFuzzer that fuzz/run uses: the folders
// of the corpus and -max_total_time=SECONDS. It does not measure coverage, so it finds far less than
// libFuzzer.
//
//     MOEHILL_FUZZ_TARGET=npy moehill_fuzz -max_total_time=5 fuzz/corpus/npy
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr std::string_view kTime = "-max_total_time=", kArtifacts = "-artifact_prefix=";

struct Options {
  std::vector<std::string> inputs;  // the contents of the corpora's files, and an empty one
  std::chrono::seconds time{0};
  std::string artifacts;  // the beginning of the path where an input is kept that breaks the target
};

const std::string* current = nullptr;
std::string artifact;

// Keeps the input that broke the target. The process is lost in any case, so this signal handler may call
// functions that signal handlers otherwise must not call.
void keep_input(int number) {
  std::ofstream(artifact, std::ios::binary) << *current;
  std::_Exit(128 + number);
}

Options read_options(int argc, char** argv) {
  Options options;
  options.inputs.emplace_back();
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.starts_with(kTime)) options.time = std::chrono::seconds(std::stoi(word.substr(kTime.size())));
    if (word.starts_with(kArtifacts)) options.artifacts = word.substr(kArtifacts.size());
    if (word.starts_with("-")) continue;
    for (const auto& entry : std::filesystem::directory_iterator(word)) {
      std::ifstream file(entry.path(), std::ios::binary);
      options.inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
  }
  std::sort(options.inputs.begin(), options.inputs.end());  // a folder has no order
  return options;
}

// Changes a few places: a byte is replaced, a part is left out, or a part is repeated elsewhere.
std::string changed(std::string text, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  for (size_t n = 1 + below(4); n > 0; --n) {
    const size_t at = below(text.size() + 1), length = below(std::min<size_t>(text.size() - at, 64) + 1);
    switch (below(3)) {
      case 0:
        if (at < text.size()) text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      default:
        text.insert(below(text.size() + 1), text.substr(at, length));
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  LLVMFuzzerInitialize(&argc, &argv);
  const Options options = read_options(argc, argv);
  const auto end = std::chrono::steady_clock::now() + options.time;
  std::mt19937_64 random(1);
  int64_t runs = 0;
  artifact = options.artifacts + "crash";
  for (const int number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) std::signal(number, keep_input);
  const auto run = [&](const std::string& input) {
    current = &input;
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
    ++runs;
  };
  for (const std::string& input : options.inputs) run(input);
  while (std::chrono::steady_clock::now() < end)
    run(changed(options.inputs[static_cast<size_t>(random() % options.inputs.size())], random));
  fmt::print(stderr, "stat::number_of_executed_units: {}\n", runs);
  return 0;
}
