// Damages files at random: each is refused with an input error or read as it is, and none makes the reader
// take memory that the file does not need. Each damage follows from its number, so a failure can be repeated.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "moehill/weights/files_fixture.h"
#include "moehill/weights/layer_weights.h"

namespace {
std::atomic<size_t> largest_allocation{0};

void* watched(std::size_t size) {
  size_t largest = largest_allocation.load();
  while (size > largest && !largest_allocation.compare_exchange_weak(largest, size)) {
  }
  if (void* memory = std::malloc(size ? size : 1)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return watched(size); }
void* operator new[](std::size_t size) { return watched(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace moehill {
namespace {

using namespace testing_models;

constexpr size_t kMostMemory = size_t{1} << 20;  // for files of some ten thousand bytes

struct Kind {
  Family family;
  Encoding encoding;
};
constexpr Kind kKinds[] = {{Family::qwen, Encoding::bf16},        {Family::mixtral, Encoding::f32},
                           {Family::deepseek, Encoding::f8_e4m3}, {Family::gpt_oss, Encoding::mxfp4},
                           {Family::llama4, Encoding::f16},       {Family::kimi_int4, Encoding::int4},
                           {Family::deepseek_v4, Encoding::mxfp4}};

class Damage {
 public:
  explicit Damage(uint32_t seed) : random_(seed) {}

  // Most damaged bytes are in the header, because the header decides how the rest is read.
  void to_bytes(std::string& file) {
    uint64_t header = 0;
    std::memcpy(&header, file.data(), std::min<size_t>(8, file.size()));
    const size_t end = std::min<size_t>(file.size(), 8 + header);
    for (int times = draw(1, 4); times > 0 && file.size() > 16; --times) {
      const size_t at = draw(0, 7) == 0 ? at_most(file.size() - 1) : at_most(std::max<size_t>(end, 1) - 1);
      switch (draw(0, 7)) {
        case 0:
          file[std::min(at, file.size() - 1)] ^= static_cast<char>(1 << draw(0, 7));
          break;
        case 1:
          file[std::min(at, file.size() - 1)] = static_cast<char>(draw(0, 255));
          break;
        case 2:
          file.erase(std::min(at, file.size() - 1), static_cast<size_t>(draw(1, 9)));
          break;
        case 3:
          file.insert(std::min(at, file.size()),
                      file.substr(at_most(file.size() - 1), static_cast<size_t>(draw(1, 40))));
          break;
        case 4:
          file.resize(at_most(file.size()));
          break;
        case 5:
          replace_number(file, end);
          break;
        case 6:
          file[at_most(7)] = static_cast<char>(draw(0, 255));
          break;
        default:
          swap_words(file, end);
      }
    }
  }

  // Changes the kind of one value in the header, and corrects the header's length.
  void to_header(std::string& file) {
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
    auto entry = header.begin();
    std::advance(entry, draw(0, static_cast<int>(header.size()) - 1));
    if (entry->is_object() && !entry->empty()) {
      auto part = entry->begin();
      std::advance(part, draw(0, static_cast<int>(entry->size()) - 1));
      if (part->is_array() && !part->empty() && draw(0, 2) > 0) {
        (*part)[static_cast<size_t>(draw(0, static_cast<int>(part->size()) - 1))] = any_value();
      } else {
        *part = any_value();
      }
    } else {
      *entry = any_value();
    }
    file = with_length(header.dump(), file.substr(8 + length));
  }

 private:
  int draw(int lo, int hi) { return std::uniform_int_distribution<int>(lo, hi)(random_); }
  size_t at_most(size_t most) { return std::uniform_int_distribution<size_t>(0, most)(random_); }

  uint64_t any_number() {
    constexpr uint64_t kNumbers[] = {
        0,         1,        2,          3,          16,        31,         32,
        33,        64,       127,        128,        1024,      2048,       4096,
        1u << 16,  1u << 31, 1ull << 32, 1ull << 62, INT64_MAX, 1ull << 63, UINT64_MAX - 7,
        UINT64_MAX};
    return kNumbers[at_most(std::size(kNumbers) - 1)];
  }
  nlohmann::json any_value() {
    switch (draw(0, 8)) {
      case 0:
        return nullptr;
      case 1:
        return -1;
      case 2:
        return 1.5;
      case 3:
        return nlohmann::json::array({any_number(), any_number()});
      case 4:
        return nlohmann::json::array({2, any_number(), any_number()});
      case 5:
        return nlohmann::json::object();
      case 6:
        return std::array{
            "F32", "BF16", "F16", "U8", "I8", "I32", "F8_E4M3", "F8_E8M0", "F4", "F64", "x"}[at_most(10)];
      default:
        return any_number();
    }
  }
  void replace_number(std::string& file, size_t end) {
    const size_t at = file.find_first_of("0123456789", 8 + at_most(end));
    if (at == std::string::npos || at >= file.size()) return;
    file.replace(at, file.find_first_not_of("0123456789", at) - at, std::to_string(any_number()));
  }
  void swap_words(std::string& file, size_t end) {
    constexpr const char* kWords[] = {"BF16",    "F32",  "U8", "shape", "dtype", "experts", "weight",
                                      "up_proj", "gate", "]",  "[",     "{",     "}"};
    const std::string from = kWords[at_most(std::size(kWords) - 1)],
                      to = kWords[at_most(std::size(kWords) - 1)];
    const size_t at = file.find(from, at_most(end));
    if (at != std::string::npos) file.replace(at, from.size(), to);
  }

  std::mt19937 random_;
};

struct Tally {
  int refused = 0, read = 0;
};

// Opens, fills all stacks and reads the router.
void read_all(const std::string& path, ThreadTeam& team, Tally& tally) {
  largest_allocation = 0;
  try {
    LayerWeights weights(path, {}, {32, 32, 2, 0});
    WeightStack up(WeightLayout::panels, 2, 32, gate_up_columns(32), DType::bf16),
        down(WeightLayout::panels, 2, 32, 32, DType::bf16);
    using Part = LogicalWeights::Part;
    weights.fill_experts(team, {0, 2}, {{up, Part::gate, 32}, {up, Part::up, 32}, {down, Part::all, 32}});
    weights.router();
    ++tally.read;
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(", allowed: "), std::string::npos) << error.what();
    ++tally.refused;
  }
  EXPECT_LT(largest_allocation.load(), kMostMemory);
}

TEST(Mutations, TheWatchSeesAnAllocation) {
  largest_allocation = 0;
  const std::vector<char> some(kMostMemory);
  EXPECT_GE(largest_allocation.load(), some.size());
}

TEST(Mutations, DamagedFilesAreRefusedOrReadAsTheyStand) {
  const fs::path folder = fresh_folder();
  const std::string path = (folder / "x.safetensors").string();
  ThreadTeam team(1);
  Tally tally;
  for (const Kind& kind : kKinds) {
    const std::string good = safetensors(make_model(kind.family, {32, 32, 2, 0}, kind.encoding).tensors);
    for (uint32_t seed = 0; seed < 1000; ++seed) {
      SCOPED_TRACE(fmt::format("family {} seed {}", static_cast<int>(kind.family), seed));
      std::string file = good;
      Damage damage(seed);
      seed % 3 == 0 ? damage.to_header(file) : damage.to_bytes(file);
      write_file(path, file);
      read_all(path, team, tally);
    }
  }
  EXPECT_GT(tally.refused, 4000);
  EXPECT_GT(tally.read, 100);
}

TEST(Mutations, DamagedIndexesAreRefusedOrReadAsTheyStand) {
  const fs::path folder = fresh_folder();
  write_shards(folder, bad_base().tensors, 2);
  const fs::path index = folder / "model.safetensors.index.json";
  std::ifstream in(index, std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(in), {}};
  ThreadTeam team(1);
  Tally tally;
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    SCOPED_TRACE(seed);
    std::string file = good;
    Damage(seed).to_bytes(file);
    write_file(index, file);
    read_all(folder.string(), team, tally);
  }
  EXPECT_GT(tally.refused, 300);
  EXPECT_GT(tally.read, 20);
}

}  // namespace
}  // namespace moehill
