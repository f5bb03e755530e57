#include "moehill/cli/choice_names.h"

namespace moehill {
namespace {

// Enum values from 0 to `last`.
template <typename E>
std::vector<Named<E>> all_up_to(E last) {
  std::vector<Named<E>> names;
  for (int i = 0; i <= static_cast<int>(last); ++i)
    names.push_back({name_of(static_cast<E>(i)), static_cast<E>(i)});
  return names;
}

}  // namespace

std::vector<Named<DType>> dtype_names() { return {{"bf16", DType::bf16}, {"f32", DType::f32}}; }
std::vector<Named<Pass>> pass_names() { return all_up_to(Pass::forward_backward); }
std::vector<Named<Backend>> backend_names() { return all_up_to(Backend::ragged_dot); }
std::vector<Named<Impl>> impl_names() { return all_up_to(Impl::fast); }
std::vector<Named<PackStrategy>> pack_names() { return all_up_to(PackStrategy::counting_sort); }
std::vector<Named<bool>> queue_names() { return {{"full", false}, {"prequeue", true}}; }
std::vector<Named<Remat>> remat_names() { return all_up_to(Remat::combine); }
std::vector<Named<CapacityPolicy>> capacity_names() { return all_up_to(CapacityPolicy::pad); }
std::vector<Named<std::vector<ParallelMode>>> mode_names() {
  return {{"none", {ParallelMode::none}},
          {"dp", {ParallelMode::dp}},
          {"ep", {ParallelMode::ep}},
          {"both", {ParallelMode::none, ParallelMode::ep}}};
}
std::vector<Named<SharedPlacement>> placement_names() { return all_up_to(SharedPlacement::replicated); }
std::vector<Named<std::optional<bool>>> split_names() {
  return {{"auto", std::nullopt}, {"off", false}, {"on", true}};
}
std::vector<Named<CheckMode>> check_names() { return all_up_to(CheckMode::full); }
std::vector<Named<std::string>> mesh_names() {
  return {{"auto", "auto"}, {"threads", "threads"}, {"mpi", "mpi"}};
}

std::vector<Named<std::optional<EpPath>>> path_names() {
  std::vector<Named<std::optional<EpPath>>> names = {{"auto", std::nullopt}};
  for (const Named<EpPath>& path : all_up_to(EpPath::fused)) names.push_back({path.name, path.value});
  return names;
}

}  // namespace moehill
