// Implementation of report/published.h: reading the file, and the rules by which a row belongs to a result.
#include "moehill/report/published.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/base/table.h"
#include "moehill/store/expectation.h"

namespace moehill {
namespace {

constexpr std::pair<const char*, const char*> kShipped[] = {
#include "shipped_published.inc"
};

constexpr const char* kHeader =
    "section,parallel_mode,hidden,mlp_dim,experts,topk,shared,tokens,pass,extra,tflops,tokens_per_s";
constexpr size_t kNumColumns = 12;
constexpr const char* kBlocks = "blocks: ";

template <typename T>
std::optional<T> number(const std::string& text) {
  T value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// Returns the figure of a cell; nothing for a cell without one, and for one of which no ratio can be made.
std::optional<double> figure_in(const std::string& text) {
  const std::optional<double> value = number<double>(text);
  return value && std::isfinite(*value) && *value > 0 ? value : std::nullopt;
}

// Reads "bt=128" and the like out of words such as "default bt=128 bf=1024 (implied)".
void add_pairs(const std::vector<std::string>& words, std::map<std::string, std::string>& pairs) {
  for (const std::string& word : words) {
    const size_t equal = word.find('=');
    if (equal != std::string::npos) pairs[word.substr(0, equal)] = word.substr(equal + 1);
  }
}

PublishedRow parse_row(const std::vector<std::string>& cells) {
  PublishedRow row;
  row.section = cells[0];
  row.parallel_mode = cells[1];
  const char* const names[] = {"hidden", "mlp_dim", "experts", "topk", "shared_expert_dim"};
  for (size_t i = 0; i < 5; ++i) {
    if (const auto size = number<int64_t>(cells[2 + i])) row.sizes[names[i]] = *size;
  }
  row.tokens = number<int64_t>(cells[7]).value_or(0);
  row.pass = cells[8];
  for (const std::string& part : split(cells[9], ';')) {
    if (part.rfind(kBlocks, 0) == 0) {
      add_pairs(split(part.substr(std::string(kBlocks).size()), ' '), row.blocks);
      continue;
    }
    const size_t equal = part.find('=');
    if (equal != std::string::npos) row.extra[part.substr(0, equal)] = part.substr(equal + 1);
  }
  row.tflops = figure_in(cells[10]);
  row.tokens_per_s = figure_in(cells[11]);
  return row;
}

std::string text_at(const StoredJson& config, const std::string& key) {
  const auto found = config.find(key);
  return found == config.end() || found->is_null() ? std::string() : value_text(*found);
}

// The original called every path except the masked one "compact".
bool same_ep(const std::string& published, const std::string& own) {
  const bool masked = published.rfind("dense_masked", 0) == 0;
  return own.empty() || masked == (own == "dense_masked");
}

// Compares the blocks that a row names. It leaves out the blocks of a single kernel call (their names end in
// c), because these are chosen for a machine's registers and caches.
bool same_blocks(const PublishedRow& row, const StoredJson& config) {
  std::map<std::string, std::string> own;
  add_pairs(split(text_at(config, "blocks"), ','), own);
  return std::all_of(row.blocks.begin(), row.blocks.end(), [&](const auto& block) {
    return block.first.back() == 'c' || own[block.first] == block.second;
  });
}

bool same_choices(const PublishedRow& row, const StoredJson& config) {
  const std::pair<const char*, const char*> names[] = {
      {"dist", "distribution"},          {"backend", "backend"},  {"impl", "impl"},
      {"pack", "routing_pack_strategy"}, {"queue", "queue_mode"}, {"remat", "remat_mode"}};
  for (const auto& [extra, option] : names) {
    const auto published = row.extra.find(extra);
    const std::string own = text_at(config, option);
    if (published != row.extra.end() && !own.empty() && published->second != own) return false;
  }
  const auto fused = row.extra.find("shared_fused");
  const std::string own_fused = text_at(config, "shared_fused");
  if (fused != row.extra.end() && !own_fused.empty() && (fused->second == "1") != (own_fused == "true"))
    return false;
  const auto ep = row.extra.find("ep");
  return ep == row.extra.end() || same_ep(ep->second, text_at(config, "ep_path"));
}

}  // namespace

std::vector<PublishedRow> parse_published(const std::string& text, const std::string& name) {
  std::string plain = text;
  std::erase(plain, '\r');
  std::istringstream lines(plain);
  std::string line;
  std::getline(lines, line);
  if (line != kHeader)
    throw input_error("--published", fmt::format("{} with other columns", name), kHeader,
                      "name a file in the form of reference/tpu_v5p_logbook.csv");
  std::vector<PublishedRow> rows;
  for (int64_t n = 2; std::getline(lines, line); ++n) {
    if (line.empty()) continue;
    const std::vector<std::string> cells = split(line, ',');
    if (cells.size() != kNumColumns)
      throw input_error("--published",
                        fmt::format("{} in line {} of {}", count_text(std::ssize(cells), "cell"), n, name),
                        std::to_string(kNumColumns), "write cells without commas");
    rows.push_back(parse_row(cells));
  }
  return rows;
}

std::vector<PublishedRow> read_published(const std::string& path) {
  if (path.empty()) return parse_published(kShipped[0].second, kShipped[0].first);
  return parse_published(read_input_file({"--published", path, "a CSV file of published numbers",
                                          "name another file, or leave the option out"}),
                         path);
}

const PublishedRow* find_published(const std::vector<PublishedRow>& rows, const std::string& section,
                                   const StoredJson& config, const std::string& path) {
  const std::string mode = path.empty() ? text_at(config, "parallel_mode") : path;
  // A section that varies blocks repeats other figures of the same shape for context; these rows name no
  // blocks.
  const bool varies_blocks = std::any_of(rows.begin(), rows.end(), [&](const PublishedRow& row) {
    return row.section == section && row.parallel_mode == mode && !row.blocks.empty();
  });
  const auto fits = [&](const PublishedRow& row) {
    return row.section == section && row.tflops && row.parallel_mode == mode &&
           row.blocks.empty() != varies_blocks && same_blocks(row, config) &&
           row.pass == text_at(config, "bench_pass") &&
           std::all_of(row.sizes.begin(), row.sizes.end(),
                       [&](const auto& size) {
                         return text_at(config, size.first) == std::to_string(size.second);
                       }) &&
           same_choices(row, config);
  };
  const auto found = std::find_if(rows.begin(), rows.end(), fits);
  return found == rows.end() ? nullptr : &*found;
}

}  // namespace moehill
