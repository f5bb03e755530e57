// Replay tables are figures of expert parallelism that others published for clusters, as problems for the
// model (reference/published_ep.toml). predict/published_model.h has the rows of the reference logbook.
//
//     for (const ReplayTable& table : read_replay_tables().tables) fmt::print("{}\n", table.title);
#pragma once

#include <string>
#include <vector>

#include "moehill/base/words.h"

namespace moehill {

// RowCopies: a token's row is sent once to each node that wants it and from there to ranks inside of the
// node; or once to each rank; or once to each expert.
enum class RowCopies { node, rank, expert };
constexpr auto words(RowCopies) { return std::array{"node", "rank", "expert"}; }

// ReplayPart is the part of a step that a figure times. `overlapped` means links and products at the same
// time, `in_turn` one after the other.
enum class ReplayPart { links, products, overlapped, in_turn };
constexpr auto words(ReplayPart) { return std::array{"links", "products", "overlapped", "in_turn"}; }

// Fitted is the parameter that was fitted to a row.
enum class Fitted { none, node, network, rank, start, products };
constexpr auto words(Fitted) { return std::array{"none", "node", "network", "rank", "start", "products"}; }

// ReplayRow is one published figure.
struct ReplayRow {
  std::string name;
  int64_t devices = 1, tokens = 0;  // tokens of a rank
  int64_t experts = 0;
  // Bytes of a row on the way out and, if the figure has both ways, on the way back.
  double row_bytes = 0, back_bytes = 0;
  double gb_per_s = 0, us = 0;  // as published; 0: not given
  ReplayPart part = ReplayPart::links;
  bool backward = false;  // products of a backward pass
  Fitted fits = Fitted::none;
};

// ReplayTable is the figures of one source.
struct ReplayTable {
  std::string name, title, source, hardware, counts, misfit;
  RowCopies copies = RowCopies::node;
  std::string distribution = "random";
  bool computed = false;  // by the authors' model, and not measured
  int64_t hidden = 0, mlp_dim = 0, topk = 0;
  int64_t node_limit = 0;   // a token's experts are in at most so many nodes; 0: any number
  double weight_bytes = 0;  // of an element of the weights; 0: reading them is not counted
  double start_us = 0;      // spent once by everything that is timed
  // A rank copies rows for sending (stages them) at this rate, also rows for its own node; 0: no limit.
  double rank_gb_per_s = 0;
  double products_scale = 1;    // multiplies the hardware's fractions of the peak; not in the file
  std::vector<ReplayRow> rows;  // with the table's tokens, experts and part if they give none
};

// DropRow is shares of assignments that a capacity drops, by the kind of cell and the capacity factor.
struct DropRow {
  std::string name;
  bool by_source = false;
  int64_t pool = 1;
  std::vector<double> factors, percent;
};
// DropTable is all such shares of one source.
struct DropTable {
  std::string title, source, distribution;
  int64_t sources = 1, tokens = 0;  // tokens of a source
  int64_t experts = 0, topk = 0, draws = 1;
  std::vector<DropRow> rows;
};

// ReplayFile is the whole file.
struct ReplayFile {
  std::vector<ReplayTable> tables;
  DropTable drops;
};

// Reads the file that comes with the program.
ReplayFile read_replay_tables();
// Throws InputError that says where in `name` something is wrong.
ReplayFile parse_replay_tables(const std::string& toml, const std::string& name);

}  // namespace moehill
