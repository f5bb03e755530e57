// The stages of a step in order, made as they are first named.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "moehill/model/work.h"

namespace moehill {

// Names as records have them (moe/stages.h, which is on this floor and so out of reach; a test compares
// them).
inline constexpr std::array<const char*, 22> kStageNames = {
    "router",  "plan",     "dispatch",      "pack",        "up",          "act",        "down",     "combine",
    "shared",  "reduce",   "dispatch_grad", "recompute",   "pack_grad",   "down_grad",  "act_grad", "w2_grad",
    "up_grad", "w13_grad", "combine_grad",  "shared_grad", "router_grad", "reduce_grad"};
inline constexpr size_t kFirstBackwardStageName = 10;

class StageList {
 public:
  StageWork& at(std::string_view name) {
    const size_t i =
        static_cast<size_t>(std::find(kStageNames.begin(), kStageNames.end(), name) - kStageNames.begin());
    StageWork& stage = stages_.at(i);
    if (stage.stage.empty()) {
      stage.stage = name;
      stage.backward = i >= kFirstBackwardStageName;
    }
    return stage;
  }

  void add_links(std::string_view name, const std::vector<LinkWork>& links) {
    if (links.empty()) return;
    StageWork& stage = at(name);
    stage.links.insert(stage.links.end(), links.begin(), links.end());
  }

  std::vector<StageWork> take() {
    std::vector<StageWork> used;
    for (StageWork& stage : stages_) {
      if (!stage.stage.empty()) used.push_back(std::move(stage));
    }
    return used;
  }

 private:
  std::array<StageWork, kStageNames.size()> stages_;
};

}  // namespace moehill
