// This header has bad traces for tests: texts that read_trace() must refuse, whatever command reads them.
//
//   for (const std::string& text : bad_traces()) EXPECT_THROW(read(text), InputError);
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

namespace moehill {

// Returns a line as Megatron-LM writes it.
inline std::string line(int step, int layer, int rank, const std::string& indices,
                        const std::string& more = "") {
  return fmt::format(
      R"({{"step": {}, "stage": "pre_dispatch", "block": "decoder", "layer": {}, "rank": {}, "topk": 2, )"
      R"("top_indices": {}{}}})"
      "\n",
      step, layer, rank, indices, more);
}

// Each text is bad for a request of 2 tokens, 8 experts and 2 choices.
inline std::vector<std::string> bad_traces() {
  const std::string good = "[[0, 1], [2, 3]]";
  return {
      "",
      "\n\n",
      "[]",
      "7",
      "{",
      "{}",
      "null",
      "layer,expert\n0,3\n",
      std::string(200, '['),
      good,
      line(0, 0, 0, "[[0, 1], [2, 8]]"),
      line(0, 0, 0, "[[0, 1], [2, -2]]"),
      line(0, 0, 0, "[[0, 0], [2, 3]]"),
      line(0, 0, 0, "[[0, 1.0], [2, 3]]"),
      line(0, 0, 0, "[[0, \"1\"], [2, 3]]"),
      line(0, 0, 0, "[[0, null], [2, 3]]"),
      line(0, 0, 0, "[[0, 18446744073709551615], [2, 3]]"),
      line(0, 0, 0, "[[0, 1e400], [2, 3]]"),
      line(0, 0, 0, "[[0, 99999999999999999999999], [2, 3]]"),
      line(0, 0, 0, "[[0], [2, 3]]"),
      line(0, 0, 0, "[[0, 1, 2], [2, 3]]"),
      line(0, 0, 0, "[0, 1]"),
      line(0, 0, 0, "{}"),
      line(0, 0, 0, "[]"),
      line(0, 0, 0, "[[0, [1]], [2, 3]]"),
      line(0, 0, 0, good, R"(, "topk": 2)"),
      line(-1, 0, 0, good),
      line(0, -1, 0, good),
      line(0, 0, -1, good),
      line(0, 0, 0, good) + line(0, 0, 0, good),
      line(0, 0, 0, good) + line(1, 0, 0, good),
      line(0, 0, 0, good) + line(0, 1, 0, good),
      line(0, 0, 0, good) + "x",
      line(0, 0, 0, good, R"(, "num_tokens": 3)"),
      line(0, 0, 0, good, R"(, "num_tokens": "2")"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5]])"),
      line(0, 0, 0, good, R"(, "gate_values": 1)"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, NaN]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, Infinity]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, null]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, 1e39]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, -1e39]])"),
      R"({"step": 0, "layer": 0, "rank": 0, "topk": 2})",
      R"({"step": 0, "layer": 0, "rank": 0, "top_indices": [[0, 1]]})",
      R"({"layer": 0, "rank": 0, "topk": 2, "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": 0, "rank": 0, "topk": 2, "block": "mtp", "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 1.5, "layer": 0, "rank": 0, "topk": 2, "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 18446744073709551615, "layer": 0, "rank": 0, "topk": 2, "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": 0, "rank": 0, "topk": 0, "top_indices": [[], []]})",
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, "0.5"]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, [0.5]]])"),
      line(0, 0, 0, good, R"(, "gate_values": [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]])"),
      line(0, 0, 0, good, R"(, "num_tokens": -2)"),
      line(0, 0, 0, good, R"(, "num_tokens": 2.0)"),
      line(0, 0, 0, good, R"(, "layer": 0)"),
      line(0, 0, 0, good, ","),
      line(0, 0, 0, "\"[[0, 1], [2, 3]]\""),
      line(0, 0, 0, "[[0, 1], [2, true]]"),
      line(0, 0, 0, "[[0, 1], null]"),
      line(0, 0, 0, "[[0, 1]]") + line(0, 0, 1, "[[2]]"),
      line(0, 0, 0, "[[0, 1]]") + line(0, 0, 1, "[[2, 9]]"),
      line(0, 0, 0, good) + line(0, 0, 0, "[[4, 5]]"),
      line(0, 0, 0, good) + "\n{\"step\": 0, \"layer\": 0}",
      "\xef\xbb\xbf" + line(0, 0, 0, good),
      line(0, 0, 0, good).substr(0, 60),
      R"({'step': 0, 'layer': 0, 'rank': 0, 'topk': 2, 'top_indices': [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": 0, "rank": 0, "topk": 2, "top_indices": [[0, 1], [2, 3]]} // made by hand)",
      R"({"step": 0, "layer": 0, "rank": 0, "topk": "2", "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": 0, "rank": 0, "topk": 1099511627776, "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": [0], "rank": 0, "topk": 2, "top_indices": [[0, 1], [2, 3]]})",
      R"({"step": 0, "layer": 0, "rank": null, "topk": 2, "top_indices": [[0, 1], [2, 3]]})",
      std::string("{\"step\": 0}\0{}", 14),
      std::string("PK\x03\x04\0\0", 6),  // a zip
      "\x80\x04\x95",                    // a pickle
      "\x1f\x8b\x08",                    // gzip
      "\xff\xfe{}",
      std::string((65 << 20), ' '),
  };
}

}  // namespace moehill
