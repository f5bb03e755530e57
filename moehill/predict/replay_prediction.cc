// Implementation of predict/replay_prediction.h: the rows that cross each level, the time of each level, and
// the fit of one parameter.
#include "moehill/predict/replay_prediction.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "moehill/machine/topology.h"
#include "moehill/model/link_work.h"
#include "moehill/model/predict.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/routing/route_tokens.h"

namespace moehill {
namespace {

// At most this many tokens are drawn for a routing. If a row goes once to each expert, fewer tokens suffice
// for an equally even spread over the ranks.
constexpr int64_t kMostDrawn = 1 << 16, kMostDrawnOfExperts = 1 << 15;

// RowsOnLevel are the rows that a rank sends to other ranks and receives from them on a level.
struct RowsOnLevel {
  int64_t sent = 0, received = 0;
};

// RowCounter counts the rows that a rank sends and receives. `copies` says how often a token's row is sent:
// once to each node, to each rank or to each expert.
class RowCounter {
 public:
  RowCounter(const PlanCounts& counts, RowCopies copies) : counts_(counts), copies_(copies) {
    if (copies == RowCopies::expert) count_assignments();
  }

  RowsOnLevel inside(int device) const { return on_level(device, true); }
  RowsOnLevel across(int device) const { return on_level(device, false); }

  // Returns the rows of a rank's tokens as DeepEP's tests count them, including rows to the rank itself. A
  // row counts once for each node if there are several nodes and rows are sent once to a node, otherwise once
  // for each rank or each expert.
  int64_t logical(int device) const {
    if (copies_ == RowCopies::node && counts_.nodes.num() > 1) return staged(device);
    int64_t rows = 0;
    for (int to = 0; to < counts_.num_devices; ++to) rows += direct(device, to);
    return rows;
  }

  // Returns the rows sent once to each node, with those for the rank's own node.
  int64_t staged(int device) const {
    const int num = counts_.nodes.num();
    const auto begin = counts_.node_rows.begin() + static_cast<ptrdiff_t>(device) * num;
    return std::accumulate(begin, begin + num, int64_t{0});
  }

 private:
  void count_assignments() {
    const size_t devices = static_cast<size_t>(counts_.num_devices);
    assignments_.resize(devices * devices);
    for (int to = 0; to < counts_.num_devices; ++to) {
      const Range own = share(counts_.experts, to, counts_.num_devices);
      for (int from = 0; from < counts_.num_devices; ++from) {
        int64_t& sum = assignments_[static_cast<size_t>(from) * devices + static_cast<size_t>(to)];
        for (int64_t e = own.begin; e < own.end; ++e) sum += counts_.local_rows(from, static_cast<int>(e));
      }
    }
  }

  // Returns the rows that go straight from rank to rank.
  int64_t direct(int from, int to) const {
    if (copies_ != RowCopies::expert) return counts_.pair_rows(from, to);
    return assignments_[static_cast<size_t>(from) * static_cast<size_t>(counts_.num_devices) +
                        static_cast<size_t>(to)];
  }

  int64_t rows(int from, int to, bool is_inside) const {
    if (copies_ == RowCopies::node)
      return rows_between(counts_, is_inside ? RowWay::inside : RowWay::across, from, to);
    return (counts_.nodes.of(from) == counts_.nodes.of(to)) == is_inside ? direct(from, to) : 0;
  }

  RowsOnLevel on_level(int device, bool is_inside) const {
    RowsOnLevel sum;
    for (int other = 0; other < counts_.num_devices; ++other) {
      if (other == device) continue;
      sum.sent += rows(device, other, is_inside);
      sum.received += rows(other, device, is_inside);
    }
    return sum;
  }

  const PlanCounts& counts_;
  RowCopies copies_;
  std::vector<int64_t> assignments_;  // [P, P]; empty unless each assignment is a row
};

// Returns the seconds of the products of a rank's experts, by the hardware's fractions of the peak.
double product_seconds(const ReplayTable& table, const ReplayRow& row, const Hardware& h,
                       const ReplayCounts& counted, Range experts) {
  const std::vector<GemmDirection> directions =
      row.backward ? std::vector{GemmDirection::input_grad, GemmDirection::weight_grad}
                   : std::vector{GemmDirection::forward};
  const std::pair<int64_t, int64_t> sizes[] = {{table.hidden, 2 * table.mlp_dim},
                                               {table.mlp_dim, table.hidden}};
  double seconds = 0;
  for (int64_t e = experts.begin; e < experts.end; ++e) {
    const double rows = counted.scale * to_double(counted.counts.rows_of_expert(static_cast<int>(e)));
    for (const auto& [k, n] : sizes) {
      for (const GemmDirection direction : directions) {
        if (rows == 0) continue;
        const double fraction = gemm_fraction(h, {DType::bf16, direction, rows, k, n});
        seconds += 2 * rows * to_double(k) * to_double(n) /
                   (h.peak_bf16 * std::min(1.0, table.products_scale * fraction));
      }
    }
  }
  return seconds;
}

double time_of(const LevelSeconds& s, ReplayPart part) {
  const auto of = [&](Level level) { return s[static_cast<size_t>(level)]; };
  const double links = std::max({of(Level::rank), of(Level::node), of(Level::network)});
  const double products = std::max(of(Level::compute), of(Level::memory));
  const double start = of(Level::overhead);
  switch (part) {
    case ReplayPart::links:
      return start + links;
    case ReplayPart::products:
      return start + products;
    case ReplayPart::overlapped:
      return start + std::max(links, products);
    case ReplayPart::in_turn:
      return start + links + products;
  }
  return start;
}

double* parameter_of(Fitted fits, ReplayTable& table, Hardware& hardware) {
  std::vector<LinkLevel>& levels = hardware.topology.levels;
  switch (fits) {
    case Fitted::node:
      return &levels[0].bytes_per_s;
    case Fitted::network:
      return levels.size() > 1 ? &levels[1].bytes_per_s : nullptr;
    case Fitted::rank:
      return &table.rank_gb_per_s;
    case Fitted::start:
      return &table.start_us;
    case Fitted::products:
      return &table.products_scale;
    case Fitted::none:
      return nullptr;
  }
  return nullptr;
}

// Adds the times that the same rows would take if they were sent in other ways.
void add_other_ways(ReplayTable table, const ReplayRow& row, const Hardware& h, const ReplayCounts& counted,
                    ReplayedRow& replayed) {
  if (table.copies != RowCopies::node || counted.counts.nodes.num() == 1) return;
  const LevelSeconds& s = replayed.seconds;
  const auto of = [&](Level level) { return s[static_cast<size_t>(level)]; };
  replayed.in_turn_s = of(Level::overhead) + of(Level::node) + of(Level::network);
  table.copies = RowCopies::rank;
  table.rank_gb_per_s = 0;
  replayed.once_a_rank_s = replay_row(table, row, h, counted).time_s;
}

// Returns the factor that turns a parameter into SI units and into one rank's share of a node's connection.
double unit_of(Fitted fits, const Hardware& hardware) {
  if (fits == Fitted::network) return 1.0 / hardware.topology.devices_per_node;
  return fits == Fitted::rank ? 1e9 : fits == Fitted::start ? 1e-6 : 1;
}

// Fits a parameter by bisection on a logarithmic scale, from a thirty-second to 32 times its value. If the
// time is on the same side of the published time at both ends, no value fits.
FittedParameter fit(const ReplayTable& original, const ReplayRow& row, const Hardware& described,
                    const ReplayCounts& counted, double published_s) {
  ReplayTable table = original;
  Hardware hardware = described;
  FittedParameter result{&original, &row, 0, 0};
  double* value = parameter_of(row.fits, table, hardware);
  if (value == nullptr) return result;
  const double unit = unit_of(row.fits, hardware);
  result.used = *value * unit;
  constexpr double kWidest = 32;
  double low = *value / kWidest, high = *value * kWidest;
  const auto excess = [&](double x) {
    *value = x;
    return replay_row(table, row, hardware, counted).time_s - published_s;
  };
  const bool rises = excess(high) > 0;
  if (rises == (excess(low) > 0)) return result;
  for (int i = 0; i < 60; ++i) {
    const double middle = std::sqrt(low * high);
    ((excess(middle) > 0) == rises ? high : low) = middle;
  }
  result.fitted = low * unit;
  return result;
}

}  // namespace

ReplayRoutings::ReplayRoutings() : team_(std::max(1, detect_topology().num_cores)) {}

ReplayCounts ReplayRoutings::of(const ReplayTable& table, const ReplayRow& row, const Hardware& hardware) {
  const int devices = static_cast<int>(row.devices), experts = static_cast<int>(row.experts),
            topk = static_cast<int>(table.topk);
  const int per_node = std::min(devices, hardware.topology.devices_per_node);
  const Nodes nodes = Nodes::of_size(devices, per_node);
  const int64_t most = table.copies == RowCopies::expert ? kMostDrawnOfExperts : kMostDrawn;
  const int64_t drawn = std::max<int64_t>(1, std::min(row.tokens, most / devices));
  RouterRule rule;
  if (table.node_limit > 0 && table.node_limit < nodes.num())
    rule = parse_router_rule(fmt::format("softmax,groups-max:{}/{}", nodes.num(), table.node_limit));
  DistributionOptions distribution = parse_distributions(table.distribution).front();
  distribution.devices = devices;
  const std::string key = fmt::format("{} {} {} {} {} {} {}", table.distribution, to_string(rule), devices,
                                      per_node, drawn, experts, topk);
  auto found = counts_.find(key);
  if (found == counts_.end()) {
    const Router router = make_router(rule, drawn * devices, experts, topk, 0);
    const Routing routing = route_tokens({distribution, router, drawn * devices, experts, topk, 0, 0}, team_);
    found = counts_.emplace(key, count_plan(routing, {}, devices, nodes)).first;
  }
  return {found->second, to_double(row.tokens) / to_double(drawn)};
}

ReplayedRow replay_row(const ReplayTable& table, const ReplayRow& row, const Hardware& h,
                       const ReplayCounts& counted) {
  const PlanCounts& counts = counted.counts;
  const RowCounter counter(counts, table.copies);
  const int num = counts.num_devices;
  const double node_rate = rate_of(h, {.op = Collective::all_to_all, .way = RowWay::inside}, num),
               network_rate = rate_of(h, {.op = Collective::all_to_all, .way = RowWay::across}, num);
  ReplayedRow result;
  // Levels work at the same time, and the fullest rank of each level decides.
  const auto most = [&](Level level, double seconds) {
    at(result.seconds, level) = std::max(at(result.seconds, level), seconds);
  };
  // Rows that go out come back the same way.
  const auto bytes_of = [&](int64_t out, int64_t back) {
    return counted.scale * (to_double(out) * row.row_bytes + to_double(back) * row.back_bytes);
  };
  const auto fullest = [&](RowsOnLevel rows) {
    return std::max(bytes_of(rows.sent, rows.received), bytes_of(rows.received, rows.sent));
  };
  for (int d = 0; d < num; ++d) {
    const RowsOnLevel inside = counter.inside(d), across = counter.across(d);
    const int64_t logical = counter.logical(d);
    result.bytes.logical += bytes_of(logical, logical) / num;
    result.bytes.node += bytes_of(inside.sent, inside.received) / num;
    result.bytes.network += bytes_of(across.sent, across.received) / num;
    most(Level::node, fullest(inside) / node_rate);
    if (across.sent + across.received > 0) most(Level::network, fullest(across) / network_rate);
    if (table.rank_gb_per_s > 0 && counts.nodes.num() > 1)
      most(Level::rank, bytes_of(counter.staged(d), 0) / (1e9 * table.rank_gb_per_s));
    const Range own = share(counts.experts, d, num);
    const auto touched = std::count_if(counts.kept.begin() + own.begin, counts.kept.begin() + own.end,
                                       [](int64_t rows) { return rows > 0; });
    result.touched_experts += to_double(touched) / num;
    if (row.part == ReplayPart::links) continue;
    most(Level::compute, product_seconds(table, row, h, counted, own));
    const double weights = 3 * to_double(table.hidden * table.mlp_dim) * table.weight_bytes;
    const int64_t rows = counts.rows_computed(d);
    if (table.weight_bytes > 0)
      most(Level::memory, (to_double(touched) * weights + bytes_of(rows, rows)) / h.memory_bytes_per_s);
  }
  at(result.seconds, Level::overhead) = 1e-6 * table.start_us;
  result.time_s = time_of(result.seconds, row.part);
  return result;
}

double published_seconds(const ReplayRow& row, const ReplayedRow& replayed) {
  return row.us > 0 ? 1e-6 * row.us : replayed.bytes.logical / (1e9 * row.gb_per_s);
}

ReplayedTable replay_table(const ReplayTable& table, ReplayRoutings& routings) {
  ReplayedTable result{&table, load_hardware(table.hardware, "hardware"), {}, {}};
  for (const ReplayRow& row : table.rows) {
    const ReplayCounts counted = routings.of(table, row, result.hardware);
    ReplayedRow replayed = replay_row(table, row, result.hardware, counted);
    add_other_ways(table, row, result.hardware, counted, replayed);
    if (row.fits != Fitted::none)
      result.parameters.push_back(
          fit(table, row, result.hardware, counted, published_seconds(row, replayed)));
    result.rows.push_back(replayed);
  }
  return result;
}

std::vector<std::vector<ReplayedDrop>> replay_drops(const DropTable& table) {
  std::vector<std::vector<ReplayedDrop>> drops(table.rows.size());
  const int64_t tokens = table.sources * table.tokens;
  const int experts = static_cast<int>(table.experts), topk = static_cast<int>(table.topk);
  const DistributionOptions distribution = parse_distributions(table.distribution).front();
  ThreadTeam team(std::max(1, detect_topology().num_cores));
  const Router router;
  for (size_t r = 0; r < table.rows.size(); ++r) drops[r].resize(table.rows[r].factors.size());
  // Every cell sees the same draws of a routing, so cells differ only by their capacity. `mean` and
  // `deviation` hold sums until the draws are done.
  for (int64_t draw = 0; draw < table.draws; ++draw) {
    const Routing routing =
        route_tokens({distribution, router, tokens, experts, topk, 0, static_cast<uint32_t>(draw)}, team);
    for (size_t r = 0; r < table.rows.size(); ++r) {
      const DropRow& row = table.rows[r];
      for (size_t f = 0; f < row.factors.size(); ++f) {
        const Capacity capacity{.policy = CapacityPolicy::drop,
                                .factor = row.factors[f],
                                .pool = static_cast<int>(row.pool),
                                .sources = row.by_source ? static_cast<int>(table.sources) : 1};
        const std::vector<int32_t> kept =
            CapacityLimiter(capacity, tokens, experts, topk)
                .apply(routing, {0, tokens}, capacity_rows(capacity, tokens * topk, experts))
                .expert;
        const double percent =
            100 * to_double(std::count(kept.begin(), kept.end(), kNoExpert)) / to_double(std::ssize(kept));
        drops[r][f].mean += percent;
        drops[r][f].deviation += percent * percent;
      }
    }
  }
  // The sums become the mean and the standard deviation of a sample of n draws.
  const double n = to_double(table.draws);
  for (auto& row : drops) {
    for (ReplayedDrop& drop : row) {
      drop.mean /= n;
      drop.deviation = std::sqrt(std::max(0.0, (drop.deviation - n * drop.mean * drop.mean) / (n - 1)));
    }
  }
  return drops;
}

}  // namespace moehill
