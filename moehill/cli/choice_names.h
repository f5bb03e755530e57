// The words of the command line for every enum, taken from the rooms that own them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"
#include "moehill/measure/bench_options.h"

namespace moehill {

std::vector<Named<DType>> dtype_names();
std::vector<Named<Pass>> pass_names();
std::vector<Named<Backend>> backend_names();
std::vector<Named<Impl>> impl_names();
std::vector<Named<PackStrategy>> pack_names();
std::vector<Named<bool>> queue_names();  // value: prequeue
std::vector<Named<Remat>> remat_names();
std::vector<Named<CapacityPolicy>> capacity_names();
std::vector<Named<std::vector<ParallelMode>>> mode_names();
std::vector<Named<std::optional<EpPath>>> path_names();
std::vector<Named<SharedPlacement>> placement_names();
std::vector<Named<std::optional<bool>>> split_names();
std::vector<Named<CheckMode>> check_names();
std::vector<Named<std::string>> mesh_names();

}  // namespace moehill
