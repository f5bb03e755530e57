// This file computes the block in double precision with plain loops. Of the results of a step it reads only
// the stored y, from which dy follows. For a block with experts of another width (latent) it also reads the
// stored rows n and dz and the stored gradients of the logits, all of which the audit checks.
#include "moehill/moe/oracle.h"

#include <cmath>
#include <numeric>

#include "moehill/moe/activation_reference.h"
#include "moehill/moe/audit_latent.h"
#include "moehill/moe/router_reference.h"
#include "moehill/moe/wire_reference.h"

namespace moehill {
namespace {

// ExpertRows are the rows that one expert has among some tokens.
struct ExpertRows {
  std::vector<int64_t> place;  // the place of the row's token in the list of tokens
  std::vector<int64_t> token;
  std::vector<int> choice;         // j, the number of the choice of its token; 0 for the shared expert
  std::vector<double> gate_value;  // multiplies the output
  std::vector<double> in;          // multiplies the input
  std::vector<Wire> wire;          // the form in which the row comes

  int64_t size() const { return static_cast<int64_t>(token.size()); }
  void add(int64_t p, int64_t t, int j, double value, bool of_input) {
    wire.push_back(Wire::native);
    place.push_back(p);
    token.push_back(t);
    choice.push_back(j);
    gate_value.push_back(of_input ? 1 : value);
    in.push_back(of_input ? value : 1);
  }
  ExpertRows part(int64_t begin, int64_t end) const {
    ExpertRows some;
    for (size_t r = static_cast<size_t>(begin); r < static_cast<size_t>(end); ++r) {
      some.add(place[r], token[r], choice[r], gate_value[r], false);
      some.in.back() = in[r];
      some.wire.back() = wire[r];
    }
    return some;
  }
};

// Returns the value of the shared expert's gate.
double shared_gate_value(const BlockTensors& tensors, int64_t token) {
  if (!tensors.shape.form.shared_gate) return 1;
  double z = 0;
  for (int64_t h = 0; h < tensors.shape.hidden; ++h)
    z += static_cast<double>(tensors.x.at(token, h)) * static_cast<double>(tensors.weights.sg.at(0, 0, h));
  return 1 / (1 + std::exp(-z));
}

ExpertRows rows_of(const BlockTensors& tensors, int expert, std::span<const int64_t> tokens) {
  ExpertRows rows;
  const Routing* routing = tensors.routing;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t t = tokens[i];
    if (expert == kSharedExpert) {
      rows.add(static_cast<int64_t>(i), t, 0, shared_gate_value(tensors, t), false);
      continue;
    }
    for (int j = 0; j < routing->topk; ++j) {
      const size_t a = static_cast<size_t>(t * routing->topk + j);
      const bool computed = tensors.kept == nullptr || tensors.kept[a] != 0;
      if (routing->expert[a] != expert || !computed) continue;
      rows.add(static_cast<int64_t>(i), t, j, static_cast<double>(routing->weight[a]),
               tensors.shape.router.input_weighted);
      rows.wire.back() = tensors.wire_of(t, j);
    }
  }
  return rows;
}

Dense<double> inputs_of(const MatView& x, const ExpertRows& rows) {
  Dense<double> out(rows.size(), x.cols);
  std::vector<float> row(static_cast<size_t>(x.cols));
  for (int64_t r = 0; r < rows.size(); ++r) {
    read_row(x, rows.token[static_cast<size_t>(r)], row.data());
    pass_wire(rows.wire[static_cast<size_t>(r)], row);
    for (int64_t c = 0; c < x.cols; ++c)
      out.row(r)[c] = rows.in[static_cast<size_t>(r)] * static_cast<double>(row[static_cast<size_t>(c)]);
  }
  return out;
}

// Adds the one row of `bias` to each row, if there is a bias.
void add_bias(const Dense<float>& bias, Dense<double>& rows) {
  for (int64_t r = 0; bias.rows > 0 && r < rows.rows; ++r) {
    for (int64_t c = 0; c < rows.cols; ++c) rows.row(r)[c] += static_cast<double>(bias.row(0)[c]);
  }
}

// Returns the sum of the rows, each times its factor (null: 1), [1, columns].
Dense<double> sum_of(const Dense<double>& rows, const std::vector<double>* factor) {
  Dense<double> sum(1, rows.cols);
  for (int64_t r = 0; r < rows.rows; ++r) {
    const double f = factor == nullptr ? 1 : (*factor)[static_cast<size_t>(r)];
    for (int64_t c = 0; c < rows.cols; ++c) sum.row(0)[c] += f * rows.row(r)[c];
  }
  return sum;
}

Dense<double> output_gradients_of(const LossGradient& dy, int64_t hidden, const ExpertRows& rows) {
  Dense<double> out(rows.size(), hidden);
  for (int64_t r = 0; r < rows.size(); ++r)
    dy.read_row(rows.token[static_cast<size_t>(r)], out.row_mutable(r), rows.wire[static_cast<size_t>(r)]);
  return out;
}

// Activations are g, u and h of an expert's rows, [rows, columns]; u is empty if the activation is not gated.
struct Activations {
  Dense<double> gate, up, hidden;

  Factor<double> a(const Activation& f, size_t i) const { return gate_factor(f, gate.values[i]); }
  Factor<double> b(const Activation& f, size_t i) const { return up_factor(f, f.gated ? up.values[i] : 0.0); }
};

Activations activate(ThreadTeam& team, const Activation& f, const Dense<double>& x, const ExpertColumns& w) {
  Activations a{product(team, x, w.w1), {}, Dense<double>(x.rows, w.w1.cols)};
  add_bias(w.b1, a.gate);
  if (f.gated) {
    a.up = product(team, x, w.w3);
    add_bias(w.b3, a.up);
  }
  team.parallel_for(x.rows * w.w1.cols, [&](int64_t begin, int64_t end) {
    for (size_t i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i)
      a.hidden.values[i] = a.a(f, i).value * a.b(f, i).value;
  });
  return a;
}

// ActivationGradients are dg and du of an expert's rows, [rows, columns].
struct ActivationGradients {
  Dense<double> gate, up;
};

ActivationGradients activation_gradients(ThreadTeam& team, const Activation& f, const Activations& a,
                                         const ExpertColumns& w, const ExpertRows& rows,
                                         const Dense<double>& dy) {
  ActivationGradients d{product_bt(team, dy, w.w2), Dense<double>(dy.rows, w.w2.rows)};
  team.parallel_for(dy.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t m = 0; m < w.w2.rows; ++m) {
        const size_t i = static_cast<size_t>(r * w.w2.rows + m);
        const Factor<double> by_gate = a.a(f, i), by_up = a.b(f, i);
        const double dhidden = rows.gate_value[static_cast<size_t>(r)] * d.gate.values[i];
        d.gate.values[i] = dhidden * by_gate.first * by_up.value;
        d.up.values[i] = dhidden * by_gate.value * by_up.first;
      }
    }
  });
  return d;
}

// Adds scale_r * row r of `part` to row place[r] of `sum`. A token has an expert at most once, so no two
// threads write the same row.
void add_rows(ThreadTeam& team, const ExpertRows& rows, const Dense<double>& part,
              const std::vector<double>* scale, Dense<double>& sum) {
  team.parallel_for(part.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const double factor = scale == nullptr ? 1.0 : (*scale)[static_cast<size_t>(r)];
      double* target = sum.row(rows.place[static_cast<size_t>(r)]);
      for (int64_t c = 0; c < part.cols; ++c) target[c] += factor * part.row(r)[c];
    }
  });
}

// ExpertPart is what some columns of an expert add to the results of the expert's rows.
struct ExpertPart {
  Dense<double> out, dx;   // [rows, H]
  std::vector<double> dp;  // [rows]
};

ExpertPart part_of_expert(const BlockTensors& tensors, int expert, Range columns, const ExpertRows& rows,
                          const LossGradient& dy) {
  ThreadTeam alone(1);
  ExpertColumns w;
  read_expert(tensors.weights, expert, columns, w);
  const Activation& f = tensors.shape.form.activation;
  const Activations a = activate(alone, f, inputs_of(tensors.x, rows), w);
  // w.b2 is empty unless column 0 is among the columns, so the parts of an expert add this bias once.
  ExpertPart part{product(alone, a.hidden, w.w2), {}, {}};
  add_bias(w.b2, part.out);
  if (!dy.exists()) return part;
  const Dense<double> row_dy = output_gradients_of(dy, tensors.shape.hidden, rows);
  for (int64_t r = 0; r < rows.size(); ++r)
    part.dp.push_back(dot(row_dy.row(r), part.out.row(r), row_dy.cols));
  const ActivationGradients d = activation_gradients(alone, f, a, w, rows, row_dy);
  part.dx = product_bt(alone, d.gate, w.w1);
  if (f.gated) {
    const Dense<double> by_up = product_bt(alone, d.up, w.w3);
    for (size_t i = 0; i < by_up.values.size(); ++i) part.dx.values[i] += by_up.values[i];
  }
  // With gate values that multiply inputs, dx is so far the gradient of the scaled row p x: dp = <dx, x>, and
  // x itself gets p dx.
  if (expert == kSharedExpert || !tensors.shape.router.input_weighted) return part;
  std::vector<float> x(static_cast<size_t>(tensors.shape.hidden));
  for (size_t i = 0; i < part.dp.size(); ++i) {
    double* dx = part.dx.row(static_cast<int64_t>(i));
    read_row(tensors.x, rows.token[i], x.data());
    pass_wire(rows.wire[i], x);
    part.dp[i] = dot(dx, x.data(), part.dx.cols);
    for (int64_t c = 0; c < part.dx.cols; ++c) dx[c] *= rows.in[i];
  }
  return part;
}

// Adds the columns' part of dz, the gradient of the shared expert's gate, and the term dz sg of dx.
void add_gate_part(const BlockTensors& tensors, const ExpertPart& part, const ExpertRows& rows,
                   TokenResult& result) {
  for (size_t r = 0; r < part.dp.size(); ++r) {
    const double s = rows.gate_value[r], dz = part.dp[r] * s * (1 - s);
    result.dgate.row(rows.place[r])[0] += dz;
    double* dx = result.dx.row(rows.place[r]);
    for (int64_t h = 0; h < result.dx.cols; ++h)
      dx[h] += dz * static_cast<double>(tensors.weights.sg.at(0, 0, h));
  }
}

void add_part(const ExpertPart& part, bool shared, const ExpertRows& rows, ThreadTeam& team,
              TokenResult& result) {
  add_rows(team, rows, part.out, &rows.gate_value, result.y);
  if (part.dp.empty()) return;
  add_rows(team, rows, part.dx, nullptr, result.dx);
  for (size_t r = 0; r < part.dp.size() && !shared; ++r)
    result.dp.row(rows.place[r])[rows.choice[r]] += part.dp[r];
}

// Adds one expert's share of the results of some tokens. Each thread takes some columns at a time, whose
// weights stay in its cache; the parts are added in the order of the columns, so the sums do not depend on
// the threads.
void add_expert(const BlockTensors& tensors, int expert, const ExpertRows& rows, const LossGradient& dy,
                ThreadTeam& team, TokenResult& result) {
  constexpr int64_t kColumnsAtOnce = 64;
  const bool shared = expert == kSharedExpert;
  const int64_t width = shared ? tensors.shape.shared_dim : tensors.shape.mlp_dim;
  for (int64_t first = 0; first < width; first += team.size() * kColumnsAtOnce) {
    std::vector<ExpertPart> parts(static_cast<size_t>(team.size()));
    team.run([&](int i) {
      const int64_t begin = first + i * kColumnsAtOnce;
      if (begin >= width) return;
      const Range columns{begin, std::min(width, begin + kColumnsAtOnce)};
      parts[static_cast<size_t>(i)] = part_of_expert(tensors, expert, columns, rows, dy);
    });
    for (const ExpertPart& part : parts) {
      if (part.out.rows == 0) continue;
      add_part(part, shared, rows, team, result);
      if (shared && tensors.shape.form.shared_gate) add_gate_part(tensors, part, rows, result);
    }
  }
}

// Adds the choices of zero experts: p x to y, and p dy to dx; their dp is <dy, x>.
void add_zero_experts(const BlockTensors& tensors, std::span<const int64_t> tokens, const LossGradient& dy,
                      TokenResult& result) {
  const Routing& routing = *tensors.routing;
  const int64_t hidden = tensors.shape.hidden;
  std::vector<double> row_dy(static_cast<size_t>(dy.exists() ? hidden : 0));
  for (size_t i = 0; i < tokens.size() && !routing.zero.empty(); ++i) {
    for (int j = 0; j < routing.topk; ++j) {
      const int64_t row = static_cast<int64_t>(i), t = tokens[i];
      const size_t a = static_cast<size_t>(t * routing.topk + j);
      if (routing.zero[a] < 0) continue;
      const double p = static_cast<double>(routing.weight[a]);
      if (dy.exists()) dy.read_row(t, row_dy);
      for (int64_t h = 0; h < hidden; ++h) {
        const double x = static_cast<double>(tensors.x.at(t, h));
        result.y.row(row)[h] += p * x;
        if (!dy.exists()) continue;
        result.dx.row(row)[h] += p * row_dy[static_cast<size_t>(h)];
        result.dp.row(row)[j] += row_dy[static_cast<size_t>(h)] * x;
      }
    }
  }
}

std::vector<double> balance_gradient(const BlockTensors& tensors, int64_t token) {
  if (tensors.balance_loss == nullptr) return {};
  return balance_gradient(*tensors.balance_loss, tensors.logits, *tensors.routing, {token, token + 1});
}

void logit_gradients(const BlockTensors& tensors, std::span<const int64_t> tokens, TokenResult& result) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int64_t row = static_cast<int64_t>(i);
    const auto slopes = gate_slopes(tensors.router, tensors.logits, *tensors.routing, tokens[i]);
    for (int64_t j = 0; j < slopes.value.rows; ++j) {
      for (int64_t e = 0; e < slopes.value.cols; ++e)
        result.dlogits.row(row)[e] += slopes.value.row(j)[e] * result.dp.row(row)[j];
    }
    const std::vector<double> of_loss = balance_gradient(tensors, tokens[i]);
    for (size_t e = 0; e < of_loss.size(); ++e) result.dlogits.row(row)[e] += of_loss[e];
  }
}

// Adds dx += dz W_g^T if the router's product is a part of the block.
void add_router_product(const BlockTensors& tensors, TokenResult& result) {
  const LogicalWeights& wg = tensors.weights.wg;
  for (int64_t i = 0; i < result.dlogits.rows && wg.rows() > 0; ++i) {
    for (int64_t h = 0; h < wg.rows(); ++h) {
      for (int64_t l = 0; l < result.dlogits.cols; ++l)
        result.dx.row(i)[h] += result.dlogits.row(i)[l] * static_cast<double>(wg.at(0, h, l));
    }
  }
}

// Adds the products around experts of another width, from the stored rows n and dz: y += n up^T and dx += dz
// down^T.
void add_latent(const BlockTensors& tensors, std::span<const int64_t> tokens, bool backward,
                TokenResult& result) {
  const auto add = [&](const MatView& rows, const LogicalWeights& w, Dense<double>& sum) {
    for (size_t i = 0; i < tokens.size(); ++i) {
      for (int64_t h = 0; h < w.rows(); ++h) {
        double value = 0;
        for (int64_t l = 0; l < w.num_columns; ++l)
          value += static_cast<double>(rows.at(tokens[i], l)) * static_cast<double>(w.at(0, h, l));
        sum.row(static_cast<int64_t>(i))[h] += value;
      }
    }
  };
  add(tensors.latent.n, tensors.weights.latent_up, result.y);
  if (backward) add(tensors.latent.dz, tensors.weights.latent_down, result.dx);
}

// Takes the stored gradients of the logits, if another part of the block has computed them.
void take_logit_gradients(const BlockTensors& tensors, std::span<const int64_t> tokens, TokenResult& result) {
  const int64_t num = tensors.weights.wg.num_columns;
  result.dlogits = Dense<double>(static_cast<int64_t>(tokens.size()), num);
  for (size_t i = 0; i < tokens.size(); ++i) {
    for (int64_t l = 0; l < num; ++l)
      result.dlogits.row(static_cast<int64_t>(i))[l] =
          static_cast<double>(tensors.dlogits[tokens[i] * num + l]);
  }
}

Dense<double> all_inputs(const BlockTensors& tensors) {
  Dense<double> x(tensors.shape.tokens, tensors.shape.hidden);
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t h = 0; h < x.cols; ++h) x.row(t)[h] = static_cast<double>(tensors.x.at(t, h));
  }
  return x;
}

std::vector<double> loss_gradient(const std::vector<double>& y) {
  std::vector<double> dy(y.size());
  for (size_t i = 0; i < y.size(); ++i) dy[i] = 2.0 * y[i] / static_cast<double>(y.size());
  return dy;
}

void append(const Dense<double>& part, std::vector<double>& whole) {
  whole.insert(whole.end(), part.values.begin(), part.values.end());
}

}  // namespace

void LossGradient::read_row(int64_t token, std::span<double> row, Wire wire) const {
  if (values_ != nullptr) {
    MOEHILL_CHECK(wire == Wire::native, "dy in double has no stored values that a wire could carry");
    std::copy_n(values_ + token * std::ssize(row), row.size(), row.begin());
    return;
  }
  std::vector<float> stored(row.size());
  moehill::read_row(y_, token, stored.data());
  pass_wire(wire, stored);
  for (size_t h = 0; h < row.size(); ++h) row[h] = scale_ * static_cast<double>(stored[h]);
}

TokenResult run_oracle_experts(const BlockTensors& tensors, std::span<const int64_t> tokens,
                               const LossGradient& dy, ThreadTeam& team,
                               const std::function<bool(int expert)>& takes) {
  const MoeShape& shape = tensors.shape;
  const int64_t n = static_cast<int64_t>(tokens.size());
  TokenResult result{Dense<double>(n, shape.hidden), {}, {}, {}, {}};
  if (dy.exists()) {
    result.dx = Dense<double>(n, shape.hidden);
    result.dp = Dense<double>(n, shape.topk);
    result.dgate = Dense<double>(n, 1);
    result.dlogits = Dense<double>(n, shape.num_logits());
  }
  for (int e = shape.shared_dim > 0 ? kSharedExpert : 0; e < shape.experts; ++e) {
    if (!takes(e)) continue;
    const ExpertRows rows = rows_of(tensors, e, tokens);
    if (rows.size() > 0) add_expert(tensors, e, rows, dy, team, result);
  }
  return result;
}

void finish_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                          const LossGradient& dy, TokenResult& result) {
  add_zero_experts(tensors, tokens, dy, result);
  const bool rest = is_rest_of_latent(tensors);
  if (rest) add_latent(tensors, tokens, dy.exists(), result);
  if (!dy.exists()) return;
  if (!rest) logit_gradients(tensors, tokens, result);
  if (rest && tensors.weights.wg.rows() > 0) take_logit_gradients(tensors, tokens, result);
  add_router_product(tensors, result);
}

TokenResult run_oracle_tokens(const BlockTensors& tensors, std::span<const int64_t> tokens,
                              const LossGradient& dy, ThreadTeam& team) {
  TokenResult result = run_oracle_experts(tensors, tokens, dy, team, [](int) { return true; });
  finish_oracle_tokens(tensors, tokens, dy, result);
  return result;
}

namespace {

// Returns the terms of some rows in the gradients of an expert's columns.
ExpertGradients gradients_of_rows(const BlockTensors& tensors, const ExpertColumns& w, const ExpertRows& rows,
                                  const LossGradient& dy, ThreadTeam& team) {
  const Dense<double> x = inputs_of(tensors.x, rows);
  const Dense<double> row_dy = output_gradients_of(dy, tensors.shape.hidden, rows);
  const Activation& f = tensors.shape.form.activation;
  Activations a = activate(team, f, x, w);
  const ActivationGradients d = activation_gradients(team, f, a, w, rows, row_dy);
  for (int64_t r = 0; r < rows.size(); ++r) {
    for (int64_t m = 0; m < a.hidden.cols; ++m) a.hidden.row(r)[m] *= rows.gate_value[static_cast<size_t>(r)];
  }
  ExpertGradients result{product_at(team, x, d.gate),
                         f.gated ? product_at(team, x, d.up) : Dense<double>{},
                         product_at(team, a.hidden, row_dy),
                         {},
                         {},
                         {}};
  if (w.b1.rows == 0) return result;
  result.db1 = sum_of(d.gate, nullptr);
  if (f.gated) result.db3 = sum_of(d.up, nullptr);
  result.db2 = sum_of(row_dy, &rows.gate_value);
  return result;
}

void add_values(const Dense<double>& part, Dense<double>& sum) {
  for (size_t i = 0; i < part.values.size(); ++i) sum.values[i] += part.values[i];
}

}  // namespace

ExpertGradients run_oracle_expert(const BlockTensors& tensors, int expert, std::span<const int64_t> columns,
                                  const LossGradient& dy, ThreadTeam& team, Range tokens) {
  std::vector<int64_t> some(static_cast<size_t>(tokens.size()));
  std::iota(some.begin(), some.end(), tokens.begin);
  const ExpertRows rows = rows_of(tensors, expert, some);
  ExpertColumns w;
  read_expert(tensors.weights, expert, columns, team, w);
  const auto part = [&](int64_t begin) {
    const int64_t end = std::min(rows.size(), begin + kOracleRows);
    return gradients_of_rows(tensors, w, rows.part(begin, end), dy, team);
  };
  ExpertGradients sum = part(0);
  for (int64_t begin = kOracleRows; begin < rows.size(); begin += kOracleRows) {
    const ExpertGradients more = part(begin);
    add_values(more.dw1, sum.dw1), add_values(more.dw3, sum.dw3), add_values(more.dw2, sum.dw2);
    add_values(more.db1, sum.db1), add_values(more.db3, sum.db3), add_values(more.db2, sum.db2);
  }
  return sum;
}

OracleResult run_oracle(const BlockTensors& tensors, bool backward, const double* dy_override,
                        ThreadTeam& team) {
  if (backward && dy_override == nullptr) {
    const std::vector<double> dy = loss_gradient(run_oracle(tensors, false, nullptr, team).y);
    return run_oracle(tensors, true, dy.data(), team);
  }
  const MoeShape& shape = tensors.shape;
  const double* dy = backward ? dy_override : nullptr;
  TokenResult tokens = run_oracle_tokens(tensors, indices_up_to(shape.tokens), dy, team);
  OracleResult result;
  result.y = std::move(tokens.y.values);
  if (!backward) return result;
  result.dx = std::move(tokens.dx.values);
  result.dp = std::move(tokens.dp.values);
  if (tensors.weights.wg.rows() > 0)
    result.dwg = product_at(team, all_inputs(tensors), tokens.dlogits).values;
  result.dlogits = std::move(tokens.dlogits.values);
  if (shape.form.shared_gate && shape.shared_dim > 0)
    result.dsg = product_at(team, tokens.dgate, all_inputs(tensors)).values;
  const std::vector<int64_t> columns = indices_up_to(shape.mlp_dim);
  for (int e = 0; e < shape.experts; ++e) {
    const ExpertGradients d = run_oracle_expert(tensors, e, columns, dy, team);
    append(d.dw1, result.dw1);
    append(d.dw3, result.dw3);
    append(d.dw2, result.dw2);
    append(d.db1, result.db1);
    append(d.db3, result.db3);
    append(d.db2, result.db2);
  }
  if (shape.shared_dim > 0) {
    ExpertGradients d = run_oracle_expert(tensors, kSharedExpert, indices_up_to(shape.shared_dim), dy, team);
    result.ds1 = std::move(d.dw1.values);
    result.ds3 = std::move(d.dw3.values);
    result.ds2 = std::move(d.dw2.values);
  }
  return result;
}

std::vector<int64_t> computed_load(const BlockTensors& tensors) {
  std::vector<int64_t> load(static_cast<size_t>(tensors.shape.experts));
  const std::vector<int32_t>& expert = tensors.routing->expert;
  for (size_t a = 0; a < expert.size(); ++a) {
    if (tensors.kept == nullptr || tensors.kept[a] != 0) ++load[static_cast<size_t>(expert[a])];
  }
  return load;
}

}  // namespace moehill
