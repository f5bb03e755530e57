// Check share: what one process has of a block that several processes check. Each audits its own experts and
// compares the rows of its own tokens, so that nobody needs the whole block; what travels is x and y, sums
// over experts of a token's rows, and what was found.
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

struct CheckShare {
  // x, y, the shared expert and its gradients are whole. There is memory for the own experts' weights and
  // gradients, and for the own tokens' rows of the rest.
  BlockTensors tensors;
  std::vector<Range> tokens;                     // [processes] whose rows of the results each one has
  std::vector<int> owner;                        // [E] the process that has the expert here
  CheckPeers* peers = nullptr;                   // null: this process has everything
  std::shared_ptr<const void> memory = nullptr;  // of what was brought together for the check

  static CheckShare whole(const BlockTensors& tensors);

  int rank() const { return peers == nullptr ? 0 : peers->rank(); }
  int size() const { return static_cast<int>(tokens.size()); }
  bool is_first() const { return rank() == 0; }  // which has the verdict
  Range own_tokens() const { return tokens[static_cast<size_t>(rank())]; }
  bool has_expert(int e) const { return owner[static_cast<size_t>(e)] == rank(); }
  bool has_token(int64_t t) const { return own_tokens().begin <= t && t < own_tokens().end; }

  // Returns the texts of all processes by rank on the first one, and nothing on the others.
  std::vector<std::string> gather(const std::string& text) const;
};

// Rows in the memory of a process, its own terms of a sum over processes.
template <typename T>
struct SummedRows {
  T* data;
  int64_t cols;
};

// Each process ends with the sums over all processes in the rows of `own[rank]`, and with anything in the
// others. Terms are added in the order of the ranks. Collective.
template <typename T>
void sum_rows(const CheckShare& share, const std::vector<Range>& own, const std::vector<SummedRows<T>>& sums);

}  // namespace moehill
