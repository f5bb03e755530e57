// Implementation of parallel/hierarchical_route.h by two RaggedRoutes. The second one starts from the rows
// that the first one received.
#include "moehill/parallel/hierarchical_route.h"

#include <algorithm>

#include "moehill/base/partition.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

// A single node may have no list of its ranks (Nodes()). This function adds the list, so that the code below
// need not treat one node as a special case.
Nodes with_ranks(const Nodes& nodes, int num_devices) {
  return nodes.num() == 1 ? Nodes::of_size(num_devices, num_devices) : nodes;
}

// The first route ends at nodes: the rows of device `rank` for an expert go to the landing rank of `rank` in
// that expert's node.
RouteEnds ends_across(const RunConfig& config, int rank, const Nodes& nodes) {
  RouteEnds ends = ends_at_experts(config, rank);
  for (int32_t& device : ends.device_of) device = nodes.landing_rank(rank, nodes.of(device));
  const int64_t most = std::min({nodes.num(), config.shape.topk, config.shape.experts});
  ends.max_sent = ends.own_tokens.size() * most;
  ends.max_received = HierarchicalRoute::max_landed(config, nodes, rank);
  ends.sends_tokens = true;
  return ends;
}

// The second route ends at experts, among the ranks of one node. These are numbered by their place in the
// node.
RouteEnds ends_inside(const RunConfig& config, int rank, const Nodes& nodes) {
  RouteEnds ends = ends_at_experts(config, rank);
  for (int32_t& device : ends.device_of) device = nodes.place(device);
  ends.num_devices = static_cast<int>(nodes.ranks_of(nodes.of(rank)).size());
  ends.rank = nodes.place(rank);
  ends.own_tokens = {0, HierarchicalRoute::max_landed(config, nodes, rank)};
  ends.max_sent =
      ends.own_tokens.size() * std::min({ends.num_devices, config.shape.topk, config.shape.experts});
  ends.sends_tokens = false;
  return ends;
}

// Assignments over the capacity are dropped before their rows land, so the route inside has no capacity.
RunConfig without_capacity(RunConfig config) {
  config.block.capacity = {};
  return config;
}

}  // namespace

int64_t HierarchicalRoute::max_landed(const RunConfig& config, const Nodes& nodes, int rank) {
  int64_t tokens = 0;
  for (int from = 0; from < config.num_devices; ++from) {
    if (nodes.landing_rank(from, nodes.of(rank)) == rank) tokens += result_tokens(config, from).size();
  }
  return tokens;
}

HierarchicalRoute::HierarchicalRoute(const RunConfig& config, const Routing& routing, int rank,
                                     const Nodes& nodes)
    : nodes_(with_ranks(nodes, config.num_devices)),
      rank_(rank),
      topk_(config.shape.topk),
      across_(config, routing, ends_across(config, rank, nodes_)),
      inside_(without_capacity(config), across_.received(), ends_inside(config, rank, nodes_)),
      next_(nodes_.ranks_of(nodes_.of(rank)).size()) {
  sent_token_.resize(idx(ends_inside(config, rank, nodes_).max_sent));
  received_token_.resize(idx(config.shape.tokens));
  row_of_token_.resize(idx(config.shape.tokens));
  token_of_row_.resize(idx(config.shape.tokens));
  received_ = {config.shape.tokens, config.shape.experts + 1, topk_, {}, {}};
  received_.expert.resize(idx(config.shape.assignments()));
  received_.weight.resize(received_.expert.size());
}

void HierarchicalRoute::bind(const Routing& routing, std::span<const int64_t> token_offsets) {
  token_offsets_ = token_offsets;
  across_.bind(routing, token_offsets);
  received_.num_tokens = token_offsets.back();
  received_.expert.resize(idx(received_.num_tokens * topk_));
  received_.weight.resize(received_.expert.size());
}

void HierarchicalRoute::make(Group& group) {
  across_.make(group);
  inside_.bind(across_.received(), {0, across_.num_received()}, token_offsets_.back());
  inside_.make(group.on_node());
  exchange_tokens(group.on_node());
  order_tokens();
  take_choices(group.team());
}

void HierarchicalRoute::exchange_tokens(Group& node) {
  for (int64_t i = 0; i < inside_.num_sent(); ++i)
    sent_token_[idx(i)] = across_.received_token()[inside_.sent_token()[i]];
  node.all_to_all(sent_token_.data(), inside_.send_offsets(), received_token_.data(),
                  inside_.receive_offsets(), sizeof(int32_t));
}

// Rows arrive ordered by landing rank, but the block plans in the order of all tokens. The tokens of one
// device all landed at the same rank and are in order there. So one pass over the devices, with a cursor for
// each landing rank, puts them in order.
void HierarchicalRoute::order_tokens() {
  const std::vector<int64_t>& offsets = inside_.receive_offsets();
  std::copy(offsets.begin(), offsets.end() - 1, next_.begin());
  int64_t token = 0;
  for (int from = 0; from + 1 < std::ssize(token_offsets_); ++from) {
    const size_t place = idx(nodes_.place(nodes_.landing_rank(from, nodes_.of(rank_))));
    int64_t& row = next_[place];
    for (; row < offsets[place + 1] && received_token_[idx(row)] < token_offsets_[idx(from) + 1]; ++row) {
      row_of_token_[idx(token)] = static_cast<int32_t>(row);
      token_of_row_[idx(row)] = static_cast<int32_t>(token++);
    }
  }
}

void HierarchicalRoute::take_choices(ThreadTeam& team) {
  // The rest of the rows have no expert, so that the plan has the same size in each step.
  const RaggedRoute::Choice nobody{received_.num_experts - 1, 0};
  team.parallel_for(received_.num_tokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const bool is_one = t < inside_.num_received();
      const RaggedRoute::Choice* const choices =
          is_one ? inside_.received_choices() + int64_t{row_of_token_[idx(t)]} * topk_ : nullptr;
      for (int64_t j = 0; j < topk_; ++j) {
        const RaggedRoute::Choice choice = is_one ? choices[j] : nobody;
        received_.expert[idx(t * topk_ + j)] = choice.expert;
        received_.weight[idx(t * topk_ + j)] = choice.weight;
      }
    }
  });
}

void HierarchicalRoute::spoil(const MemoryVisitor& visit) {
  across_.spoil(visit);
  inside_.spoil(visit);
  for (std::vector<int32_t>* of : {&sent_token_, &received_token_, &row_of_token_, &token_of_row_})
    visit_vector(*of, visit);
  spoil_routing(received_, visit);
}

}  // namespace moehill
