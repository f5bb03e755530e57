// CheckShare is one process's part of a block that several processes check together. Each process audits its
// own experts and compares the rows of its own tokens, so no process needs the memory of the whole block. The
// processes send each other rows of x and y, sums over experts for the rows of a token, and their findings.
//
//   CheckShare share = CheckShare::whole(tensors);     // one process has everything
//   share.bring(tokens_of);                            // rows of x and y that this process lacks
//   if (share.has_expert(e)) audit_expert(e);
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/machine/thread_team.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// CheckPeers are the processes of a check. Its implementation shares no code with the transfer of rows in a
// step, so that an error there cannot hide here.
class CheckPeers {
 public:
  virtual ~CheckPeers() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  // Sends messages[r] to process r, and returns what each process sent to this one. All processes must call
  // it.
  virtual std::vector<std::string> exchange(const std::vector<std::string_view>& messages) = 0;
};

// TokensOfProcesses lists, for each process, the tokens whose rows it wants, in rising order.
using TokensOfProcesses = std::vector<std::vector<int64_t>>;

// CheckRows brings rows of x and y that other processes have.
class CheckRows {
 public:
  virtual ~CheckRows() = default;
  // Brings the rows of tokens_of[r] to process r, and frees the rows that the last call brought. All
  // processes must call it, with equal tokens_of.
  virtual void bring(const TokensOfProcesses& tokens_of) = 0;
};

// CheckShare has the tensors of this process, and which tokens and experts each process has.
struct CheckShare {
  // The weights of the shared expert and their gradients are complete. The routed experts' weights and
  // gradients have memory for the process's own experts only. The other tensors have memory for the rows of
  // its own tokens, and for the rows of x and y that were brought.
  BlockTensors tensors;
  std::vector<Range> tokens;    // [processes] the tokens whose rows of the results a process has
  std::vector<int> owner;       // [E] the process that has the expert, for this check
  CheckPeers* peers = nullptr;  // null: this process has everything
  std::shared_ptr<CheckRows> rows = nullptr;     // null: all rows of x and y are here
  std::shared_ptr<const void> memory = nullptr;  // owns the memory that was made for the check
  // Says which operand in this process's memory is not what it was filled with, or "". `draw`, a random
  // number, chooses what is compared. null: the check takes the operands as they are.
  std::function<std::string(uint32_t draw, ThreadTeam& team)> operands_fault = nullptr;

  static CheckShare whole(const BlockTensors& tensors);

  int rank() const { return peers == nullptr ? 0 : peers->rank(); }
  int size() const { return static_cast<int>(tokens.size()); }
  bool is_first() const { return rank() == 0; }  // the first process has the verdict
  Range own_tokens() const { return tokens[static_cast<size_t>(rank())]; }
  bool has_expert(int e) const { return owner[static_cast<size_t>(e)] == rank(); }
  bool has_token(int64_t t) const { return own_tokens().begin <= t && t < own_tokens().end; }

  void bring(const TokensOfProcesses& tokens_of) const {
    if (rows != nullptr) rows->bring(tokens_of);
  }
  void bring_all() const;  // to the first process

  // Returns the texts of all processes by rank on the first process, and nothing on the others.
  std::vector<std::string> gather(const std::string& text) const;
};

// Auditors are the processes that check, and the threads of each.
struct Auditors {
  int num_processes = 1, num_threads = 1;
};

// SummedRows are rows in the memory of a process: its own terms of a sum over processes.
struct SummedRows {
  double* data;
  int64_t cols;
};

// Adds rows over all processes, in the order of the ranks. Afterwards each process has the sums in the rows
// of `own[rank]`; its other rows are undefined. All processes must call it.
void sum_rows(const CheckShare& share, const std::vector<Range>& own, const std::vector<SummedRows>& sums);

// Adds these values over all processes. Process `rank` gets the sums; on the others the values are undefined.
void sum_values(const CheckShare& share, int rank, const std::vector<std::vector<double>*>& values);

// Returns the experts of a process in groups. A group has about as many rows as a process has tokens: few
// enough that its rows of x and y take little memory, and enough work for all threads. load: [E] rows of each
// expert.
std::vector<std::vector<int>> expert_groups(const CheckShare& share, int process,
                                            const std::vector<int64_t>& load);

// Returns the tokens that at least one of these experts computes, in rising order.
std::vector<int64_t> tokens_of_experts(const BlockTensors& tensors, const std::vector<int>& experts);

}  // namespace moehill
