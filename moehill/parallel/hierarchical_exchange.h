// This header makes the exchange of the path `hierarchical`: a row crosses the network once for each node
// that has one of its experts, and goes on inside the node through memory that its ranks share. It pays off
// if the network is much slower than memory and tokens have several experts in one node. Otherwise
// `ragged_a2a` is the better choice, because it has fewer steps.
//
//     std::unique_ptr<RowExchange> exchange = make_hierarchical_exchange(inputs, block.spec(), group);
#pragma once

#include <memory>

#include "moehill/parallel/path.h"
#include "moehill/parallel/row_exchange.h"

namespace moehill {

// Collective: all devices call it, since it makes memory that they share.
std::unique_ptr<RowExchange> make_hierarchical_exchange(const PathInputs& inputs, const BlockSpec& spec,
                                                        Group& group);

}  // namespace moehill
