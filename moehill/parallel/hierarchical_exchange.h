// The rows of `hierarchical`: over the network once a node, and inside of a node by memory that its ranks
// share.
#pragma once

#include <memory>

#include "moehill/parallel/path.h"
#include "moehill/parallel/row_exchange.h"

namespace moehill {

// Collective.
std::unique_ptr<RowExchange> make_hierarchical_exchange(const PathInputs& inputs, const BlockSpec& spec,
                                                        Group& group);

}  // namespace moehill
