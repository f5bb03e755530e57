// Check share: what one process has of a block that several processes check. Each audits its own experts and
// compares the rows of its own tokens, so that nobody needs the whole block; what travels is rows of x and y,
// sums over experts of a token's rows, and what was found.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// The processes of a check. It shares no code with what moves rows in a step.
class CheckPeers {
 public:
  virtual ~CheckPeers() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Sends messages[r] to process r, and returns what each process sent to this one. Collective.
  virtual std::vector<std::string> exchange(const std::vector<std::string_view>& messages) = 0;
};

// Tokens, rising, of each process.
using TokensOfProcesses = std::vector<std::vector<int64_t>>;

// Brings rows of x and y of other processes' tokens.
class CheckRows {
 public:
  virtual ~CheckRows() = default;
  // Brings those of tokens_of[r] to process r, and gives up what was brought before. Collective, with the
  // same tokens_of everywhere.
  virtual void bring(const TokensOfProcesses& tokens_of) = 0;
};

struct CheckShare {
  // The shared expert and its gradients are whole. There is memory for the own experts' weights and
  // gradients, for the own tokens' rows of the rest, and for the rows of x and y that were brought.
  BlockTensors tensors;
  std::vector<Range> tokens;                     // [processes] whose rows of the results each one has
  std::vector<int> owner;                        // [E] the process that has the expert here
  CheckPeers* peers = nullptr;                   // null: this process has everything
  std::shared_ptr<CheckRows> rows = nullptr;     // null: all rows of x and y are here
  std::shared_ptr<const void> memory = nullptr;  // of what was brought together for the check

  static CheckShare whole(const BlockTensors& tensors);

  int rank() const { return peers == nullptr ? 0 : peers->rank(); }
  int size() const { return static_cast<int>(tokens.size()); }
  bool is_first() const { return rank() == 0; }  // which has the verdict
  Range own_tokens() const { return tokens[static_cast<size_t>(rank())]; }
  bool has_expert(int e) const { return owner[static_cast<size_t>(e)] == rank(); }
  bool has_token(int64_t t) const { return own_tokens().begin <= t && t < own_tokens().end; }

  void bring(const TokensOfProcesses& tokens_of) const {
    if (rows != nullptr) rows->bring(tokens_of);
  }
  void bring_all() const;  // to the first process

  // Returns the texts of all processes by rank on the first one, and nothing on the others.
  std::vector<std::string> gather(const std::string& text) const;
};

// Who checks: so many threads of each of so many processes.
struct Auditors {
  int num_processes = 1, num_threads = 1;
};

// Rows in the memory of a process, its own terms of a sum over processes.
struct SummedRows {
  double* data;
  int64_t cols;
};

// Each process ends with the sums over all processes in the rows of `own[rank]`, and with anything in the
// others. Terms are added in the order of the ranks. Collective.
void sum_rows(const CheckShare& share, const std::vector<Range>& own, const std::vector<SummedRows>& sums);

// These values end with their sums on process `rank`, and with anything on the others. Collective.
void sum_values(const CheckShare& share, int rank, const std::vector<std::vector<double>*>& values);

// The experts of a process in groups that have as many rows as a process has tokens, so that rows of x and y
// of one group take little memory, and are work enough. load: [E] rows.
std::vector<std::vector<int>> expert_groups(const CheckShare& share, int process,
                                            const std::vector<int64_t>& load);

// The tokens that one of these experts computes something for, rising.
std::vector<int64_t> tokens_of_experts(const BlockTensors& tensors, const std::vector<int>& experts);

}  // namespace moehill
