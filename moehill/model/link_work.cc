// Implementation of model/link_work.h: link bytes by path, collective by collective. The code mirrors what
// the paths in parallel/ do; tests compare the bytes with what runs count.
#include "moehill/model/link_work.h"

#include "moehill/mesh/line_share.h"
#include "moehill/mesh/traffic.h"

namespace moehill {
namespace {

constexpr size_t kF32 = 4, kInt32 = 4, kInt64 = 8;

// Links collects the collectives of one device. Each function adds one or more LinkWork, in the order of the
// path. A collective moves its bytes over links between devices; sizes are the sizes of the operands as the
// paths pass them.
class Links {
 public:
  Links(const WorkProblem& p, const PlanCounts& counts, int device)
      : p_(p), counts_(counts), device_(device), b_(dtype_bytes(p.dtype)) {}

  bool alone() const { return counts_.num_devices == 1; }
  bool is_psum() const { return p_.spread == Spread::compact_psum || p_.spread == Spread::dense_masked; }
  bool is_ragged() const { return p_.spread == Spread::ragged_a2a || p_.spread == Spread::fused; }
  bool is_hierarchical() const { return p_.spread == Spread::hierarchical; }
  bool is_ring() const { return p_.spread == Spread::ring_ag_rs; }
  Range tokens() const { return share(counts_.tokens, device_, counts_.num_devices); }

  // Adds an all-reduce of n values of all devices; the slices that devices sum are cut at cache lines.
  void all_reduce(int64_t n, size_t in, size_t out) {
    const int64_t own = line_share({0, n}, device_, counts_.num_devices, kLineElements).size();
    Traffic traffic;
    count_reduce_scatter(traffic, counts_.num_devices, own, n, in);
    count_all_gather(traffic, counts_.num_devices, own, n, out);
    add(Collective::all_reduce, traffic, in);
  }
  // Adds a reduce-scatter of n values, of which this device gets `own` sums.
  void reduce_scatter(int64_t own, int64_t n, size_t bytes) {
    Traffic traffic;
    count_reduce_scatter(traffic, counts_.num_devices, own, n, bytes);
    add(Collective::reduce_scatter, traffic, bytes);
  }
  // Adds an all-gather of n values, of which this device has `own`.
  void all_gather(int64_t own, int64_t n, size_t bytes) {
    Traffic traffic;
    count_all_gather(traffic, counts_.num_devices, own, n, bytes);
    add(Collective::all_gather, traffic);
  }
  // Adds the rows that the routing sends to their experts, or their way back (`back`).
  void exchange(bool back, size_t row_bytes, RowWay way = RowWay::direct) {
    const int64_t bytes = static_cast<int64_t>(row_bytes);
    exchange(back, bytes, bytes, way);
  }
  void exchange(bool back, int64_t row_bytes, int64_t network_row_bytes, RowWay way) {
    LinkWork link{.op = Collective::all_to_all,
                  .way = way,
                  .row_bytes = row_bytes,
                  .network_row_bytes = network_row_bytes};
    for (int other = 0; other < counts_.num_devices; ++other) {
      if (other == device_) continue;
      const int64_t bytes = row_bytes_between(counts_, link, device_, other);
      int64_t out = bytes * rows_between(counts_, way, device_, other),
              in = bytes * rows_between(counts_, way, other, device_);
      // Rows that come back go the other way.
      if (back) std::swap(out, in);
      link.sent_bytes += out, link.received_bytes += in;
      if (counts_.nodes.of(other) == counts_.nodes.of(device_)) continue;
      link.network_sent_bytes += out, link.network_received_bytes += in;
    }
    links_.push_back(link);
  }
  // Adds the rows of x or dy.
  void dispatch(RowWay way = RowWay::direct) {
    exchange(false, static_cast<int64_t>(row_bytes()), wire_row_bytes(p_.wire, p_.hidden, p_.dtype), way);
  }
  // Adds one number from each device to each other device, of the node or of all devices.
  void one_for_each(size_t bytes, RowWay way = RowWay::direct) {
    const int64_t ranks = way == RowWay::inside ? ranks_of_node() : counts_.num_devices;
    const int64_t others = (ranks - 1) * static_cast<int64_t>(bytes);
    links_.push_back({.op = Collective::all_to_all,
                      .sent_bytes = others,
                      .received_bytes = others,
                      .is_even = true,
                      .way = way});
  }
  // Adds the metadata of one level's rows: counts, choices, and the tokens to which rows belong.
  void route(RowWay way) {
    one_for_each(kInt64, way);
    exchange(false, static_cast<size_t>(counts_.topk) * (kInt32 + kF32), way);
    exchange(false, kInt32, way);
  }
  int64_t ranks_of_node() const { return std::ssize(counts_.nodes.ranks_of(counts_.nodes.of(device_))); }
  // Marks the link that was added last as rows of tokens.
  void mark_rows() {
    links_.back().in_place = p_.in_place;
    mark_flight();
  }
  // Adds the sums that go back on two levels: first within the node of the experts, then one sum for each
  // node and token.
  void sums_of_nodes() {
    exchange(true, row_bytes(), RowWay::inside);
    exchange(true, row_bytes(), RowWay::across);
    mark_flight();
  }
  void mark_flight() { links_.back().in_flight = true; }
  // Adds what a capacity must know about other devices' assignments: how many of them come first in each
  // pool, or all of them.
  void drop() {
    const Capacity& capacity = counts_.capacity;
    if (counts_.capacity_rows == 0 || capacity.sources > 1) return;
    const int64_t pools = capacity.num_pools(counts_.experts);
    if (!capacity.needs_choices()) return all_gather(pools, pools * counts_.num_devices, kInt32);
    choices();
  }
  // Adds what all devices must know to decide about every assignment: experts, gate values and next choices.
  void choices() {
    const int64_t own = tokens().size() * counts_.topk, all = counts_.tokens * counts_.topk;
    const int spares = counts_.capacity.spares;
    all_gather(own, all, kInt32);  // expert ids
    all_gather(own, all, kF32);    // gate values
    if (spares > 0) all_gather(tokens().size() * spares, counts_.tokens * spares, kInt32);
  }
  // Adds the gradients of copies of experts: to the home of each expert, and the sums back.
  void copy_gradients() {
    if (p_.copies.empty()) return;
    const MlpElements elements = expert_elements(p_);
    const int64_t bytes =
        elements.total() * static_cast<int64_t>(b_) + elements.all_vectors() * static_cast<int64_t>(kF32);
    const auto copies = [&](int from, int to) {
      return p_.copies[static_cast<size_t>(from) * static_cast<size_t>(counts_.num_devices) +
                       static_cast<size_t>(to)];
    };
    int64_t out = 0, in = 0;
    for (int other = 0; other < counts_.num_devices; ++other) {
      out += copies(device_, other);
      in += copies(other, device_);
    }
    for (const bool to_copies : {false, true}) {
      links_.push_back({.op = Collective::all_to_all,
                        .sent_bytes = (to_copies ? in : out) * bytes,
                        .received_bytes = (to_copies ? out : in) * bytes,
                        .copy_bytes = bytes,
                        .to_copies = to_copies});
    }
  }
  // Adds the gradients of the shared expert: each device gets the sums of a share of every matrix.
  void shared_gradient() {
    const MlpElements elements = shared_elements(p_);
    for (const int64_t n : {elements.up[0], elements.up[1], elements.down}) {
      if (n > 0) reduce_scatter(share(n, device_, counts_.num_devices).size(), n, b_);
    }
    for (const int64_t n : elements.vectors)
      reduce_scatter(share(n, device_, counts_.num_devices).size(), n, kF32);
  }
  // Adds the gradients of the products around experts of another width, which every device computes for its
  // tokens.
  void latent_gradient() {
    const LatentElements elements = latent_elements(p_);
    const auto sum = [&](int64_t n, size_t bytes) {
      if (n > 0) reduce_scatter(share(n, device_, counts_.num_devices).size(), n, bytes);
    };
    sum(elements.matrix, b_);
    sum(elements.matrix, b_);
    sum(elements.norm, kF32);
  }
  // For `dp`: adds the gradients of all stacks of weights, routed and shared.
  void all_gradients() {
    const MlpElements experts = expert_elements(p_);
    const MlpElements shared = shared_elements(p_);
    for (const int64_t n : {experts.up[0], experts.up[1], experts.down}) {
      if (n > 0) all_reduce(n * counts_.experts, b_, b_);
    }
    for (const int64_t n : {shared.up[0], shared.up[1], shared.down}) {
      if (n > 0) all_reduce(n, b_, b_);
    }
    for (const int64_t n : experts.vectors) all_reduce(n * counts_.experts, kF32, kF32);
    for (const int64_t n : shared.vectors) all_reduce(n, kF32, kF32);
  }
  // Adds the all-reduce of the psum paths. Its result stays in f32 if the shared expert is added to it
  // afterwards.
  void psum_rows() {
    const bool to_f32 = p_.shared_replicated && p_.shared_dim > 0;
    all_reduce(counts_.tokens * p_.hidden, kF32, to_f32 ? kF32 : b_);
  }
  size_t row_bytes() const { return static_cast<size_t>(p_.hidden) * b_; }
  std::vector<LinkWork> take() { return std::move(links_); }

  const WorkProblem& p_;
  const PlanCounts& counts_;

 private:
  void add(Collective op, const Traffic& traffic, size_t value_bytes = kF32) {
    links_.push_back({op, static_cast<int64_t>(traffic.sent_bytes),
                      static_cast<int64_t>(traffic.received_bytes),
                      value_bytes == kF32 ? DType::f32 : DType::bf16});
  }

  int device_;
  size_t b_;
  std::vector<LinkWork> links_;
};

}  // namespace

int64_t rows_between(const PlanCounts& counts, RowWay way, int from, int to) {
  if (way == RowWay::direct) return counts.pair_rows(from, to);
  return way == RowWay::across ? counts.across_rows(from, to) : counts.inside_rows(from, to);
}

std::vector<LinkWork> plan_links(const WorkProblem& problem, const PlanCounts& counts, int device) {
  Links links(problem, counts, device);
  if (links.alone()) return {};
  // Every device of the ring plans for all tokens, so it needs the choices of all devices.
  if (links.is_ring()) links.choices();
  // With a capacity, a device must know how many assignments of other devices come before its own.
  if (problem.spread == Spread::dp || links.is_ragged()) links.drop();
  if (links.is_ragged()) {
    links.one_for_each(kInt64);  // the numbers of rows
    links.exchange(false, static_cast<size_t>(counts.topk) * (kInt32 + kF32));
    // The token of each row follows and, if rows are read in place, where they begin.
    if (problem.spread == Spread::fused) links.exchange(false, kInt32);
    if (problem.spread == Spread::fused && problem.in_place) links.one_for_each(kInt64);
  }
  if (links.is_hierarchical()) {
    links.drop();
    links.route(RowWay::across);
    links.route(RowWay::inside);
  }
  return links.take();
}

std::vector<LinkWork> dispatch_links(const WorkProblem& problem, const PlanCounts& counts, int device) {
  Links links(problem, counts, device);
  if (links.alone()) return {};
  if (links.is_ring()) links.all_gather(links.tokens().size(), counts.tokens, links.row_bytes());
  if (links.is_ragged()) links.dispatch();
  if (links.is_ring() || links.is_ragged()) links.mark_rows();
  if (links.is_hierarchical()) {
    links.dispatch(RowWay::across);
    links.mark_flight();
    links.dispatch(RowWay::inside);
  }
  return links.take();
}

std::vector<LinkWork> forward_links(const WorkProblem& problem, const PlanCounts& counts, int device) {
  Links links(problem, counts, device);
  if (links.alone()) return {};
  if (links.is_psum()) links.psum_rows();
  if (links.is_ring())
    links.reduce_scatter(links.tokens().size() * problem.hidden, counts.tokens * problem.hidden, kF32);
  if (links.is_ragged()) {
    links.exchange(true, links.row_bytes());
    links.mark_rows();
  }
  if (links.is_hierarchical()) links.sums_of_nodes();
  return links.take();
}

std::vector<LinkWork> backward_links(const WorkProblem& problem, const PlanCounts& counts, int device) {
  Links links(problem, counts, device);
  if (links.alone()) return {};
  const int64_t own = links.tokens().size(), all = counts.tokens * counts.topk;
  if (problem.spread == Spread::dp) links.all_gradients();
  // On the psum paths all devices have all tokens, and each computes a part of every row of dx.
  if (links.is_psum()) {
    links.psum_rows();
    links.all_reduce(all, kF32, kF32);  // dp
    links.copy_gradients();
    if (!problem.shared_replicated) links.shared_gradient();
  }
  // ring_ag_rs sums the rows of dx by a reduce-scatter, while the weights' gradients are computed. The
  // gradients of gate values follow.
  if (links.is_ring()) {
    links.reduce_scatter(own * problem.hidden, counts.tokens * problem.hidden, kF32);
    links.mark_flight();
    links.reduce_scatter(own * counts.topk, all, kF32);  // dp
    links.copy_gradients();
    links.shared_gradient();
  }
  if (links.is_hierarchical()) {
    links.sums_of_nodes();
    for (const RowWay way : {RowWay::inside, RowWay::across})
      links.exchange(true, static_cast<size_t>(counts.topk) * kF32, way);  // dp
    links.copy_gradients();
    links.shared_gradient();
  }
  if (links.is_ragged()) {
    links.exchange(true, links.row_bytes());
    links.mark_rows();
    links.exchange(true, static_cast<size_t>(counts.topk) * kF32);  // dp
    links.copy_gradients();
    links.shared_gradient();
  }
  // A balance loss needs the counts of all tokens.
  if (shards_tokens(problem.spread) && problem.loss_counts > 0)
    links.all_reduce(problem.loss_counts, kF32, kF32);
  return links.take();
}

std::vector<LinkWork> around_links(const WorkProblem& problem, const PlanCounts& counts, int device) {
  Links links(problem, counts, device);
  if (links.alone()) return {};
  links.shared_gradient();
  links.latent_gradient();
  return links.take();
}

}  // namespace moehill
