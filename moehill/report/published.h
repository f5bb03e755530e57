// Published holds the numbers of the logbook that the experiments replay, and finds the number to set beside
// a result. report/replayed.h compares the two.
//
//     const std::vector<PublishedRow> rows = read_published("");
//     const PublishedRow* row = find_published(rows, "13:40 EP vs Non-EP", config, "");   // may be null
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// PublishedRow is a line of reference/tpu_v5p_logbook.csv. In rows of the overlap harness, `parallel_mode` is
// the name of a path.
struct PublishedRow {
  std::string section, parallel_mode, pass;
  int64_t tokens = 0;
  std::map<std::string, int64_t> sizes;      // hidden, mlp_dim, experts, topk, shared_expert_dim
  std::map<std::string, std::string> extra;  // dist, backend, impl, pack, queue, remat, ep, shared_fused, ...
  std::map<std::string, std::string> blocks;  // bt, bf, ... of the block probe
  std::optional<double> tflops, tokens_per_s;
};

// Reads the numbers that come with the program if `path` is empty. Throws InputError for a file that is
// missing or has other columns.
std::vector<PublishedRow> read_published(const std::string& path);
std::vector<PublishedRow> parse_published(const std::string& text, const std::string& name);

// Returns the row of `section` with the same mode (or path), pass, sizes and, if the row gives them, choices.
// Tokens are not compared, because a budget changes them. Null if there is none, or it has no tflops.
const PublishedRow* find_published(const std::vector<PublishedRow>& rows, const std::string& section,
                                   const StoredJson& config, const std::string& path);

}  // namespace moehill
