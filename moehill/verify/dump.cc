// Implementation of verify/dump.h. A tensor may be larger than the memory of the first process, so it is
// written piece by piece.
#include "moehill/verify/dump.h"

#include <algorithm>
#include <cstring>

#include "moehill/base/npy.h"
#include "moehill/base/output_paths.h"

namespace moehill {
namespace {

// Piece is a range of rows that one process has. One piece is under way at a time.
struct Piece {
  Range rows;
  int owner;
};
constexpr int64_t kPieceRows = 1024;

// Rows is a tensor as rows of f32, piece by piece. Only the owner of a row calls `read`.
struct Rows {
  std::vector<int64_t> shape;
  std::vector<Piece> pieces;
  std::function<void(int64_t row, std::span<float> values)> read;
};

// Dump writes tensors on the first process. The other processes send a piece when the first process comes to
// it, so all processes walk through the same list in the same order.
class Dump {
 public:
  Dump(const CheckShare& share, const std::string& folder) : share_(share), folder_(folder + "/") {
    if (share.is_first()) make_folder(folder);
  }

  void matrix(const std::string& name, const MatView& m, const std::vector<Range>& rows_of) const {
    write(name, {{m.rows, m.cols}, pieces_of(rows_of), [&](int64_t row, std::span<float> values) {
                   for (int64_t c = 0; c < m.cols; ++c) values[static_cast<size_t>(c)] = m.at(row, c);
                 }});
  }
  void array(const std::string& name, const float* data, int64_t cols,
             const std::vector<Range>& rows_of) const {
    write(name, {{rows_of.back().end, cols}, pieces_of(rows_of), [&](int64_t row, std::span<float> values) {
                   std::copy_n(data + row * cols, cols, values.begin());
                 }});
  }

  void weights(const std::string& prefix, const BlockWeights& w) const {
    experts(prefix + "w1", w.w1, false);
    experts(prefix + "w2", w.w2, false);
    experts(prefix + "w3", w.w3, false);
    shared(prefix + "s1", w.s1);
    shared(prefix + "s2", w.s2);
    shared(prefix + "s3", w.s3);
    shared(prefix + "wg", w.wg);
    shared(prefix + "latent_down", w.latent_down);
    shared(prefix + "latent_up", w.latent_up);
    shared(prefix + "latent_norm", w.latent_norm);
    experts(prefix + "b1", w.b1, true);
    experts(prefix + "b2", w.b2, true);
    experts(prefix + "b3", w.b3, true);
    if (w.sg.rows() > 0) write(prefix + "sg", {{1, w.sg.num_columns}, {{{0, 1}, 0}}, reader(w.sg)});
  }

 private:
  // Writes matrices as [E, K, N], and vectors as [E, N].
  void experts(const std::string& name, const LogicalWeights& w, bool vectors) const {
    const int64_t k = w.rows(), n = w.num_columns;
    if (k == 0 || n == 0) return;
    Rows rows{{std::ssize(share_.owner), k, n}, {}, reader(w)};
    if (vectors) rows.shape.erase(rows.shape.begin() + 1);
    for (int64_t e = 0; e < std::ssize(share_.owner); ++e)
      rows.pieces.push_back({{e * k, (e + 1) * k}, share_.owner[static_cast<size_t>(e)]});
    write(name, rows);
  }
  void shared(const std::string& name, const LogicalWeights& w) const {
    if (w.rows() == 0 || w.num_columns == 0) return;
    write(name, {{w.rows(), w.num_columns}, {{{0, w.rows()}, 0}}, reader(w)});
  }

  static std::function<void(int64_t, std::span<float>)> reader(const LogicalWeights& w) {
    return [&w](int64_t row, std::span<float> values) {
      for (int64_t c = 0; c < w.num_columns; ++c)
        values[static_cast<size_t>(c)] = w.at(row / w.rows(), row % w.rows(), c);
    };
  }
  static std::vector<Piece> pieces_of(const std::vector<Range>& rows_of) {
    std::vector<Piece> pieces;
    for (size_t r = 0; r < rows_of.size(); ++r) {
      for (int64_t begin = rows_of[r].begin; begin < rows_of[r].end; begin += kPieceRows)
        pieces.push_back({{begin, std::min(rows_of[r].end, begin + kPieceRows)}, static_cast<int>(r)});
    }
    return pieces;
  }

  // Returns the piece's rows on the first process; nothing if they are its own. Collective.
  std::string fetch(const Rows& tensor, const Piece& piece) const {
    if (piece.owner == 0) return "";
    const size_t cols = static_cast<size_t>(tensor.shape.back());
    std::vector<float> rows;
    if (piece.owner == share_.rank()) rows.resize(static_cast<size_t>(piece.rows.size()) * cols);
    for (size_t i = 0; i * cols < rows.size(); ++i)
      tensor.read(piece.rows.begin + static_cast<int64_t>(i), {rows.data() + i * cols, cols});
    const std::vector<std::string> came =
        share_.gather({reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(float)});
    return came.empty() ? "" : came[static_cast<size_t>(piece.owner)];
  }

  void write(const std::string& name, const Rows& tensor) const {
    // The other processes only send, in the first process's order of pieces.
    if (!share_.is_first()) {
      for (const Piece& piece : tensor.pieces) fetch(tensor, piece);
      return;
    }
    std::string came;
    auto next = tensor.pieces.begin();
    write_npy(folder_ + name + ".npy", tensor.shape, [&](int64_t row, std::span<float> values) {
      if (next != tensor.pieces.end() && row == next->rows.begin) came = fetch(tensor, *next++);
      const Piece& piece = *std::prev(next);
      if (piece.owner == 0) return tensor.read(row, values);
      std::memcpy(values.data(),
                  came.data() + static_cast<size_t>(row - piece.rows.begin) * values.size_bytes(),
                  values.size_bytes());
    });
  }

  const CheckShare& share_;
  const std::string folder_;
};

// Dumps the tensors that every process holds completely.
void dump_routing(const std::string& folder, const BlockTensors& t) {
  const int64_t num_tokens = t.shape.tokens;
  std::vector<int32_t> choices;
  for (size_t a = 0; a < t.routing->expert.size(); ++a) choices.push_back(t.routing->logit_of(a));
  write_npy(folder + "/topk_idx.npy", {num_tokens, t.shape.topk}, choices);
  if (t.router == nullptr || t.router->experts_of_id.empty()) return;
  write_npy(folder + "/router_table.npy", {t.router->rule.hash_ids, t.shape.topk}, t.router->experts_of_id);
  write_npy(folder + "/router_ids.npy", {num_tokens}, t.router->id_of_token);
}

}  // namespace

void dump_block(const CheckShare& share, Pass pass, const std::string& folder) {
  const BlockTensors& t = share.tensors;
  const int64_t topk = t.shape.topk, num_logits = t.shape.num_logits();
  const Dump dump(share, folder);
  if (share.is_first()) dump_routing(folder, t);
  dump.matrix("x", t.x, share.tokens);
  dump.weights("", t.weights);
  dump.array("topk_weights", t.routing->weight.data(), topk, {{0, t.shape.tokens}});
  if (t.router != nullptr) {
    dump.array("logits", t.logits, num_logits, share.tokens);
    if (!t.router->bias.empty()) dump.array("router_bias", t.router->bias.data(), num_logits, {{0, 1}});
    if (!t.router->expert_scale.empty())
      dump.array("router_scale", t.router->expert_scale.data(), num_logits, {{0, 1}});
  }
  dump.matrix("y", t.y, share.tokens);
  if (pass == Pass::forward) return;
  dump.matrix("dx", t.dx, share.tokens);
  dump.weights("d", t.gradients);
  dump.array("dp", t.dp, topk, share.tokens);
  if (t.dlogits != nullptr) dump.array("dlogits", t.dlogits, num_logits, share.tokens);
}

}  // namespace moehill
