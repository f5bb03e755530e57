// MuteGroup is a group whose collectives move nothing and do not wait. An ablation uses it to measure a step
// without communication. Received memory keeps its old contents, so it cannot be used for a result.
#pragma once

#include <memory>

#include "moehill/mesh/group.h"

namespace moehill {

// MuteGroup stands in for a device's real group.
class MuteGroup final : public Group {
 public:
  // `group` is the device's real group; it must outlive this object.
  explicit MuteGroup(Group& group) : group_(group) {
    set_nodes(group.nodes());
    if (&group.on_node() != &group) node_ = std::make_unique<MuteGroup>(group.on_node());
  }

  int rank() const override { return group_.rank(); }
  int size() const override { return group_.size(); }
  ThreadTeam& team() override { return group_.team(); }
  Reach reach() const override { return group_.reach(); }
  Group& on_node() override { return node_ == nullptr ? *this : *node_; }
  void barrier() override {}
  void all_reduce(const void*, DType, void*, DType, int64_t) override {}
  void start_all_gather(const void*, std::span<const int64_t>, size_t, void*) override {}
  void start_all_to_all(const void*, std::span<const int64_t>, void*, std::span<const int64_t>,
                        size_t) override {}
  void start_reduce_scatter(const void*, DType, std::span<const int64_t>, void*, DType) override {}
  void finish() override {}
  void start_round_trip(const RoundTrip&) override {}
  bool has_landed(int) override { return true; }
  void await(int) override {}
  void answer(int) override {}
  void finish_round_trip() override {}
  std::shared_ptr<void> exchange_memory(size_t bytes) override { return group_.exchange_memory(bytes); }
  std::shared_ptr<void> common_memory(size_t bytes) override { return group_.common_memory(bytes); }
  void count_reads(std::span<const int64_t>, std::span<const int64_t>, size_t) override {}
  Traffic traffic() const override { return group_.traffic(); }  // nothing is added to it

 private:
  Group& group_;
  std::unique_ptr<MuteGroup> node_;
};

}  // namespace moehill
