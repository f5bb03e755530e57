// StageList collects the stages of a step in their order. A stage is made when it is first named, so stages
// without work do not appear.
#pragma once

#include <array>
#include <utility>

#include "moehill/model/work.h"

namespace moehill {

class StageList {
 public:
  StageWork& at(Stage stage) {
    used_[static_cast<size_t>(stage)] = true;
    StageWork& work = stages_[static_cast<size_t>(stage)];
    work.stage = stage;
    return work;
  }

  void add_links(Stage stage, const std::vector<LinkWork>& links) {
    if (links.empty()) return;
    StageWork& work = at(stage);
    work.links.insert(work.links.end(), links.begin(), links.end());
  }

  void add(const StageWork& part) {
    StageWork& work = at(part.stage);
    work.flops += part.flops;
    work.gemm_bytes += part.gemm_bytes;
    work.rows += part.rows;
    work.assignments += part.assignments;
    work.gemms.insert(work.gemms.end(), part.gemms.begin(), part.gemms.end());
    work.links.insert(work.links.end(), part.links.begin(), part.links.end());
  }

  std::vector<StageWork> take() {
    std::vector<StageWork> used;
    for (size_t i = 0; i < stages_.size(); ++i) {
      if (used_[i]) used.push_back(std::move(stages_[i]));
    }
    return used;
  }

 private:
  std::array<StageWork, kNumStages> stages_;
  std::array<bool, kNumStages> used_{};
};

}  // namespace moehill
