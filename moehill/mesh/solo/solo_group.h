// SoloGroup is the group of a single device. Every collective is at most a copy, and nothing travels. With
// it, code for several devices needs no special case for one.
#pragma once

#include "moehill/mesh/group.h"

namespace moehill {

// SoloGroup needs no mesh: a test or a command makes it over any team.
class SoloGroup final : public Group {
 public:
  // `team` must outlive the group.
  explicit SoloGroup(ThreadTeam& team) : team_(team) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  ThreadTeam& team() override { return team_; }
  Reach reach() const override { return Reach::addresses; }
  void barrier() override { require_idle("barrier"); }
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) override;
  void finish() override;
  std::shared_ptr<void> exchange_memory(size_t bytes) override;
  std::shared_ptr<void> common_memory(size_t bytes) override { return exchange_memory(bytes); }
  void count_reads(std::span<const int64_t>, std::span<const int64_t>, size_t) override {}
  Traffic traffic() const override { return {}; }

 private:
  ThreadTeam& team_;
};

}  // namespace moehill
