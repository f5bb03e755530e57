// This header reads and writes traces: the choices of experts that a model or a run of moehill recorded, for
// a replay. A trace has no logits.
//
// A trace has the choices of its tokens in the order of their global ids. So it can be replayed on any number
// of devices, however many there were when it was recorded. There are two kinds of file, which the reader
// tells apart by their contents:
//
// - JSON lines, as Megatron-LM writes them (core/transformer/moe/router_trace.py): one line for each (step,
//   layer, rank), with `step`, `layer`, `rank`, `num_tokens`, `topk` and `top_indices` [num_tokens][topk].
//   The lines that moehill writes also have `gate_values` of the same shape. The tokens of the lowest rank
//   come first, so the files of all ranks, joined in any order, are one trace. Lines whose `block` is not
//   "decoder" are ignored.
// - .npy: integers [T, k], or [T, L, k], of which `layer` selects one layer. Gate values are in a second
//   file, floats of the same shape.
//
// The expert id -1 is an assignment without an expert (kNoExpert). Without gate values, each of a token's n
// experts gets 1 / n.
//
//   write_trace("step.jsonl", routing);
//   const Routing again = read_trace(parse_trace_selection("step.jsonl"), num_tokens, num_experts, topk);
#pragma once

#include "moehill/routing/plan.h"
#include "moehill/routing/trace_selection.h"

namespace moehill {

// Reads the first num_tokens tokens of the selected part. Throws InputError for a file of another kind, a
// selection that the file does not have or that leaves more than one part, too few tokens, another k, an
// expert id outside -1 to E - 1, an expert that a token has twice, and a gate value that is not finite. The
// last three errors name the token.
Routing read_trace(const TraceSelection& selection, int64_t num_tokens, int num_experts, int topk);

// Writes JSON lines, or, if the name ends in .npy, ids [T, k] there and gate values beside it
// (gates_file_of()). Gate values are read back without any change. Throws std::runtime_error if it fails, and
// leaves no part of a file.
void write_trace(const std::string& path, const Routing& routing);
std::string gates_file_of(const std::string& path);  // "a/x.npy": "a/x.gates.npy"
bool is_npy_name(const std::string& path);
// Returns the files that write_trace() writes for this path.
std::vector<std::string> routing_files(const std::string& path);
// Returns the text for --distribution that replays the file.
std::string replay_text(const std::string& path);

}  // namespace moehill
