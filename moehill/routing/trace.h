// Traces: routing that was recorded, by a model or by a run of ours, and is replayed.
//
// A trace has the choices of its tokens in the order of their global ids, so that it is replayed at any
// number of devices, whatever the number was when it was recorded. Two kinds of file, told apart by their
// contents:
//
// - JSON lines, as Megatron-LM writes them (core/transformer/moe/router_trace.py): a line a (step, layer,
//   rank), with `step`, `layer`, `rank`, `num_tokens`, `topk` and `top_indices` [num_tokens][topk]. Ours have
//   `gate_values` of the same shape too. The tokens of the lowest rank come first; so the files of all ranks
//   are one trace when they are put into one, in any order. Lines whose `block` is another than "decoder" are
//   left out.
// - .npy, integers [T, k], or [T, L, k] of which `layer` is one. Gate values are a file of their own, floats
//   of that shape.
//
// An expert id of -1 is an assignment of nobody (kNoExpert). Without gate values a token's are 1 / n, n the
// number of its experts.
#pragma once

#include "moehill/routing/plan.h"
#include "moehill/routing/trace_selection.h"

namespace moehill {

// The first num_tokens tokens of the selected part. Throws InputError for a file that is none of the above, a
// selection that it does not have or that leaves more than one part, fewer tokens, another k, an expert id
// that is not -1 to E - 1, one that a token has twice, and a gate value that is not finite. The last two name
// the token.
Routing read_trace(const TraceSelection& selection, int64_t num_tokens, int num_experts, int topk);

// Writes JSON lines, or, to a name that ends in .npy, ids [T, k] there and gate values beside it
// (gates_file_of()). Gate values are read back bit by bit. Throws std::runtime_error and leaves no part of a
// file.
void write_trace(const std::string& path, const Routing& routing);
std::string gates_file_of(const std::string& path);  // "a/x.npy": "a/x.gates.npy"
bool is_npy_name(const std::string& path);
// The files that write_trace() writes.
std::vector<std::string> routing_files(const std::string& path);
// The text that --distribution takes to replay it.
std::string replay_text(const std::string& path);

}  // namespace moehill
