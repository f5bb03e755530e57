// The group of one device: every collective is a copy at most, and nothing travels.
#pragma once

#include "moehill/mesh/group.h"

namespace moehill {

class SoloGroup final : public Group {
 public:
  // `team` must outlive the group.
  explicit SoloGroup(ThreadTeam& team) : team_(team) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  ThreadTeam& team() override { return team_; }
  void barrier() override {}
  void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype, int64_t n) override;
  void reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets, void* output,
                      DType output_dtype) override;
  void all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                  void* output) override;
  void all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                  std::span<const int64_t> receive_offsets, size_t element_bytes) override;
  Traffic traffic() const override { return {}; }

 private:
  ThreadTeam& team_;
};

}  // namespace moehill
